"""Retries of an attempt host while its platform does not answer, visible for the run's driver.

While the platform is silent, a file in the attempt's folder says so, with the message.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

from aiflow_ext.model.errors import AiflowError, UnreachableError, named
from aiflow_ext.regular_file import read_regular, write_regular
from aiflow_ext.run.platforms.platform_events import Reachable, Unreachable

T = TypeVar("T")
FILE = "unreachable"
STOPS = ("stop_job", "the handler's stop()")  # the steps that end a job; reported first of several silent ones
FIRST, MOST = 0.25, 10.0  # seconds between two tries: at first, and at most


class Silence:
    """The steps of one attempt host that get no answer. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._lock = threading.Lock()
        self._steps: dict[str, str] = {}

    def note(self, step: str, error: BaseException | None) -> None:
        """Record the message with which ``step`` got no answer; None: it got one."""
        with self._lock:
            if error is None:
                if self._steps.pop(step, None) is None:
                    return
            else:
                words = error.message if isinstance(error, AiflowError) else named(error)
                if step not in self._steps:
                    print(f"aiflow-ext: {step}: no answer, asking again: {words}", file=sys.stderr, flush=True)
                self._steps[step] = words
            self._write()

    def ask(self, step: str, call: Callable[[], T], ending: threading.Event, patience: float = math.inf) -> T:
        """The result of ``call``, which is retried while it raises UnreachableError; raises the last one once
        ``ending`` is set, or after ``patience`` seconds."""
        pause, deadline = FIRST, time.monotonic() + patience
        while True:
            try:
                answer = call()
            except UnreachableError as error:
                self.note(step, error)
                if time.monotonic() > deadline or ending.wait(pause):
                    raise
                pause = min(pause * 2, MOST)
                continue
            except BaseException:
                self.note(step, None)
                raise
            self.note(step, None)
            return answer

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            if not self._steps:
                self._file.unlink(missing_ok=True)
                return
            step = min(self._steps, key=lambda each: each not in STOPS)
            words = self._steps[step]
            text = f"{step}: {words}"[:2000]
            part = self._file.with_name(f"{FILE}.part")
            write_regular(part, text.encode("utf-8", "backslashreplace"))
            part.replace(self._file)


def words_of(native_id: str) -> str | None:
    """The message with which the platform of an attempt does not answer; None: it answers."""
    try:
        return read_regular(os.path.join(native_id, FILE), 2000).decode("utf-8", "replace")
    except OSError:
        return None


def stop_is_silent(native_id: str) -> str | None:
    """The message of :func:`words_of` if it is a stop that gets no answer; else None."""
    words = words_of(native_id)
    return words if words is not None and words.startswith(STOPS) else None


def changes(native_ids: Collection[str], silent: set[str]) -> Iterator[Unreachable | Reachable]:
    """Unreachable for each of these attempts whose platform does not answer, every time; Reachable for each of
    ``silent`` whose platform answers again. ``silent``, their native ids, is updated."""
    for native_id in native_ids:
        words = words_of(native_id)
        if words is not None:
            silent.add(native_id)
            yield Unreachable(native_id, words)
        elif native_id in silent:
            silent.discard(native_id)
            yield Reachable(native_id)
