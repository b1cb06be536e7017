"""``local.flink`` in a real session cluster, which is somebody else's: nothing of a job is left in it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import processes_marked

PATIENCE = 900  # seconds for what takes ten, on a machine that does much else
NUMBERS = (
    "CREATE TABLE n (id BIGINT) WITH ('connector'='datagen', 'fields.id.kind'='sequence', 'fields.id.start'='1', {})"
)
FEW = NUMBERS.format("'fields.id.end'='10', 'number-of-rows'='10'")
MANY = NUMBERS.format("'fields.id.end'='50000', 'rows-per-second'='50'")
ROWS = "CREATE TABLE o (id BIGINT) WITH ('connector'='filesystem', 'path'='{out}', 'format'='csv')"
WRITE = "INSERT INTO o SELECT id FROM n"
NOWHERE = "CREATE TABLE b (x BIGINT) WITH ('connector'='blackhole')"
DROP = "INSERT INTO b SELECT id FROM n"


@pytest.fixture(scope="module")
def cluster(installed, tmp_path_factory) -> Iterator:
    from session_cluster import SessionCluster

    made = SessionCluster(tmp_path_factory.mktemp("session"), installed / "pyflink", patience=PATIENCE)
    yield made
    made.close()


@pytest.fixture
def jobs(project, jar, cluster, installed):
    """Writes a project of jobs in the session cluster, whose programs are lines of workflow.py."""

    def write(lines: str, more: str = "") -> None:
        shutil.copy(jar, project.root / "job.jar")
        names = [line.split('"')[1] for line in lines.splitlines() if "af.flink" in line]
        keys = (
            f"platform: local, engine: flink, jobmanager: '{cluster.address}', env: {{FLINK_HOME: {installed}/pyflink}}"
        )
        project.jobs(lines, "".join(f"{name}: {{{keys}{more}}}\n" for name in names) + '"*": {platform: local}\n')

    return write


def program(*args: object) -> str:
    """A call of af.flink for Job.java."""
    return f'af.flink(jar="job.jar", entry_class="Job", args={list(args)!r})'


def nothing_left(cluster) -> None:
    assert cluster.get("/jars")["files"] == []
    assert {*cluster.states().values()} <= {"FINISHED", "FAILED", "CANCELED"}


def rows(folder: Path) -> list[int]:
    return [int(row) for file in folder.glob("part-*") for row in file.read_text().split()]


def test_a_jar_and_sql_run_there_and_their_outputs_are_artifacts(jobs, cluster, project, run_json):
    project.write(rows_sql=f"{FEW}; {ROWS}; {WRITE};")
    jobs(
        f'with af.job("jar"): one = {program("sql", FEW, ROWS, WRITE)[:-1]}, out=af.output("rows"))\n'
        'with af.job("sql"): two = af.flink(sql="rows.sql", out=af.output("rows"))\n'
        'with af.job("check"): af.cmd("cat {one}/* {two}/* | sort -n", one=one, two=two)'
    )
    found = run_json(project)["jobs"]
    assert {name: job["state"] for name, job in found.items()} == dict.fromkeys(found, "FINISHED")
    assert list(map(int, project.log("check").split())) == sorted([*range(1, 11)] * 2)
    assert found["jar"]["attempts"][0]["instance"].startswith(f"http://{cluster.address}/#/job/running/")
    nothing_left(cluster)


def test_what_failed_is_named_by_its_cause_and_the_trace_is_in_the_log(jobs, cluster, project, run_json):
    jobs(
        f'with af.job("divides"): {program("divides", 0)}\n'
        f'with af.job("raises"): {program("divides", "x")}\n'
        'with af.job("wrong"): af.flink(sql="SELECT * FROM sales;")\n'
        f'with af.job("twice"): {program("sql", FEW, NOWHERE, DROP, DROP)}'
    )
    found = run_json(project, "--jobs", "1")["jobs"]
    assert {name: job["state"] for name, job in found.items()} == dict.fromkeys(found, "FAILED")
    reasons = {name: job["reason"] for name, job in found.items()}
    assert reasons["divides"] == "ArithmeticException: / by zero"
    assert reasons["raises"] == 'NumberFormatException: For input string: "x"'
    assert "Object 'sales' not found" in reasons["wrong"]
    assert "submits a second Flink job" in reasons["twice"]
    assert b"at Job." in project.log("divides", "stderr")
    nothing_left(cluster)


def test_a_stream_goes_on_from_its_savepoint_and_outlives_its_driver(
    jobs, cluster, project, cli, begin, record, until, tmp_path
):
    jobs(
        f'with af.job("numbers"): {program("sql", MANY, ROWS.format(out=tmp_path / "out"), WRITE)}',
        ", exec_mode: STREAM, savepoints: sp, restore_from: latest, flink: {execution.checkpointing.interval: 1 s}",
    )
    before = set(cluster.states())
    for turn in range(2):
        known = len(rows(tmp_path / "out"))
        run = begin(project)
        if turn == 0:
            until(run, "numbers", lambda job: job["state"] == "RUNNING")
            os.kill(record(project, run)["driver"], signal.SIGKILL)
            assert cli("resume", run, "--project", project.root, "--detach").returncode == 0
            until(run, "numbers", lambda job: job["state"] == "RUNNING")
            known = len(rows(tmp_path / "out"))
        # The second one is stopped as soon as it has written: Flink's REST API may say only later that its tasks run.
        until(run, "numbers", lambda job, known=known: len(rows(tmp_path / "out")) > known)
        assert cli("stop", run, "numbers", "--project", project.root).returncode == 0
        stopped = until(run, "numbers", lambda job: job["state"] == "STOPPED")
        assert stopped["reason"].startswith(f"stopped with the savepoint file:{project.root}/sp/savepoint-")
    found = rows(tmp_path / "out")
    assert Counter(found) == Counter(range(1, len(found) + 1))
    assert len(set(cluster.states()) - before) == 2, "each run has submitted one job"
    nothing_left(cluster)


def test_without_a_slot_it_is_queued_and_says_so_until_there_is_one(jobs, cluster, project, cli, begin, until):
    jobs(f'with af.job("numbers"): {program("sql", MANY, NOWHERE, DROP)}',
         ", exec_mode: STREAM, on_stop: cancel, parallelism: 2")  # fmt: skip
    run = begin(project)
    waiting = until(run, "numbers", lambda job: "waits for slots" in str(job["reason"]))
    assert waiting["state"] == "QUEUED"
    assert "of the 1 slots of 1 TaskManagers" in waiting["reason"]
    cluster.add_worker()
    until(run, "numbers", lambda job: job["state"] == "RUNNING")
    assert cli("stop", run, "numbers", "--project", project.root).returncode == 0
    until(run, "numbers", lambda job: job["state"] == "STOPPED")
    assert list(cluster.states().values()).count("CANCELED") >= 1
    nothing_left(cluster)


def test_a_job_whose_process_is_killed_is_taken_out_of_the_cluster(jobs, cluster, project, begin, record, until):
    jobs(f'with af.job("numbers"): {program("sql", MANY, NOWHERE, DROP)}', ", exec_mode: STREAM")
    run = begin(project)
    until(run, "numbers", lambda job: job["state"] == "RUNNING")
    (process,) = processes_marked(run)
    os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while record(project, run)["ended_at"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert record(project, run)["jobs"][0]["state"] == "FAILED"
    nothing_left(cluster)
