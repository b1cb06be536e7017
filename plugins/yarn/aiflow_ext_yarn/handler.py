"""The handler of an application: plain data, usable in any process."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractJobHandler, JobState
from aiflow_ext.plugin.engines import Backoff, poll
from aiflow_ext_yarn import poll_hints
from aiflow_ext_yarn.application import Application
from aiflow_ext_yarn.http_failures import Unreachable


class YarnHandler(AbstractJobHandler):
    """The handler of an application: plain data, usable in any process."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def state(self) -> JobState | None:
        """The attempt's state. Raises PlatformError if the cluster cannot be reached."""
        event = self.application.event(self.application.rm.report(self.application.native_id))
        return JobState.SUBMITTING if event is None else event.state

    def wait(self, timeout: float | None = None) -> JobState | None:
        """Polls with growing pauses; waits for a cluster that cannot be reached."""
        state: JobState | None = None
        away: Unreachable | None = None
        for _ in poll(timeout, Backoff(0.1, 3.0, 1.2)):
            try:
                state, away = self.state(), None
            except Unreachable as error:
                away = error
            if state is not None and state.ended:
                return state
        if away is not None:
            raise away
        return state

    def logs(self, stream: str = "stdout", offset: int = 0) -> bytes | None:
        return self.application.logs(stream, offset)

    def stop(self, grace: float = 10.0) -> bool | None:
        try:
            self.application.stop(grace)
        finally:
            poll_hints.stopped()
        return True
