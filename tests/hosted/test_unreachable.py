"""A platform that gives a plugin of nine methods no answer: it is asked again, shown, and nothing is orphaned."""

from __future__ import annotations

import json
import os
import signal

import pytest
from patience import PATIENCE

DOWN = "from aiflow_ext.model.errors import UnreachableError\n"
# Raises the first two times that it is called in an attempt.
TWICE = (
    DOWN + "n = self.__dict__.setdefault('calls', []); n.append(1)\nif len(n) < 3: raise UnreachableError('no route')\n"
)
ASKED = "class Asked(Handler):\n    calls = 0\n    def {0}(self, *_):\n        self.calls += 1\n"
SILENT = (
    DOWN
    + ASKED
    + "        if self.calls < 3: raise UnreachableError('no route')\n        return 'FINISHED'\nreturn Asked()"
)
# Raises a subclass of UnreachableError that does not call the __init__ of its base.
AWAY = (
    DOWN
    + "class Away(UnreachableError):\n    def __init__(self, host): self.host = host\n"
    + "n = self.__dict__.setdefault('calls', []); n.append(1)\nif len(n) < 3: raise Away('no route')\n"
)
JOBS = {
    "generate": {
        "generate": DOWN + "flag = os.environ.get('AIFLOW_WORK_FOLDER', '') + '/flag'\n"
        "if 'AIFLOW_ATTEMPT' in os.environ and not os.path.exists(flag):\n"
        "    open(flag, 'w').close(); raise UnreachableError('no route')"
    },
    "resource": {"generate_job_resource": TWICE},
    "submit": {"submit_job": TWICE},
    "submit_away": {"submit_job": AWAY},
    "state": {"submit_job": SILENT.format("state")},
    "wait": {"submit_job": SILENT.format("wait")},
    "cleanup": {"cleanup_job": TWICE},
    "submit_then_raises": {
        "submit_job": TWICE + "raise ValueError('is there twice')",
        "stop_job": "print('stopped')",
    },
    "state_raises": {
        "submit_job": ASKED.format("state") + "        return self.missing\nreturn Asked()",
        "stop_job": "print('stopped')",
    },
    "state_nonsense": {
        "submit_job": ASKED.format("state") + "        return 'SUCCESS'\nreturn Asked()",
        "stop_job": TWICE + "print('stopped')",
    },
    "wait_raises_stop_raises": {
        "submit_job": ASKED.format("wait") + "        raise ValueError('lost touch')\nreturn Asked()",
        "stop_job": "raise KeyError('which job')",
    },
    "submit_raises": {"submit_job": "raise ValueError('no such queue')"},
    "told_failed": {"submit_job": ASKED.format("state") + "        return 'FAILED'\nreturn Asked()"},
}


@pytest.fixture(scope="module")
def ran(environment, act_config, write_project, tmp_path_factory):
    jobs = {name: act_config(**steps) for name, steps in JOBS.items()}
    return environment.run(write_project(tmp_path_factory.mktemp("unreachable"), jobs), "--jobs", "6")


@pytest.mark.parametrize("job", ["generate", "resource", "submit", "submit_away", "state", "wait", "cleanup"])
def test_a_call_that_gets_no_answer_comes_again_and_costs_nothing(ran, job):
    assert ran.jobs[job]["state"] == "FINISHED", ran.file(job, "stderr")
    assert len(ran.jobs[job]["attempts"]) == 1
    assert not ran.last(job)["unreachable"]
    assert ran.file(job, "stderr").count("no answer, asking again: no route") == 1
    assert "stop_job" not in ran.steps(job)
    repeated = {"resource": "generate_job_resource", "submit": "submit_job", "cleanup": "cleanup_job"}.get(job)
    assert repeated is None or ran.steps(job).count(repeated) == 3


@pytest.mark.parametrize("job", ["submit_then_raises", "state_raises", "state_nonsense"])
def test_what_may_be_running_is_stopped_where_the_attempt_fails(ran, job):
    assert ran.jobs[job]["state"] == "FAILED"
    assert ran.file(job, "stdout") == "stopped\n"
    assert ran.steps(job)[-2:] == ["stop_job", "cleanup_job"]


def test_a_stop_that_raises_then_does_not_hide_what_failed(ran):
    assert "lost touch" in ran.last("wait_raises_stop_raises")["reason"]
    assert ran.file("wait_raises_stop_raises", "stderr").endswith(
        "stop_job, after that, raised KeyError: 'which job'\n"
    )


@pytest.mark.parametrize("job", ["submit_raises", "told_failed"])
def test_what_has_failed_by_itself_is_not_stopped(ran, job):
    assert ran.jobs[job]["state"] == "FAILED"
    assert "stop_job" not in ran.steps(job)


def test_the_files_that_say_so_are_gone(ran):
    assert not [*ran.folder.glob("jobs/*/1/unreachable*"), *ran.folder.glob("jobs/*/1/stop")]


GO = "go = os.environ['AIFLOW_PROJECT_FOLDER'] + '/go'\n"
UNTIL = "if not os.path.exists(go): raise UnreachableError('the moon is down')\n"
STATE = (
    f"{DOWN}{GO}class Asked(Handler):\n    def state(self):\n        {UNTIL}        return 'FINISHED'\nreturn Asked()"
)


@pytest.fixture
def silent(environment, act_config, write_project, tmp_path):
    """A project whose only job is silent until the file ``go`` is there, and its run, come so far."""

    def call(**steps):
        root = write_project(tmp_path / "project", {"one": act_config(**steps)})
        process = environment.popen("-m", "aiflow_ext", "run", root, "--on-interrupt", "stop")
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "platform act does not answer" in line:
                assert "the moon is down" in line
                return root, process
        raise AssertionError(lines, process.communicate())

    return call


def test_it_is_shown_as_unreachable_with_and_without_a_driver(environment, silent):
    root, process = silent(submit_job=STATE)
    status = ["-m", "aiflow_ext", "status", "latest", "--project", root, "--json"]
    (job,) = json.loads(environment.call(*status).stdout)["jobs"]
    assert job["state"] == "RUNNING"
    assert job["attempts"][0]["unreachable"]
    assert "the handler: the moon is down" in job["attempts"][0]["reason"]
    assert "unreachable: the handler: the moon is down" in environment.call(*status[:-1]).stdout
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    told = json.loads(environment.call(*status).stdout)
    assert told["driver"] is None
    assert told["jobs"][0]["attempts"][0]["unreachable"]
    (root / "go").touch()
    done = environment.call("-m", "aiflow_ext", "resume", "latest", "--project", root)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("step", ["generate_job_resource", "submit_job"])
def test_a_silent_platform_goes_on_once_it_answers(environment, silent, step):
    root, process = silent(**{step: f"{DOWN}{GO}{UNTIL}"})
    (root / "go").touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    assert "platform act answers again" in out or "FINISHED" in out


@pytest.mark.parametrize("step", ["generate_job_resource", "submit_job"])
def test_a_silent_start_can_be_stopped(environment, silent, step):
    root, process = silent(**{step: f"{DOWN}{GO}{UNTIL}", "stop_job": "print('stopped')"})
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    ran = environment.ran(root, process.returncode, out, err)
    assert (ran.exit, ran.jobs["one"]["state"]) == (7, "STOPPED")
    assert ran.file("one", "stdout") == ("" if step == "generate_job_resource" else "stopped\n")


def test_a_stop_that_is_answered_ends_what_can_tell_no_state(environment, silent):
    root, process = silent(submit_job=STATE, stop_job="print('stopped')")
    stop = ["-m", "aiflow_ext", "stop", "latest", "--project", root, "--grace", "0.5"]
    assert environment.call(*stop).returncode == 0
    out, err = process.communicate(timeout=PATIENCE)
    ran = environment.ran(root, process.returncode, out, err)
    assert (ran.exit, ran.jobs["one"]["state"]) == (7, "STOPPED")
    assert ran.file("one", "stdout") == "stopped\n"


@pytest.mark.slow
def test_a_stop_that_gets_no_answer_comes_again_until_it_has_one(environment, silent):
    body = f"{STATE}".replace("'FINISHED'", "'STOPPED' if os.path.exists(go + 'ne') else 'RUNNING'")
    root, process = silent(submit_job=body, stop_job=f"{DOWN}{GO}{UNTIL}open(go + 'ne', 'w').close(); print('stopped')")
    os.killpg(process.pid, signal.SIGINT)
    assert "stopping every job" in process.stderr.readline()
    status = ["-m", "aiflow_ext", "stop", "latest", "--project", root, "--no-wait", "--grace", "0.1"]
    assert environment.call(*status).returncode == 0
    (root / "go").touch()
    out, err = process.communicate(timeout=90)
    ran = environment.ran(root, process.returncode, out, err)
    assert (ran.exit, ran.jobs["one"]["state"]) == (7, "STOPPED")
    assert ran.file("one", "stdout") == "stopped\n"
    assert ran.steps("one")[-1] == "cleanup_job"


@pytest.mark.slow
def test_a_second_interrupt_ends_it_although_its_platform_is_silent(environment, silent, processes):
    root, process = silent(submit_job=STATE, stop_job=f"{DOWN}{GO}{UNTIL}", cleanup_job=f"{DOWN}{GO}{UNTIL}")
    os.killpg(process.pid, signal.SIGINT)
    assert "stopping every job" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=90)
    ran = environment.ran(root, process.returncode, out, err)
    assert (ran.exit, ran.jobs["one"]["state"]) == (7, "STOPPED")
    assert processes(str(ran.folder)) == []


@pytest.mark.slow
def test_a_cleanup_that_gets_no_answer_is_called_again_by_the_driver(environment, act_config, write_project, tmp_path):
    counts = f"{GO}with open(go, 'a') as file: file.write('x')\n"
    until = "if os.path.getsize(go) < 8: raise UnreachableError('the moon is down')"
    root = write_project(tmp_path / "project", {"one": act_config(cleanup_job=f"{DOWN}{counts}{until}")})
    ran = environment.run(root)
    assert ran.exit == 0, ran.err
    assert "cleaning up after" in ran.err
    assert "the moon is down" in ran.err
    assert (root / "go").read_text() == "x" * 8
