"""The example plugin's own test, as its author would run it: level base, through its attempt host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dist_info import declared

pytestmark = pytest.mark.thorough
EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin-nohup"


def test_the_example_reaches_level_base(kit_runner: Any, tmp_path: Path) -> None:
    advertised = declared(EXAMPLE)["project"]["entry-points"]
    kit = kit_runner(
        tmp_path,
        [EXAMPLE / "aiflow_ext_nohup.py"],
        advertised["aiflow_ext.job_plugins"],
        (EXAMPLE / "test_nohup.py").read_text(),
    )
    assert kit.failed() == {}
    assert "nohup.cmd_line (installed 1.0; test_all.py::TestNohup): level base" in kit.printed
    assert "not offered: attach, lookup, render, watch" in kit.printed
