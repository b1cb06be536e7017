"""Stop means gone: the process, its session, its descendants and whatever carries its mark."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.supervise import Supervisor

# Leaves the session, the parent and the process group behind; says its pid; ignores TERM.
DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork(): {parent}
os.setsid()
if os.fork(): os._exit(0)
os.setsid()
{more}
with open({pipe!r}, "w") as pipe: pipe.write(f"{{os.getpid()}}\\n")
while True: time.sleep(100)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_stop_is_graceful_where_the_process_is(kit: Any) -> None:
    pipe = kit.pipe()
    kit.sh("job", f"trap 'echo bye; exit 5' TERM; echo $$ > {pipe.path}; while :; do sleep 1; done")
    pipe.line()
    record = kit.supervisor.stop("job", grace=20)
    assert (record.state, record.exit_code, record.stop_requested) == ("ended", 5, True)
    assert kit.out("job") == "bye\n"


def test_family_that_ignores_term_is_gone_after_the_grace_period(kit: Any) -> None:
    pipe = kit.pipe()
    child = f"sh -c 'trap \"\" TERM; echo $$ > {pipe.path}; while :; do sleep 1; done'"
    kit.sh("job", f"trap '' TERM; {child} & {child} & setsid {child} & wait; while :; do sleep 1; done")
    pids = [pipe.pid() for _ in range(3)]
    before = time.monotonic()
    record = kit.supervisor.stop("job", grace=0.3)
    assert time.monotonic() - before >= 0.3
    assert (record.state, record.signal, record.stop_requested) == ("ended", signal.SIGKILL, True)
    assert not any(map(kit.alive, [record.pid, *pids]))


def daemon(pipe: Any, marked: bool) -> list[str]:
    """A process that forks such a daemon and sleeps."""
    later = f"import os,time; open({str(pipe.path)!r},'w').write(f'{{os.getpid()}}\\n'); time.sleep(100)"
    # With an empty environment not even the mark tells whose it is: only that nobody else can have started it.
    more = "" if marked else f"os.execve(sys.executable, [sys.executable, '-I', '-S', '-c', {later!r}], {{}})"
    return python(DAEMON.format(parent="time.sleep(100)", more=more, pipe=str(pipe.path)))


@pytest.mark.parametrize("marked", [True, False])
def test_daemon_that_a_running_job_forked_away_is_gone_after_stop(kit: Any, marked: bool) -> None:
    pipe = kit.pipe()
    kit.start("job", *daemon(pipe, marked))
    pid = pipe.pid()
    assert os.getsid(pid) != kit.supervisor.record("job").pid
    kit.supervisor.stop("job", grace=0.2)
    assert not kit.alive(pid)


def test_what_a_job_leaves_behind_is_ended_and_its_true_end_is_reported_at_once(kit: Any) -> None:
    pipe = kit.pipe()
    kit.start("job", *daemon(pipe, marked=True))
    parent = kit.supervisor.record("job").pid
    pid = pipe.pid()
    os.kill(parent, signal.SIGKILL)
    record = kit.end("job")
    # It ignores TERM, so it is still there when the end is told.
    assert (record.signal, kit.alive(pid)) == (signal.SIGKILL, True)
    kit.gone(pid)
    assert kit.supervisor.record("job") == record


def test_background_children_left_in_the_session_are_ended(kit: Any) -> None:
    pipe = kit.pipe()
    record = kit.run("job", "/bin/sh", "-c", f"sh -c 'echo $$ > {pipe.path}; exec sleep 100' & read x < {pipe.path}; "
                     f"echo $x > {pipe.path}; exit 6")  # fmt: skip
    assert record.exit_code == 6
    kit.gone(pipe.pid())


@pytest.mark.parametrize("marked", [True, False])
def test_leftovers_of_one_job_do_not_cost_another_its_own(kit: Any, marked: bool) -> None:
    pipe, other = kit.pipe(), kit.pipe()
    # The other's helper has gone away from its session and parent, but the other lives.
    kit.start("other", *daemon(other, marked))
    helper = other.pid()
    kit.start("job", *daemon(pipe, marked=True))
    left = pipe.pid()
    os.kill(kit.supervisor.record("job").pid, signal.SIGKILL)
    kit.gone(left)
    assert kit.alive(helper)
    assert kit.supervisor.record("other").state == "running"
    kit.supervisor.stop("other", 0)
    assert not kit.alive(helper)


def test_stopped_processes_hear_term(kit: Any) -> None:
    pipe = kit.pipe()
    kit.sh("job", f"trap 'exit 7' TERM; echo $$ > {pipe.path}; kill -STOP $$; while :; do sleep 1; done")
    pid = pipe.pid()
    while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        os.sched_yield()
    assert kit.supervisor.stop("job", grace=20).exit_code == 7


def test_stop_before_the_start_prevents_it_for_ever(kit: Any) -> None:
    record = kit.supervisor.stop("job")
    assert (record.state, record.stop_requested, record.ended) == ("cancelled", True, True)
    started = kit.start("job", "/bin/sh", "-c", "echo ran")
    assert started.state == "cancelled"
    assert kit.supervisor.stop("job").state == "cancelled"
    assert not (kit.folder / "job.out").exists()


def test_stop_after_the_end_changes_nothing_but_sweeps(kit: Any) -> None:
    ended = kit.run("job", "/bin/sh", "-c", "exit 3")
    assert kit.supervisor.stop("job") == ended
    # Something with the job's mark that came from elsewhere, out of the supervisor's sight.
    pipe = kit.pipe()
    environment = {"PATH": os.environ["PATH"], "AIFLOW_MARK": ended.mark}
    script = f"echo $$ > {pipe.path}; exec sleep 100"
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], environment)
    assert pipe.pid() == pid
    assert kit.supervisor.stop("job") == ended
    assert os.waitpid(pid, 0)[1] == signal.SIGTERM


def test_two_stops_at_once_both_return_when_it_is_gone_and_the_shorter_grace_counts(kit: Any) -> None:
    pipe = kit.pipe()
    kit.sh("job", f"trap 'echo hup > {pipe.path}' TERM; echo $$ > {pipe.path}; while :; do sleep 0.05; done")
    pid = pipe.pid()
    records: list[Any] = []
    patient = threading.Thread(target=lambda: records.append(Supervisor(kit.folder).stop("job", grace=60)))
    patient.start()
    assert pipe.line() == "hup"
    records.append(kit.supervisor.stop("job", grace=0.1))
    assert not kit.alive(pid)
    patient.join(10)
    assert [record.signal for record in records] == [signal.SIGKILL] * 2
    assert kit.supervisor.stop("job").signal == signal.SIGKILL


def test_stop_nowait_goes_on_without_its_caller(kit: Any) -> None:
    pipe = kit.pipe()
    kit.sh("job", f"trap '' TERM; echo $$ > {pipe.path}; while :; do sleep 1; done")
    pid = pipe.pid()
    record = kit.supervisor.stop_nowait("job", grace=0.3)
    assert (record.state, record.stop_requested) == ("running", True)
    kit.supervisor.close()
    kit.gone(pid)
    assert kit.end("job").signal == signal.SIGKILL


def test_process_that_keeps_changing_pid_session_and_parent_is_caught(kit: Any) -> None:
    pipe = kit.pipe()
    code = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork(): time.sleep(100)
open({str(pipe.path)!r}, "w").write("go\\n")
end = time.monotonic() + 20  # should it ever escape, it does not haunt the machine
while time.monotonic() < end:
    if os.getsid(0) != os.getpid(): os.setsid()
    if os.fork(): os._exit(0)
    time.sleep(0.001)
"""
    kit.start("job", *python(code))
    pipe.line()
    kit.supervisor.stop("job", grace=0.1)
    mark = f"AIFLOW_MARK={kit.supervisor.record('job').mark}".encode()
    left = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                left += [name] if mark in file.read() else []
        except OSError:
            continue
    assert not left


@pytest.mark.parametrize("way", ["stop", "end"])
def test_run_that_a_job_started_goes_with_the_job(kit: Any, way: str) -> None:
    pipe = kit.pipe()
    (kit.folder / "inner").mkdir()
    code = f"""
import os, sys
sys.path.insert(0, {os.getcwd()!r})
from aiflow_ext.supervise import ProcessSpec, Supervisor
here = {str(kit.folder / "inner")!r}
argv = ["/bin/sh", "-c", "echo $$ > {pipe.path}; exec sleep 100"]
Supervisor(here).start(ProcessSpec("inner", argv, {{"PATH": os.environ["PATH"]}}, here, here + "/o", here + "/e", ""))
sys.stdin.read() if {way == "end"} else __import__("time").sleep(100)
"""
    # Somebody else who might be the owner of a process that nothing ties to its job.
    kit.start("bystander", "/bin/sleep", "100")
    kit.start("outer", sys.executable, "-c", code)
    job = pipe.pid()
    daemon = int((kit.folder / "inner" / "supervisor.lock").read_text().split()[0])
    if way == "stop":
        kit.supervisor.stop("outer", grace=5)
        assert not kit.alive(job)
        assert not kit.alive(daemon)
    else:
        assert kit.end("outer").exit_code == 0
        kit.gone(job)
        kit.gone(daemon)


def test_stop_without_any_supervisor_to_be_had(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = kit.pipe()
    child = f"sh -c 'trap \"\" TERM; echo $$ > {pipe.path}; while :; do sleep 1; done'"
    kit.sh("job", f"{child} & setsid {child} & wait")
    pids = [pipe.pid(), pipe.pid()]
    kit.kill_daemon()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    record = kit.supervisor.stop("job", grace=0.1)
    assert not any(map(kit.alive, pids))
    assert record.state == "lost"
