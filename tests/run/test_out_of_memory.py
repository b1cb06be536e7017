"""Attempts that run out of memory: how that is told, and that the next attempt gets more."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nine_methods import plugin_of_nine_methods

from tests.run.test_interrupts import start, until
from tests.run.test_observe import gate_of, wait_for

MI = 1024**2
SAYS = "echo $AIFLOW_MEMORY >> $AIFLOW_CHECKPOINT_DIR/memory; "
FAILS = f"{SAYS}echo 'out of memory: no more' > $AIFLOW_REASON_FILE; exit 3"
EATS = """
kept = []
while True:
    kept.append(bytearray(b"x" * (16 << 20)))
"""
NINE = plugin_of_nine_methods("nine", more="""
import os

Platform.resources = ("memory",)


class Eater(Plugin):
    def submit_job(self, job):
        with open(os.environ["SEEN"], "a") as file:
            print(job.job_config.memory, os.environ["AIFLOW_MEMORY"], file=file)
        bytearray(1 << 60)
""")  # fmt: skip


def job_of(project, config, command=FAILS):
    project.jobs(f'with af.job("job"): af.cmd({command!r})', f"job: {{platform: local, engine: cmd_line, {config}}}\n")


def said(project):
    """What each attempt was given, in MiB."""
    (file,) = project.root.glob(".aiflow/runs/*/checkpoints/job/memory")
    return [int(line) / MI for line in file.read_text().split()]


def test_a_memory_error_is_an_end_of_its_own_and_the_next_attempt_gets_more(project, run_json, cli):
    project.jobs(
        'with af.job("job"): af.python(needs)',
        "job: {memory: 50Mi, retries: 2, grow: {memory: 2}}\n",
        """
        import os
        def needs():
            print(os.environ["AIFLOW_MEMORY"])
            if int(os.environ["AIFLOW_ATTEMPT"]) < 3:
                bytearray(1 << 60)
        """,
    )
    record = run_json(project)
    first, second, third = record["jobs"]["job"]["attempts"]
    assert (first["state"], first["out_of_memory"]) == ("FAILED", True)
    assert first["reason"].startswith("out of memory: MemoryError")
    assert (third["state"], third["out_of_memory"]) == ("FINISHED", False)
    given = [int(project.log("job", attempt=each["number"])) for each in (first, second, third)]
    assert given == [50 * MI, 100 * MI, 200 * MI]


def test_the_status_of_a_run_says_that_a_job_ran_out_of_memory(project, cli):
    job_of(project, "memory: 1Mi")
    assert cli("run", project.root).returncode == 1
    assert "out of memory: no more" in cli("status", "latest", "--project", project.root).stdout


def test_memory_grows_up_to_its_limit_by_fractions_too(project, run_json):
    job_of(project, "memory: 10Mi, retries: 3, grow: {memory: 1.5, max: 20Mi}")
    assert len(run_json(project)["jobs"]["job"]["attempts"]) == 4
    assert said(project) == [10, 15, 20, 20]


def test_only_attempts_that_ran_out_of_memory_make_it_grow(project, run_json):
    job_of(project, "memory: 10Mi, retries: 2, grow: {memory: 2}", f"{SAYS}test $AIFLOW_ATTEMPT = 3")
    run_json(project)
    assert said(project) == [10, 10, 10]


@pytest.mark.parametrize(("ends", "attempts"), [("[failed, timeout]", 1), ("out_of_memory", 2), (None, 2)])
def test_whether_such_an_attempt_is_tried_again_is_said_by_its_own_name(project, run_json, ends, attempts):
    job_of(project, "retries: 1" + (f", retry_on: {ends}" if ends else ""))
    assert len(run_json(project)["jobs"]["job"]["attempts"]) == attempts


def test_a_job_that_only_says_so_and_ends_well_has_finished(project, run_json):
    job_of(project, "memory: 1Mi, retries: 1, grow: {memory: 2}", "echo out of memory: no more > $AIFLOW_REASON_FILE")
    (attempt,) = run_json(project)["jobs"]["job"]["attempts"]
    assert (attempt["state"], attempt["out_of_memory"]) == ("FINISHED", False)


def test_another_driver_goes_on_with_the_memory_that_the_last_attempts_had(project, cli, cli_env):
    gate = "test $AIFLOW_ATTEMPT != 2 || { mkfifo gate; read x < gate; }; "
    job_of(project, "memory: 10Mi, retries: 2, grow: {memory: 2}", f"cd $AIFLOW_CHECKPOINT_DIR; {gate}{FAILS}")
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    waits = gate_of(project, "job")
    run.kill()
    run.wait()
    waits.write_text("go on\n")
    done = cli("resume", "latest", "--project", project.root, "--json")
    (job,) = json.loads(done.stdout)["jobs"]
    assert [each["out_of_memory"] for each in job["attempts"]] == [True, True, True]
    assert cli("resume", "latest", "--project", project.root, "--failed").returncode == 1
    assert said(project)[:4] == [10, 20, 40, 80]


def test_a_job_whose_memory_has_grown_waits_until_it_fits(project, run_json, cli_env):
    cli_env["AIFLOW_MACHINE"] = "memory=100Mi"
    project.jobs(
        f"""
        with af.job("job"): af.cmd("test $AIFLOW_ATTEMPT = 2 || {{ {FAILS}; }}")
        with af.job("other"): af.cmd("sleep 1")
        """,
        '"*": {platform: local, engine: cmd_line, memory: 50Mi}\njob: {retries: 1, grow: {memory: 2}}\nother: {}\n',
    )
    project.write(project_yaml="jobs: {local: 8}\n")
    record = run_json(project)
    assert record["exit"] == 0
    _, second = record["jobs"]["job"]["attempts"]
    assert second["started_at"] >= record["jobs"]["other"]["attempts"][0]["ended_at"]


def test_the_config_of_a_hosted_plugin_has_the_memory_that_has_grown(project, run_json, stranger):
    seen = stranger("nine", NINE, {"nine.cmd_line": "Eater"})
    project.jobs(
        'with af.job("job"): af.cmd("true")', "job: {platform: nine, memory: 1Mi, retries: 1, grow: {memory: 2}}\n"
    )
    attempts = run_json(project)["jobs"]["job"]["attempts"]
    assert [each["out_of_memory"] for each in attempts] == [True, True]
    assert attempts[0]["reason"].startswith("out of memory: submit_job: MemoryError")
    assert seen.read_text().split() == [str(MI)] * 2 + [str(2 * MI)] * 2


def test_a_stop_is_a_stop_whatever_the_job_says(project, cli, cli_env):
    trap = "trap 'echo out of memory: no more > $AIFLOW_REASON_FILE; exit 3' TERM; "
    job_of(
        project,
        "memory: 1Mi, retries: 1, grow: {memory: 2}",
        f"cd $AIFLOW_CHECKPOINT_DIR; {trap}mkfifo gate; read x < gate",
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate_of(project, "job")
    wait_for(project, "job")
    assert cli("stop", "latest", "--project", project.root).returncode == 0
    run.wait()
    done = cli("status", "latest", "--project", project.root, "--json")
    ((attempt,),) = [job["attempts"] for job in json.loads(done.stdout)["jobs"]]
    assert (attempt["state"], attempt["out_of_memory"]) == ("STOPPED", False)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("grow: {memory: 2}", "job 'job' says how its memory grows, and not from how much"),
        ("memory: 2Gi, grow: {memory: 2, max: 1Gi}", "job 'job' is to grow to 1Gi at most, and begins with 2Gi"),
        ("memory: 2Gi, grow: 2", "'grow' must be a mapping, not the number 2"),
        ("memory: 2Gi, grow: {memory: 1}", "'grow.memory' must be more than 1"),
        ("memory: 2Gi, grow: {max: 4Gi}", "'grow' does not say how many times the memory"),
        ("memory: 2Gi, grow: {memory: 2, max: 4096}", "'grow.max' must be a size with its unit, such as 4096Mi"),
        ("memory: 2Gi, grow: {memory: 2, most: 4Gi}", "'grow.most' is not a key of a growth"),
        ("retry_on: out_of_memry", "did you mean 'out_of_memory'?"),
    ],
)
def test_a_growth_that_cannot_be_is_named_with_its_line(project, cli, cli_env, config, words):
    cli_env["AIFLOW_MACHINE"] = "memory=1Ti"
    job_of(project, config)
    done = cli("render", project.root)
    assert done.returncode == 3
    assert words in done.stderr
    assert "workflow.yaml:1" in done.stderr


@pytest.fixture
def cgroup():
    """A cgroup of 400 MiB, to be entered by writing a pid into the file that this returns."""
    root = Path("/sys/fs/cgroup")
    version_2 = (root / "cgroup.controllers").exists()
    group = (root if version_2 else root / "memory") / f"aiflow-test-{os.getpid()}"
    try:
        if version_2:
            (root / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
        (group / ("memory.max" if version_2 else "memory.limit_in_bytes")).write_text(str(400 * MI))
    except OSError as error:
        pytest.skip(f"this machine lets root make no cgroup with a limit of memory: {error}")
    yield group / "cgroup.procs"
    until(lambda: left(group), f"{group} cannot be removed")


def left(group: Path) -> bool:
    """Whether a cgroup could be removed: what is still in it, the run's supervisor, is moved out first."""
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            (group.parent / "cgroup.procs").write_text(pid)
    with contextlib.suppress(OSError):  # EBUSY: a process of it is about to end
        group.rmdir()
    return not group.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="making a cgroup needs root; CI runs this as root")
@pytest.mark.parametrize("shell", [False, True])
def test_a_job_that_the_kernel_ends_for_want_of_memory_is_told_from_one_that_is_killed(project, cli_env, cgroup, shell):
    project.write(eats_py=EATS)
    eats = f"{sys.executable} {project.root}/eats.py"
    killed = "kill -9 $$" if not shell else "sh -c 'kill -9 $$'; exit $?"
    project.jobs(
        f"""
        with af.job("eats"): af.cmd({(f"{eats}; exit $?" if shell else f"exec {eats}")!r})
        with af.job("killed"): af.cmd({killed!r})
        af.run_after("killed", "eats", when="ended")
        """,
        '"*": {platform: local, engine: cmd_line}\neats: {}\nkilled: {}\n',
    )
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root), "--json"]
    enters = f'echo $$ > {cgroup} && exec "$@"'
    done = subprocess.run(["sh", "-c", enters, "sh", *argv], env=cli_env, capture_output=True, text=True, check=False)
    ends = {job["name"]: job["attempts"][-1] for job in json.loads(done.stdout)["jobs"]}
    assert ends["eats"]["out_of_memory"], ends["eats"]
    assert ends["eats"]["reason"] == ("out of memory: exit code 137" if shell else "out of memory: ended by SIGKILL")
    assert (ends["killed"]["out_of_memory"], ends["killed"]["state"]) == (False, "FAILED")
