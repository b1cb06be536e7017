"""A plugin in the words of AI Flow's own documents, and nothing else, reaches level base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.thorough
SEED = Path(__file__).parents[1] / "hosted" / "seed" / "seed_words.py"
TESTS = """
from aiflow_ext.testing import JobPluginConformance


class TestSeed(JobPluginConformance):
    platform, engine = "seed", "cmd_line"
"""


def test_the_seeds_words_reach_level_base(kit_runner: Any, tmp_path: Path) -> None:
    kit = kit_runner(tmp_path, [SEED], {"seed.cmd_line": "seed_words:SeedJobPlugin"}, TESTS)
    assert kit.failed() == {}
    assert "seed.cmd_line (installed 1.0; test_all.py::TestSeed): level base" in kit.printed
