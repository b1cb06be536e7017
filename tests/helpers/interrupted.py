"""A whole run: left by one driver in the midst of it, and taken up by another one, which stops a job of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from patience import PATIENCE

from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_resume, prepare_run
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store

BODY = """
with af.job('one'):
    af.cmd('true')
with af.job('two'):
    af.python(two)
with af.job('three'):
    af.cmd('sleep 1000')
with af.job('four'):
    af.cmd('true')
af.run_after('two', 'one')
af.run_after('four', 'three', when='ended')
"""
ENDS = {"one": "FINISHED", "two": "FINISHED", "three": "STOPPED", "four": "FINISHED"}


def run_interrupted(project: Any, shared: Mapping[str, Any]) -> dict[str, str]:
    """Run ``BODY`` with config keys that all jobs have; the states of its jobs at the end."""
    engines = {job: {"engine": "python" if job == "two" else "cmd_line"} for job in ENDS}
    project.jobs(BODY, json.dumps({"*": dict(shared), **engines}), "def two():\n    pass\n")
    first = prepare_run(project.root)
    jobs = first.record.jobs
    driver = driven(first.driver.run)
    until(lambda: jobs["two"].state.ended and jobs["three"].state is JobState.RUNNING)
    first.driver.leave()
    driver.join(PATIENCE)
    first.close()
    second = prepare_resume(first.record.run_id, project=str(project.root))
    driver = driven(second.driver.run)
    Store(state_folder(project.root)).requests.add(first.record.run_id, "stop", "three", 1.0)
    second.driver.look_at_requests()
    driver.join(PATIENCE)
    assert not driver.is_alive()
    second.close()
    return {name: job.state.value for name, job in second.record.jobs.items()}


def driven(run: Callable[[], object]) -> threading.Thread:
    """A driver at work, in a thread of its own."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def until(there: Callable[[], bool]) -> None:
    """Wait until ``there`` returns True."""
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)
