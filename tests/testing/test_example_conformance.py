"""The example plugin's own test, as its author would run it: level base, through its attempt host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.thorough
EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin-nohup"


def test_the_example_reaches_level_base(kit_runner: Any, tmp_path: Path) -> None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    advertised = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    kit = kit_runner(
        tmp_path,
        [EXAMPLE / "aiflow_ext_nohup.py"],
        advertised["aiflow_ext.job_plugins"],
        (EXAMPLE / "test_nohup.py").read_text(),
    )
    assert kit.failed() == {}
    assert "nohup.cmd_line (installed 1.0; test_all.py::TestNohup): level base" in kit.printed
    assert "not offered: attach, lookup, render, watch" in kit.printed
