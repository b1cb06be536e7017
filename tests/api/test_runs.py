"""Runs that were opened in Python: followed, awaited, stopped and resumed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import aiflow_ext as af
from tests.conftest import Project

STEPS = """
import os
from pathlib import Path

def wait():
    print("waiting", flush=True)
    Path(os.environ["GATE"]).read_text()
    print("opened", flush=True)
    return "opened"

def fit(): return {"score": 0.9}
def flaky():
    if not Path(os.environ["CURE"]).exists(): raise ValueError("not yet")
"""
BODY = """
with af.job("wait"): w = af.python(wait)
with af.job("fit"): af.python(fit)
af.run_after("fit", "wait")
"""


class Gate:
    """A FIFO that the job ``wait`` reads: it goes on when it is opened."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        os.mkfifo(self.path)

    def open(self) -> None:
        self.path.write_text("go")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def gated(project: Project, gate: Gate) -> Project:
    """A project whose first job waits for the gate."""
    return project.jobs(BODY, f'"*": {{platform: local, engine: python, env: {{GATE: {gate.path}}}}}\n', STEPS)


def test_a_started_run_goes_on_in_another_process_and_its_transitions_come_in_order(gated: Project, gate: Gate) -> None:
    run = af.start_project(gated.root)
    assert run.state == af.JobState.RUNNING
    assert run.status()["driver"] not in (None, os.getpid())
    seen = []
    for transition in run.transitions():
        seen.append((transition.job, transition.state))
        if seen[-1] == ("wait", "RUNNING"):
            gate.open()
    assert [state for job, state in seen if job == "wait"][-2:] == ["RUNNING", "FINISHED"]
    assert seen[-1] == ("fit", "FINISHED")
    assert run.state == af.JobState.FINISHED
    assert run.jobs["fit"].result == {"score": 0.9}
    assert [each.seq for each in run.transitions(after=2, follow=False)] == list(range(3, len(seen) + 1))


def test_a_wait_ends_with_the_run_or_with_its_time_limit(gated: Project, gate: Gate) -> None:
    run = af.start_project(gated.root)
    with pytest.raises(TimeoutError, match=f"run {run.run_id} has not ended within 0.1 s"):
        run.wait(timeout=0.1)
    assert run.jobs["fit"].state == af.JobState.INIT
    gate.open()
    assert run.wait(check=True).state == af.JobState.FINISHED


def test_a_wait_for_a_failed_run_raises_with_the_jobs_words(project: Project, tmp_path: Path) -> None:
    config = f'"*": {{platform: local, engine: python, env: {{CURE: {tmp_path}/cure}}}}\n'
    project.jobs('with af.job("flaky"): af.python(flaky)', config, STEPS)
    run = af.start_project(project.root)
    with pytest.raises(af.RunFailedError, match=r"job .flaky. of run .* is FAILED: ValueError: not yet"):
        run.wait(check=True)
    assert run.jobs["flaky"].reason == "ValueError: not yet"
    (tmp_path / "cure").touch()
    assert run.resume(failed=True, check=True).jobs["flaky"].attempts == 2


def test_a_run_without_a_driver_says_so_and_goes_on_where_it_is_resumed(gated: Project, gate: Gate) -> None:
    run = af.start_project(gated.root)
    next(line for line in run.log_lines("wait") if line.text == "waiting")
    os.kill(run.status()["driver"], signal.SIGKILL)
    with pytest.raises(af.AiflowError, match="has not ended, and nothing drives it") as raised:
        run.wait()
    assert f"aiflow-ext resume {run.run_id}" in str(raised.value)
    gate.open()
    assert run.resume(check=True).state == af.JobState.FINISHED
    assert run.jobs["wait"].attempts == 1


def test_a_run_and_one_of_its_jobs_are_stopped(gated: Project) -> None:
    run = af.start_project(gated.root)
    next(line for line in run.log_lines("wait") if line.text == "waiting")
    assert run.stop("wait", timeout=60).jobs["wait"].state == af.JobState.STOPPED
    assert run.wait().state == af.JobState.STOPPED
    assert run.stop().state == af.JobState.STOPPED  # it has ended, and keeps its state
    with pytest.raises(af.AiflowError, match="did you mean 'wait'"):
        run.stop("wiat")


def test_logs_are_read_whole_and_line_by_line_as_they_come(gated: Project, gate: Gate) -> None:
    run = af.start_project(gated.root)
    lines = run.log_lines("wait")
    assert next(lines) == ("wait", 1, "waiting")
    assert run.logs("wait") == "waiting\n"
    gate.open()
    assert [line.text for line in lines] == ["opened"]
    run.wait()
    assert run.logs("wait") == "waiting\nopened\n"
    assert [line.text for line in run.log_lines(follow=False)] == ["waiting", "opened"]
    with pytest.raises(af.AiflowError, match="job 'fit' has had 1 attempt: there is no attempt 2"):
        run.logs("fit", attempt=2)


def test_several_coroutines_follow_one_run_and_the_event_loop_is_not_blocked(gated: Project, gate: Gate) -> None:
    async def states(run: Any) -> list[str]:
        return [str(each.state) async for each in run.transitions_async() if each.job == "fit"]

    async def lines(run: Any) -> list[str]:
        found = []
        async for line in run.log_lines_async("wait"):
            found.append(line.text)
            if line.text == "waiting":
                await asyncio.to_thread(gate.open)
        return found

    async def all_of_it() -> Any:
        run = await asyncio.to_thread(af.start_project, gated.root)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(run.wait_async(), 0.05)
        return await asyncio.gather(states(run), lines(run), run.wait_async(check=True))

    found, printed, ended = asyncio.run(all_of_it())
    assert found[-1] == "FINISHED"
    assert printed == ["waiting", "opened"]
    assert ended.state == af.JobState.FINISHED


def test_an_awaited_run_that_is_cancelled_leaves_its_jobs_running_for_a_resume(gated: Project, gate: Gate) -> None:
    began = threading.Event()

    def listener(transition: af.Transition) -> None:
        if transition.state == af.JobState.RUNNING:
            began.set()

    async def cancelled() -> None:
        running = asyncio.create_task(af.run_project_async(gated.root, listener=listener))
        await asyncio.to_thread(began.wait)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    run = af.open_run("latest", gated.root)
    assert (run.state, run.status()["driver"]) == (af.JobState.RUNNING, None)
    gate.open()
    assert asyncio.run(run.resume_async(check=True)).state == af.JobState.FINISHED
    assert run.jobs["wait"].attempts == 1


def test_an_awaited_run_that_fails_raises_where_that_is_asked_for(project: Project, tmp_path: Path) -> None:
    config = f'"*": {{platform: local, engine: python, env: {{CURE: {tmp_path}/cure}}}}\n'
    project.jobs('with af.job("flaky"): af.python(flaky)', config, STEPS)
    with pytest.raises(af.RunFailedError, match="not yet"):
        asyncio.run(af.run_project_async(project.root, check=True))
    record = asyncio.run(af.run_project_async(project.root))
    assert af.open_run(record).state == af.JobState.FAILED


def test_one_run_is_used_by_many_threads_at_once(gated: Project, gate: Gate) -> None:
    run = af.start_project(gated.root)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(run.wait().jobs["fit"].result)) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join()
    assert found == [{"score": 0.9}] * 8
