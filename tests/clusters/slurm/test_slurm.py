"""What Slurm does to jobs, as the records of runs tell it: preempted, cancelled, at its time limit, submitted twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slurm_bed import Bed

from aiflow_ext.run.store.ran_with import ran_with_of

PATIENCE = 60.0


class Workflow:
    """A project of one job, ``job``, on the bed, driven by the command line in a process of its own."""

    def __init__(self, folder: Path, bed: Bed) -> None:
        self.project, self.marks, self.bed = folder / "project", folder / "marks", bed
        self.env = {**os.environ, **bed.env, "XDG_STATE_HOME": str(folder / "state")}
        self.process: subprocess.Popen[str] | None = None
        self.project.mkdir()
        self.marks.mkdir()

    def begin(self, command: str, **config: Any) -> None:
        """Start a run; its job leaves a mark, and then runs ``command``."""
        marked = f"mktemp {self.marks}/begun.XXXXXX >/dev/null; {command}"
        head = "import aiflow_ext as af\n\n\n@af.workflow\ndef one():\n    with af.job('job'):\n"
        text = f"{head}        af.cmd({marked!r})\n"
        (self.project / "workflow.py").write_text(text)
        told = {"platform": "slurm", "engine": "cmd_line", **config}
        (self.project / "workflow.yaml").write_text(json.dumps({"job": told}))
        self.drive("run", str(self.project))

    def drive(self, *argv: str) -> None:
        """Start a command of the command line."""
        self.process = subprocess.Popen([sys.executable, "-m", "aiflow_ext", *argv, "--json"], env=self.env, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    @property
    def run(self) -> str:
        """The id of its run."""
        (folder,) = (self.project / ".aiflow" / "runs").iterdir()
        return folder.name

    def begun(self, times: int = 1) -> str:
        """Wait until the job has begun so many times; the number of its Slurm job."""
        self.until(f"{times} begun", lambda: len(list(self.marks.iterdir())) >= times)
        return self.bed.call("squeue", "--noheader", "--states=running", "--format=%i").split()[-1]

    def stop(self) -> None:
        """Stop the run, from another process."""
        argv = [sys.executable, "-m", "aiflow_ext", "stop", self.run, "--project", str(self.project)]
        subprocess.run(argv, env=self.env, check=True, capture_output=True, timeout=PATIENCE)

    def kill_driver(self) -> None:
        """End the driver; the job goes on."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def resume(self) -> None:
        """Go on with the run in another driver."""
        self.drive("resume", self.run, "--project", str(self.project))

    def end(self) -> dict[str, Any]:
        """Wait for the end of the run; the job's record."""
        assert self.process is not None
        told, said = self.process.communicate(timeout=2 * PATIENCE)
        assert told, said
        (job,) = json.loads(told)["jobs"]
        return job

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)


@pytest.fixture
def workflow(bed: Bed, tmp_path: Path) -> Iterator[Workflow]:
    made = Workflow(tmp_path, bed)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill_driver()


PREEMPT = ["sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=true"]
PREEMPTIBLE = {"partition": "low", "options": ["--exclusive"]}
# How Slurm ends a job of itself; {} is the job's number. The limit of a job that runs is changed: a minute is the least
# that one can be submitted with.
ENDED_BY_SLURM = {
    "a scancel": (["scancel", "{}"], {}, "cancelled by scancel, not by this run"),
    "the time limit": (
        ["scontrol", "update", "jobid={}", "EndTime=now+1"],
        {},
        "Slurm ended it at its time limit: raise time, or the partition's limit",
    ),
    "a preemption": (PREEMPT, PREEMPTIBLE, "preempted by Slurm"),
}


@pytest.mark.parametrize("how", ENDED_BY_SLURM)
def test_a_job_that_slurm_ends_can_clean_up_first_and_has_not_finished(workflow: Workflow, bed: Bed, how: str) -> None:
    argv, config, reason = ENDED_BY_SLURM[how]
    told = workflow.marks.parent / "told"
    # The second attempt, which only a preemption brings, ends at once.
    command = f"test $(ls {workflow.marks} | wc -l) -gt 1 && exit; trap 'echo told >> {told}; exit 0' TERM; "
    workflow.begin(f"{command} sleep 100 & wait", **config)
    number = workflow.begun()
    bed.call(*(each.format(number) for each in argv))
    first, *more = workflow.end()["attempts"]
    assert (first["state"], first["reason"], told.read_text()) == ("FAILED", reason, "told\n")
    assert [each["state"] for each in more] == (["FINISHED"] if how == "a preemption" else [])  # no retry is configured


def test_a_job_that_is_stopped_is_told_once(workflow: Workflow, bed: Bed) -> None:
    told = workflow.marks.parent / "told"
    workflow.begin(f"trap 'echo told >> {told}; sleep 1; exit 0' TERM; sleep 100 & wait; wait")
    workflow.begun()
    workflow.stop()
    assert (workflow.end()["state"], told.read_text()) == ("STOPPED", "told\n")


def test_what_a_job_starts_can_be_interrupted(workflow: Workflow) -> None:
    # A shell that runs something beside itself has it ignore SIGINT, and so would all that it starts.
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    workflow.begin(f"{sys.executable} -c '{code}'")
    job = workflow.end()
    assert (job["state"], job["attempts"][0]["exit_code"]) == ("FAILED", 128 + signal.SIGINT)


def test_a_job_whose_node_fails_costs_no_retry(workflow: Workflow, bed: Bed) -> None:
    workflow.begin(f"test $(ls {workflow.marks} | wc -l) -gt 1 || sleep 100")
    workflow.begun()
    with bed.node_down():
        workflow.until("Slurm has ended it", lambda: not bed.call("squeue", "--noheader", "--states=running"))
    first, second = workflow.end()["attempts"]
    assert (first["state"], first["reason"], second["state"]) == ("FAILED", "its node failed", "FINISHED")


def test_a_job_that_slurm_ends_for_its_memory_gets_more(workflow: Workflow) -> None:
    use = f"{sys.executable} -c 'print(len(bytearray(150 << 20)))'"
    workflow.begin(use, memory="100Mi", retries=1, retry_on=["out_of_memory"], grow={"memory": 4})
    first, second = workflow.end()["attempts"]
    assert (first["state"], first["out_of_memory"], second["state"]) == ("FAILED", True, "FINISHED")
    assert first["reason"].endswith("give it more, memory: SIZE")


def test_a_job_has_the_gpus_that_it_asks_for(workflow: Workflow) -> None:
    workflow.begin(f'echo "$CUDA_VISIBLE_DEVICES" > {workflow.project}/gpus', gpu=2)
    assert workflow.end()["state"] == "FINISHED"
    assert (workflow.project / "gpus").read_text() == "0,1\n"


def test_a_job_that_slurm_has_forgotten_when_the_run_goes_on_keeps_its_true_end(workflow: Workflow, bed: Bed) -> None:
    go = workflow.marks.parent / "go"
    workflow.begin(f"until [ -e {go} ]; do sleep 0.1; done; exit 3")
    number = workflow.begun()
    workflow.kill_driver()
    go.touch()
    workflow.until("it has ended", lambda: not bed.call("squeue", "--noheader", f"--jobs={number}"))
    bed.kill("slurmctld")
    bed.restart_controller("-c")
    workflow.resume()
    job = workflow.end()
    (attempt,) = job["attempts"]
    assert (job["state"], attempt["exit_code"], len(list(workflow.marks.iterdir()))) == ("FAILED", 3, 1)


def test_a_submission_that_was_repeated_executes_the_job_once(workflow: Workflow, bed: Bed) -> None:
    workflow.begin("sleep 3; echo done")
    number = workflow.begun()
    again = workflow.project.parent / "again.sh"
    again.write_text(bed.call("scontrol", "write", "batch_script", number, "-"))
    name = bed.call("squeue", "--noheader", f"--jobs={number}", "--format=%j").strip()
    bed.call("sbatch", f"--job-name={name}", "--output=/dev/null", str(again))
    job = workflow.end()
    assert (job["state"], len(list(workflow.marks.iterdir()))) == ("FINISHED", 1)


def test_options_that_slurm_refuses_are_named_before_the_run(workflow: Workflow) -> None:
    workflow.begin("true", partition="nowhere")
    assert workflow.process is not None
    _, said = workflow.process.communicate(timeout=PATIENCE)
    assert "invalid partition specified: nowhere" in said
    assert workflow.process.returncode != 0
    assert not list(workflow.marks.iterdir())


# How somebody, or a job of more weight, has Slurm put a job back into the queue; {} is its number.
REQUEUED = {
    "by scontrol": (["scontrol", "requeue", "{}"], {}),
    "for a preemption": (PREEMPT, PREEMPTIBLE),
}


@pytest.mark.parametrize("how", REQUEUED)
def test_a_job_that_slurm_requeues_is_one_attempt_that_was_restarted(workflow: Workflow, bed: Bed, how: str) -> None:
    argv, config = REQUEUED[how]
    workflow.begin(f"test $(ls {workflow.marks} | wc -l) -gt 1 || sleep 100", requeue=True, **config)
    number = workflow.begun()
    bed.call(*(each.format(number) for each in argv))
    # Slurm holds a job that it has requeued back for as long as its credentials are valid: the bed's cred_expire.
    job = workflow.end()
    (attempt,) = job["attempts"]
    assert (job["state"], attempt["restarts"], len(list(workflow.marks.iterdir()))) == ("FINISHED", 1, 2)


@pytest.mark.parametrize("shared", [False, True], ids=["the run's folder", "a shared folder"])
def test_what_a_failed_python_job_ran_with_comes_with_its_logs(
    workflow: Workflow, tmp_path: Path, shared: bool
) -> None:
    (workflow.project / "steps.py").write_text("def fail():\n    raise ValueError\n")
    text = "import aiflow_ext as af\nfrom steps import fail\n\n\n@af.workflow\ndef one():\n"
    (workflow.project / "workflow.py").write_text(f"{text}    with af.job('job'):\n        af.python(fail)\n")
    told = {"platform": "slurm", "engine": "python", "python": sys.executable}
    folder = {"folder": str(tmp_path / "shared")} if shared else {}
    (workflow.project / "workflow.yaml").write_text(json.dumps({"job": {**told, **folder}}))
    workflow.drive("run", str(workflow.project))
    (attempt,) = workflow.end()["attempts"]
    assert attempt["exit_code"] == 1
    found = ran_with_of(attempt["folder"])
    assert found is not None
    assert found.python == ".".join(map(str, sys.version_info[:3]))
