"""A run followed to its end: a live table on a terminal, a plain line for each transition elsewhere."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from aiflow_ext.cli import signals
from aiflow_ext.cli.escape import indented, one_line
from aiflow_ext.cli.outlet import Outlet
from aiflow_ext.cli.output import console, keep_exit_code, print, stdout
from aiflow_ext.cli.show import clock, counted, duration, inputs_shown, print_lines, run_table
from aiflow_ext.model import errors
from aiflow_ext.model.names import container_log, local_path, path_shown
from aiflow_ext.model.states import JobState
from aiflow_ext.regular_file import read_regular
from aiflow_ext.run.driving.attempt import GRACE
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
    interrupts = _Interrupts(run, screen, on_interrupt or ("ask" if sys.stdin.isatty() else "leave"),
                             as_json=as_json)  # fmt: skip
    with interrupts:
        try:
            with screen:
                record = run.drive()
        finally:
            screen.close()
    if interrupts.left and not record.state.ended:
        if as_json:
            print(json.dumps(record.summary(), indent=1))
        for words in _what_goes_on(record):
            print(one_line(words), file=sys.stderr)
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

    def abandon(self) -> None: ...


class _Plain(_Silent):
    """Lines: time, job, state, and what there is to say."""

    def __init__(self, record: RunRecord) -> None:
        self.record, self.outlet = record, Outlet()
        self.said: dict[str, float] = {}  # when it was last said why a job waits, or that its platform is away
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
        """Why it does not go on; at most once a minute for a job in the same state, or for a silent platform."""
        platform = self.record.jobs[attempt.job].platform
        if attempt.unreachable:
            self.away.add(platform)
            self._say(f"platform {platform}", f"platform {platform} does not answer: {attempt.reason}")
        elif platform in self.away:
            self.away.discard(platform)
            self.outlet.line(f"{clock(time.time())} platform {platform} answers again")
        elif attempt.reason and not attempt.state.ended:
            words = f"{attempt.job} {attempt.state}"
            self._say(words, f"{words}: {attempt.reason}")

    def _say(self, of: str, words: str) -> None:
        now = time.monotonic()
        if now - self.said.get(of, -REPEAT) >= REPEAT:
            self.said[of] = now
            self.outlet.line(f"{clock(time.time())} {words}")


class _Table(_Silent):
    """A table that is drawn again while the run goes on."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self._changing = threading.Lock()  # signals are answered in a thread of their own
        self._ended = False

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
        with self._changing:
            self._ended = True
            self.live.transient = True
            self.live.stop()
        print_lines(run_table(self.record, Clock(self.record.folder).now(), self.live.console.width))

    def pause(self) -> None:
        with self._changing:
            self.live.stop()

    def go_on(self) -> None:
        with self._changing:
            if not self._ended:
                self.live.start()

    def abandon(self) -> None:
        signals.write(stdout().fileno(), b"\n\x1b[?25h")  # the cursor is hidden while the table is drawn


class _Interrupts:
    """The answers to SIGINT, SIGTERM and SIGHUP while a run goes on; called in the thread of ``signals``."""

    def __init__(self, run: Run, screen: _Silent, way: str, *, as_json: bool) -> None:
        self.run, self.screen, self.way, self.as_json = run, screen, way, as_json
        self.left = False
        self.stopping = 0
        self._asked = 0  # how often the driver was asked to stop the run
        self._is_late = False  # whether it has not begun with that in time

    def __enter__(self) -> None:
        signals.answer_by(self._answer, self._farewell)

    def __exit__(self, *_: object) -> None:
        signals.answer_as_before()

    def _answer(self, number: int) -> Callable[[], None] | None:
        if self.left or self.run.record.ended_at is not None:
            return self._leave()
        if self.stopping:
            self.stopping += 1
            if self._is_late or self.stopping > 2:  # a platform's call that does not return keeps a job from its end
                signals.say("letting go of the jobs that are left")
                return self._leave()
            signals.say("ending the jobs that are left, at once; once more to let go of them")
            return self._stop(0.0)
        way = self.way
        if number != signal.SIGINT and way == "ask":
            way = "leave"  # there is no user to ask
        if way == "ask":
            way = self._ask()
        if way == "stop":
            self.stopping = 1
            signals.say("stopping every job; once more to end them at once")
            return self._stop()
        return self._leave() if way == "leave" else None

    def _leave(self) -> Callable[[], None]:
        self.left = True
        self.run.driver.leave()
        return signals.end

    def _stop(self, grace: float = GRACE) -> Callable[[], None]:
        self._asked += 1
        self.run.driver.stop(grace)
        return self._look_again

    def _look_again(self) -> None:
        """Report a driver that has not begun with what it was asked for."""
        if self.run.driver.end_requests < self._asked:
            self._is_late = True
            signals.say(f"the driver has not answered yet: {_still()}; once more to let go of the run")

    def _ask(self) -> str:
        """Ask what to do; a second Ctrl-C is an answer too: stop."""
        self.screen.pause()
        try:
            signals.write(2, b"\n[s]top the jobs, [l]eave them running, or [c]ontinue? ")
            number = sys.stdin.fileno()
            if (came := signals.wait_for_input(number)) is not None:
                return "stop" if came == signal.SIGINT else "leave"
            answer = os.read(number, 100) or b"l"
        finally:
            self.screen.go_on()
        return {b"s": "stop", b"l": "leave"}.get(answer.strip()[:1].lower(), "continue")

    def _farewell(self) -> int:
        """Report what goes on without the driver, which is in a call that has not returned."""
        record = self.run.record
        self.screen.abandon()
        if record.state.ended:
            return record.state.exit_code
        signals.say(f"letting go of the run: {_still()}")
        for words in _what_goes_on(record):
            signals.say(words)
        if self.as_json:
            signals.write(stdout().fileno(), f"{json.dumps(record.summary(), indent=1)}\n".encode())
        return errors.INTERRUPTED


def _still() -> str:
    """What delays the driver."""
    where = signals.place()
    return f"the driver is still in {where}" if where else "the driver is still busy"


def _what_goes_on(record: RunRecord) -> list[str]:
    going = [job.name for job in record.jobs.values() if job.last is not None and not job.state.ended]
    words = [f"left running: {', '.join(going)}"] if going else []
    return [*words, f"go on with it: aiflow-ext resume {record.run_id}"]


def _say_how_it_ended(run: Run, record: RunRecord, printed: set[str]) -> None:
    """``printed``: jobs whose end was printed as a line; for a job without logs that line says everything."""
    bad = [job for job in record.jobs.values() if job.state.failed]
    for job in bad[:MOST_TOLD]:
        last = job.last
        has_logs = last is not None and os.path.exists(os.path.join(last.folder, "stdout"))
        if not has_logs and job.name in printed:
            continue
        reason = last.reason if last else job.reason
        print(f"\n{one_line(job.name)} {job.state}: {indented(reason or '')}")
        if last is not None and has_logs:
            from aiflow_ext.run.operations.logs import kept_containers

            for line in _tail(os.path.join(last.folder, "stderr")):
                print(f"    {line}")
            beside = "".join(f", {container_log(name)}" for name in kept_containers(last))
            print(one_line(f"    logs: {_nearer(os.path.join(last.folder, 'stdout'))}, stderr{beside}"))
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
