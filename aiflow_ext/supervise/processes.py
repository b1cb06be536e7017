"""The supervisor's processes: started, reaped, stopped, taken over from a dead supervisor; each change recorded first.

The order that makes a kill -9 at any moment harmless:
1. ``starting`` is in the journal before the process exists, so that the same id is never started again.
2. The child inherits the folder's lock until it has executed, so that a later supervisor sees every existing child, by
   its mark.
3. ``running`` has pid and start time; a later supervisor watches exactly that process.
4. The end is appended as soon as the kernel reports it. An end that no supervisor has seen is ``lost``.
"""

from __future__ import annotations

import json
import os
import time

from aiflow_ext.supervise import proc
from aiflow_ext.supervise.clock import Clock
from aiflow_ext.supervise.journal import ENDED, NEVER_SEEN, REBOOTED, UNSEEN, JournalReader, JournalWriter, encode
from aiflow_ext.supervise.leftovers import GRACE, LOOK_AGAIN, Leftovers
from aiflow_ext.supervise.oom import OomKills
from aiflow_ext.supervise.spawn import Process, spawn, why_not

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RETRY_JOURNAL = 1.0


class Processes:
    """All processes of one folder. ``settled`` collects the ids that clients may be waiting for."""

    def __init__(self, folder: int, publish: Callable[[bytes, bool, bool], None]) -> None:
        self.publish = publish
        self.boot = proc.boot_id()
        self.clock = Clock(folder)
        self._oom_kills = OomKills()
        self.living: dict[str, Process] = {}
        self.settled: set[str] = set()
        self.adopted: dict[int, Process] = {}
        self._mains: dict[int, Process] = {}
        self._retry_at = 0.0
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        reader = JournalReader(folder)
        reader.catch_up()
        self.journal = JournalWriter(folder, reader.seq)
        # An ended record is kept as text: a run may have tens of thousands.
        self._records: dict[str, dict[str, Any] | bytes] = dict(reader.records)
        self._ids = {record["mark"]: id for id, record in reader.records.items() if record.get("mark")}
        reader.close()
        self._leftovers = Leftovers(self.living, self._mains, self._ids)
        self._take_over(list(reader.records.values()))

    # -- what clients ask for

    def record(self, id: str) -> dict[str, Any] | None:
        """The merged record of ``id``, or None."""
        kept = self._records.get(id)
        if isinstance(kept, bytes):
            found: dict[str, Any] = json.loads(kept)
            return found
        return kept

    def start(
        self, spec: dict[str, Any], umask: int, noted: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Start ``spec`` unless its id is known; returns its record. OSError: it could not be recorded, nothing
        started.

        ``noted`` is called with the record as soon as the start is recorded.
        """
        id, mark = spec["id"], spec["mark"]
        known = self.record(id)
        if known is not None:
            if noted is not None:
                noted(known)
            return known
        starting = self._change({"id": id, "state": "starting", "mark": mark, "boot_id": self.boot}, must=True)
        if noted is not None:
            noted(starting)
        before = proc.ticks()
        try:
            pid = spawn(spec, umask, self._null)
        except Exception as error:
            return self._change(
                {"id": id, "state": "not_started", "error": why_not(error), "ended_at": self.clock.now()}
            )
        now = self.clock.now()
        # A child that was not waited for yet: its pid cannot have been reused.
        process = Process(id, mark, pid, proc.began_since(before, pid) or 0, child=True)
        self.living[id] = self._mains[pid] = process
        if mark:
            self._ids[mark] = id
        return self._change({"id": id, "state": "running", "pid": pid, "start_time": process.start, "started_at": now})

    def stop(self, id: str, grace: float) -> dict[str, Any]:
        """Start to end ``id`` and all its processes; :meth:`gone` says when that is done."""
        self.reap()
        record = self.record(id)
        if record is None:
            change = {"id": id, "state": "cancelled", "stop_requested": True, "ended_at": self.clock.now()}
            return self._change(change)
        if record["state"] in ("cancelled", "not_started"):
            return record
        process = self.living.get(id)
        if process is not None and not record.get("stop_requested"):
            record = self._change({"id": id, "stop_requested": True, "grace": grace})
        if self._leftovers.hurry(id, grace):
            return record
        if process is not None:
            roots = [(process.pid, process.start), *self._leftovers.orphans_of(process)]
            self._leftovers.sweep(id, process.mark, grace, process.start, roots, process.pid)
        else:
            self._leftovers.sweep(id, record.get("mark"), grace, record.get("start_time") or 0)
        return record

    def gone(self, id: str) -> bool:
        """Whether ``id`` has ended and no sweep of its processes is under way."""
        return id in self._records and id not in self.living and id not in self._leftovers.sweeps

    # -- what the loop does

    @property
    def busy(self) -> bool:
        """Whether there are processes or sweeps, so that the supervisor must not exit."""
        return bool(self.living or self._leftovers.sweeps or self.journal.unsaved)

    def reap(self) -> None:
        """Record the end of every child that has ended, and end the processes that it left behind."""
        ended: list[Process] = []
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self._leftovers.sweeps:
                self._leftovers.reaped(pid)
            process = self._mains.pop(pid, None)
            if process is not None:
                spent = {
                    "user": round(usage.ru_utime, 6),
                    "system": round(usage.ru_stime, 6),
                    "max_rss_kb": usage.ru_maxrss,
                }
                self._ended(process, status, spent)
                ended.append(process)
        if ended:
            self._leftovers.sweep_orphans(ended)

    def adopted_ended(self, process: Process) -> None:
        """Record the end of an adopted process: its true end if the kernel still has it, else ``lost``."""
        status = self._status(process)
        if status is not None:
            self._ended(process, status, None)
        else:
            self._lost(process.id, UNSEEN)
        self._leftovers.sweep(process.id, process.mark, GRACE, process.start, session=process.pid)

    def tick(self) -> float | None:
        """Do what is due; returns the seconds until the next step, None: there is none."""
        now = time.monotonic()
        self._step_sweeps(now)
        if self.journal.unsaved and now >= self._retry_at and not self.journal.retry():
            self._retry_at = now + RETRY_JOURNAL
        times = [] if (step := self._leftovers.next_step) is None else [step]
        if self.journal.unsaved:
            times.append(self._retry_at)
        blind = [process for process in self.living.values() if not process.child and process.pidfd is None]
        if blind:  # out of descriptors: there was no pidfd for these
            for process in blind:
                if not proc.process_alive(process.pid, process.start, self.boot):
                    self.adopted_ended(process)
            times.append(now + LOOK_AGAIN)
        return max(0.0, min(times) - time.monotonic()) if times else None

    # -- inside

    def _change(self, change: dict[str, Any], must: bool = False) -> dict[str, Any]:
        line = self.journal.append(change, must)
        record = self.record(change["id"])
        if record is None:
            record = {}
        record.update(change)
        record["unsaved"] = self.journal.why or None
        over = record["state"] in ENDED
        self._records[change["id"]] = encode(record).encode() if over else record
        if over:
            self.settled.add(change["id"])
        self.publish(line, over, record["state"] == "starting")
        return record

    def _ended(self, process: Process, status: int, usage: dict[str, float] | None) -> None:
        self._forget(process)
        killed = os.WIFSIGNALED(status)
        began = (self.record(process.id) or {}).get("started_at") or self.clock.now()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        start = process.began if process.began is not None else process.start / os.sysconf("SC_CLK_TCK")
        change = {
            "id": process.id,
            "state": "ended",
            "ended_at": began + max(0.0, now - start),
            "exit_code": None if killed else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if killed else None,
            "rusage": usage,
        }
        if self._oom_kills.explain(start, status):
            change["out_of_memory"] = True
        self._change(change)

    def _status(self, process: Process) -> int | None:
        return proc.exit_status(process.pid, process.start, process.pidfd) if process.sure else None

    def _lost(self, id: str, why: str) -> None:
        if id in self.living:
            self._forget(self.living[id])
        self._change({"id": id, "state": "lost", "ended_at": self.clock.now(), "error": why})

    def _forget(self, process: Process) -> None:
        self.living.pop(process.id, None)
        if process.pidfd is not None:
            self.adopted.pop(process.pidfd, None)

    def _step_sweeps(self, now: float) -> None:
        done = self._leftovers.step(now)
        if done is None:
            return
        for id, sweep in done.items():
            if sweep.refused and id in self._records:
                self._change({"id": id, "error": "; ".join(sweep.refused.values())})
            self.settled.add(id)
        # A sweep ends when its processes are dead; their ends must be recorded before that is reported.
        self.reap()

    # -- after the death of another supervisor

    def _take_over(self, records: list[dict[str, Any]]) -> None:
        started: list[dict[str, Any]] = []
        for record in records:
            if record["state"] in ENDED:
                self._records[record["id"]] = encode(record).encode()
            elif record.get("boot_id") != self.boot:
                self._lost(record["id"], REBOOTED)
            else:
                started.append(record)
        if not records or all(record.get("boot_id") not in (self.boot, None) for record in records):
            return
        carriers = self._carriers()
        if any(record["state"] == "starting" for record in started):
            # A child in the middle of its exec shows no environment for a moment.
            time.sleep(0.1)
            carriers = self._carriers()
        for record in started:
            self._adopt(record, carriers.get(record["id"], []))
        for id in carriers.keys() - self.living.keys():
            self._leftovers.sweep(id, self._mark(id), GRACE, 0)

    def _carriers(self) -> dict[str, list[proc.Stat]]:
        """The living processes that have a mark of this folder, by id, oldest first."""
        snapshot = proc.Snapshot()
        found: dict[str, list[proc.Stat]] = {}
        for stat in sorted(snapshot.stats.values(), key=lambda stat: (stat.start, stat.pid)):
            id = self._ids.get(snapshot.mark(stat.pid) or "")
            if id is not None and stat.pid != os.getpid():
                found.setdefault(id, []).append(stat)
        return found

    def _mark(self, id: str) -> str | None:
        record = self.record(id)
        return record.get("mark") if record else None

    def _adopt(self, record: dict[str, Any], carriers: list[proc.Stat]) -> None:
        id, mark = record["id"], record["mark"]
        # Of a damaged journal, the line that says its pid may be missing.
        sure = record["state"] == "running" and None not in (record.get("pid"), record.get("start_time"))
        if not sure:
            # The main process leads the session that it was started in; so may a child that has outlived it.
            leaders = [stat for stat in carriers if stat.session == stat.pid]
            if not leaders:
                self._lost(id, NEVER_SEEN)
                return
            pid, start = leaders[0].pid, leaders[0].start
            age = time.clock_gettime(time.CLOCK_BOOTTIME) - start / os.sysconf("SC_CLK_TCK")
            began = self.clock.now() - age
            self._change({"id": id, "state": "running", "pid": pid, "start_time": start, "started_at": began})
        else:
            pid, start = record["pid"], record["start_time"]
        process = Process(id, mark, pid, start, child=False)
        process.sure = sure
        process.pidfd = proc.open_pidfd(pid, start)
        self.living[id] = process
        if not proc.process_alive(pid, start, self.boot):
            status = self._status(process)
            if process.pidfd is not None:
                os.close(process.pidfd)
                process.pidfd = None
            if status is None:
                self._lost(id, UNSEEN)
            else:
                self._ended(process, status, None)
            return
        if process.pidfd is not None:
            self.adopted[process.pidfd] = process
        if record.get("stop_requested"):
            self._leftovers.sweep(id, mark, record.get("grace", GRACE), start, [(pid, start)], pid)
