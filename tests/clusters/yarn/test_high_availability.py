"""Pairs of NameNodes and of ResourceManagers, one of which dies: nothing is lost, doubled, or charged to a job."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from yarn_bed import Bed
from yarn_hadoop import BedError
from yarn_runs import Workflow
from yarn_tap import Tap, is_submission

JOBS = 60

STEPS = """import pathlib
import time

MARKS = pathlib.Path({marks!r})


def make():
    (MARKS / "make.start.1").touch()
    while not (MARKS / "go").exists():
        time.sleep(0.05)
    (MARKS / "make.end.1").touch()
    return list(range(1000))


def read(made):
    print(sum(made))
"""


@pytest.fixture(scope="module")
def pairs(no_cluster) -> Iterator[Bed]:  # type: ignore[no-untyped-def]
    """A bed of its own, with two NameNodes, two ResourceManagers and a ZooKeeper."""
    chosen = Bed.chosen()
    bed = Bed(f"{chosen.name}-pairs", chosen.ports.base + 100, pairs=True)
    there = any(bed.status().values())
    try:
        bed.up()
        yield bed
    except BedError as error:
        no_cluster(f"the YARN bed of pairs does not come up: {error}")
    finally:
        if not there:
            bed.down()


@pytest.fixture
def workflow(pairs: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on it. All of its daemons live."""
    pairs.up()
    made = chain(tmp_path, pairs)
    yield made
    made.close()


def chain(folder: Path, bed: Bed, make: dict[str, Any] | None = None) -> Workflow:
    """A project of two jobs: ``make`` waits for a file, ``go``, and passes its result on to ``read``."""
    made = Workflow(folder, bed).write_chain(make)
    (made.project / "steps.py").write_text(STEPS.format(marks=str(made.marks)))
    return made


def make_active(pairs: Bed, namenode: str) -> None:
    if pairs.active_namenode != namenode:
        pairs.transition(namenode)


def test_the_first_namenode_is_on_standby(workflow: Workflow, pairs: Bed) -> None:
    make_active(pairs, "nn2")
    workflow.put("go")
    record = workflow.run()
    assert record["exit"] == 0, record["said"]
    assert workflow.log(record, "read") == "499500\n"


def test_checkpoints_while_the_first_namenode_is_on_standby(workflow: Workflow, pairs: Bed) -> None:
    """A job's own code writes them by WebHDFS, and Hadoop's client reads them at the nameservice."""
    (workflow.project / "project.yaml").write_text('artifacts: "hdfs:///artifacts"\n')
    make_active(pairs, "nn2")
    saves = "import fsspec, os; fsspec.open(os.environ['AIFLOW_CHECKPOINT_DIR'] + '/x', 'w').open().close()"
    reads = pairs.tool("org.apache.hadoop.fs.FsShell", "-ls")
    job = f'{sys.executable} -c {shlex.quote(saves)} && {shlex.join(reads)} "$AIFLOW_CHECKPOINT_HDFS"'
    record = workflow.write({"job": job}, {"memory": "512Mi"}).run()
    assert record["exit"] == 0, record["said"]
    (line,) = [line for line in workflow.log(record, "job").splitlines() if line.endswith("/x")]
    assert line.split()[-1].startswith("hdfs://bed/artifacts/")


@pytest.mark.parametrize("fault", ["failover", "safe mode"])
def test_a_job_ends_while_no_namenode_takes_its_result(workflow: Workflow, pairs: Bed, fault: str) -> None:
    """The job waits until one does, and passes its result on."""
    if fault == "failover":
        make_active(pairs, "nn")
    process = workflow.begin()
    workflow.wait(lambda: workflow.count("start") == 1)
    if fault == "failover":
        pairs.kill("nn")
    else:
        pairs.safe_mode(True)
    workflow.put("go")
    workflow.wait(lambda: workflow.count("end") == 1)
    if fault == "failover":
        pairs.transition("nn2")
    else:
        pairs.safe_mode(False)
    passed_on(workflow, workflow.finish(process), attempts=1)


def passed_on(workflow: Workflow, record: dict[str, Any], attempts: int) -> None:
    """``make`` took so many attempts, all but the last of which are no failures of its own; ``read`` has its result."""
    assert record["exit"] == 0, record["said"]
    assert workflow.log(record, "read") == "499500\n"
    *disrupted, _ = record["jobs"]["make"]["attempts"]
    assert [each["disruption"] for each in disrupted] == [True] * (attempts - 1), record["said"]
    assert len(record["jobs"]["read"]["attempts"]) == 1


def test_both_namenodes_are_away_as_jobs_end(workflow: Workflow, pairs: Bed, tmp_path: Path) -> None:
    """A job waits until they are back. One that has no patience gets another attempt, which no retry pays for."""
    (tmp_path / "hasty").mkdir()
    hasty = chain(tmp_path / "hasty", pairs, make={"env": {"AIFLOW_ARTIFACT_PATIENCE": "0"}})
    try:
        processes = [each.begin() for each in (workflow, hasty)]
        workflow.wait(lambda: workflow.count("start") == hasty.count("start") == 1)
        apps = f"{pairs.active()}/ws/v1/cluster/apps?applicationTags="
        tag = f"aiflow-{hasty.newest_run()}"
        pairs.kill("nn")
        pairs.kill("nn2")
        for each in (workflow, hasty):
            each.put("go")
        workflow.wait(lambda: pairs.json(apps + tag)["apps"]["app"][0]["state"] == "FINISHED")
        pairs.up()
        passed_on(workflow, workflow.finish(processes[0]), attempts=1)
        record = hasty.finish(processes[1])
        passed_on(hasty, record, attempts=2)
        assert "cannot be reached" in record["jobs"]["make"]["attempts"][0]["reason"]
    finally:
        hasty.close()


def test_both_active_ones_die_while_sixty_jobs_run(workflow: Workflow, pairs: Bed) -> None:
    """Half of the jobs run over the failovers, the others come during or after them. Each runs once."""
    workflow.write({f"j{number}": f"{workflow.until('go')}; exit {number % 3}" for number in range(JOBS)})
    make_active(pairs, "nn")
    process = workflow.begin("--jobs", "30")
    workflow.wait(lambda: workflow.count("start") >= 15)
    pairs.kill("nn")
    pairs.kill(pairs.active_resourcemanager)
    workflow.put("go")
    pairs.transition("nn2")
    record = workflow.finish(process)
    names = [f"j{number}" for number in range(JOBS)]
    assert workflow.each("start") == workflow.each("end") == dict.fromkeys(names, 1)
    for number, name in enumerate(names):
        *before, attempt = record["jobs"][name]["attempts"]
        # A container that was about to be launched is given up by the next ResourceManager.
        assert all(each["disruption"] and each["started_at"] is None for each in before), before
        assert attempt["exit_code"] == number % 3, attempt


@contextmanager
def proxy(pairs: Bed, active: str, config: dict[str, Any], **hooks: Any) -> Iterator[Tap]:
    """A proxy in front of the active ResourceManager; ``config`` gets the addresses of jobs that use it."""
    address, other = (pairs.rm, pairs.rm2) if active == "rm" else (pairs.rm2, pairs.rm)
    tap = Tap(address, **hooks)
    config.update(resource_manager=[tap.url, other], scheduler=pairs.schedulers, history=pairs.history)
    try:
        yield tap
    finally:
        tap.close()


def test_a_submission_that_something_in_between_answers(workflow: Workflow, pairs: Bed) -> None:
    """It answers the first one with 202, and drops it: the job is submitted again, under the same id."""
    posts: list[str] = []

    def before(method: str, path: str) -> bool:
        if is_submission(method, path):
            posts.append(path)
        return not is_submission(method, path) or len(posts) > 1

    config: dict[str, Any] = {}
    with proxy(pairs, pairs.active_resourcemanager, config, before=before) as tap:
        record = workflow.write({"job": "exit 3"}, config).run()
    (attempt,) = record["jobs"]["job"]["attempts"]
    assert (attempt["exit_code"], list(tap.submissions)) == (3, [attempt["native_id"]]), record["said"]
    assert len(posts) == 2
    assert workflow.each("start") == {"job": 1}


@pytest.mark.parametrize("client", ["goes on", pytest.param("is killed", marks=pytest.mark.thorough)])
def test_the_resourcemanager_dies_before_it_has_stored_an_application(
    workflow: Workflow, pairs: Bed, client: str
) -> None:
    """It has answered 202, and its ZooKeeper has not: the next one does not know the application, and gets it again."""
    first = pairs.active_resourcemanager
    begun: list[subprocess.Popen[str]] = []

    def before(method: str, path: str) -> bool:
        if is_submission(method, path):
            pairs.kill("zk", signal.SIGSTOP)
        return True

    def after(method: str, path: str) -> None:
        if is_submission(method, path):
            pairs.kill(first)
            pairs.start("zk")
            if client == "is killed":
                begun[0].kill()

    config: dict[str, Any] = {}
    with proxy(pairs, first, config, before=before, after=after) as tap:
        begun.append(workflow.write({"job": "exit 3"}, config).begin())
        if client == "is killed":
            begun[0].communicate()
            pairs.wait_ready()
            done = workflow.call("resume", workflow.newest_run(), "--json")
            record = workflow.record(done.stdout, done.stderr, done.returncode)
        else:
            record = workflow.finish(begun[0])
    (attempt,) = record["jobs"]["job"]["attempts"]
    assert (attempt["exit_code"], list(tap.submissions)) == (3, [attempt["native_id"]]), record["said"]
    told = f"Submit Application Request\tTARGET=ClientRMService\tRESULT=SUCCESS\tAPPID={attempt['native_id']}\t"
    assert [pairs.log(name).count(told) for name in ("rm", "rm2")] == [1, 1]
    assert workflow.each("start") == workflow.each("end") == {"job": 1}
