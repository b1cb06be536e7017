"""What is made ready and handed over before its turn: never more at once than was asked for, and never twice."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.store import Store

# Exits with 9 where a third one runs.
ONE_OF_TWO = (
    "{ mkdir $MARKS/slot1 && s=slot1 || mkdir $MARKS/slot2 && s=${s:-slot2}; } 2>$MARKS/said || exit 9; "
    "read u < /proc/sys/kernel/random/uuid; : > $MARKS/start-$AIFLOW_JOB-$AIFLOW_ATTEMPT-$u; rmdir $MARKS/$s"
)
LONGER = ONE_OF_TWO.replace("; rmdir", "; sleep 0.3; rmdir")  # so that too many at once do meet


@pytest.fixture
def store(bench):
    """The store of the bench's project, once there is one."""
    opened = []

    def found() -> Store:
        if not opened:
            opened.append(Store(bench.state, create=False))
        return opened[0]

    yield found
    for each in opened:
        each.close()


@pytest.fixture
def holding(bench, until):
    """A driver of two jobs that wait at their gates, with others handed over behind them."""
    quick = {f"a{number}": "true" for number in range(9)}
    behind = {f"h{number}": LONGER for number in range(4)}
    bench.workflow({**quick, "g1": bench.gate("g1"), "g2": bench.gate("g2"), **behind})
    driver = bench.drive("run", str(bench.project.root), "--jobs", "2")
    bench.up("g1")
    bench.up("g2")
    until(lambda: bench.record.jobs["h0"].state is JobState.QUEUED, "nothing is handed over before its turn")
    until(lambda: bench.record.jobs["g2"].state is JobState.RUNNING, "g2 is not seen running")
    return driver


def starts(bench) -> dict[str, int]:
    return {name: bench.count("start", name) for name in ("g1", "g2", "h0", "h1", "h2", "h3")}


ONCE = dict.fromkeys(("g1", "g2", "h0", "h1", "h2", "h3"), 1)


def test_no_more_run_at_once_than_was_asked_for_though_the_next_are_handed_over(bench, store):
    bench.workflow({f"j{number}": ONE_OF_TWO for number in range(150)})
    code, said = bench.call("run", str(bench.project.root), "--jobs", "2")
    assert code == 0, said
    run_id = store().runs()[0]["run"]
    queued: set[str] = set()
    waited: set[str] = set()
    for each in store().transitions.of_run(run_id):
        if each.state is JobState.QUEUED:
            queued.add(each.job)
        elif each.state is JobState.RUNNING:
            queued.discard(each.job)
        elif each.state.ended:  # another one's
            waited |= queued
    assert waited
    assert all(bench.count("start", f"j{number}") == 1 for number in range(150))


def test_what_is_held_starts_once_when_another_job_ends(bench, holding):
    bench.release("g1")
    bench.release("g2")
    holding.communicate(timeout=60)
    assert holding.returncode == 0
    assert starts(bench) == ONCE


def test_a_stop_leaves_nothing_to_start_later(bench, holding, nothing_left):
    code, said = bench.call("stop", "latest", "--project", str(bench.project.root), "--grace", "1")
    assert code == 0, said
    holding.communicate(timeout=60)
    assert starts(bench) == {**dict.fromkeys(ONCE, 0), "g1": 1, "g2": 1}
    assert {str(bench.record.jobs[f"h{number}"].state) for number in range(4)} <= {"STOPPED", "SKIPPED"}
    nothing_left()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_held_waits_for_the_next_driver_when_this_one_goes(bench, holding, how):
    holding.send_signal(how)
    holding.communicate(timeout=60)
    bench.release("g1")
    assert bench.call("status", "latest", "--project", str(bench.project.root))[0] == 0
    assert starts(bench) == {**dict.fromkeys(ONCE, 0), "g1": 1, "g2": 1}
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root))
    bench.release("g2")
    assert resumed.wait(60) == 0
    assert starts(bench) == ONCE


def test_what_is_held_is_handed_to_the_next_supervisor_where_one_dies(bench, holding):
    bench.kill_supervisor()
    bench.release("g1")
    bench.release("g2")
    holding.communicate(timeout=60)
    assert starts(bench) == ONCE
    assert {str(bench.record.jobs[f"h{number}"].state) for number in range(4)} == {"FINISHED"}


def test_after_a_failure_nothing_starts_where_that_was_asked_for(bench):
    quick = {f"a{number}": "true" for number in range(9)}
    bench.workflow({**quick, "bad": "exit 3", **{f"h{number}": ONE_OF_TWO for number in range(8)}})
    code, said = bench.call("run", str(bench.project.root), "--jobs", "1", "--fail-fast")
    assert code == 1, said
    assert [bench.count("start", f"h{number}") for number in range(8)] == [0] * 8


def test_a_job_that_was_started_before_its_record_was_written_is_adopted(bench, store):
    bench.workflow({"a": bench.gate("a"), "b": bench.gate("b")})
    bench.killed("a", "b")
    run_id, native_id = bench.record.run_id, bench.attempt("a").native_id
    with bench.project.database() as db:
        db.execute("delete from attempts where job = 'a'")
        db.execute("update jobs set state = 'INIT' where name = 'a'")
        db.execute("insert into start_intents values (?, 'a', 1, ?)", (run_id, native_id))
    assert bench.call("status", "latest", "--project", str(bench.project.root))[0] == 0
    assert bench.attempt("a").state is JobState.RUNNING
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root), stdout=subprocess.DEVNULL)
    bench.release("a")
    bench.release("b")
    assert resumed.wait(60) == 0
    assert bench.ends == {"a": ("FINISHED", 1), "b": ("FINISHED", 1)}
    assert bench.count("start", "a") == 1


def test_what_was_only_intended_to_start_comes_in_its_turn(bench, store, until):
    bench.workflow({"a": bench.gate("a"), "b": bench.gate("b")})
    driver = bench.drive("run", str(bench.project.root), "--jobs", "1")
    bench.up("a")
    until(lambda: store().start_intents(bench.record.run_id), "b is not made ready")
    driver.kill()
    driver.communicate()
    assert bench.call("status", "latest", "--project", str(bench.project.root))[0] == 0
    assert bench.ends["b"] == ("INIT", 0)
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root))
    bench.release("a")
    bench.release("b")
    assert resumed.wait(60) == 0
    assert bench.ends == {"a": ("FINISHED", 1), "b": ("FINISHED", 1)}
    assert bench.count("start", "b") == 1


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_store_of_an_earlier_version_is_brought_up_to_this_one(bench, version):
    bench.workflow({"a": bench.gate("a"), "b": "true"}, ("b", "a"))
    bench.killed("a")
    with bench.project.database() as db:
        jobs = dict(db.execute("select job, plan from planned order by place"))
        (plan,) = db.execute("select plan from runs").fetchone()
        whole = {**json.loads(plan), "jobs": {name: json.loads(job) for name, job in jobs.items()}}
        for now, before in (("start_intents", "promised"), ("firings", "fired"), ("requests", "asked")):
            db.execute(f"alter table {now} rename to {before}")
        for table in ("deliveries", "untold", "run_ends"):
            db.execute(f"drop table {table}")
        db.execute("create table told (run text primary key, seq integer) without rowid")
        for column in ("refused", "instance", "node", "out_of_memory", "gpus", "ready_at", "not_ready", "unneeded",
                       "cpu_asked", "memory_asked", "peak_memory", "cpu_seconds", "usage_source",
                       "reserved_memory_seconds", "reserved_core_seconds"):  # fmt: skip
            db.execute(f"alter table attempts drop column {column}")
        if version < 3:
            db.execute("update runs set plan = ?", (json.dumps(whole),))
            db.execute("drop table planned")
        if version == 1:
            db.execute("drop table promised")
        db.execute(f"pragma user_version = {version}")
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root))
    bench.release("a")
    assert resumed.wait(60) == 0
    assert bench.ends == {"a": ("FINISHED", 1), "b": ("FINISHED", 1)}


def test_running_jobs_are_shown_though_another_jobs_part_of_the_plan_is_damaged(bench):
    bench.workflow({"a": bench.gate("a"), "b": "true"}, ("b", "a"))
    bench.killed("a")
    with bench.project.database() as db:
        db.execute("update planned set plan = '{}' where job = 'b'")
    bench.release("a")
    code, said = bench.call("status", "latest", "--project", str(bench.project.root))
    assert code == 0, said
    assert bench.ends == {"a": ("FINISHED", 1), "b": ("INIT", 0)}
    code, said = bench.resume()
    assert code == 3, said
    assert "the run's stored plan is damaged" in said


def test_a_plan_that_has_lost_jobs_is_damaged_and_nothing_ends_for_that(bench):
    bench.workflow({"a": bench.gate("a"), "b": "true"}, ("b", "a"))
    bench.killed("a")
    with bench.project.database() as db:
        db.execute("delete from planned where job = 'b'")
    code, said = bench.resume()
    assert code == 3, said
    assert "the run's stored plan is damaged" in said
    assert bench.ends == {"a": ("RUNNING", 1), "b": ("INIT", 0)}
    bench.release("a")


def test_what_has_started_although_its_record_says_that_it_never_did_is_followed_to_its_end(bench):
    bench.workflow({"a": bench.gate("a"), "b": bench.gate("b")})
    bench.killed("a", "b")
    with bench.project.database() as db:
        db.execute("update attempts set step = null, state = 'QUEUED' where job = 'b'")
        db.execute("update jobs set state = 'QUEUED' where name = 'b'")
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root), stdout=subprocess.DEVNULL)
    bench.release("a")
    bench.release("b")
    assert resumed.wait(60) == 0
    assert bench.ends == {"a": ("FINISHED", 1), "b": ("FINISHED", 1)}
    assert bench.count("start", "b") == 1
