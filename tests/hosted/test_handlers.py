"""What the handler of a plugin of nine methods can do is used: its logs are the attempt's, its stop ends the job."""

from __future__ import annotations

import os
import signal

import pytest
from patience import PATIENCE

HANDLER = (
    "from aiflow_ext.model.errors import UnreachableError\n"
    "class Mine(Handler):\n    calls = 0\n    def state(self): return 'FINISHED'\n    def logs(self, {0}\nreturn Mine()"
)
# What logs() does; what is in stdout and stderr.
LOGS = {
    "bytes": ("stream, offset):\n        return {'stdout': b'out\\xff\\n' * 3, 'stderr': b'err\\n'}[stream][offset:]",
              b"out\xff\n" * 3, b"err\n"),
    "by_and_by": ("stream, offset):\n        return (b'one\\ntwo\\nthree' if stream == 'stdout' else b'')[offset:][:4]",
                  b"one\ntwo\nthree", b""),
    "text": ("stream, offset):\n        return ('grün\\n' if stream == 'stdout' else '').encode()[offset:].decode()",
             "grün\n".encode(), b""),
    "ignores_the_offset": (
        ("stream, offset):\n        self.calls += 1\n        lines = [b'one\\n', b'two\\n', b'three\\n']\n"
         "        return b''.join(lines[: self.calls]) if stream == 'stdout' else b''"), b"one\ntwo\nthree\n", b""),
    "repeats_itself": ("stream, offset):\n        return (b'x\\n' * 9 if stream == 'stdout' else b'')[offset:][:4]",
                       b"x\n" * 9, b""),
    "knows_its_end": (
        ("stream, offset):\n        if offset > 18: raise ValueError('beyond the end')\n"
         "        return (b'x\\n' * 9 if stream == 'stdout' else b'')[offset:][:4]"), b"x\n" * 9, b""),
    "whole": ("stream='stdout'):\n        return b'all of it\\n' if stream == 'stdout' else b''", b"all of it\n", b""),
    "none": ("stream, offset):\n        return None", b"", b""),
    "raises": ("stream, offset):\n        raise ValueError('no such pod')", b"", b"no such pod"),
    "exits": ("stream, offset):\n        raise SystemExit(3)", b"", b"SystemExit: 3"),
    "lines": ("stream, offset):\n        return ['line']", b"", b"TypeError"),
    "number": ("stream, offset):\n        return 5", b"", b"TypeError"),
    "unreachable": (
        ("stream, offset):\n        self.calls += 1\n        if self.calls < 6: raise UnreachableError('no route')\n"
        "        return b'late\\n'[offset:]"),
        b"late\n",
        b"late\n",
    ),
}  # fmt: skip


MIB = 1 << 20
LONG_LOGS = {"long_bytes": "b'0123456\\n'", "long_text": "'0123456\\n'"}
LONG = (
    f"log = {{0}} * (16 * {MIB} // 8)\nimport tracemalloc\n"
    "class Mine(Handler):\n    def state(self): return 'FINISHED'\n    def logs(self, stream, offset):\n"
    "        if not tracemalloc.is_tracing(): tracemalloc.start()\n        return log if stream == 'stdout' else b''\n"
    "return Mine()"
)
PEAK = "import tracemalloc; print(tracemalloc.get_traced_memory()[1])"


@pytest.fixture(scope="module")
def ran(environment, act_config, write_project, tmp_path_factory):
    jobs = {name: act_config(submit_job=HANDLER.format(body), cleanup_job="print('cleaned up')")
            for name, (body, _, _) in LOGS.items()}  # fmt: skip
    jobs |= {name: act_config(submit_job=LONG.format(text), cleanup_job=PEAK) for name, text in LONG_LOGS.items()}
    jobs["default"] = act_config(submit_job="print('by itself'); return Handler()", cleanup_job="print('cleaned up')")
    return environment.run(write_project(tmp_path_factory.mktemp("logs"), jobs), "--jobs", "6")


@pytest.mark.parametrize("job", LOGS)
def test_the_handlers_logs_are_the_attempts_and_are_there_before_cleanup(ran, job):
    _, out, err = LOGS[job]
    assert ran.jobs[job]["state"] == "FINISHED", ran.file(job, "stderr")
    folder = os.path.join(ran.last(job)["folder"], "")
    with open(folder + "stdout", "rb") as file:
        assert file.read() == out + b"cleaned up\n"
    with open(folder + "stderr", "rb") as file:
        assert err in file.read()


@pytest.mark.parametrize("job", LONG_LOGS)
def test_a_long_log_is_copied_once_and_takes_no_memory_beside_the_handlers_own(ran, job):
    with open(os.path.join(ran.last(job)["folder"], "stdout"), "rb") as file:
        assert file.read(16 * MIB) == b"0123456\n" * (2 * MIB)
        assert int(file.read()) < 8 * MIB


def test_logs_by_default_are_what_the_plugin_prints(ran):
    assert ran.file("default", "stdout") == "by itself\ncleaned up\n"


# What logs() does that never comes to an end; what is said of it.
ENDLESS = {
    "more": ("stream, offset):\n        return (b'%d ' % offset).ljust(65536)", "has ever more to give"),
    "blocks": ("stream, offset):\n        import time; time.sleep(1000)", "has not returned for 10 s"),
    "unreachable": ("stream, offset):\n        raise UnreachableError('no route')", "gives no answer: no route"),
}


@pytest.mark.slow
@pytest.mark.thorough
def test_logs_that_never_end_keep_no_attempt_from_its_end(environment, act_config, write_project, tmp_path):
    jobs = {name: act_config(submit_job=HANDLER.format(body)) for name, (body, _) in ENDLESS.items()}
    ran = environment.run(write_project(tmp_path / "project", jobs), "--jobs", "3")
    for name, (_, said) in ENDLESS.items():
        assert ran.jobs[name]["state"] == "FINISHED"
        assert said in ran.file(name, "stderr")
        assert ran.steps(name)[-1] == "cleanup_job"
        assert os.path.getsize(os.path.join(ran.last(name)["folder"], "stdout")) < 300 << 20


GATE = "gate = os.environ['AIFLOW_PROJECT_FOLDER'] + '/gate'\n"


def test_the_handlers_logs_are_followed_while_the_job_runs(environment, act_config, write_project, tmp_path):
    body = (
        f"{GATE}class Mine(Handler):\n    def state(self): return 'FINISHED' if os.path.exists(gate) else 'RUNNING'\n"
        "    def logs(self, stream, offset): return (b'first line\\n' if stream == 'stdout' else b'')[offset:]\n"
        "return Mine()"
    )
    root = write_project(tmp_path / "project", {"one": act_config(submit_job=body)})
    process = environment.popen("-m", "aiflow_ext", "run", root)
    run = process.stdout.readline().split()[1].rstrip(":")
    follow = environment.popen("-m", "aiflow_ext", "logs", run, "one", "--follow", "--project", root)
    assert follow.stdout.readline() == "first line\n"
    (root / "gate").touch()
    assert follow.communicate(timeout=PATIENCE) == ("", "")
    process.communicate(timeout=PATIENCE)
    assert (process.returncode, follow.returncode) == (0, 0)


READY = "open(os.environ['AIFLOW_PROJECT_FOLDER'] + '/ready', 'w').write('x')\n"
STOPPED = (
    f"{READY}class Mine(Handler):\n    def state(self): return 'STOPPED' if hasattr(self, 'grace') else 'RUNNING'\n"
    "    def stop(self, {0}):\n        print('handler', {1}); self.grace = True\nreturn Mine()"
)


def test_the_handlers_stop_follows_stop_job_with_the_grace_that_was_given(
    environment, act_config, write_project, tmp_path
):
    jobs = {
        "one": act_config(submit_job=STOPPED.format("grace", "grace"), stop_job="print('stop_job')"),
        "no_grace": act_config(submit_job=STOPPED.format("", "'stop'"), stop_job="print('stop_job')"),
        "raises": act_config(submit_job=STOPPED.format("grace=1", "grace"), stop_job="raise ValueError('which job')"),
        "early": act_config(
            submit_job=STOPPED.format("grace", "'late'").replace("class", "import time\nself.told = time.sleep\n"
            "while not os.path.exists(job.job_context.work_folder + '/stop'): time.sleep(0.05)\nclass"),
            stop_job="print('stop_job')",
        ),
    }  # fmt: skip
    root = write_project(tmp_path / "project", jobs)
    os.mkfifo(root / "ready")
    ready = os.open(root / "ready", os.O_RDWR)
    process = environment.popen("-m", "aiflow_ext", "run", root, "--jobs", "8")
    run = process.stdout.readline().split()[1].rstrip(":")
    for _ in jobs:
        os.read(ready, 1)
    done = environment.call("-m", "aiflow_ext", "stop", run, "--grace", "27", "--project", root)
    out, err = process.communicate(timeout=PATIENCE)
    os.close(ready)
    ran = environment.ran(root, process.returncode, out, err)
    assert done.returncode == 0, done.stderr
    assert {name: job["state"] for name, job in ran.jobs.items()} == dict.fromkeys(jobs, "STOPPED")
    assert ran.file("one", "stdout") == "stop_job\nhandler 27.0\n"
    assert ran.file("no_grace", "stdout") == "stop_job\nhandler stop\n"
    assert ran.file("raises", "stdout") == "handler 27.0\n"
    assert "which job" in ran.file("raises", "stderr")
    assert ran.file("early", "stdout").endswith("stop_job\nhandler late\n")


def test_a_signal_to_the_command_needs_no_answer_of_the_handler(environment, act_config, write_project, tmp_path):
    body = (
        f"{READY}class Mine(Handler):\n    def wait(self, timeout=None):\n        import time; time.sleep(1000)\n"
        "return Mine()"
    )
    root = write_project(tmp_path / "project", {"one": act_config(submit_job=body)})
    os.mkfifo(root / "ready")
    ready = os.open(root / "ready", os.O_RDWR)
    process = environment.popen("-m", "aiflow_ext", "run", root)
    os.read(ready, 1)
    os.close(ready)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    stop = environment.call("-m", "aiflow_ext", "stop", "latest", "--grace", "0", "--project", root)
    assert stop.returncode == 0
