"""Calls the hooks of extensions that decide about a job, in threads of their own, each with a time limit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from aiflow_ext.host.extensions import Hook, call, words_of
from aiflow_ext.model.job import BaseJob
from aiflow_ext.run.driving.ended import ended_attempt
from aiflow_ext.run.driving.inbox import Inbox
from aiflow_ext.run.store.records import AttemptRecord

_log = logging.getLogger("aiflow_ext")
_NO_ANSWER = TimeoutError()


class _Question:
    """Calls one extension after another until ``settles`` says that an answer is final.

    ``done`` is called once, in the driver's thread, with the last answer: what the hook returned, an exception that it
    raised, or ``_NO_ANSWER`` if its call took too long. Nothing can end a call that hangs: its thread is abandoned, and
    a later answer is ignored.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        arguments: tuple[Any, ...],
        *,
        limit: float,
        inbox: Inbox,
        settles: Callable[[Hook, Any], bool],
        done: Callable[[Hook, Any], None],
    ) -> None:
        self._hooks, self._arguments, self._limit, self._inbox = hooks, arguments, limit, inbox
        self._settles, self._done = settles, done
        self._next = 0
        self._ask()

    def _ask(self) -> None:
        """Call the next extension; in the driver's thread."""
        number = self._next
        self._inbox.later(self._limit, lambda: self._answer(number, _NO_ANSWER))
        name = f"aiflow-{self._hooks[number].name}"
        threading.Thread(target=self._call, args=(number,), daemon=True, name=name).start()

    def _call(self, number: int) -> None:
        try:
            answer = call(self._hooks[number], *self._arguments)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: they end nothing here
            answer = error
        self._inbox.put(lambda: self._answer(number, answer))

    def _answer(self, number: int, answer: Any) -> None:
        """Take an answer; in the driver's thread."""
        if number != self._next:
            return  # it is late, or the time limit of a call that has returned
        self._next += 1
        hook = self._hooks[number]
        if self._settles(hook, answer) or self._next == len(self._hooks):
            self._next = -1
            self._done(hook, answer)
        else:
            self._ask()


def ask_before_submit(
    hooks: Sequence[Hook], job: BaseJob, *, limit: float, inbox: Inbox, done: Callable[[str | None], None]
) -> None:
    """Ask whether ``job`` may be submitted, and call ``done`` with None, or with the message of the refusal.

    The first extension that refuses decides; so does one that does not answer within ``limit`` seconds.
    """

    kept = {name: getattr(job, name) for name in ("job_context", "job_config") if hasattr(job, name)}

    def refuses(hook: Hook, answer: Any) -> bool:
        for name, value in kept.items():
            if getattr(job, name, None) is not value:  # the attempt keeps it
                setattr(job, name, value)
                _log.warning("%s: before_submit replaced the job's %s, which is put back", hook.where, name)
        if answer is not None and not isinstance(answer, BaseException):
            _log.warning(
                "%s: before_submit returned %r, which means nothing: raise to refuse a job", hook.where, answer
            )
        return isinstance(answer, BaseException)

    def answered(hook: Hook, answer: Any) -> None:
        if answer is _NO_ANSWER:
            done(f"refused by {hook.where}: it has not answered within {limit:g} s")
        elif isinstance(answer, BaseException):
            _log.debug("%s refused a job", hook.where, exc_info=answer)
            done(f"refused by {hook.where}: {words_of(answer)}")
        else:
            done(None)

    _Question(hooks, (job,), limit=limit, inbox=inbox, settles=refuses, done=answered)


def ask_should_retry(
    hooks: Sequence[Hook],
    run_id: str,
    record: AttemptRecord,
    *,
    limit: float,
    inbox: Inbox,
    done: Callable[[float | None], None],
) -> None:
    """Ask whether another attempt follows, and call ``done`` with the seconds until then; None: no extension decides.

    The first number counts. An extension that raises, returns anything else, or does not return within ``limit``
    seconds, is ignored.
    """

    def decides(hook: Hook, answer: Any) -> bool:
        if answer is _NO_ANSWER:
            _log.warning("%s: should_retry has not answered within %g s, and is passed over", hook.where, limit)
        elif isinstance(answer, BaseException):
            _log.warning("%s: should_retry raised %s", hook.where, words_of(answer), exc_info=answer)
        elif _is_delay(answer):
            return True
        elif answer is not None:
            _log.warning("%s: should_retry returned %r, which is no number of seconds", hook.where, answer)
        return False

    def decided(hook: Hook, answer: Any) -> None:
        done(float(answer) if _is_delay(answer) else None)

    _Question(
        hooks, (ended_attempt(run_id, record), record.state), limit=limit, inbox=inbox, settles=decides, done=decided
    )


def _is_delay(answer: Any) -> bool:
    return isinstance(answer, (int, float)) and not isinstance(answer, bool) and 0 <= answer < float("inf")
