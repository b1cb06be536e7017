"""The child process in which a nine-methods plugin runs one attempt, from its resources to its cleanup.

Returning from ``submit_job`` means FINISHED, raising means FAILED, unless the handler knows more (``outcome``). SIGTERM
makes it call ``stop_job`` with the same job on the same plugin, and then the handler's ``stop``, if its author wrote
one; a second SIGTERM interrupts the plugin's method that is running. A method that raises UnreachableError is called
again. Its exit code is the attempt's outcome, its ``reason`` file the message, and its ``cleaned`` file says that
``cleanup_job`` was called.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pluggy

import aiflow_ext
from aiflow_ext.host.fit import refuse_awaitable
from aiflow_ext.host.guard import FILE
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model.errors import AiflowError, UnreachableError, named, text_of
from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.regular_file import write_regular
from aiflow_ext.run.planning.generate import generate_job
from aiflow_ext.run.platforms.attempt_spec import (
    CLEANED,
    CLEANUP_LIMIT,
    CLEANUP_PATIENCE,
    UNCLEAN,
    AttemptSpec,
    stop_grace,
)
from aiflow_ext.run.platforms.handler_logs import HandlerLogs
from aiflow_ext.run.platforms.outcome import Outcome, failure, outcome_of, own, running, takes
from aiflow_ext.run.platforms.silence import STOPS, Silence

T = TypeVar("T")
STOPPED = 143


class _BrokenOff(BaseException):
    """Raised inside an author's method to interrupt it."""


def main(folder: str, *, only_cleanup: bool = False) -> int:
    """Run the attempt whose spec is in ``folder``; returns the exit code.

    Args:
        folder: the attempt's folder.
        only_cleanup: call only ``cleanup_job``, after a host that was killed before it could.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an author's output must not fail because of its encoding
            stream.reconfigure(errors="backslashreplace")
    host = _AttemptHost(Path(folder))
    try:
        return host.cleanup_alone() if only_cleanup else host.run()
    except AiflowError as error:
        if only_cleanup:
            raise
        outcome = Outcome(1, text_of(error))
    except _BrokenOff:
        outcome = Outcome(STOPPED)
    except (Exception, SystemExit) as error:
        _print_traceback(error)
        outcome = failure("the plugin", error)
    if host.job is None:
        host.mark_cleaned()
    return host.note(outcome)


class _AttemptHost:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugin: ResolvedPlugin | None = None
        self.job: BaseJob | None = None
        self.handler: Any = None
        self.stopping = threading.Event()
        self._over = threading.Event()  # there is nothing left to stop
        self._silence = Silence(folder)
        self._unanswered: set[str] = set()  # steps that got no answer at least once
        self._pid = os.getpid()
        self._told = 0
        self._submitting = False
        self._breakable = True
        self._changing = threading.Lock()
        self._stopper = self._listen()

    def run(self) -> int:
        plugin, job = self._make()
        outcome = self._attempt(plugin, job)
        self._breakable = False
        code = self.note(Outcome(STOPPED) if self.stopping.is_set() else outcome)
        self._cleanup(plugin, job)
        return code

    def cleanup_alone(self) -> int:
        return 0 if self._cleanup(*self._make(), patience=0.0) else UNCLEAN

    def note(self, outcome: Outcome) -> int:
        """Record the outcome's message and return its code."""
        if outcome.words:
            with contextlib.suppress(OSError):
                write_regular(self.folder / "reason", outcome.words[:2000].encode("utf-8", "backslashreplace"))
        return outcome.code

    def _make(self) -> tuple[ResolvedPlugin, BaseJob]:
        spec = AttemptSpec(self.folder)
        plugin = self.plugin = spec.resolve()
        sub_graph, project, context = spec.sub_graph(), spec.project(), spec.context()
        job = self.job = self._ask("generate", lambda: generate_job(plugin, sub_graph, project, context))
        return plugin, job

    def _attempt(self, plugin: ResolvedPlugin, job: BaseJob) -> Outcome:
        step = "generate_job_resource"
        try:
            self._ask(step, lambda: plugin.hook.generate_job_resource(job=job))
            before = running(plugin.plugin, job)
            with self._changing:
                if self.stopping.is_set():
                    return Outcome(STOPPED)
                self._submitting = True
            step = "submit_job"
            handler = self.handler = self._ask(step, lambda: plugin.hook.submit_job(job=job))
            self._leave_fork(None)
            step = "the handler"
            started = [each for each in running(plugin.plugin, job, handler) if each not in before]
            logs = HandlerLogs(handler)
            try:
                outcome = outcome_of(handler, started, self.stopping, self._stop_again, self._silence)
            except _BrokenOff:
                logs.finish(1.0)
                raise
            finally:
                logs.finish()
        except _BrokenOff:
            outcome = Outcome(STOPPED)
        except BaseException as error:
            self._leave_fork(error)
            if not self.stopping.is_set() and not (isinstance(error, SystemExit) and error.code in (None, 0)):
                _print_traceback(error)
            outcome = failure(step, error)
            # A job that was started, or may have been by a call that got no answer, is stopped.
            doubt = step == "the handler" or (step == "submit_job" and step in self._unanswered)
            outcome = outcome._replace(open=doubt and outcome.code != 0)
        with contextlib.suppress(_BrokenOff):
            if outcome.open and not self.stopping.is_set():
                self._stop_what_failed()
            if not outcome.open:
                self._over.set()
            with self._changing:
                self._submitting = False
            if self.stopping.is_set():
                self._stopper.join()  # cleanup_job must not overtake a stop_job
        self._over.set()
        return outcome

    def _ask(self, step: str, call: Callable[[], T]) -> T:
        """The result of a call that is retried while the platform does not answer, until the attempt is to be
        stopped."""

        def once() -> T:
            try:
                answer = call()
            except UnreachableError as error:
                self._leave_fork(error)
                self._unanswered.add(step)
                raise
            refuse_awaitable(step, answer)
            return answer

        return self._silence.ask(step, once, self.stopping)

    def _cleanup(self, plugin: ResolvedPlugin, job: BaseJob, patience: float = CLEANUP_PATIENCE) -> bool:
        """Call ``cleanup_job``; returns False if the platform does not answer: then the driver calls it again."""
        signal.signal(signal.SIGALRM, _break_off)
        signal.alarm(CLEANUP_LIMIT)
        try:
            self._silence.ask("cleanup_job", lambda: plugin.hook.cleanup_job(job=job), threading.Event(), patience)
        except UnreachableError:
            return False
        except _BrokenOff:
            print(f"aiflow-ext: cleanup_job was broken off after {CLEANUP_LIMIT} s", file=sys.stderr)
        except (Exception, SystemExit) as error:  # the outcome does not change; the error of the cleanup is in the log
            print("aiflow-ext: cleanup_job raised:", file=sys.stderr)
            _print_traceback(error)
        finally:
            signal.alarm(0)
        self.mark_cleaned()
        return True

    def mark_cleaned(self) -> None:
        """Record that no further ``cleanup_job`` is needed."""
        with contextlib.suppress(OSError):
            write_regular(self.folder / CLEANED, b"")

    def _leave_fork(self, error: BaseException | None) -> None:
        """Exit, in a child that an author's method has forked: only the parent handles the attempt."""
        if os.getpid() != self._pid:
            if error is not None and not isinstance(error, SystemExit):
                _print_traceback(error)
            os._exit(failure("", error).code if error is not None else 0)

    # -- stopping ---------------------------------------------------------------------------------------------------

    def _listen(self) -> threading.Thread:
        """Let SIGTERM call ``stop_job`` in a thread of its own: the main thread may be inside ``submit_job``."""
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(write, False)
        signal.signal(signal.SIGTERM, self._sigterm)
        # Wakes the thread at once, even if the main thread is inside a library that holds the GIL.
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        # Blocked before a fork, so that signals to the child never reach this handler in it.
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_forget)
        thread = threading.Thread(target=self._stop_when_told, args=(read,), daemon=True, name="aiflow-stop")
        thread.start()
        return thread

    def _sigterm(self, number: int, frame: FrameType | None) -> None:
        self._told += 1
        if self._told > 1 and self._breakable:
            raise _BrokenOff

    def _stop_when_told(self, read: int) -> None:
        while os.read(read, 1)[0] != signal.SIGTERM:
            pass
        with self._changing:
            self.stopping.set()
            submitting = self._submitting
        if self.job is None:
            self.mark_cleaned()
            os._exit(STOPPED)
        if submitting:
            self._stop_again()

    def _stop_again(self) -> None:
        """End the job that ``submit_job`` has started; retried while the platform does not answer."""
        for step, stop in self._stops():
            try:
                self._silence.ask(step, stop, self._over)
            except UnreachableError:
                return
            except (Exception, SystemExit) as error:
                print(f"aiflow-ext: {step} raised:", file=sys.stderr)
                _print_traceback(error)

    def _stop_what_failed(self) -> None:
        """Stop the job of an attempt that has failed and whose job may be running: nothing else would stop it later."""
        for step, stop in self._stops():
            try:
                self._silence.ask(step, stop, self.stopping)
            except UnreachableError:  # the thread that handles stops goes on with it
                return
            except (Exception, SystemExit) as error:  # the first error is in the log; this one must not hide it
                print(f"aiflow-ext: {step}, after that, raised {named(error)}", file=sys.stderr)

    def _stops(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        assert self.plugin is not None
        hook, job = self.plugin.hook, self.job
        yield STOPS[0], lambda: hook.stop_job(job=job)
        stop = own(self.handler, "stop") if isinstance(self.handler, AbstractJobHandler) else None
        if stop is not None:
            grace = stop_grace(self.folder)
            yield STOPS[1], partial(stop, grace) if takes(stop, grace) else stop


def _break_off(number: int, frame: FrameType | None) -> None:
    raise _BrokenOff


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _forget() -> None:
    """Reset signal handling, in a child that was forked without an exec."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_go()


_OURS = tuple(os.path.dirname(str(module.__file__)) + os.sep for module in (aiflow_ext, pluggy))


def _print_traceback(error: BaseException) -> None:
    """The traceback without the frames of aiflow-ext above the author's."""
    shown: traceback.TracebackException | None = traceback.TracebackException.from_exception(error)
    each = shown
    while each is not None:
        theirs = [n for n, frame in enumerate(each.stack) if not frame.filename.startswith((*_OURS, "<string>", FILE))]
        last = theirs[-1] if theirs else -1
        kept = [frame for n, frame in enumerate(each.stack) if n in theirs or n > last]
        each.stack = traceback.StackSummary.from_list(kept)
        each = each.__cause__ or each.__context__
    assert shown is not None
    print("".join(shown.format()), end="", file=sys.stderr, flush=True)
