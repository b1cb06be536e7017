"""Whoever dies, whenever: nothing runs twice, no end is lost that somebody saw, none is guessed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.supervise import Supervisor, SupervisorError, kernel
from aiflow_ext.supervise.proc import exit_status, open_pidfd


def kernel_tells_ends_of_strangers() -> bool:
    """Whether this kernel keeps the exit status of a reaped process for a pidfd (Linux 6.15 and newer)."""
    child = subprocess.Popen(["/bin/sh", "-c", "read x; exit 9"], stdin=subprocess.PIPE)
    pidfd = kernel.pidfd_open(child.pid)
    assert child.stdin is not None
    child.stdin.close()
    child.wait()
    try:
        return exit_status(child.pid, -1, pidfd) == 9 << 8
    finally:
        os.close(pidfd)


def test_end_is_on_record_after_the_client_was_killed(kit: Any) -> None:
    pipe = kit.pipe()
    code = f"""
import os, sys
sys.path.insert(0, {os.getcwd()!r})
from aiflow_ext.supervise import ProcessSpec, Supervisor
here = {str(kit.folder)!r}
argv = ["/bin/sh", "-c", "echo ready > {pipe.path}; read go < {pipe.path}.go; exit 11"]
env = {{"PATH": os.environ["PATH"]}}
Supervisor(here).start(ProcessSpec("job", argv, env, here, here + "/job.out", here + "/job.err", ""))
os.kill(os.getpid(), 9)
"""
    os.mkfifo(f"{pipe.path}.go")
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == -signal.SIGKILL
    assert pipe.line() == "ready"
    assert kit.supervisor.record("job").state == "running"
    Path(f"{pipe.path}.go").write_text("go\n")
    assert kit.end("job").exit_code == 11


def test_jobs_of_a_killed_supervisor_are_running_then_lost_without_any_supervisor(kit: Any) -> None:
    pipe = kit.pipe()
    kit.sh("job", f"echo $$ > {pipe.path}; exec sleep 100")
    pid = pipe.pid()
    kit.run("before", "/bin/sh", "-c", "exit 3")
    kit.kill_daemon()
    assert kit.supervisor.record("job").state == "running"
    os.kill(pid, signal.SIGKILL)
    kit.gone(pid)
    record = kit.supervisor.record("job")
    assert (record.state, record.exit_code, record.signal) == ("lost", None, None)
    assert "supervisor was killed" in record.error
    assert kit.supervisor.records()["before"].exit_code == 3


def test_next_supervisor_takes_over_and_ends_are_true_or_lost(kit: Any) -> None:
    pipe = kit.pipe()
    os.mkfifo(f"{pipe.path}.go")
    kit.sh("job", f"echo $$ > {pipe.path}; read go < {pipe.path}.go; exit 12")
    pid = pipe.pid()
    first = kit.daemon()
    kit.kill_daemon()
    # Somebody else's start is what brings the next supervisor.
    assert kit.run("other", "/bin/true").exit_code == 0
    assert kit.daemon() != first
    assert kit.supervisor.record("job").pid == pid
    assert kit.start("job", "/bin/false").pid == pid
    Path(f"{pipe.path}.go").write_text("go\n")
    record = kit.end("job")
    if kernel_tells_ends_of_strangers():
        assert (record.state, record.exit_code) == ("ended", 12)
    else:
        assert (record.state, record.exit_code) in (("lost", None), ("ended", 12))


def test_stop_works_after_the_supervisors_death(kit: Any) -> None:
    pipe = kit.pipe()
    child = f"sh -c 'trap \"\" TERM; echo $$ > {pipe.path}; while :; do sleep 1; done'"
    kit.sh("job", f"{child} & setsid {child} & wait")
    pids = [pipe.pid(), pipe.pid()]
    kit.kill_daemon()
    record = kit.supervisor.stop("job", grace=0.1)
    assert not any(map(kit.alive, pids))
    assert record.stop_requested
    assert record.state in ("ended", "lost")
    assert record.exit_code is None


def test_stop_that_a_supervisor_died_in_is_finished_by_the_next(kit: Any) -> None:
    pipe = kit.pipe()
    kit.sh("job", f"trap 'echo term > {pipe.path}' TERM; echo $$ > {pipe.path}; while :; do sleep 0.05; done")
    pid = pipe.pid()
    kit.supervisor.stop_nowait("job", grace=1.0)
    assert pipe.line() == "term"
    kit.kill_daemon()
    assert kit.alive(pid)
    kit.run("other", "/bin/true")
    kit.gone(pid)
    assert kit.end("job").stop_requested


def test_leftovers_are_ended_though_the_supervisor_died_with_the_job(kit: Any) -> None:
    pipe = kit.pipe()
    kit.sh("job", f"setsid sh -c 'echo $$ > {pipe.path}; exec sleep 100' & wait")
    left = pipe.pid()
    kit.kill_daemon()
    os.kill(kit.supervisor.record("job").pid, signal.SIGKILL)
    kit.run("other", "/bin/true")
    kit.gone(left)
    assert kit.end("job").state in ("lost", "ended")


def journal_of(kit: Any, *changes: dict[str, Any], tail: str = "") -> None:
    """A journal as a supervisor left it that died at this very point."""
    lines = [json.dumps({**change, "seq": number}) + "\n" for number, change in enumerate(changes, 1)]
    (kit.folder / "processes.jsonl").write_text("".join(lines) + tail)


def test_start_that_the_supervisor_died_in_is_adopted_where_the_process_exists(kit: Any) -> None:
    from aiflow_ext.supervise import boot_id

    pipe = kit.pipe()
    spec = kit.spec("job", "/bin/sh", "-c", f"echo $$ > {pipe.path}; exec sleep 100")
    child = subprocess.Popen(spec.argv, env=spec.env, start_new_session=True)
    pipe.line()
    journal_of(kit, {"id": "job", "state": "starting", "mark": spec.mark, "boot_id": boot_id()})
    # Not looked for yet, but it cannot be said that it never started.
    assert kit.supervisor.start(spec).pid == child.pid
    assert kit.supervisor.record("job").state == "running"
    child.kill()
    # The supervisor cannot be sure that this was the main process: the end is not told as its own.
    assert kit.end("job").state == "lost"
    child.wait()


def test_start_that_the_supervisor_died_in_is_lost_where_there_is_no_process(kit: Any) -> None:
    from aiflow_ext.supervise import boot_id

    spec = kit.spec("job", "/bin/true")
    journal_of(kit, {"id": "job", "state": "starting", "mark": spec.mark, "boot_id": boot_id()})
    assert kit.supervisor.record("job").state == "lost"
    record = kit.supervisor.start(spec)
    assert record.state == "lost"
    assert "while starting it" in record.error
    assert kit.supervisor.record("job") == record


def test_after_a_reboot_jobs_are_lost_though_their_pids_live(kit: Any) -> None:
    from aiflow_ext.supervise import start_time

    me = {"pid": os.getpid(), "start_time": start_time(os.getpid()), "boot_id": "an earlier boot"}
    journal_of(kit, {"id": "job", "state": "running", "mark": "", **me})
    for _ in range(2):
        record = kit.supervisor.record("job")
        assert (record.state, "rebooted" in record.error) == ("lost", True)
        kit.run("other", "/bin/true")


def test_pid_that_passed_on_to_another_process_is_not_taken_for_the_job(kit: Any) -> None:
    from aiflow_ext.supervise import boot_id, start_time

    bystander = subprocess.Popen(["sleep", "100"], start_new_session=True)
    start = start_time(bystander.pid)
    assert start is not None
    running = {"pid": bystander.pid, "start_time": start - 1, "boot_id": boot_id()}
    journal_of(kit, {"id": "job", "state": "running", "mark": "nobody's", **running})
    assert kit.supervisor.record("job").state == "lost"
    assert kit.supervisor.stop("job", grace=0).state == "lost"
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


@pytest.mark.parametrize("tail", ['{"id":"job","state":"ended","exit_code":0,"seq":9}', '{"id":"jo', "\0\0\0"])
def test_torn_last_line_is_ignored_and_does_not_swallow_the_next(kit: Any, tail: str) -> None:
    kit.run("job", "/bin/sh", "-c", "exit 3")
    kit.kill_daemon()
    with open(kit.folder / "processes.jsonl", "a") as file:
        file.write(tail)
    assert kit.supervisor.record("job").exit_code == 3
    assert kit.run("next", "/bin/true").exit_code == 0
    assert Supervisor(kit.folder).records()["next"].exit_code == 0
    assert [line["seq"] for line in kit.journal()] == [1, 2, 3, 4, 5, 6]


def test_supervisor_killed_at_random_moments_runs_nothing_twice_and_guesses_no_end(kit: Any) -> None:
    marks = kit.folder / "marks"
    marks.mkdir()
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    ids = [f"j{number}" for number in range(60)]
    script = 'set -C; : > "$MARKS/$ID.start.$$"; : > "$MARKS/$ID.end.$$"; exit 7'
    done = threading.Event()
    pipe = kit.pipe()

    def client() -> None:
        with Supervisor(kit.folder) as supervisor:
            for id in ids:
                spec = kit.spec(id, "/bin/sh", "-c", script, env={"MARKS": str(marks), "ID": id})
                supervisor.start(spec)
                pipe.path.write_text("started\n")
            for id in ids:
                assert supervisor.wait(id, 20) is not None
        done.set()

    thread = threading.Thread(target=client)
    thread.start()
    for _ in range(12):
        for _ in range(chance.randrange(1, 6)):
            pipe.line()
        # Somewhere in the middle of the next few starts.
        for _ in range(chance.randrange(2000)):
            pass
        try:
            os.kill(kit.daemon(), signal.SIGKILL)
        except (ProcessLookupError, IndexError):
            continue
    thread.join(30)
    assert done.is_set()
    names = [name.split(".") for name in os.listdir(marks)]
    for id, record in kit.supervisor.records().items():
        starts = sum(name[:2] == [id, "start"] for name in names)
        ends = sum(name[:2] == [id, "end"] for name in names)
        assert starts <= 1, id
        if record.state == "ended":
            assert (record.exit_code, starts, ends) == (7, 1, 1), record
        else:
            assert record.state == "lost", record
    assert set(kit.supervisor.records()) == set(ids)


def test_stopped_supervisor_is_named_with_its_cure(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from aiflow_ext.supervise import client

    kit.run("job", "/bin/true")
    pid = kit.daemon()
    monkeypatch.setattr(client, "ANSWER", 0.2)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SupervisorError, match=f"process {pid}.* is stopped\n.*kill -CONT {pid}"):
            kit.start("next", "/bin/true")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_pidfd_of_a_reused_pid_is_refused() -> None:
    assert open_pidfd(os.getpid(), 1) is None
