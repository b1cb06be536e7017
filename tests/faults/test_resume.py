"""A run taken up again: what has ended stays as it is, what runs is followed, what was never started starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from aiflow_ext.run.store.store import Store


def test_jobs_that_ended_while_nobody_drove_have_their_true_ends_and_run_once(bench):
    bench.workflow(
        {"a": bench.gate("a"), "b": bench.gate("b", 5), "c": "true", "d": "true"},
        ("c", "a"), ("c", "b", "ended"), ("d", "b"),
        config="a: {}\nb: {}\nc: {}\nd: {}\n",
    )  # fmt: skip
    bench.killed("a", "b")
    bench.release("a")
    bench.release("b")
    code, said = bench.resume()
    assert code == 1, said
    assert bench.ends == {"a": ("FINISHED", 1), "b": ("FAILED", 1), "c": ("FINISHED", 1), "d": ("SKIPPED", 0)}
    assert bench.attempt("b").exit_code == 5
    assert (bench.count("start", "a"), bench.count("end", "a"), bench.count("start", "b")) == (1, 1, 1)


def test_a_running_job_is_adopted_though_what_it_waited_for_has_finished(bench):
    bench.workflow({"first": "true", "second": bench.gate("second")}, ("second", "first"))
    bench.killed("second")
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root))
    assert "2 jobs" in resumed.stdout.readline()
    bench.release("second")
    resumed.communicate(timeout=60)
    assert resumed.returncode == 0
    assert bench.ends == {"first": ("FINISHED", 1), "second": ("FINISHED", 1)}


@pytest.fixture
def ended(bench):
    """A run that has come to its end: one job failed, one was skipped for it, one finished."""
    flag = bench.folder / "mended"
    bench.workflow(
        {"good": "true", "bad": f"[ -e {flag} ] || exit 3", "after": "true", "rescue": "true"},
        ("bad", "good"), ("after", "bad"), ("rescue", "bad", "failed"),
    )  # fmt: skip
    assert bench.call("run", str(bench.project.root))[0] == 1
    bench.flag = flag
    return bench


def test_a_run_that_has_ended_says_so_and_keeps_its_verdict(ended):
    before = ended.record
    code, said = ended.resume()
    assert code == 1
    assert "has ended before, as FAILED" in said
    assert "--failed" in said
    assert ended.record == before


def test_failed_gives_what_did_not_finish_a_new_attempt_and_nothing_else(ended):
    ended.flag.touch()
    code, said = ended.resume("--failed")
    assert code == 0, said
    ends = {"good": ("FINISHED", 1), "bad": ("FINISHED", 2), "after": ("FINISHED", 1), "rescue": ("FINISHED", 1)}
    assert ended.ends == ends


def test_from_runs_a_job_and_all_after_it_again_and_nothing_before(ended):
    ended.flag.touch()
    code, said = ended.resume("--from", "bad")
    assert code == 0, said
    ends = {"good": ("FINISHED", 1), "bad": ("FINISHED", 2), "after": ("FINISHED", 1), "rescue": ("SKIPPED", 1)}
    assert ended.ends == ends
    assert "no job 'bda'" in ended.resume("--from", "bda")[1]


def test_from_refuses_while_something_after_it_runs(bench):
    bench.workflow({"first": "true", "second": bench.gate("second")}, ("second", "first"))
    bench.killed("second")
    code, said = bench.resume("--from", "first")
    assert code == 6
    assert "second has not ended yet" in said
    bench.release("second")
    assert bench.resume()[0] == 0
    assert bench.count("start", "second") == 1


def test_the_retries_that_are_left_are_kept(bench):
    bench.workflow({"a": bench.gate("a", 4)}, config="a: {retries: 2}\n")
    bench.killed("a")
    bench.release("a")
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root))
    bench.up("a", 2)
    resumed.kill()
    resumed.communicate()
    bench.release("a")
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root))
    bench.up("a", 3)
    bench.release("a")
    resumed.communicate(timeout=60)
    assert resumed.returncode == 1
    assert bench.ends == {"a": ("FAILED", 3)}


def test_a_failure_of_a_run_that_has_ended_is_not_retried_because_another_job_is(bench, until):
    config = "a: {retries: 1, retry_delay: 600}\nb: {}\nc: {}\n"
    bench.workflow({"a": "exit 1", "b": bench.gate("b"), "c": "true"}, config=config)
    driver = bench.drive("run", str(bench.project.root), "--on-interrupt", "stop")
    bench.up("b")
    until(lambda: bench.attempt("a").state == "FAILED", "a does not fail")
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert bench.ends["a"] == ("FAILED", 1)
    assert bench.resume("--from", "c")[0] == 1
    assert bench.ends["a"] == ("FAILED", 1)
    assert bench.ends["c"] == ("FINISHED", 2)


def test_a_timeout_counts_the_time_under_an_earlier_driver(bench, until):
    bench.workflow({"a": bench.gate("a")}, config="a: {timeout: 1.5}\n")
    bench.killed("a")
    started = bench.attempt("a").started_at
    until(lambda: time.time() > started + 1.5, "the clock stands still")
    code, said = bench.resume()
    assert code == 1
    assert "timeout" in said
    assert bench.ends == {"a": ("FAILED", 1)}


def test_a_job_that_ran_and_ended_before_anybody_looked_has_run_for_those_who_wait(bench):
    """The driver's death at the first news of a job is injected."""
    bench.workflow({"a": bench.gate("a", 3), "b": "true"}, ("b", "a", "running"))
    dies = (
        "import os, sys\nfrom aiflow_ext.run import prepare_run\nfrom aiflow_ext.run.driving.events import Events\n"
        "Events.take = lambda *_: os.kill(os.getpid(), 9)\nprepare_run(sys.argv[1]).driver.run()"
    )
    died = subprocess.run([sys.executable, "-c", dies, str(bench.project.root)], env=bench.env)
    assert died.returncode == -signal.SIGKILL
    bench.up("a")
    bench.release("a")
    until_ended = ("status", "latest", "--project", str(bench.project.root))
    while "FAILED" not in bench.call(*until_ended)[1]:
        pass
    attempt = bench.attempt("a")
    assert attempt.started_at <= attempt.ended_at
    assert bench.resume()[0] == 1
    assert bench.ends == {"a": ("FAILED", 1), "b": ("FINISHED", 1)}


def test_a_stop_that_the_driver_died_in_is_finished_by_the_next(bench, until, nothing_left):
    bench.project.jobs(
        'with af.job("a"): af.cmd("trap \'\' TERM; : > $MARKS/start-a-1-x; while :; do sleep 1; done")',
        '"*": {platform: local, engine: cmd_line}\na: {}\n',
    )
    driver = bench.drive("run", str(bench.project.root), "--on-interrupt", "stop")
    bench.up("a")
    driver.send_signal(signal.SIGTERM)
    until(lambda: bench.attempt("a").stop_requested, "nothing says that it is to stop")
    driver.kill()
    driver.communicate()
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root), "--on-interrupt", "stop")
    resumed.communicate(timeout=60)
    assert resumed.returncode == 7
    assert bench.ends == {"a": ("STOPPED", 1)}
    nothing_left()


DIES = """
import os, sys
from aiflow_ext.run import prepare_run
from aiflow_ext.run.store.ledger import Ledger

def close(*_, **__):
    os.kill(os.getpid(), 9)

Ledger.close = close
"""


@pytest.mark.parametrize("driven", [True, False])
def test_a_run_whose_stopper_died_before_the_verdict_is_a_stopped_one(bench, driven):
    """The kill at that very line is injected: nothing else comes there on demand."""
    bench.workflow({"a": "true", "b": "true"}, ("b", "a"))
    told = "run = prepare_run(sys.argv[1]); run.driver.stop(); run.driver.run()"
    if not driven:
        told = (
            "run = prepare_run(sys.argv[1]); run.lock.release(); run.bell = None\n"
            "from aiflow_ext.run.operations.observe import observe\nfrom aiflow_ext.run.operations.stop import stop\n"
            "stop(observe('latest', sys.argv[1]))"
        )
    died = subprocess.run([sys.executable, "-c", DIES + told, str(bench.project.root)], env=bench.env)
    assert died.returncode == -signal.SIGKILL
    assert bench.ends == {"a": ("STOPPED", 1) if driven else ("SKIPPED", 0), "b": ("SKIPPED", 0)}
    code, said = bench.resume()
    assert code == 7, said
    assert bench.record.state == "STOPPED"


def test_a_stop_is_asked_for_until_it_is_on_record(bench):
    """A driver that takes a request and dies leaves it to the next; the kill is injected."""
    bench.workflow({"a": bench.gate("a"), "b": "true"}, ("b", "a"))
    bench.killed("a")
    store = Store(bench.state, create=False)
    store.requests.add(bench.record.run_id, "stop", None, 1.0)
    store.close()
    dies = (
        "import os, sys\nfrom aiflow_ext.run import prepare_resume\n"
        "from aiflow_ext.run.driving.stopping import Stopping\n"
        "Stopping.stop_all = lambda *_: os.kill(os.getpid(), 9)\n"
        "prepare_resume('latest', project=sys.argv[1]).driver.run()"
    )
    died = subprocess.run([sys.executable, "-c", dies, str(bench.project.root)], env=bench.env)
    assert died.returncode == -signal.SIGKILL
    code, said = bench.resume()
    assert code == 7, said
    assert bench.ends == {"a": ("STOPPED", 1), "b": ("SKIPPED", 0)}


def test_a_stop_whose_driver_dies_stops_the_run_itself(bench, nothing_left):
    """The driver's death as it takes the request is injected."""
    bench.workflow({"a": bench.gate("a"), "b": "true"}, ("b", "a"))
    dies = (
        "import os, sys\nfrom aiflow_ext.run import prepare_run\nfrom aiflow_ext.run.driving.stopping import Stopping\n"
        "Stopping.stop_all = lambda *_: os.kill(os.getpid(), 9)\nprepare_run(sys.argv[1]).driver.run()"
    )
    driver = subprocess.Popen([sys.executable, "-c", dies, str(bench.project.root)], env=bench.env)
    bench.up("a")
    code, said = bench.call("stop", "latest", "--project", str(bench.project.root), "--grace", "1")
    assert driver.wait(10) == -signal.SIGKILL
    assert code == 0, said
    assert bench.ends == {"a": ("STOPPED", 1), "b": ("SKIPPED", 0)}
    assert bench.record.state == "STOPPED"
    nothing_left()


def test_stopping_a_run_that_has_ended_leaves_its_verdict(ended):
    before = ended.record
    assert ended.call("stop", "latest", "--project", str(ended.project.root))[0] == 0
    assert ended.record == before


def test_a_stop_that_came_too_late_does_not_stop_the_run_that_goes_on(ended):
    store = Store(ended.state, create=False)
    store.requests.add(ended.record.run_id, "stop", None, 1.0)
    store.close()
    ended.flag.touch()
    code, said = ended.resume("--failed")
    assert code == 0, said
