"""The child's parent: a process that outlives the application master, so that the child does not.

It is in a session of its own, which the signals that a NodeManager sends to the container do not reach. It adopts the
child's orphaned processes, reports how the child ended, and ends everything on request, or when EOF on the pipe between
them shows that the master is gone. If the keeper itself dies, the kernel kills the child.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback

from aiflow_ext.plugin.processes import Sweep, proc, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from aiflow_ext_yarn.master.spec import Child

LEFTOVER_GRACE = 2.0  # seconds that processes which a child left behind have after TERM
SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36  # prctl(2)


class Keeper:
    """The master's side: starts the keeper, and reads its events.

    Args:
        child: the process that the keeper starts.
        grace: seconds between TERM and KILL, at a stop.
    """

    def __init__(self, child: Child, grace: float) -> None:
        self._mark = child.mark
        self._since = proc.start_time(os.getpid()) or 0
        self._buffer = b""
        self._main: tuple[int, int] | None = None
        _prctl(SET_CHILD_SUBREAPER, 1)  # if the keeper is killed, its processes become children of this one
        sys.stdout.flush()
        sys.stderr.flush()
        event_read, event_write = os.pipe()
        command_read, command_write = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            try:
                _KeeperProcess(child, grace, command_read, event_write).run()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(0)
        os.close(event_write)
        os.close(command_read)
        self._events, self._commands = event_read, command_write

    def stop(self) -> None:
        """TERM to everything, after the grace period KILL. May be called from a signal handler, and twice."""
        self._send(b"s")

    def kill(self) -> None:
        """KILL to everything, now."""
        self._send(b"k")

    def events(self, timeout: float) -> Iterator[dict[str, Any]]:
        """The keeper's events within ``timeout`` seconds: ``started``, ``ended``, ``swept``; ``gone`` if it was killed.

        Before ``gone`` is returned, all its processes have been ended.
        """
        if not select.select([self._events], [], [], timeout)[0]:
            return
        data = os.read(self._events, 65536)
        if not data:
            self._take_over()
            yield {"what": "gone"}
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            event = json.loads(line.decode())
            if event["what"] == "started":
                self._main = event["pid"], event["start"]
            yield event

    def _send(self, command: bytes) -> None:
        try:
            os.write(self._commands, command)
        except OSError:
            pass  # it is gone: events() reports that

    def _take_over(self) -> None:
        """End the processes that a killed keeper has left."""
        roots, session = ([self._main], self._main[0]) if self._main else ([], None)
        sweep(Sweep(mark=self._mark, grace=0.0, since=self._since, roots=roots, session=session))
        _end_children(self._since)
        while _ended_child() is not None:
            pass


class _KeeperProcess:
    """The keeper's side."""

    def __init__(self, child: Child, grace: float, commands: int, events: int) -> None:
        self._child, self._grace, self._events = child, grace, events
        self._commands = [commands]
        self._process: subprocess.Popen[bytes] | None = None
        self._status: int | None = None
        self._sweep: Sweep | None = None

    def run(self) -> None:
        os.setsid()
        _prctl(SET_CHILD_SUBREAPER, 1)
        self._handle_signals()
        _close_all_but(0, 1, 2, *self._commands, self._events, *self._wakeup)
        self._since = proc.start_time(os.getpid()) or 0
        self._start()
        while self._sweep is None or not self._sweep.done:
            delay = self._sweep.step(proc.Snapshot) if self._sweep is not None else None
            if self._sweep is not None and self._sweep.done:
                break
            self._wait(delay)
        _end_children(self._since)
        self._reap()
        self._report("swept", left=sorted(self._sweep.refused.values()))

    def _start(self) -> None:
        child = self._child
        keeper = os.getpid()
        prctl = _prctl_function()  # loaded now: not safe after the fork

        def tie() -> None:
            if prctl is not None:
                prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != keeper:
                    os._exit(127)

        try:
            os.makedirs(child.cwd, exist_ok=True)
            with open(child.stdout, "ab") as out, open(child.stderr, "ab") as err:
                self._process = subprocess.Popen(
                    child.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=child.cwd, env=child.env,
                    start_new_session=True, preexec_fn=tie,
                )  # fmt: skip
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            missing = isinstance(error, FileNotFoundError)
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._report("ended", exit=127 if missing else 126, reason=f"{child.argv[0]} cannot be started: {words}")
            self._clear(0.0)
            return
        self._report("started", pid=self._process.pid, start=proc.start_time(self._process.pid) or 0)

    def _wait(self, timeout: float | None) -> None:
        """Wait for a command, the end of a process, or the time of the next step."""
        self._reap()
        if self._sweep is not None and timeout is None:
            return
        ready = select.select([*self._commands, self._wakeup[0]], [], [], timeout)[0]
        if self._wakeup[0] in ready:
            os.read(self._wakeup[0], 4096)
            self._reap()
        for descriptor in self._commands[:]:
            if descriptor not in ready:
                continue
            command = os.read(descriptor, 16)
            if not command or b"k" in command:
                if not command:
                    self._commands.clear()  # the master is gone
                self._clear(0.0)
            else:
                self._clear(self._grace)

    def _reap(self) -> None:
        """Record processes that have ended; after the child's end, all that it left behind are ended."""
        while True:
            ended = _ended_child()
            if ended is None:
                return
            pid, status, used = ended
            if self._process is not None and pid == self._process.pid and self._status is None:
                self._status = self._process.returncode = status
                usage = {"peak_memory": used.ru_maxrss << 10, "cpu_seconds": round(used.ru_utime + used.ru_stime, 6)}
                if os.WIFSIGNALED(status):
                    self._report("ended", signal=os.WTERMSIG(status), usage=usage)
                else:
                    self._report("ended", exit=os.WEXITSTATUS(status), usage=usage)
                self._clear(LEFTOVER_GRACE, hurry=False)

    def _clear(self, grace: float, hurry: bool = True) -> None:
        """End everything within ``grace`` seconds, or sooner if that has already begun."""
        if self._sweep is not None:
            if hurry:
                self._sweep.hurry(grace)
            return
        roots, session = [], None
        if self._process is not None:
            session = self._process.pid
            roots = [(stat.pid, stat.start) for stat in map(proc.read_stat, proc.children(os.getpid())) if stat]
        self._sweep = Sweep(mark=self._child.mark, grace=grace, since=self._since, roots=roots, session=session)

    def _report(self, what: str, **more: Any) -> None:
        try:
            os.write(self._events, json.dumps(dict(more, what=what)).encode() + b"\n")
        except OSError:
            pass  # the master is gone

    def _handle_signals(self) -> None:
        """SIGCHLD wakes the loop up, through a pipe; SIGTERM stops the child."""
        self._wakeup = os.pipe()
        for end in self._wakeup:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup[1])
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._clear(self._grace))
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: None)


def _end_children(since: int) -> None:
    """End processes that became children of this one after the last sweep, because their parents died."""
    for _ in range(100):
        stats = [stat for stat in map(proc.read_stat, proc.children(os.getpid())) if stat and stat.alive]
        if not stats:
            return
        sweep(Sweep(mark=None, grace=0.0, since=since, roots=[(stat.pid, stat.start) for stat in stats]))
        time.sleep(0.001)


def _ended_child() -> tuple[int, int, Any] | None:
    """The pid and wait status of a child that has ended, and what it and those that it has waited for have used; None:
    there is none."""
    try:
        ended = os.wait4(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return ended if ended[0] else None


def _close_all_but(*kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one that listed them


def _prctl_function() -> Any:
    try:
        import ctypes

        return ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None  # a Python without ctypes: the pipe alone has to do


def _prctl(option: int, value: int) -> None:
    function = _prctl_function()
    if function is not None:
        function(option, value, 0, 0, 0)
