"""Jobs that serve others: when they are ready, which jobs need them, and how they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import processes_marked

SERVE = "serve: {exec_mode: STREAM, ready: {command: 'test -e %s/ready', every: 0.1, within: %s}%s}\n"
LIVES = "set -C; read u < /proc/sys/kernel/random/uuid; : > $MARKS/start-serve-$AIFLOW_ATTEMPT-$u; exec sleep 1000"


@pytest.fixture
def served(bench):
    """A server that is ready once the file ``ready`` is there, and a job that needs it; ``served(**jobs)``: more."""

    def make(*edges, within="60s", more="", serve=LIVES, **commands):
        jobs = {"serve": serve, "ask": bench.gate("ask"), **commands}
        config = SERVE % (bench.folder, within, more) + "".join(f"{job}: {{}}\n" for job in jobs if job != "serve")
        bench.workflow(jobs, ("ask", "serve"), *edges, config=config)
        return bench

    bench.serves = lambda: (bench.folder / "ready").touch()
    return make


def reasons(bench):
    return {name: job.reason for name, job in bench.record.jobs.items()}


def ended(driver):
    out, err = driver.communicate(timeout=60)
    return driver.wait(), out + err


def test_a_job_that_serves_is_waited_for_until_it_is_ready_and_has_finished_when_nobody_needs_it(served, until):
    bench = served(("last", "serve"), ("last", "ask"), ("after", "serve", "ended"), last="true", after="true")
    driver = bench.drive()
    bench.up("serve")
    until(lambda: "not ready yet" in (reasons(bench).get("serve") or ""), "it is not said why it is not ready")
    assert "its check ended with exit code 1" in reasons(bench)["serve"]
    assert bench.ends["ask"] == ("INIT", 0)
    bench.serves()
    bench.up("ask")
    assert bench.attempt("serve").ready_at is not None
    assert bench.ends["serve"] == ("RUNNING", 1)
    bench.release("ask")
    code, said = ended(driver)
    assert code == 0, said
    assert bench.ends == dict.fromkeys(("serve", "ask", "last", "after"), ("FINISHED", 1))
    assert reasons(bench)["serve"] == "no job needs it any more"
    assert bench.record.state == "FINISHED"
    assert "serve RUNNING: ready" in said


def test_one_that_is_not_ready_in_time_has_failed_with_what_its_last_check_said(served):
    bench = served(within="0.5s", more=", retries: 1")
    code, said = bench.call("run", str(bench.project.root))
    assert code == 1, said
    assert bench.ends == {"serve": ("FAILED", 2), "ask": ("SKIPPED", 0)}
    why = reasons(bench)
    assert why["serve"].startswith("it was not ready (test -e ")
    assert why["serve"].endswith(") within 0.5 s: its check ended with exit code 1")
    assert why["ask"] == "waits for serve to be ready; it is FAILED"


def test_one_that_ends_before_it_is_ready_has_failed_and_lets_nothing_start(served):
    """Also with exit code 0: else a run that has done nothing would have FINISHED."""
    bench = served(serve="exit 0", more=", retries: 1")
    assert bench.call("run", str(bench.project.root))[0] == 1
    assert bench.ends == {"serve": ("FAILED", 2), "ask": ("SKIPPED", 0)}
    assert reasons(bench)["serve"] == "it ended before it was ready"
    assert reasons(bench)["ask"] == "waits for serve to be ready; it is FAILED"


def test_the_end_before_it_was_ready_is_the_same_where_no_driver_sees_it(served, until):
    bench = served(serve=": > $MARKS/start-serve-1-x; read x < $MARKS/../gate-ask")
    bench.killed("serve")
    (bench.folder / "gate-ask").write_text("go\n")
    status = ("status", "latest", "--project", str(bench.project.root))
    until(lambda: bench.call(*status) and bench.ends["serve"][0] != "RUNNING", "its end is not seen")
    assert bench.ends["serve"] == ("FAILED", 1)
    assert reasons(bench)["serve"] == "it ended before it was ready"


def test_a_job_that_is_tried_again_still_needs_it(served):
    flag = "[ -e {0}/once ] || {{ touch {0}/once; exit 3; }}"
    bench = served(("flaky", "serve"), flaky="true")
    bench.workflow(
        {"serve": LIVES, "flaky": flag.format(bench.folder)}, ("flaky", "serve"),
        config=SERVE % (bench.folder, "60s", "") + "flaky: {retries: 1, retry_delay: 0.2}\n",
    )  # fmt: skip
    bench.serves()
    code, said = bench.call("run", str(bench.project.root))
    assert code == 0, said
    assert bench.ends == {"serve": ("FINISHED", 1), "flaky": ("FINISHED", 2)}


def test_one_that_fails_while_it_is_needed_is_tried_again_before_a_later_job_starts(served, until):
    bench = served(("last", "serve"), ("last", "ask"), last="true", more=", retries: 1")
    driver = bench.drive()
    bench.serves()
    bench.up("ask")
    (pid,) = (
        pid
        for pid in processes_marked(bench.attempt("serve").native_id)
        if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    )
    os.kill(pid, signal.SIGKILL)
    until(lambda: bench.ends["serve"] == ("RUNNING", 2), "it is not started again")
    bench.release("ask")
    code, said = ended(driver)
    assert code == 0, said
    assert bench.ends == {"serve": ("FINISHED", 2), "ask": ("FINISHED", 1), "last": ("FINISHED", 1)}


def test_a_killed_driver_is_followed_by_one_that_neither_starts_it_twice_nor_leaves_it(served):
    bench = served()
    bench.serves()
    bench.killed("serve", "ask")
    driver = bench.drive("resume", "latest", "--project", str(bench.project.root))
    assert "2 jobs" in driver.stdout.readline()
    bench.release("ask")
    code, said = ended(driver)
    assert code == 0, said
    assert bench.ends == {"serve": ("FINISHED", 1), "ask": ("FINISHED", 1)}
    assert bench.count("start", "serve") == 1


def test_the_next_driver_counts_the_time_in_which_it_must_be_ready_from_its_start(served):
    bench = served(within="1s")
    bench.killed("serve")
    code, said = bench.resume()
    assert code == 1, said
    assert bench.ends == {"serve": ("FAILED", 1), "ask": ("SKIPPED", 0)}
    assert "within 1 s" in reasons(bench)["serve"]


def test_jobs_that_run_again_have_it_run_again(served):
    bench = served(bad="[ -e $MARKS/mended ] || exit 3")
    bench.workflow(
        {"serve": LIVES, "good": "true", "bad": "[ -e $MARKS/mended ] || exit 3"}, ("bad", "serve"), ("good", "serve"),
        config=SERVE % (bench.folder, "60s", "") + "good: {}\nbad: {}\n",
    )  # fmt: skip
    bench.serves()
    assert bench.call("run", str(bench.project.root))[0] == 1
    assert bench.ends == {"serve": ("FINISHED", 1), "good": ("FINISHED", 1), "bad": ("FAILED", 1)}
    (bench.marks / "mended").touch()
    code, said = bench.resume("--failed")
    assert code == 0, said
    assert bench.ends == {"serve": ("FINISHED", 2), "good": ("FINISHED", 1), "bad": ("FINISHED", 2)}
    code, said = bench.resume("--from", "good")
    assert code == 0, said
    assert bench.ends == {"serve": ("FINISHED", 3), "good": ("FINISHED", 2), "bad": ("FINISHED", 2)}


def test_stopping_the_run_stops_it(served):
    bench = served()
    bench.serves()
    driver = bench.drive()
    bench.up("ask")
    assert bench.call("stop", "latest", "--project", str(bench.project.root))[0] == 0
    assert ended(driver)[0] == 7
    assert bench.ends == {"serve": ("STOPPED", 1), "ask": ("STOPPED", 1)}


def test_one_that_no_job_needs_any_more_before_it_is_ready_is_ended(served):
    bench = served(("ask", "bad"), bad="exit 3")
    code, said = bench.call("run", str(bench.project.root))
    assert code == 1, said
    assert bench.ends == {"serve": ("FINISHED", 1), "ask": ("SKIPPED", 0), "bad": ("FAILED", 1)}


def test_a_job_that_an_update_adds_has_it_run_again(served):
    bench = served()
    jobs, config = {"serve": LIVES, "good": "true"}, SERVE % (bench.folder, "60s", "") + "good: {}\n"
    bench.workflow(jobs, ("good", "serve"), config=config)
    bench.serves()
    assert bench.call("run", str(bench.project.root))[0] == 0
    bench.workflow(jobs | {"new": "true"}, ("good", "serve"), ("new", "serve"), config=config + "new: {}\n")
    code, said = bench.resume("--failed", "--update")
    assert code == 0, said
    assert bench.ends == {"serve": ("FINISHED", 2), "good": ("FINISHED", 1), "new": ("FINISHED", 1)}


def kill_server(bench):
    """End the server's main process from outside, as a crash of it would."""
    for pid in processes_marked(bench.attempt("serve").native_id):
        if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
            os.kill(pid, signal.SIGKILL)


def server_dies(bench, until):
    """The server is killed, which is seen; its next attempt is not ready."""
    (bench.folder / "ready").unlink()
    kill_server(bench)
    until(lambda: bench.ends["serve"][0] == "FAILED", "its end is not seen")


def next_server_is_checked(bench, until):
    bench.up("serve", 2)
    until(lambda: "not ready yet" in (reasons(bench).get("serve") or ""), "it is not checked again")


def test_a_job_that_waits_for_a_slot_waits_for_the_servers_next_attempt(served, until):
    """The slot is free while the server is being tried again: that it was ready before counts no more."""
    bench = served(("next", "serve"), more=", retries: 1, retry_delay: 2", next=": > $MARKS/start-next-1-x")
    driver = bench.drive("run", str(bench.project.root), "--jobs", "1")
    bench.serves()
    bench.up("ask")
    server_dies(bench, until)
    bench.release("ask")
    next_server_is_checked(bench, until)
    assert bench.ends["next"] == ("INIT", 0)
    bench.serves()
    code, said = ended(driver)
    assert code == 0, said
    assert bench.ends == {"serve": ("FINISHED", 2), "ask": ("FINISHED", 1), "next": ("FINISHED", 1)}


def test_a_job_that_is_tried_again_waits_for_the_servers_next_attempt(served, until):
    bench = served(within="60s", more=", retries: 1, retry_delay: 2")
    bench.workflow(
        {"serve": LIVES, "flaky": f"[ $AIFLOW_ATTEMPT = 2 ] || {{ read x < {bench.folder}/gate-ask; exit 3; }}"},
        ("flaky", "serve"),
        config=SERVE % (bench.folder, "60s", ", retries: 1, retry_delay: 2") + "flaky: {retries: 1, retry_delay: 0}\n",
    )  # fmt: skip
    driver = bench.drive()
    bench.serves()
    bench.up("serve")
    until(lambda: bench.ends["flaky"][0] == "RUNNING", "it does not start")
    server_dies(bench, until)
    (bench.folder / "gate-ask").write_text("go\n")
    next_server_is_checked(bench, until)
    assert bench.ends["flaky"] == ("FAILED", 1)
    bench.serves()
    code, said = ended(driver)
    assert code == 0, said
    assert bench.ends == {"serve": ("FINISHED", 2), "flaky": ("FINISHED", 2)}


def test_a_job_is_not_tried_again_without_its_server(served, until):
    bench = served()
    bench.workflow(
        {"serve": LIVES, "flaky": f"read x < {bench.folder}/gate-ask; exit 3"}, ("flaky", "serve"),
        config=SERVE % (bench.folder, "60s", "") + "flaky: {retries: 5, retry_delay: 0}\n",
    )  # fmt: skip
    driver = bench.drive()
    bench.serves()
    bench.up("serve")
    until(lambda: bench.ends["flaky"][0] == "RUNNING", "it does not start")
    kill_server(bench)
    until(lambda: bench.ends["serve"][0] == "FAILED", "its end is not seen")
    (bench.folder / "gate-ask").write_text("go\n")
    code, said = ended(driver)
    assert code == 1, said
    assert bench.ends == {"serve": ("FAILED", 1), "flaky": ("FAILED", 1)}


def test_one_that_nobody_needs_any_more_is_not_tried_again(served, until):
    """Nothing would end its next attempt, and the run would wait for it for ever."""
    bench = served(more=", retries: 1, retry_delay: 2")
    driver = bench.drive()
    bench.serves()
    bench.up("ask")
    kill_server(bench)
    until(lambda: bench.ends["serve"][0] == "FAILED", "its end is not seen")
    bench.release("ask")
    code, said = ended(driver)
    assert code == 1, said
    assert bench.ends == {"serve": ("FAILED", 1), "ask": ("FINISHED", 1)}


def test_one_that_died_without_a_driver_serves_nobody_of_the_next_one(served, until):
    bench = served(("next", "serve"), next="true")
    bench.serves()
    driver = bench.drive("run", str(bench.project.root), "--jobs", "1")
    bench.up("ask")
    until(lambda: bench.ends["ask"][0] == "RUNNING", "it is not seen running")
    driver.kill()
    driver.communicate()
    (bench.folder / "ready").unlink()
    kill_server(bench)
    driver = bench.drive("resume", "latest", "--project", str(bench.project.root), "--jobs", "2")
    until(lambda: bench.ends["serve"][0] == "FAILED", "its end is not seen")
    bench.release("ask")
    code, said = ended(driver)
    assert code == 1, said
    assert bench.ends == {"serve": ("FAILED", 1), "ask": ("FINISHED", 1), "next": ("SKIPPED", 0)}


def test_one_that_is_stopped_while_it_is_ended_as_late_is_not_tried_again(served, until):
    bench = served(
        within="0.5s", more=", retries: 1", serve="trap '' TERM; : > $MARKS/start-serve-1-x; sleep 1000; sleep 1000"
    )
    driver = bench.drive()
    bench.up("serve")
    until(lambda: bench.attempt("serve").not_ready if bench.ends["serve"][1] else False, "it is not ended")
    assert bench.call("stop", "latest", "serve", "--grace", "0", "--project", str(bench.project.root))[0] in (0, 7)
    assert ended(driver)[0] == 1
    assert bench.ends == {"serve": ("FAILED", 1), "ask": ("SKIPPED", 0)}


def test_a_job_that_waits_for_the_end_of_what_it_needs_is_a_mistake(served):
    bench = served(("after", "serve", "ended"), ("ask", "after"), after="true")
    code, said = bench.call("run", str(bench.project.root))
    assert code == 3, said
    assert "job 'ask' needs 'serve'" in said


def test_one_that_is_being_ended_does_not_serve_jobs_that_run_again(served, until):
    """The run is taken up again once it has ended; the jobs would be skipped when it ends."""
    bench = served()
    deaf = "trap '' TERM; : > $MARKS/start-serve-$AIFLOW_ATTEMPT-x; while :; do sleep 1000; done"
    bench.workflow(
        {"serve": deaf, "bad": "[ -e $MARKS/mended ] || exit 3"},
        ("bad", "serve"),
        config=SERVE % (bench.folder, "60s", "") + "bad: {}\n",
    )  # fmt: skip
    bench.serves()
    driver = bench.drive()
    bench.up("serve")
    until(lambda: bench.attempt("serve").unneeded, "it is not ended")
    driver.kill()
    driver.communicate()
    (bench.marks / "mended").touch()
    code, said = bench.resume("--failed")
    assert code == 6, said
    assert "serve, which no job needed any more, is being ended" in said
    assert bench.resume()[0] == 1
    assert bench.ends == {"serve": ("FINISHED", 1), "bad": ("FAILED", 1)}
    assert bench.resume("--failed")[0] == 0
    assert bench.ends == {"serve": ("FINISHED", 2), "bad": ("FINISHED", 2)}
