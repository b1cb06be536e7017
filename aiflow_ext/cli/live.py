"""A run followed to its end: a live table on a terminal, a plain line for each transition elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from aiflow_ext.cli.escape import indented, one_line
from aiflow_ext.cli.outlet import Outlet
from aiflow_ext.cli.output import console, keep_exit_code, print, stdout
from aiflow_ext.cli.show import clock, counted, duration, inputs_shown, print_lines, run_table
from aiflow_ext.model import errors
from aiflow_ext.model.names import local_path, path_shown
from aiflow_ext.model.states import JobState
from aiflow_ext.regular_file import read_regular
from aiflow_ext.run.operations.outputs import artifacts_of, files_of
from aiflow_ext.run.operations.start import Run
from aiflow_ext.run.store.records import AttemptRecord, RunRecord, Transition
from aiflow_ext.supervise.clock import Clock

MOST_TOLD = 10  # jobs whose ends are listed at the end of a run
REPEAT = 60.0  # seconds before the same job's waiting is worth another line


def follow(prepare: Callable[..., Run], *, on_interrupt: str | None, as_json: bool) -> int:
    """Drive the run that ``prepare(listener=...)`` makes ready, show it, and return the exit code."""
    keep_exit_code()
    screen: _Plain | _Table | _Silent | None = None

    def listener(transition: Transition) -> None:
        if screen is not None:
            screen.tell(transition)

    run = prepare(listener=listener)
    if as_json:
        screen = _Silent()
    else:
        screen = _Table(run.record) if stdout().isatty() else _Plain(run.record)
    run.driver.listeners.waits = screen.waits
    interrupts = _Interrupts(run, screen, on_interrupt or ("ask" if sys.stdin.isatty() else "leave"))
    try:
        with interrupts, screen:
            record = run.driver.run()
    finally:
        screen.close()
    if interrupts.left and not record.state.ended:
        if as_json:
            print(json.dumps(record.summary(), indent=1))
        _say_what_goes_on(record)
        return errors.INTERRUPTED
    if as_json:
        print(json.dumps({**record.summary(), "files": files_of(run.plan, record)}, indent=1))
    else:
        _say_how_it_ended(run, record, screen.ended if isinstance(screen, _Plain) else set())
    return record.state.exit_code


class _Silent:
    def tell(self, transition: Transition) -> None: ...

    def waits(self, attempt: AttemptRecord) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def pause(self) -> None: ...

    def go_on(self) -> None: ...


class _Plain(_Silent):
    """Lines: time, job, state, and what there is to say."""

    def __init__(self, record: RunRecord) -> None:
        self.record, self.outlet = record, Outlet()
        self.said: dict[str, float] = {}  # when it was last said why a job waits; by platform, that it is away
        self.away: set[str] = set()
        self.ended: set[str] = set()  # jobs whose end was printed

    def __enter__(self) -> None:
        self.outlet.line(f"run {self.record.run_id}: {counted(len(self.record.jobs), 'job')}")
        for words in inputs_shown(self.record):
            self.outlet.line(words)

    def close(self) -> None:
        self.outlet.close()

    def tell(self, transition: Transition) -> None:
        if transition.state in (JobState.SUBMITTING, JobState.QUEUED):
            if transition.reason and transition.attempt is not None:
                self.waits(self.record.jobs[transition.job].attempts[transition.attempt - 1])
            return
        if transition.state.ended:
            self.ended.add(transition.job)
        number = f" (attempt {transition.attempt})" if (transition.attempt or 1) > 1 else ""
        took = ""
        if transition.attempt is not None and transition.state.ended:
            attempt = self.record.jobs[transition.job].attempts[transition.attempt - 1]
            took = f" after {duration(attempt.started_at, attempt.ended_at)}" if attempt.started_at else ""
        words = f": {transition.reason}" if transition.reason else ""
        self.outlet.line(f"{clock(transition.time)} {transition.job} {transition.state}{number}{took}{words}")

    def waits(self, attempt: AttemptRecord) -> None:
        """Why it does not go on; at most once a minute for a job, or for a platform that does not answer."""
        platform = self.record.jobs[attempt.job].platform
        if attempt.unreachable:
            self.away.add(platform)
            self._say(f"platform {platform}", f"platform {platform} does not answer: {attempt.reason}")
        elif platform in self.away:
            self.away.discard(platform)
            self.outlet.line(f"{clock(time.time())} platform {platform} answers again")
        elif attempt.reason and not attempt.state.ended:
            self._say(attempt.job, f"{attempt.job} {attempt.state}: {attempt.reason}")

    def _say(self, of: str, words: str) -> None:
        now = time.monotonic()
        if now - self.said.get(of, -REPEAT) >= REPEAT:
            self.said[of] = now
            self.outlet.line(f"{clock(time.time())} {words}")


class _Table(_Silent):
    """A table that is drawn again while the run goes on."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    def __enter__(self) -> None:
        from rich.live import Live

        record, now = self.record, Clock(self.record.folder).now

        class Drawn:
            def __rich_console__(self, console: Any, options: Any) -> Any:
                return run_table(record, now(), options.max_width)

        print(f"run {self.record.run_id}")
        for words in inputs_shown(self.record):
            print(one_line(words))
        self.live = Live(Drawn(), console=console(), refresh_per_second=4, redirect_stdout=False, redirect_stderr=False)
        self.live.start()

    def __exit__(self, *_: object) -> None:
        # What stays on the screen is printed again: a table that is redrawn must break lines that are too long.
        self.live.transient = True
        self.live.stop()
        print_lines(run_table(self.record, Clock(self.record.folder).now(), self.live.console.width))

    def pause(self) -> None:
        self.live.stop()

    def go_on(self) -> None:
        self.live.start()


class _Interrupts:
    """The handlers of SIGINT, SIGTERM and SIGHUP while a run goes on."""

    def __init__(self, run: Run, screen: _Silent, way: str) -> None:
        self.run, self.screen, self.way = run, screen, way
        self.left = False
        self.stopping = 0
        self._before: dict[int, Any] = {}
        self._pipe = (-1, -1)
        self._wakeup_before = -1
        self._waker = threading.Thread(target=self._wake, daemon=True, name="aiflow-signals")

    def __enter__(self) -> None:
        # A signal that comes just as the driver begins to poll would only set a flag: its handler runs once a thread
        # has woken the driver's loop.
        self._pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe[1], False)
        self._waker.start()
        self._wakeup_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: the run is to outlive the terminal
            self._before[number] = signal.signal(number, self._on_signal)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.write(self._pipe[1], b"\0")
        self._waker.join()
        for descriptor in self._pipe:
            os.close(descriptor)

    def _wake(self) -> None:
        while 0 not in os.read(self._pipe[0], 64):  # numbers of signals; no EOF, as a forked process may hold a copy
            self.run.driver.look_at_requests()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            self.stopping += 1
            if self.stopping > 2:  # a call into a platform that does not return keeps a job from being ended
                self.left = True
                self._say("letting go of the jobs that are left")
                self.run.driver.leave()
                return
            self._say("ending the jobs that are left, at once; once more to let go of them")
            self.run.driver.stop(grace=0.0)
            return
        way = self.way
        if number != signal.SIGINT and way == "ask":
            way = "leave"  # there is no user to ask
        if way == "ask":
            way = self._ask()
        if way == "stop":
            self.stopping = 1
            self._say("stopping every job; once more to end them at once")
            self.run.driver.stop()
        elif way == "leave":
            self.left = True
            self.run.driver.leave()

    def _ask(self) -> str:
        """Ask what to do; a second Ctrl-C is an answer too: stop."""
        self.screen.pause()
        # A signal between the question and the read would only set a flag, and be lost: wait for both.
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGINT, lambda *_: None)
        before = signal.set_wakeup_fd(wake)
        try:
            with contextlib.suppress(OSError):
                os.write(sys.stderr.fileno(), b"\n[s]top the jobs, [l]eave them running, or [c]ontinue? ")
            ready, _, _ = select.select([woken, sys.stdin], [], [])
            answer = b"s" if woken in ready else os.read(sys.stdin.fileno(), 100) or b"l"
        finally:
            signal.set_wakeup_fd(before)
            signal.signal(signal.SIGINT, self._on_signal)
            os.close(woken)
            os.close(wake)
            self.screen.go_on()
        return {b"s": "stop", b"l": "leave"}.get(answer.strip()[:1].lower(), "continue")

    def _say(self, words: str) -> None:
        with contextlib.suppress(OSError):  # print is not re-entrant, and a handler may interrupt it
            os.write(sys.stderr.fileno(), f"{words}\n".encode())


def _say_what_goes_on(record: RunRecord) -> None:
    going = [job for job in record.jobs.values() if job.last is not None and not job.state.ended]
    if going:
        print(one_line(f"left running: {', '.join(job.name for job in going)}"), file=sys.stderr)
    print(f"go on with it: aiflow-ext resume {record.run_id}", file=sys.stderr)


def _say_how_it_ended(run: Run, record: RunRecord, told: set[str]) -> None:
    """``told``: jobs whose end was printed as a line; for a job without logs that line says everything."""
    bad = [job for job in record.jobs.values() if job.state.failed]
    for job in bad[:MOST_TOLD]:
        last = job.last
        has_logs = last is not None and os.path.exists(os.path.join(last.folder, "stdout"))
        if not has_logs and job.name in told:
            continue
        reason = last.reason if last else job.reason
        print(f"\n{one_line(job.name)} {job.state}: {indented(reason or '')}")
        if last is not None and has_logs:
            for line in _tail(os.path.join(last.folder, "stderr")):
                print(f"    {line}")
            print(f"    logs: {_nearer(os.path.join(last.folder, 'stdout'))}, stderr")
    if len(bad) > MOST_TOLD:
        print(f"\nand {counted(len(bad) - MOST_TOLD, 'more job')}: aiflow-ext status {record.run_id}")
    files = files_of(run.plan, record)
    for found in files:
        kind = " (a folder)" if found["form"] == "folder" else ""
        print(one_line(f"{found['job']} wrote {_nearer(found['path'])}{kind}"))
    if local_path(run.plan.desc.artifacts) is None:
        print(one_line(f"its artifacts are below {artifacts_of(run.plan, record)}"))
    if any(job.state is JobState.LOST for job in bad):
        print(
            "LOST: the platform cannot tell how the job ended. It may have done its work. Look at what it has written, "
            f"then run it again and go on: aiflow-ext resume {record.run_id} --failed"
        )
    took = duration(record.started_at, record.ended_at)
    print(f"run {record.run_id} {record.state} in {took}; its folder is {_nearer(record.folder)}")


def _tail(path: str, lines: int = 10, width: int = 500) -> list[str]:
    """The last lines of a log, whatever bytes it holds; of a longer line its last ``width`` characters."""
    try:
        text = read_regular(path, 8192, max(0, os.path.getsize(path) - 8192)).decode("utf-8", "replace")
    except OSError:
        return []
    last = text.removesuffix("\n").split("\n")[-lines:]
    return [one_line(line if len(line) <= width else f"...{line[-width:]}") for line in last]


def _nearer(path: str) -> str:
    if local_path(path) is None:
        return path
    try:
        near = os.path.relpath(path)
    except FileNotFoundError:  # the folder that this process is in was removed
        near = path
    return path_shown(path if near.startswith("..") else near)
