"""Every change is told once, in order, from the journal and then by the kernel; waiting costs nothing."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from typing import Any

from aiflow_ext.supervise import Supervisor
from aiflow_ext.supervise.journal import lock


def test_events_are_complete_and_in_order_before_and_after_they_are_asked_for(kit: Any) -> None:
    for number in range(5):
        kit.run(f"early{number}", "/bin/true")
    events = kit.supervisor.events()
    told = [next(events) for _ in range(15)]
    for number in range(30):
        kit.start(f"late{number}", "/bin/sh", "-c", f"exit {number}")
    while len(told) < 15 + 90:
        record = next(events)
        told += [record] if record is not None else []
    assert [record.seq for record in told] == list(range(1, 106))
    for id in {record.id for record in told}:
        assert [record.state for record in told if record.id == id] == ["starting", "running", "ended"]
    assert {record.id: record.exit_code for record in told if record.ended} == {
        **{f"early{number}": 0 for number in range(5)},
        **{f"late{number}": number for number in range(30)},
    }
    # A record tells its process as it was at that change.
    assert all(record.exit_code is None and record.ended_at is None for record in told if record.state == "running")
    events.close()
    again = kit.supervisor.events(since=100)
    assert [next(again).seq for _ in range(5)] == [101, 102, 103, 104, 105]
    again.close()


def test_end_wakes_who_waits_for_the_events_descriptor(kit: Any) -> None:
    pipe = kit.pipe()
    os.mkfifo(f"{pipe.path}.go")
    kit.sh("job", f"echo $$ > {pipe.path}; read go < {pipe.path}.go")
    pipe.line()
    events = kit.supervisor.events()
    kit.event(events, "job", "running")
    assert next(events) is None
    with open(f"{pipe.path}.go", "w") as go:
        go.write("go\n")
    assert select.select([events], [], [], 60)[0] == [events]
    record = next(events)
    assert record is not None
    assert (record.id, record.state) == ("job", "ended")
    events.close()


def test_events_of_an_idle_or_missing_folder_let_the_caller_leave(kit: Any) -> None:
    for folder in (kit.folder, kit.folder / "missing"):
        events = Supervisor(folder).events()
        assert next(events) is None
        events.close()
    assert not (kit.folder / "supervisor.lock").exists()


def test_first_start_wakes_events_that_were_asked_for_before_it(kit: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("aiflow_ext.supervise.events.BEAT", 600.0)  # so that looking again would come too late
    told: list[str] = []

    def follow() -> None:
        for record in kit.supervisor.events():
            if record is not None and record.ended:
                told.append(record.id)
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    kit.run("job", "/bin/true")
    thread.join(60)
    assert told == ["job"]


def test_events_survive_the_supervisors_death_and_tell_the_end(kit: Any) -> None:
    pipe = kit.pipe()
    kit.sh("job", f"echo $$ > {pipe.path}; exec sleep 100")
    pid = pipe.pid()
    events = kit.supervisor.events()
    seen = kit.event(events, "job", "running").seq
    kit.kill_daemon()
    assert next(events) is None
    os.kill(pid, signal.SIGKILL)
    record = next(filter(None, events))
    assert record.state in ("lost", "ended")
    assert record.seq > seen
    kit.run("next", "/bin/true")
    kit.event(events, "next", "ended")
    events.close()


def test_lost_is_told_where_no_supervisor_can_be_had(kit: Any, monkeypatch: Any) -> None:
    import sys

    pipe = kit.pipe()
    kit.sh("job", f"echo $$ > {pipe.path}; exec sleep 100")
    pid = pipe.pid()
    kit.kill_daemon()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        events = Supervisor(kit.folder).events()
        kit.event(events, "job", "running")
        assert next(events) is None
        os.kill(pid, signal.SIGKILL)
        kit.event(events, "job", "lost")
        assert next(events) is None
        events.close()


def test_follower_that_reads_nothing_costs_the_others_nothing(kit: Any) -> None:
    sleeper = Supervisor(kit.folder).events()
    kit.run("first", "/bin/true")
    assert next(sleeper).id == "first"
    for number in range(50):
        kit.run(f"j{number}", "/bin/true")
    seqs = [1]
    while len(seqs) < 153:
        record = next(sleeper)
        seqs += [record.seq] if record is not None else []
    assert seqs == list(range(1, 154))
    sleeper.close()


def test_wait_gives_up_in_time_and_waits_for_what_starts_later(kit: Any) -> None:
    before = time.monotonic()
    assert kit.supervisor.wait("job", 0.2) is None
    kit.sh("sleeper", "exec sleep 100")
    assert kit.supervisor.wait("sleeper", 0.2) is None
    assert time.monotonic() - before >= 0.4
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(Supervisor(kit.folder).wait("job", 20)))
    thread.start()
    kit.start("job", "/bin/sh", "-c", "exit 5")
    thread.join(20)
    assert found[0].exit_code == 5


def test_waiting_for_many_sleeping_jobs_uses_no_processor(kit: Any) -> None:
    kit.supervisor.start_many([kit.spec(f"j{number}", "/bin/sleep", "100") for number in range(100)])
    events = kit.supervisor.events()
    kit.event(events, "j99", "running")

    def woken() -> int:
        """How often the supervisor has begun to wait."""
        with open(f"/proc/{kit.daemon()}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))

    assert next(events) is None
    supervisor, own = woken(), time.thread_time()
    assert [next(events) for _ in range(2)] == [None] * 2
    assert woken() - supervisor <= 4
    assert time.thread_time() - own <= 0.02
    events.close()


def test_a_start_waits_for_a_supervisor_that_has_not_let_go_yet(kit: Any) -> None:
    kit.run("first", "/bin/true")
    events = kit.supervisor.events()
    kit.event(events, "first", "ended")
    assert next(events) is None
    events.setblocking(False)
    kit.kill_daemon()
    # As long as a child of the dead one has not executed, the lock is held.
    held = os.open(kit.folder / "supervisor.lock", os.O_RDWR)
    assert lock(held)
    timer = threading.Timer(0.5, os.close, [held])
    timer.start()
    kit.supervisor.hand_over(kit.spec("job", "/bin/sh", "-c", "exit 3"))
    told: list[Any] = []
    deadline = time.monotonic() + 30
    while not told or not told[-1].ended:
        assert time.monotonic() < deadline
        record = next(events)
        if record is None:
            select.select([events], [], [], 1.0)
        elif record.id == "job":
            told.append(record)
    timer.join()
    assert [(record.state, record.exit_code) for record in told if record.ended] == [("ended", 3)]
    events.close()
