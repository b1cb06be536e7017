"""A platform that answers at once: its calls and its events in the driver's own thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from aiflow_ext.model.errors import PlatformError, said_by
from aiflow_ext.model.watch import PollableWatch, StartingWatch
from aiflow_ext.run.planning.job_views import LiveJobs
from aiflow_ext.run.platforms.platform_events import PlatformEvent, Unreachable, checked

if TYPE_CHECKING:
    from aiflow_ext.model.job import AbstractJobHandler, BaseJob
    from aiflow_ext.run.driving.inbox import Inbox
    from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter

_log = logging.getLogger("aiflow_ext")
BEAT = 1.0  # seconds after which its events are read although its descriptor is not readable


class InlinePlatform:
    """The same as :class:`PlatformThread` without threads, for adapters with ``answers_at_once``.

    Args:
        adapter: any of the platform's adapters; its watch, which can be polled, serves all of them.
        tell: called with each event.
        inbox: the driver's tasks.
    """

    def __init__(self, adapter: PluginAdapter, tell: Callable[[PlatformEvent], None], inbox: Inbox) -> None:
        self.adapter, self._tell, self._inbox = adapter, tell, inbox
        self.live = LiveJobs()
        self.handlers: dict[str, AbstractJobHandler] = {}
        self._events: PollableWatch | None = None
        self._starting: StartingWatch | None = None  # the same, where it can start what was submitted
        self._descriptor = -1
        self._since: str | None = None
        self._following = False

    def call(self, attempt: Hashable, function: Callable[[], None], *, may_wait: bool = False) -> None:
        """Call ``function`` after earlier calls, of any attempt. It must not raise."""
        self._inbox.put(function)

    def follow(self, native_id: str, job: BaseJob) -> None:
        """Report the events of this attempt from now on."""
        self.live.add(native_id, lambda: job)
        if not self._following:
            self._following = True
            self._beat()

    @property
    def holds(self) -> bool:
        """Whether the platform itself can start an attempt when another one ends."""
        return self._starting is not None

    def hold(self, beside: int | None) -> bool:
        """Let attempts that are submitted next start once at most so many others run (None: at once). False if the
        platform cannot."""
        if self._starting is None:
            return beside is None
        self._starting.hold(beside)
        return True

    def recall(self) -> None:
        """Make the platform forget the attempts that it holds."""
        if self._starting is not None:
            self._starting.recall()

    def close(self, deadline: float = 0.0) -> None:
        """Report nothing more. No call is queued, so that ``deadline`` does not matter."""
        if self._events is not None:
            self._inbox.remove_reader(self._descriptor)
            self._events.close()
            self._events = self._starting = None
        self._following = False

    def _beat(self) -> None:
        if self._following:
            self._look()
            self._inbox.later(BEAT, self._beat)

    def _look(self) -> None:
        """Report the events that the watch has now."""
        try:
            if self._events is None and len(self.live):
                events = self._events = _pollable(self.adapter.watch(self.live, self._since))
                self._starting = events if isinstance(events, StartingWatch) else None
                events.setblocking(False)
                self._descriptor = events.fileno()
                self._inbox.add_reader(self._descriptor, self._look)
            for event in map(checked, self._events or ()):
                if event is None:
                    return
                self._since = event.cursor or self._since
                self._tell(event)
        except Exception as error:
            _log.debug("watch broke off", exc_info=True)
            words = said_by(error)
            for native_id in self.live:
                self._tell(Unreachable(native_id, words))
        # It has failed or ended; the next tick opens another.
        following = self._following
        self.close()
        self._following = following


def _pollable(events: Any) -> PollableWatch:
    """``events``, checked. Raises PlatformError."""
    if isinstance(events, PollableWatch):
        return events
    lacking = [name for name in ("__next__", "fileno", "setblocking", "close") if not hasattr(events, name)]
    raise PlatformError(
        f"watch returned a {type(events).__name__} without {', '.join(lacking)}: on a platform with answers_at_once it "
        "returns an aiflow_ext.plugin.PollableWatch"
    )
