"""Whole projects on Slurm: examples, moved there by one setting, and one whose nodes do not see its own folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slurm_bed import Bed

EXAMPLES = Path(__file__).parents[3] / "examples"


def run(bed: Bed, project: Path, *options: str) -> dict[str, Any]:
    """What a run of the project has become."""
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project), "--json", *options]
    done = subprocess.run(argv, env={**os.environ, **bed.env}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def output(project: Path, told: dict[str, Any], job: str) -> str:
    argv = [sys.executable, "-m", "aiflow_ext", "logs", told["run"], job, "--project", str(project)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("example", ["hello", "plugins/slurm/example"])
def test_an_example_moves_between_this_machine_and_slurm_by_one_setting(bed: Bed, tmp_path: Path, example: str) -> None:
    project = Path(shutil.copytree(EXAMPLES / example, tmp_path / "project", ignore=shutil.ignore_patterns(".*")))
    here, there = (run(bed, project, "--set", f"*.platform={platform}") for platform in ("local", "slurm"))
    assert {job["platform"] for job in there["jobs"]} == {"slurm"}
    last = there["jobs"][-1]["name"]
    assert (
        output(project, there, last).splitlines()[0].split()[0]
        == output(project, here, last).splitlines()[0].split()[0]
    )


def test_with_a_folder_jobs_need_nothing_of_the_project_s_own(bed: Bed, tmp_path: Path) -> None:
    project, shared = tmp_path / "project", tmp_path / "shared"
    project.mkdir()
    (project / "steps.py").write_text(
        "import os\n\n\ndef where():\n    print('said')\n    return f'{os.getcwd()} {__file__}'\n"
    )
    (project / "workflow.py").write_text(
        "import aiflow_ext as af\nfrom steps import where\n\n\n@af.workflow\ndef one():\n"
        "    with af.job('job'):\n        said = af.python(where)\n"
        "    with af.job('show'):\n        af.cmd('cat {said}; pwd', said=said)\n"
    )
    (project / "project.yaml").write_text(f"artifacts: {shared.as_uri()}/artifacts\n")
    config = {"*": {"platform": "slurm", "platforms": {"slurm": {"folder": str(shared)}}},
              "job": {"engine": "python"}, "show": {"engine": "cmd_line"}}  # fmt: skip
    (project / "workflow.yaml").write_text(json.dumps(config))
    told = run(bed, project)
    # The folder is mentioned by all that a job sees of itself, and its output is with the run's records.
    assert output(project, told, "job") == "said\n"
    for path in output(project, told, "show").split():
        assert Path(path).is_relative_to(shared)
