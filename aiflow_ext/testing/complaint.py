"""The messages of failed tests: what is wrong, what to do, which section of the documentation to read."""

from __future__ import annotations

import textwrap
from typing import NoReturn

import pytest

DOCS = "docs/plugins.md"


def complain(what: str, cure: str, anchor: str = "prove-it-right") -> NoReturn:
    """Fail the running test."""
    cure = textwrap.indent(cure, "    ").strip()
    pytest.fail(f"{what}\n  what to do: {cure}\n  read on:    {DOCS}#{anchor}", pytrace=False)
