"""One platform as the driver sees it: calls made one after another, and one watch for all attempts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from aiflow_ext.model.attempt import AttemptEvent
from aiflow_ext.model.errors import AiflowError
from aiflow_ext.run.silence import Silent

if TYPE_CHECKING:
    from aiflow_ext.model.job import AbstractJobHandler
    from aiflow_ext.run.launch import Launcher

_log = logging.getLogger("aiflow_ext")


class LiveIds:
    """The native ids of a platform's attempts that have not ended: grows and shrinks while a watch reads it."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, native_id: object) -> bool:
        return native_id in self._ids

    def __iter__(self) -> Any:
        return iter(list(self._ids))

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, native_id: str) -> None:
        self._ids[native_id] = None

    def discard(self, native_id: str) -> None:
        self._ids.pop(native_id, None)


class PlatformThread:
    """Calls into one platform's plugins, in order, apart from every other platform's; and its events.

    Args:
        launcher: any of the platform's launchers; its watch serves all of them.
        post: called with each AttemptEvent, and with ``(native_id, unreachable, words)`` where there is no answer.
        fail: called with what a call raised, which none may: nobody would notice otherwise, and wait for ever.
    """

    def __init__(self, launcher: Launcher, post: Callable[[Any], None], fail: Callable[[BaseException], None]) -> None:
        self.launcher, self.post, self.fail = launcher, post, fail
        self.live = LiveIds()
        self.handlers: dict[str, AbstractJobHandler] = {}
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ending = threading.Event()
        self._watching = False
        self._caller = threading.Thread(target=self._call, daemon=True, name="aiflow-calls")
        self._caller.start()

    def call(self, function: Callable[[], None]) -> None:
        """Have ``function`` called after the calls before it. It must not raise."""
        self._calls.put(function)

    def follow(self, native_id: str) -> None:
        """From now on, tell of this attempt."""
        self.live.add(native_id)
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, daemon=True, name="aiflow-watch").start()

    def close(self, timeout: float = 5.0) -> None:
        """Finish the calls that wait, and tell of nothing more."""
        self._ending.set()
        self._calls.put(None)
        self._caller.join(timeout)

    def _call(self) -> None:
        while (function := self._calls.get()) is not None:
            try:
                function()
            except BaseException as error:
                self.fail(error)

    def _watch(self) -> None:
        since: str | None = None
        pause, silent = 0.2, False
        while not self._ending.is_set():
            try:
                events = self.launcher.watch(self.live, since)
                if events is None:
                    self._poll()
                    return
                for event in events:
                    if self._ending.is_set():
                        return
                    if silent:
                        silent = False
                        for native_id in self.live:
                            self.post((native_id, False, ""))
                    if isinstance(event, Silent):
                        self.post((event.native_id, event.words is not None, event.words or ""))
                    elif event is not None:
                        since, pause = event.cursor or since, 0.2
                        self.post(event)
            except Exception as error:
                _log.debug("watch broke off", exc_info=True)
                silent = True
                words = str(error) if isinstance(error, AiflowError) else f"{type(error).__name__}: {error}"
                for native_id in self.live:
                    self.post((native_id, True, words))
            self._ending.wait(pause)  # a watch that ends at once must not spin
            pause = min(pause * 2, 10.0)

    def _poll(self) -> None:
        """Ask the handlers of a platform that has no watch, less often while nothing changes."""
        pause = 0.2
        while not self._ending.wait(pause):
            pause = min(pause * 1.3, 5.0)
            for native_id in self.live:
                handler = self.handlers.get(native_id)
                if handler is None:
                    continue
                try:
                    state = handler.state()
                except Exception as error:
                    self.post((native_id, True, f"{type(error).__name__}: {error}"))
                    continue
                if state is not None:
                    if state.ended:
                        pause = 0.2
                    self.post(AttemptEvent(native_id, state))
