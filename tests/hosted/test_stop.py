"""Stopping jobs of nine-methods plugins: by Ctrl-C, by their timeout, politely and not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

READY = "open(os.environ['AIFLOW_PROJECT_FOLDER'] + '/ready', 'w').write('x')\n"
CHILD = f"import subprocess\nself.child = subprocess.Popen(['sleep', '1000'])\n{READY}"
STUBBORN = f"import time\n{READY}while True:\n    try: time.sleep(1000)\n    except BaseException: pass"


def stop(environment, root: Path, jobs: int, interrupts: int = 1, stops: int = 0):
    """Run a project, wait until so many jobs have said that they are ready, and press Ctrl-C; once more after so many
    calls of ``stop_job`` have said so, too."""
    os.mkfifo(root / "ready")
    ready = os.open(root / "ready", os.O_RDWR)
    process = environment.popen("-m", "aiflow_ext", "run", root, "--on-interrupt", "stop", "--jobs", "8")
    for _ in range(jobs):
        os.read(ready, 1)
    for number in range(interrupts):
        os.killpg(process.pid, signal.SIGINT)
        if number + 1 < interrupts:
            assert "stopping every job" in process.stderr.readline()
            for _ in range(stops):
                os.read(ready, 1)
    out, err = process.communicate(timeout=60)
    os.close(ready)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def polite(environment, act_config, write_project, tmp_path_factory):
    stopping = "self.child.terminate(); print('told to stop')"
    jobs = {
        "blocked": act_config(submit_job=f"{CHILD}self.child.wait()", stop_job=stopping),
        "kept": act_config(submit_job=CHILD, stop_job=stopping),
        "polled": act_config(
            submit_job=f"{CHILD}class Polled(Handler):\n    def state(handler):\n"
            "        return 'RUNNING' if self.child.poll() is None else 'STOPPED'\nreturn Polled()",
            stop_job=stopping,
        ),
        "python": act_config(
            submit_job=f"import threading\nself.told = threading.Event()\n{READY}self.told.wait()",
            stop_job="import time; self.told.set(); time.sleep(0.3); print('told to stop')",  # slower than submit_job
            cleanup_job="print('cleaned')",
        ),
        "never": act_config(),
    }
    body = "".join(f"    with af.job({name!r}):\n        pass\n" for name in jobs)
    body += "    af.run_after('never', 'blocked')\n"
    root = write_project(tmp_path_factory.mktemp("polite"), jobs, body)
    exit_code, out, err = stop(environment, root, 4)
    ran = environment.ran(root, exit_code, out, err)
    return ran


@pytest.mark.parametrize("job", ["blocked", "kept", "polled", "python"])
def test_ctrl_c_calls_stop_job_once_on_the_object_that_submitted(polite, job):
    lines = [line.split() for line in polite.file(job, "trace").splitlines()]
    assert [line[0] for line in lines] == ["generate_job_resource", "submit_job", "stop_job", "cleanup_job"]
    assert len({(plugin, at) for _, plugin, at in lines}) == 1
    assert "told to stop" in polite.file(job, "stdout")


def test_cleanup_waits_for_a_stop_job_that_is_slower_than_submit_job(polite):
    assert polite.file("python", "stdout") == "told to stop\ncleaned\n"


def test_a_stopped_job_is_stopped_and_what_waits_for_it_is_skipped(polite):
    assert polite.exit == 7, polite.err
    states = {name: job["state"] for name, job in polite.jobs.items()}
    assert states.pop("never") == "SKIPPED"
    assert set(states.values()) == {"STOPPED"}
    assert "Traceback" not in polite.err + polite.out


def test_nothing_is_left_after_a_stop(polite, processes):
    assert processes(str(polite.folder)) == []


@pytest.fixture(scope="module")
def rude(environment, act_config, write_project, tmp_path_factory):
    jobs = {
        "stop_hangs": act_config(
            submit_job=f"{CHILD}self.child.wait()", stop_job=f"{READY}import time; time.sleep(1000)"
        ),
        "stop_raises": act_config(
            submit_job=f"{CHILD}self.child.wait()", stop_job=f"{READY}raise OSError('no such job')"
        ),
        "stop_does_nothing": act_config(
            submit_job=f"import time\ntry:\n    {READY}    time.sleep(1000)\nfinally:\n    print('left in order')"
        ),
        "ignores": act_config(submit_job=STUBBORN),
        "preparing": act_config(generate_job_resource=f"{READY}import time; time.sleep(1000)"),
    }
    root = write_project(tmp_path_factory.mktemp("rude"), jobs)
    return environment.ran(root, *stop(environment, root, len(jobs), interrupts=2, stops=2))


def test_ctrl_c_twice_ends_what_does_not_listen(rude, processes):
    assert rude.exit == 7, rude.err
    assert {name: job["state"] for name, job in rude.jobs.items()} == dict.fromkeys(rude.jobs, "STOPPED")
    assert processes(str(rude.folder)) == []


def test_a_stop_job_that_raises_is_in_the_log(rude):
    assert "stop_job raised" in rude.file("stop_raises", "stderr")
    assert "no such job" in rude.file("stop_raises", "stderr")


def test_a_submit_job_that_is_broken_off_leaves_in_order(rude):
    assert rude.file("stop_does_nothing", "stdout") == "left in order\n"


@pytest.mark.parametrize("job", ["stop_hangs", "stop_raises", "stop_does_nothing", "ignores", "preparing"])
def test_cleanup_follows_every_stop_even_a_kill(rude, job):
    assert rude.steps(job)[-1] == "cleanup_job"


def test_a_job_stopped_while_it_is_prepared_is_never_submitted(rude):
    assert rude.steps("preparing") == ["generate_job_resource", "cleanup_job"]


@pytest.fixture(scope="module")
def retried(environment, act_config, write_project, tmp_path_factory):
    jobs = {
        "second_try": act_config(submit_job="if job.job_context.attempt == 1: raise IOError('again')", retries=2),
        "too_long": act_config(
            submit_job="import subprocess\nself.child = subprocess.Popen(['sleep', '1000']); self.child.wait()",
            stop_job="self.child.kill()",
            timeout=6.0,  # long enough to begin on a busy machine
            retries=1,
        ),
    }
    return environment.run(write_project(tmp_path_factory.mktemp("retried"), jobs))


def test_a_failed_attempt_is_tried_again_in_a_host_of_its_own(retried):
    attempts = retried.jobs["second_try"]["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["FAILED", "FINISHED"]
    assert retried.steps("second_try", 1) == retried.steps("second_try", 2)
    assert len({attempt["native_id"] for attempt in attempts}) == 2


def test_a_timeout_stops_the_job_by_its_plugin_and_is_tried_again(retried):
    attempts = retried.jobs["too_long"]["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["FAILED", "FAILED"]
    assert all("timeout of 6 s" in attempt["reason"] for attempt in attempts)
    assert retried.steps("too_long")[-2:] == ["stop_job", "cleanup_job"]


FIFO = """\
import signal
def fifo(name):
    path = job.job_context.work_folder + '/' + name
    if os.path.exists(path):
        os.unlink(path)
    os.mkfifo(path)
"""


def test_fifos_that_a_job_leaves_in_place_of_its_files_hold_up_neither_its_stop_nor_its_cleanup(
    environment, act_config, write_project, tmp_path
):
    jobs = {
        "stopped": act_config(
            submit_job=f"{FIFO}import time\nfor name in ('stop', 'reason', 'cleaned', 'unreachable.part'): fifo(name)\n"
            f"{READY}self.ending = False\nwhile not self.ending: time.sleep(0.01)",
            stop_job="self.ending = True",
        ),
        "killed": act_config(
            submit_job=f"{FIFO}fifo('stdout')\nfifo('stderr')\n{READY}os.kill(os.getpid(), signal.SIGKILL)",
            cleanup_job="pass",
        ),
    }
    body = "".join(f"    with af.job({name!r}):\n        pass\n" for name in jobs)
    root = write_project(tmp_path, jobs, body)
    ran = environment.ran(root, *stop(environment, root, 2))
    assert ran.exit in (1, 7), ran.err
    assert ran.last("stopped")["state"] == "STOPPED"
    for job in jobs:
        assert [line.split()[0] for line in ran.file(job, "trace").splitlines()].count("cleanup_job") == 1
