"""The supervisor's processes: started, reaped, stopped, taken over from a dead supervisor; each change on record first.

The order that makes a kill -9 at any moment harmless:
1. ``starting`` is in the journal before the process exists, so nobody ever starts the same id again.
2. The folder's lock passes to the child until it has executed, so whoever takes over later sees each child that there
   is, by its mark.
3. ``running`` names pid and start time; who takes over watches exactly that process.
4. The end is appended as soon as the kernel tells it. What nobody saw is ``lost``.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time

from aiflow_ext.supervise import kernel, proc
from aiflow_ext.supervise.clock import Clock
from aiflow_ext.supervise.journal import ENDED, NEVER_SEEN, REBOOTED, UNSEEN, JournalReader, JournalWriter, encode
from aiflow_ext.supervise.sweep import Sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

LEFTOVER_GRACE = 2.0
_OWN_UMASK = 0o077
RETRY_JOURNAL = 1.0
# Adopted processes for which there was no pidfd (out of descriptors) are looked at this often.
LOOK_AGAIN = 1.0


class Process:
    """A living process: our child, or one adopted from a supervisor that died."""

    __slots__ = ("began", "child", "id", "mark", "pid", "pidfd", "start", "sure")

    def __init__(self, id: str, mark: str, pid: int, start: int, child: bool) -> None:
        self.id, self.mark, self.pid, self.start, self.child = id, mark, pid, start, child
        # Whether it certainly is the main process, so that its end is the main process's end.
        self.sure = True
        self.pidfd: int | None = None
        # Seconds since the boot, where we were there.
        self.began: float | None = time.clock_gettime(time.CLOCK_BOOTTIME) if child else None


class Processes:
    """All processes of one folder. ``settled`` collects the ids that somebody may be waiting for."""

    def __init__(self, folder: int, publish: Callable[[bytes, bool, bool], None]) -> None:
        self.publish = publish
        self.boot = proc.boot_id()
        self.clock = Clock(folder)
        self.living: dict[str, Process] = {}
        self.settled: set[str] = set()
        self.adopted: dict[int, Process] = {}
        self._mains: dict[int, Process] = {}
        self._sweeps: dict[str, Sweep] = {}
        self._due: dict[str, float] = {}
        self._retry_at = 0.0
        self._look_at = 0.0
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        reader = JournalReader(folder)
        reader.catch_up()
        self.journal = JournalWriter(folder, reader.seq)
        # An ended record is kept as text: a run may have tens of thousands.
        self._records: dict[str, dict[str, Any] | bytes] = dict(reader.records)
        self._ids = {record["mark"]: id for id, record in reader.records.items() if record.get("mark")}
        reader.close()
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
        """Start ``spec`` unless its id is known; its record. OSError: it could not be written down, nothing started.

        ``noted`` is given the record as soon as it is on record that the process starts.
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
            pid = self._spawn(spec, umask)
        except Exception as error:
            return self._change(
                {"id": id, "state": "not_started", "error": _words(error), "ended_at": self.clock.now()}
            )
        now = self.clock.now()
        # Our own child, not yet waited for: the pid cannot have passed on.
        process = Process(id, mark, pid, proc.began_since(before, pid) or 0, child=True)
        self.living[id] = self._mains[pid] = process
        if mark:
            self._ids[mark] = id
        return self._change({"id": id, "state": "running", "pid": pid, "start_time": process.start, "started_at": now})

    def stop(self, id: str, grace: float) -> dict[str, Any]:
        """Begin to end ``id`` and all that is its own; :meth:`gone` says when that is done."""
        self.reap()
        record = self.record(id)
        if record is None:
            change = {"id": id, "state": "cancelled", "stop_requested": True, "ended_at": self.clock.now()}
            return self._change(change)
        if record["state"] in ("cancelled", "not_started"):
            return record
        process, sweep = self.living.get(id), self._sweeps.get(id)
        if process is not None and not record.get("stop_requested"):
            record = self._change({"id": id, "stop_requested": True, "grace": grace})
        if sweep is not None:
            sweep.hurry(grace)
            self._due[id] = 0.0
        elif process is not None:
            roots = [(process.pid, process.start), *self._strays_of(process)]
            self._sweep(id, process.mark, grace, process.start, roots, process.pid)
        else:
            self._sweep(id, record.get("mark"), grace, record.get("start_time") or 0)
        return record

    def gone(self, id: str) -> bool:
        """Whether ``id`` has ended and nothing is being done about what it left behind."""
        return id in self._records and id not in self.living and id not in self._sweeps

    # -- what the loop does

    @property
    def busy(self) -> bool:
        """Whether there is anything to stay for."""
        return bool(self.living or self._sweeps or self.journal.unsaved)

    def reap(self) -> None:
        """Record the end of every child that has ended, and end what those left behind."""
        ended: list[Process] = []
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self._sweeps:
                self._due.update((id, 0.0) for id, sweep in self._sweeps.items() if pid in sweep.members)
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
            self._leftovers(ended)

    def adopted_ended(self, process: Process) -> None:
        """An adopted process is gone: its true end if the kernel still tells it, else ``lost``."""
        status = self._status(process)
        if status is not None:
            self._ended(process, status, None)
        else:
            self._lost(process.id, UNSEEN)
        self._sweep(process.id, process.mark, LEFTOVER_GRACE, process.start, session=process.pid)

    def tick(self) -> float | None:
        """Do what is due; seconds until there is more to do, None: nothing by the clock."""
        now = time.monotonic()
        self._step_sweeps(now)
        if self.journal.unsaved and now >= self._retry_at and not self.journal.retry():
            self._retry_at = now + RETRY_JOURNAL
        times = [max(self._look_at, min(self._due.values()))] if self._due else []
        if self.journal.unsaved:
            times.append(self._retry_at)
        blind = [process for process in self.living.values() if not process.child and process.pidfd is None]
        if blind:
            for process in blind:
                if not proc.process_alive(process.pid, process.start, self.boot):
                    self.adopted_ended(process)
            times.append(now + LOOK_AGAIN)
        return max(0.0, min(times) - time.monotonic()) if times else None

    # -- inside

    def _spawn(self, spec: dict[str, Any], umask: int) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        opened: list[int] = []
        try:
            for path in (spec["stdout"], spec["stderr"]):
                opened.append(os.open(path, flags, 0o600))
            argv, env = spec["argv"], spec["env"]
            # posix_spawn knows neither folder nor umask; this process has one thread, and needs neither itself.
            os.chdir(spec["cwd"])
            os.umask(umask)
            # Everything else is close-on-exec: the lock is kept until then, and no longer.
            return kernel.spawn(_program(argv[0], env), argv, env, (self._null, *opened))
        finally:
            os.umask(_OWN_UMASK)
            os.chdir("/")
            for descriptor in opened:
                os.close(descriptor)

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
        lasted = now - (process.began if process.began is not None else process.start / os.sysconf("SC_CLK_TCK"))
        self._change(
            {
                "id": process.id,
                "state": "ended",
                "ended_at": began + max(0.0, lasted),
                "exit_code": None if killed else os.WEXITSTATUS(status),
                "signal": os.WTERMSIG(status) if killed else None,
                "rusage": usage,
            }
        )

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

    # -- what processes leave behind

    def _leftovers(self, ended: list[Process]) -> None:
        """End the children that came to us as orphans and that nobody living can own."""
        sessions = {process.pid: process for process in ended}
        for pid in proc.children(os.getpid()):
            if pid in self._mains:
                continue
            stat = proc.read_stat(pid)
            if stat is None or not stat.alive or any(pid in sweep.members for sweep in self._sweeps.values()):
                continue
            dead = sessions.get(stat.session)
            owner = self._ids.get(proc.mark_of(pid) or "") or (dead.id if dead else None)
            if owner in self.living or stat.session in self._mains:
                continue
            if owner is None and any(process.start <= stat.start for process in self.living.values()):
                continue
            key = owner or f"\0orphan {pid}"
            if key in self._sweeps:
                self._sweeps[key].roots[pid] = stat.start
            else:
                mark, session = (dead.mark, dead.pid) if dead else (None, None)
                since = dead.start if dead else 0
                self._sweep(key, mark, LEFTOVER_GRACE, since, [(pid, stat.start)], session)

    def _strays_of(self, process: Process) -> list[tuple[int, int]]:
        """Orphans without a mark or session that tells, which only ``process`` can have started."""
        strays: list[tuple[int, int]] = []
        for pid in proc.children(os.getpid()):
            stat = None if pid in self._mains else proc.read_stat(pid)
            if stat is None or stat.session in self._mains or proc.mark_of(pid) in self._ids:
                continue
            if [each for each in self.living.values() if each.start <= stat.start] == [process]:
                strays.append((pid, stat.start))
        return strays

    def _sweep(
        self,
        id: str,
        mark: str | None,
        grace: float,
        since: int,
        roots: Iterable[tuple[int, int]] = (),
        session: int | None = None,
    ) -> None:
        if id not in self._sweeps:
            self._sweeps[id] = Sweep(mark=mark, grace=grace, since=since, roots=roots, session=session)
        self._due[id] = 0.0

    def _step_sweeps(self, now: float) -> None:
        snapshot: proc.Snapshot | None = None

        def look(since: int) -> proc.Snapshot:
            # One walk over /proc serves all that are due in this turn.
            nonlocal snapshot
            if snapshot is None:
                snapshot = proc.Snapshot(min(self._sweeps[id].since for id in due))
            return snapshot

        due = [id for id, when in self._due.items() if when <= now] if now >= self._look_at else []
        for id in due:
            task = self._sweeps[id]
            try:
                delay = task.step(look)
            except OSError as error:
                # /proc cannot be read now (out of descriptors): what must be ended is not forgotten for that.
                print_error(error)
                delay = LOOK_AGAIN
            if not task.done:
                self._due[id] = time.monotonic() + delay
                continue
            del self._sweeps[id], self._due[id]
            if task.refused and id in self._records:
                self._change({"id": id, "error": "; ".join(task.refused.values())})
            self.settled.add(id)
        if snapshot is not None:
            # Half of the time at most goes into walks over /proc: stops that come in a row share them.
            after = time.monotonic()
            self._look_at = after + (after - now)
        if due:
            # A sweep ends when its processes are dead; their ends are ours to record before anybody is told.
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
            self._sweep(id, self._mark(id), LEFTOVER_GRACE, 0)

    def _carriers(self) -> dict[str, list[proc.Stat]]:
        """The living processes that carry a mark of ours, by id, oldest first."""
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
        sure = record["state"] == "running"
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
            self._sweep(id, mark, record.get("grace", LEFTOVER_GRACE), start, [(pid, start)], pid)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
        return f"{os.strerror(error.errno)}: {name}" if name else os.strerror(error.errno)
    return f"{type(error).__name__}: {error}"


def _program(command: str, env: dict[str, str]) -> str:
    """Where a command is, by the PATH that it is given. FileNotFoundError: nowhere."""
    if "/" in command:
        return command
    there: str | None = None
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", command)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
        if there is None and os.path.exists(path):
            there = path
    if there is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)
    return there  # the kernel says why it cannot be executed


def default_signals() -> None:
    """What children get: every signal at its default, none blocked. Handlers are reset by exec, ignoring is not."""
    for number in signal.valid_signals():
        # Python's own two, SIGPIPE and SIGXFSZ, are restored at the spawn.
        if signal.getsignal(number) is signal.SIG_IGN and number not in kernel.PYTHON_IGNORES:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def print_error(error: BaseException) -> None:
    """Say in the supervisor's log what went wrong; also where no descriptor is left to import a module with."""
    sys.excepthook(type(error), error, error.__traceback__)
