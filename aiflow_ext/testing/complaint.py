"""The messages of failed tests: what is wrong, what to do, which section of the documentation to read."""

from __future__ import annotations

import textwrap
from typing import NoReturn

import pytest

# The pages of the sections that failures name; the others are all in conformance-rules.md.
PAGES = {
    "the-nine-methods": "plugin-methods",
    "how-nine-methods-run": "plugin-methods",
    "durable-plugins": "plugin-durable",
    "declare-a-plugin": "plugin-declaring",
    "config-classes": "plugin-config",
    "prove-a-plugin-right": "conformance",
    "jobs-and-marks": "conformance",
    "level-cluster": "conformance",
    "flink-jobs": "conformance",
}


def complain(what: str, cure: str, anchor: str = "prove-a-plugin-right") -> NoReturn:
    """Fail the running test."""
    cure = textwrap.indent(cure, "    ").strip()
    pytest.fail(
        f"{what}\n  what to do: {cure}\n  read on:    docs/{PAGES.get(anchor, 'conformance-rules')}.md#{anchor}",
        pytrace=False,
    )
