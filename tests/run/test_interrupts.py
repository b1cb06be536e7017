"""Ctrl-C and signals: what was told to stop is gone, what was left goes on."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import PATIENCE

from aiflow_ext.run.store.store import Store

CMD = '"*": {platform: local, engine: cmd_line}\n'
SLEEPER = 'with af.job("slow"): af.cmd("setsid sleep 1000 & trap \'\' TERM; echo up; sleep 1000; sleep 1000")\n'
WAITER = 'with af.job("next"): af.cmd("true")\naf.run_after("next", "slow")\n'


def start(project, cli_env, *args, **options):
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root), *args]
    return subprocess.Popen(argv, env=cli_env, text=True, start_new_session=True, **options)


def until(condition, what, seconds=PATIENCE):
    """Wait until ``condition()`` is true; fails with ``what`` when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        select.select([], [], [], 0.01)


def job_is_up(project):
    logs = list(project.root.glob(".aiflow/runs/*/jobs/slow/1/stdout"))
    return bool(logs) and b"up" in logs[0].read_bytes()


def record_of(project):
    store = Store(project.root / ".aiflow", create=False)
    try:
        return store.run(store.runs()[0]["run"])
    finally:
        store.close()


@pytest.fixture
def sleeping(project):
    return project.jobs(SLEEPER + WAITER, CMD + "slow: {}\nnext: {}\n")


def test_after_a_stop_everything_is_gone_and_recorded(sleeping, cli_env, nothing_left):
    run = start(sleeping, cli_env, "--on-interrupt", "stop", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)  # fmt: skip
    until(lambda: job_is_up(sleeping), "the job does not start")
    run.send_signal(signal.SIGINT)
    until(lambda: record_of(sleeping).jobs["slow"].attempts[0].stop_requested, "nothing says that it is to stop")
    run.send_signal(signal.SIGINT)  # twice: at once, for this job ignores SIGTERM
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 7, out + err
    states = {name: job.state for name, job in record_of(sleeping).jobs.items()}
    assert states == {"slow": "STOPPED", "next": "SKIPPED"}
    nothing_left()


def test_what_waited_for_its_turn_at_a_stop_has_no_attempt_and_runs_when_taken_up_again(project, cli_env):
    project.jobs(SLEEPER + 'with af.job("b"): af.cmd("echo here > made; cat made")\n', CMD + "slow: {}\nb: {}\n")
    run = start(project, cli_env, "--jobs", "1", "--on-interrupt", "stop", stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    until(lambda: job_is_up(project) and any(project.root.glob(".aiflow/runs/*/jobs/b/1/work")), "b is not made ready")
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=PATIENCE)
    record = record_of(project)
    assert (record.jobs["b"].state, record.jobs["b"].attempts) == ("SKIPPED", [])
    argv = [sys.executable, "-m", "aiflow_ext", "resume", record.run_id, "--from", "b"]
    subprocess.run(argv, env=cli_env, cwd=project.root, check=False, capture_output=True, timeout=PATIENCE)
    again = record_of(project).jobs["b"]
    assert [(attempt.number, attempt.state) for attempt in again.attempts] == [(1, "FINISHED")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_without_a_terminal_a_signal_leaves_the_jobs_running_and_says_so(sleeping, cli_env, number, tmp_path):
    run = start(sleeping, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))  # fmt: skip
    until(lambda: job_is_up(sleeping), "the job does not start")
    run.send_signal(number)
    _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130
    assert "left running: slow" in err
    from aiflow_ext.supervise import Supervisor

    supervisor = Supervisor(str(sleeping.run_folder))
    record = supervisor.record("slow/1")
    assert record is not None
    assert record.state == "running"
    os.kill(record.pid, 0)
    supervisor.stop("slow/1", 0.0)


def test_a_driver_under_nohup_drives_on_when_the_terminal_is_closed(sleeping, cli_env, nothing_left):
    run = start(sleeping, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # fmt: skip
    until(lambda: job_is_up(sleeping), "the job does not start")
    run.send_signal(signal.SIGHUP)
    stop = [sys.executable, "-m", "aiflow_ext", "stop", "latest", "slow", "--grace", "0", "--project"]
    subprocess.run([*stop, str(sleeping.root)], env=cli_env, check=True, capture_output=True, timeout=PATIENCE)
    run.communicate(timeout=PATIENCE)
    assert run.returncode == 7
    nothing_left()


def test_a_driver_that_is_interrupted_while_it_is_still_being_loaded_says_so_without_a_traceback():
    code = (  # the moment is injected
        "import sys\nfrom aiflow_ext.cli import main\n"
        "class Finder:\n    def find_spec(self, name, *_):\n"
        "        if name == 'aiflow_ext.cli.commands': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\nmain(['runs'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (130, "aiflow-ext: interrupted\n")


def test_on_a_terminal_ctrl_c_asks_and_ctrl_c_again_stops(sleeping, cli_env, nothing_left):
    master, slave = pty.openpty()
    run = start(sleeping, {**cli_env, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    until(lambda: job_is_up(sleeping), "the job does not start")
    run.send_signal(signal.SIGINT)
    assert b"[s]top" in read_until(master, b"[s]top")
    run.send_signal(signal.SIGINT)
    read_until(master, b"stopping")
    run.send_signal(signal.SIGINT)
    read_until(master, None)
    assert run.wait(PATIENCE) == 7
    nothing_left()


def read_until(master, words, seconds=PATIENCE):
    seen, end = b"", time.monotonic() + seconds
    while words is None or words not in seen:
        assert time.monotonic() < end, seen
        if select.select([master], [], [], 0.2)[0]:
            try:
                part = os.read(master, 65536)
            except OSError:
                return seen
            if not part:
                return seen
            seen += part
    return seen


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root; CI runs this as root")
def test_a_full_disk_in_mid_run_is_reported_and_leaves_nothing_running(project, cli_env, tmp_path, nothing_left):
    state = tmp_path / "small"
    state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(state)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets root mount no tmpfs: {mounted.stderr.decode()}")
    try:
        project.jobs(
            'with af.job("fills"): af.cmd("head -c 10000000 /dev/zero > $AIFLOW_CHECKPOINT_DIR/x; true")\n'
            'with af.job("next"): af.cmd("true")\naf.run_after("next", "fills", when="ended")\n',
            CMD + "fills: {}\nnext: {}\n",
        )
        env = {**cli_env, "AIFLOW_STATE": str(state)}
        argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=PATIENCE)
        assert "Traceback" not in done.stderr
        assert done.returncode == 6, done.stdout + done.stderr
        assert "full" in done.stderr or "No space left" in done.stderr
        (folder,) = state.iterdir()
        for filler in folder.glob("runs/*/checkpoints/*/x"):
            filler.unlink()
        store = Store(folder, create=False)  # what is recorded is whole
        assert store.run(store.runs()[0]["run"]).jobs["fills"].attempts
        nothing_left()
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def test_a_driver_killed_at_once_leaves_the_end_of_its_jobs_on_record(project, cli_env):
    project.jobs('with af.job("slow"): af.cmd("echo up; read x < gate; exit 5")', CMD + "slow: {}\n")
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    until(lambda: job_is_up(project) or list(project.root.glob(".aiflow/runs/*/jobs/slow/1/work/gate")), "not started")
    run.kill()
    run.wait()
    from aiflow_ext.supervise import Supervisor

    record = Supervisor(str(project.run_folder)).wait("slow/1", 30)
    assert record is not None
    assert record.state == "ended"


def test_state_and_logs_are_for_their_owner_alone(project, run_json):
    project.jobs('with af.job("a"): af.cmd("echo secret")', CMD + "a: {}\n")
    run_json(project)
    assert Path(project.run_folder).stat().st_mode & 0o077 == 0
