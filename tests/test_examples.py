"""The examples, run as their reader runs them."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
from pathlib import Path

import pytest

import aiflow_ext as af

EXAMPLES = Path(__file__).parent.parent / "examples"
AIFLOW_EXT = Path(sysconfig.get_path("scripts"), "aiflow-ext")


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the example that the test names, so that its runs do not pile up in the repository."""
    return Path(
        shutil.copytree(EXAMPLES / request.param, tmp_path / request.param, ignore=shutil.ignore_patterns(".*"))
    )


def run(project: Path, *options: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run([AIFLOW_EXT, "run", project, "--json", *options], capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def states(told: dict) -> dict[str, str]:
    return {job["name"]: job["state"] for job in told["jobs"]}


@pytest.mark.parametrize("project", ["hello"], indirect=True)
def test_hello_from_python(project: Path) -> None:
    record = af.run_project(project, params=["lines=3"])
    assert record.state == "FINISHED"
    assert {name: str(job.state) for name, job in record.jobs.items()} == dict.fromkeys(
        ("fetch", "count", "show"), "FINISHED"
    )
    (top,) = (project / ".aiflow" / "artifacts").glob("*/show/1/*/top.txt")
    assert top.read_text() == "2 to\n2 be\n1 the\n"


@pytest.mark.parametrize("project", ["hello"], indirect=True)
def test_hello_from_the_command_line(project: Path) -> None:
    code, told = run(project)
    assert code == 0
    assert states(told) == {"fetch": "FINISHED", "count": "FINISHED", "show": "FINISHED"}
    assert [Path(file["path"]).read_text() for file in told["files"]] == ["2 to\n2 be\n"]


needs_scikit_learn = pytest.mark.skipif(
    not os.environ.get("CI") and any(importlib.util.find_spec(name) is None for name in ("sklearn", "matplotlib")),
    reason="scikit-learn or matplotlib is missing: make test installs them (examples/digits/requirements.txt)",
)


@pytest.mark.slow
@pytest.mark.thorough
@needs_scikit_learn
@pytest.mark.parametrize("project", ["digits"], indirect=True)
def test_digits_pushes_a_model_that_is_good_enough_and_no_other(project: Path) -> None:
    code, told = run(project)
    jobs = ("prepare", "train", "evaluate", "validate", "push", "predict")
    assert (code, states(told)) == (0, dict.fromkeys(jobs, "FINISHED"))

    files = {Path(file["path"]).name: Path(file["path"]) for file in told["files"]}
    assert files["confusion-matrix.png"].read_bytes().startswith(b"\x89PNG")
    accuracy = re.search(r"accuracy ([\d.]+)%", files["report.html"].read_text())
    assert accuracy
    assert 97 < float(accuracy[1]) <= 100
    with tarfile.open(files["digits.tar.gz"]) as release:
        assert sorted(release.getnames()) == ["SHA256SUMS", "model.joblib", "report.html"]
    with open(files["predictions.csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 540
    assert sum(row["predicted"] == row["truth"] for row in rows) / len(rows) == pytest.approx(
        float(accuracy[1]) / 100, abs=1e-4
    )

    # The same model, held to a higher standard.
    again = [word for job in ("validate", "push", "predict") for word in ("--only", job)]
    code, told = run(project, *again, "-p", "least_accuracy=0.9999")
    assert (code, states(told)) == (1, {"validate": "FAILED", "push": "SKIPPED", "predict": "SKIPPED"})
    validate = next(job for job in told["jobs"] if job["name"] == "validate")
    assert len(validate["attempts"]) == 1
    assert "the model is not pushed" in validate["reason"]
