"""A plugin in the words of AI Flow's own documents, and nothing else, reaches level base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SEED = Path(__file__).parents[1] / "hosted" / "seed" / "seed_words.py"
TESTS = """
from pathlib import Path

from aiflow_ext.testing import JobPluginConformance, Marks


class TestSeed(JobPluginConformance):
    platform, engine = "seed", "cmd_line"
"""


IN_A_FOLDER_THAT_STAYS = (
    TESTS
    + """
    def marks(self, folder):
        return Marks(Path(__file__).with_name("stays") / folder.parent.name)
"""
)


@pytest.mark.thorough
def test_the_seeds_words_reach_level_base(kit_runner: Any, tmp_path: Path) -> None:
    kit = kit_runner(tmp_path, [SEED], {"seed.cmd_line": "seed_words:SeedJobPlugin"}, TESTS)
    assert kit.failed() == {}
    assert "seed.cmd_line (installed 1.0; test_all.py::TestSeed): level base" in kit.printed


def test_marks_of_an_earlier_session_count_for_nothing(kit_runner: Any, tmp_path: Path) -> None:
    test = "test_a_job_that_succeeds_is_finished"
    left = tmp_path / "stays" / f"{test[:30]}0"  # as pytest names a test's folder, in each session alike
    left.mkdir(parents=True)
    (left / "start.of-yesterday").touch()
    asked = [f"test_all.py::TestSeed::{test}"]
    kit = kit_runner(tmp_path, [SEED], {"seed.cmd_line": "seed_words:SeedJobPlugin"}, IN_A_FOLDER_THAT_STAYS, asked)
    assert kit.told == {f"TestSeed::{test}": ["passed", ""]}
    assert not (left / "start.of-yesterday").exists()
    assert list(left.iterdir())
