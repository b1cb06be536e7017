"""What becomes of an attempt, whatever its plugin's methods do. All jobs are of one run: none disturbs another."""

from __future__ import annotations

from pathlib import Path

import pytest

# The author's methods, as the platform ``act`` is told them: job -> what its methods do.
JOBS = {
    "plain": {"submit_job": "print('hello')"},
    "told_nothing": {"submit_job": "return af.AbstractJobHandler()"},
    "own_handler": {"submit_job": "return Handler()"},
    "odd_handler": {"submit_job": "return 'id-of-something'"},
    "handler_class": {"submit_job": "return Handler"},
    "resource_raises": {"generate_job_resource": "raise KeyError('bucket')"},
    "submit_raises": {"submit_job": "raise RuntimeError('the disk is\\nfull: ü')"},
    "cleanup_raises": {"cleanup_job": "raise ValueError('cannot clean')"},
    "exits": {"submit_job": "import sys; sys.exit('no licence')"},
    "exits_9": {"submit_job": "import sys; sys.exit(9)"},
    "exits_well": {"submit_job": "import sys; sys.exit()"},
    "gone": {"submit_job": "os._exit(3)"},
    "killed": {"submit_job": "import signal; os.kill(os.getpid(), signal.SIGKILL)"},
    "noise": {
        "submit_job": "os.write(1, b'\\xff\\xfe' * 500_000); os.write(2, b'\\x80' * 70_000); print('\\udcff')\n"
        "raise ValueError('\\udc80 at the end')"
    },
    "daemon": {"submit_job": "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)"},
    "forked": {"submit_job": "if os.fork() == 0:\n    raise SystemExit(5)\nos.wait()"},
    "forked_returns": {"submit_job": "if os.fork() == 0:\n    return\nos.wait()"},
    "kept": {
        "submit_job": "import subprocess\nos.mkfifo('go')\n"
        "self.process = subprocess.Popen(['sh', '-c', 'read go < go; echo done > done'])\n"
        "job.writer = open('go', 'w'); job.writer.write('go\\n'); job.writer.flush()",
        "cleanup_job": "print(open('done').read())",
    },
    "kept_fails": {"submit_job": "import subprocess\njob.process = subprocess.Popen(['sh', '-c', 'exit 4'])"},
    "looked_at": {"submit_job": "import subprocess\nself.p = subprocess.Popen('false'); self.p.wait()"},
    "ended_process": {
        "submit_job": "import multiprocessing, time\np = multiprocessing.get_context('fork').Process("
        "target=time.sleep, args=(1000,))\np.start(); p.terminate(); p.join(); print(p.exitcode)"
    },
    "helper": {
        "generate_job_resource": "import subprocess\nself.tunnel = subprocess.Popen(['sleep', '1000'])",
        "submit_job": "return None",
        "cleanup_job": "self.tunnel.kill(); print('tunnel', self.tunnel.wait())",
    },
    "polled": {
        "submit_job": "class Polled(Handler):\n    said = iter(['QUEUED', af.JobState.RUNNING, 'running', 'FINISHED'])"
        "\n"
        "    def state(self): return next(self.said)\nreturn Polled()"
    },
    "polled_fails": {
        "submit_job": "class Polled(Handler):\n    def state(self): return af.JobState.FAILED\nreturn Polled()"
    },
    "polled_stopped": {"submit_job": "class Polled(Handler):\n    def state(self): return 'STOPPED'\nreturn Polled()"},
    "polled_nonsense": {"submit_job": "class Polled(Handler):\n    def state(self): return 'SUCCESS'\nreturn Polled()"},
    "polled_raises": {
        "submit_job": "class Polled(Handler):\n    def state(self): return self.missing\nreturn Polled()"
    },
    "polled_unreachable": {
        "submit_job": "class Polled(Handler):\n    calls = 0\n    def state(self):\n        self.calls += 1\n"
        "        if self.calls < 3: raise ConnectionError('no route')\n        return 'FINISHED'\nreturn Polled()"
    },
    "waited": {
        "submit_job": "class Waited(Handler):\n    said = iter([af.JobState.RUNNING, af.JobState.FINISHED])\n"
        "    def wait(self, timeout=None): return next(self.said)\nreturn Waited()"
    },
    "waited_needs_timeout": {
        "submit_job": "class Waited(Handler):\n    def wait(self, timeout): return af.JobState.FAILED\nreturn Waited()"
    },
    "waited_then_asked": {
        "submit_job": "class Waited(Handler):\n    def wait(self, timeout=None): return None\n"
        "    def state(self): return af.JobState.FAILED\nreturn Waited()"
    },
    "waited_number": {"submit_job": "class Waited(Handler):\n    def wait(self): return 6\nreturn Waited()"},
    "awaitable": {"submit_job": "async def work(): print('never')\nreturn work()"},
    "awaitable_resource": {"generate_job_resource": "async def put(): print('never')\nreturn put()"},
    "popen_returned": {"submit_job": "import subprocess\nreturn subprocess.Popen(['sh', '-c', 'exit 5'])"},
}  # fmt: skip


@pytest.fixture(scope="module")
def ran(environment, act_config, write_project, tmp_path_factory):
    root = write_project(tmp_path_factory.mktemp("ends"), {name: act_config(**steps) for name, steps in JOBS.items()})
    return environment.run(root, "--jobs", "4")


def test_the_run_ends_with_a_record_of_every_job_and_no_traceback_of_ours(ran):
    assert ran.exit == 1
    assert "Traceback" not in ran.err
    assert "this is a defect" not in ran.err
    assert {name: job["state"] for name, job in ran.jobs.items()} == {
        name: "FAILED" if name in FAILED else "FINISHED" for name in JOBS
    }
    assert "aiflow_ext/" not in ran.out.replace(str(ran.root), "")


FAILED = {
    "resource_raises": (1, "generate_job_resource: KeyError: 'bucket'"),
    "submit_raises": (1, "submit_job: RuntimeError: the disk is\nfull: ü"),
    "exits": (1, "submit_job called sys.exit('no licence')"),
    "exits_9": (9, "submit_job called sys.exit(9)"),
    "gone": (3, "exit code 3"),
    "killed": (None, "ended by SIGKILL"),
    "noise": (1, "submit_job: ValueError: \\udc80 at the end"),
    "kept_fails": (4, "ended with exit code 4"),
    "polled_fails": (1, "its handler says FAILED"),
    "polled_stopped": (1, "its handler says STOPPED"),
    "polled_nonsense": (1, "its handler says 'SUCCESS', which is no JobState; the states are INIT, "),
    "polled_raises": (1, "the handler: AttributeError"),
    "waited_needs_timeout": (1, "its handler says FAILED"),
    "waited_then_asked": (1, "its handler says FAILED"),
    "waited_number": (6, "the job ended with exit code 6"),
    "awaitable": (1, "submit_job: TypeError: submit_job returned an awaitable; hooks are plain functions"),
    "awaitable_resource": (1, "generate_job_resource returned an awaitable"),
    "popen_returned": (5, "the job ended with exit code 5"),
}


@pytest.mark.parametrize("job", FAILED)
def test_a_failed_attempt_has_its_exit_code_and_the_authors_words(ran, job):
    code, words = FAILED[job]
    last = ran.last(job)
    assert last["exit_code"] == code
    assert words in last["reason"]
    assert last["signal"] == (9 if job == "killed" else None)


@pytest.mark.parametrize("job", ["plain", "told_nothing", "own_handler", "odd_handler", "handler_class", "looked_at"])
def test_a_handler_that_cannot_tell_is_said_to_be_one(ran, job):
    assert "cannot tell more" in ran.last(job)["reason"]


def test_a_handler_that_tells_the_end_needs_no_words(ran):
    assert ran.last("polled")["reason"] is None
    assert ran.last("waited")["reason"] is None


@pytest.mark.parametrize(("job", "line"), [("submit_raises", "RuntimeError"), ("resource_raises", "KeyError")])
def test_the_authors_traceback_is_in_the_attempts_log_and_begins_in_the_authors_code(ran, job, line):
    log = ran.file(job, "stderr")
    assert log.startswith("Traceback")
    assert line in log
    assert "the-authors-own.py" in log
    assert "pluggy" not in log
    assert "attempt_host" not in log


@pytest.mark.parametrize("job", sorted({*JOBS} - {"forked", "forked_returns"}))
def test_cleanup_follows_every_end_once(ran, job):
    assert ran.steps(job).count("cleanup_job") == 1
    assert ran.steps(job)[-1] == "cleanup_job"


@pytest.mark.parametrize("job", ["forked", "forked_returns"])
def test_a_forked_child_does_not_end_the_attempt_in_its_parents_place(ran, job):
    assert ran.steps(job) == ["generate_job_resource", "submit_job", "cleanup_job"]


def test_a_cleanup_that_raises_changes_no_outcome_and_is_in_the_log(ran):
    assert "cleanup_job raised" in ran.file("cleanup_raises", "stderr")
    assert "cannot clean" in ran.file("cleanup_raises", "stderr")


def test_a_forked_child_of_its_own_can_be_terminated_and_stops_nothing_else(ran):
    assert ran.file("ended_process", "stdout") == "-15\n"
    assert "stop_job" not in ran.steps("ended_process")


def test_output_that_is_no_text_and_much_of_it_is_kept_as_it_is(ran):
    raw = Path(ran.last("noise")["folder"], "stdout").read_bytes()
    assert raw.startswith(b"\xff\xfe" * 500_000)
    assert b"\\udcff" in raw


def test_what_submit_job_started_and_keeps_is_the_job_and_is_waited_for(ran):
    assert "done" in ran.file("kept", "stdout")


def test_what_ran_before_submit_job_is_a_helper_and_is_left_to_cleanup(ran):
    assert "tunnel -9" in ran.file("helper", "stdout")


def test_a_handler_that_is_not_answered_asks_again(ran):
    assert ran.file("polled_unreachable", "stderr").count("no route") == 1


def test_one_object_sees_an_attempt_through(ran):
    lines = [line.split() for line in ran.file("plain", "trace").splitlines()]
    assert len({(plugin, job) for _, plugin, job in lines}) == 1


def test_nothing_of_a_run_is_left(ran, processes):
    assert processes(str(ran.folder)) == []


def test_the_plugins_own_files_of_the_attempt_are_gone(ran):
    assert not list(ran.folder.glob("jobs/*/1/attempt.json"))
    assert not list(ran.folder.glob("jobs/*/1/cleaned"))


def test_a_cleanup_whose_process_is_killed_is_told_and_gc_calls_it_again(
    environment, act_config, write_project, tmp_path
):
    kill = "import signal; os.kill(os.getpid(), signal.SIGKILL)"
    once = "file = open(os.environ['AIFLOW_PROJECT_FOLDER'] + '/cleanups', 'a')\nfile.write('x'); file.close()\n"
    once += f"if os.path.getsize(file.name) == 1:\n    {kill}"
    root = write_project(tmp_path, {"job": act_config(submit_job=kill, cleanup_job=once)})
    ran = environment.run(root)
    assert "the process that was to clean up was ended by SIGKILL" in ran.err
    assert environment.call("-m", "aiflow_ext", "gc", "--keep", "0", cwd=root).returncode == 0
    assert (root / "cleanups").read_text() == "xx"
