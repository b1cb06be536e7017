"""The kill loop on plugins of nine methods: whoever starts an attempt host is killed at any line, its job runs once.

``--aiflow-kills`` says how often, and ``--aiflow-seed`` draws the lines, as ``make test-faults`` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "plugin-nohup" / "aiflow_ext_nohup.py"

TESTS = """
from aiflow_ext.testing import JobPluginConformance
from aiflow_ext.testing.levels import base

class TestHosted(JobPluginConformance):
    platform = "PLATFORM"
    engine = "cmd_line"
    kills = 20

    @base
    def test_the_counting_notices(self):
        self.counting_notices()

    @base
    def test_killed_anywhere(self):
        self.killed_anywhere()
"""


@pytest.mark.parametrize(
    ("platform", "module", "entry_point"),
    [
        ("nohup", EXAMPLE, "aiflow_ext_nohup:NohupJobPlugin"),  # its submit_job returns at the job's end
        ("returning", HERE / "hosted_returning.py", "hosted_returning:Plugin"),  # at once, and its handler can tell
    ],
)
def test_killed_anywhere_a_hosted_job_runs_exactly_once(
    kit_runner: Any, tmp_path: Path, request: pytest.FixtureRequest, platform: str, module: Path, entry_point: str
) -> None:
    values = {option: request.config.getoption(option) for option in ("--aiflow-kills", "--aiflow-seed")}
    given = [f"{option}={value}" for option, value in values.items() if value is not None]
    kit = kit_runner(
        tmp_path,
        [EXAMPLE, module],
        {f"{platform}.cmd_line": entry_point},
        TESTS.replace("PLATFORM", platform),
        ["test_all.py", "-k", "notices or anywhere", *given],
    )
    print(kit.printed)
    assert kit.failed() == {}
    assert {name.partition("::")[2]: outcome for name, (outcome, _) in kit.told.items() if outcome == "passed"} == {
        "test_the_counting_notices": "passed",
        "test_killed_anywhere": "passed",
    }
