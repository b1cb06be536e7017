"""One platform: threads for its calls, and one for the watch of all its attempts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

from aiflow_ext.model.attempt import AttemptEvent
from aiflow_ext.model.errors import named, said_by
from aiflow_ext.model.states import JobState
from aiflow_ext.run.driving.call_pool import CallPool
from aiflow_ext.run.planning.job_views import LiveJobs
from aiflow_ext.run.platforms.outcome import call, own
from aiflow_ext.run.platforms.platform_events import PlatformEvent, Reachable, Unobservable, Unreachable, checked

if TYPE_CHECKING:
    from aiflow_ext.model.job import AbstractJobHandler, BaseJob
    from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter

_log = logging.getLogger("aiflow_ext")
PATIENCE = 10.0  # seconds for which a polled handler may not know its job's state before it is reported as unreachable
_SILENT = "its handler's state() returns None, which is: cannot tell; and its plugin has no watch"
_NEVER = "its plugin has no watch, and its handler has neither state() nor wait(): its end cannot be found out"


class PlatformThread:
    """Calls one platform's plugins, independently of other platforms, and reports its events.

    Args:
        adapter: any of the platform's adapters; its watch serves all of them.
        post: called with each event, from any thread.
        fail: called with an exception of a call, which must not raise any: the driver would wait for ever.
    """

    def __init__(
        self, adapter: PluginAdapter, post: Callable[[PlatformEvent], None], fail: Callable[[BaseException], None]
    ) -> None:
        self.adapter, self.post = adapter, post
        self.live = LiveJobs()
        self.handlers: dict[str, AbstractJobHandler] = {}
        self._ending = threading.Event()
        self._watching = False
        self._beginning = threading.Lock()  # of the watch
        self._calls = CallPool(adapter.calls_at_once, fail)

    def call(self, attempt: Hashable, function: Callable[[], None], *, may_wait: bool = False) -> None:
        """Call ``function`` after the attempt's earlier calls. It must not raise.

        ``may_wait``: it may wait for long, and must not hold up others.
        """
        self._calls.put(attempt, function, may_wait=may_wait)

    def follow(self, native_id: str, job: BaseJob) -> None:
        """Report the events of this attempt from now on; for any thread."""
        self.live.add(native_id, lambda: job)
        with self._beginning:
            begun, self._watching = self._watching, True
        if not begun:
            threading.Thread(target=self._watch, daemon=True, name="aiflow-watch").start()

    def close(self, deadline: float) -> None:
        """Finish the queued calls, until ``deadline`` of ``time.monotonic()`` at most, and report nothing more."""
        self._ending.set()
        self._calls.close(deadline)

    def _watch(self) -> None:
        since: str | None = None
        pause, silent = 0.2, False
        while not self._ending.is_set():
            try:
                events = self.adapter.watch(self.live, since)
                if events is None:
                    self._poll()
                    return
                for event in map(checked, events):
                    if self._ending.is_set():
                        return
                    if silent:
                        silent = False
                        for native_id in self.live:
                            self.post(Reachable(native_id))
                    if event is not None and not isinstance(event, (Unreachable, Reachable)):
                        since, pause = event.cursor or since, 0.2
                    if event is not None:
                        self.post(event)
            except Exception as error:
                _log.debug("watch broke off", exc_info=True)
                silent = True
                words = said_by(error)
                for native_id in self.live:
                    self.post(Unreachable(native_id, words))
            self._ending.wait(pause)  # a watch that ends at once must not cause a busy loop
            pause = min(pause * 2, 10.0)

    def _poll(self) -> None:
        """Poll the handlers of a platform that has no watch, less often while nothing changes."""
        pause = 0.2
        asked: dict[str, _Asked] = {}
        while not self._ending.wait(pause):
            pause = min(pause * 1.3, 5.0)
            asked = {native_id: asked[native_id] for native_id in self.live if native_id in asked}
            for native_id in self.live:
                handler = self.handlers.get(native_id)
                if handler is None:
                    continue
                each = asked.get(native_id)
                if each is None or each.handler is not handler:
                    each = asked[native_id] = _Asked(handler)
                    if each.wait is not None:
                        threading.Thread(
                            target=self._wait, args=(native_id, each.wait), daemon=True, name="aiflow-wait"
                        ).start()
                    elif each.state is None:
                        self.post(Unobservable(native_id, _NEVER))
                if each.state is None:
                    continue
                try:
                    state = _known(each.state())
                except Exception as error:
                    self.post(Unreachable(native_id, named(error)))
                    continue
                if state is not None:
                    each.silent_since = None
                    if state.ended:
                        pause = 0.2
                    self.post(AttemptEvent(native_id, state))
                elif each.wait is None and each.has_been_silent():
                    self.post(Unreachable(native_id, _SILENT))

    def _wait(self, native_id: str, wait: Callable[[], Any]) -> None:
        """Wait for the end of an attempt whose handler has ``wait``, and maybe no ``state``."""
        pause = 0.2
        while native_id in self.live and not self._ending.is_set():
            try:
                state = _known(wait())
                if state is not None:
                    self.post(AttemptEvent(native_id, state))
                    if state.ended:
                        return
                else:
                    self.post(Unreachable(native_id, "its handler's wait() returned None, which is: cannot tell"))
            except Exception as error:
                self.post(Unreachable(native_id, named(error)))
            self._ending.wait(pause)
            pause = min(pause * 2, 10.0)


def _known(state: Any) -> JobState | None:
    """A handler's answer as a state. Raises ValueError for anything else."""
    return None if state is None else JobState(state)


class _Asked:
    """A handler that is polled, as there is no watch: the methods that its author wrote."""

    def __init__(self, handler: AbstractJobHandler) -> None:
        self.handler = handler
        self.state = handler.state if own(handler, "state") else None
        self.wait = partial(call, handler.wait) if own(handler, "wait") else None
        self.silent_since: float | None = None

    def has_been_silent(self) -> bool:
        """Whether its state() has returned None for ``PATIENCE`` seconds."""
        now = time.monotonic()
        if self.silent_since is None:
            self.silent_since = now
        return now - self.silent_since >= PATIENCE
