"""A run followed to its end: a live table on a terminal, a plain line for each transition elsewhere."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from aiflow_ext.cli import signals
from aiflow_ext.cli.escape import one_line
from aiflow_ext.cli.lines import PlainLines, Silent
from aiflow_ext.cli.output import console, keep_exit_code, print, stdout
from aiflow_ext.cli.run_end import say_how_it_ended
from aiflow_ext.cli.show import inputs_shown, print_lines, run_table
from aiflow_ext.model import errors
from aiflow_ext.run.driving.attempt import GRACE
from aiflow_ext.run.operations.outputs import files_of
from aiflow_ext.run.operations.start import Run
from aiflow_ext.run.store.records import RunRecord, Transition
from aiflow_ext.supervise.clock import Clock


def follow(prepare: Callable[..., Run], *, on_interrupt: str | None, as_json: bool) -> int:
    """Drive the run that ``prepare(listener=...)`` makes ready, show it, and return the exit code."""
    keep_exit_code()
    screen: PlainLines | _Table | Silent | None = None

    def listener(transition: Transition) -> None:
        if screen is not None:
            screen.tell(transition)

    run = prepare(listener=listener)
    if as_json:
        screen = Silent()
    else:
        screen = _Table(run.record) if stdout().isatty() else PlainLines(run.record)
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
        say_how_it_ended(run.plan, record, screen.ended if isinstance(screen, PlainLines) else set())
    return record.state.exit_code


class _Table(Silent):
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

    def __init__(self, run: Run, screen: Silent, way: str, *, as_json: bool) -> None:
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
