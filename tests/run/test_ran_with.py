"""What jobs ran with: recorded by themselves at their start, and read as data."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.engines.ran_with import installed
from aiflow_ext.run.store.ran_with import ran_with_of

JOBS = """
    with af.job("dies"): af.python(killed)
    with af.job("counts"): size = af.cmd("wc -c < {path} > {out}", path=text, out=af.output("size.txt"))
    with af.job("plain"): af.cmd("true")
"""
STEPS = """
    import os, signal
    def killed(): os.kill(os.getpid(), signal.SIGKILL)
    def made(): return "text"
"""
CONFIG = '"*": {platform: local, engine: cmd_line}\ndies: {engine: python}\nmakes: {engine: python}\n'


@pytest.fixture(params=[(), ("--in-process",)], ids=["supervised", "in process"])
def ran(request, project, run_json) -> Any:
    """What each job of a run ran with, by its name."""
    steps = STEPS if not request.param else STEPS.replace("os.kill(os.getpid(), signal.SIGKILL)", "raise ValueError()")
    body = 'with af.job("makes"): text = af.python(made)\n' + "\n".join(map(str.strip, JOBS.strip().splitlines()))
    record = run_json(project.jobs(body, CONFIG, steps), *request.param)
    assert record["jobs"]["dies"]["state"] == "FAILED"
    return {name: ran_with_of(job["attempts"][0]["folder"]) for name, job in record["jobs"].items()}


def test_a_python_job_records_what_it_ran_with_even_if_it_is_killed_and_a_command_only_the_system(ran):
    for found in (ran["dies"], ran["makes"]):
        assert found.python == platform.python_version()
        assert (found.implementation, found.executable) == (sys.implementation.name, sys.executable)
        assert (found.system, found.release, found.machine) == (
            platform.system(),
            platform.release(),
            platform.machine(),
        )
        assert found.libc == " ".join(platform.libc_ver())
        assert found.distributions["cloudpickle"] == metadata.version("cloudpickle")
        assert found.distributions["importlib-metadata"] == metadata.version("importlib_metadata")
    assert (ran["counts"].machine, ran["counts"].distributions) == (platform.machine(), None)
    assert ran["plain"] is None or ran["plain"].distributions is None  # in process, there is a python


def test_what_is_installed_is_what_importlib_metadata_finds(tmp_path: Path):
    (tmp_path / "Old_Style-1.2-py3.11.egg-info").mkdir()
    (tmp_path / "cloudpickle-0.0.1.dist-info").mkdir()
    (tmp_path / "no_version.egg-info").mkdir()
    (tmp_path / "an.archive").touch()
    found = installed([*sys.path, str(tmp_path), str(tmp_path / "an.archive"), str(tmp_path / "gone")])
    by_metadata: dict[str, str] = {}
    for each in metadata.distributions():
        by_metadata.setdefault(each.metadata["Name"].lower().replace("_", "-").replace(".", "-"), each.version)
    assert found == {**by_metadata, "old-style": "1.2"}


@pytest.mark.parametrize("text", [
    "", "[]", "{", '{"python": 3}', '{"distributions": {"a": 1}}', '{"distributions": []}', "[" * 100_000,
    '{"python": "' + "x" * (1 << 20) + '"}',
], ids=lambda text: text[:20])  # fmt: skip
def test_what_a_job_has_put_in_its_place_is_not_believed(text: str, tmp_path: Path):
    (tmp_path / "ran-with.json").write_text(text)
    assert ran_with_of(str(tmp_path)) is None


def test_a_fifo_in_its_place_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "ran-with.json")
    assert ran_with_of(str(tmp_path)) is None


def test_keys_of_a_later_version_are_left_out(tmp_path: Path):
    (tmp_path / "ran-with.json").write_text(json.dumps({"python": "3.20.1", "moon": "full"}))
    found = ran_with_of(str(tmp_path))
    assert found is not None
    assert found.python == "3.20.1"
