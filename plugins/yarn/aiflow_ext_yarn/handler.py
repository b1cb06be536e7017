"""The handler of an application: plain data, usable in any process."""

from __future__ import annotations

import time

from aiflow_ext.plugin import AbstractJobHandler, JobState
from aiflow_ext_yarn import poll_hints
from aiflow_ext_yarn.application import Application
from aiflow_ext_yarn.http import Unreachable


class YarnHandler(AbstractJobHandler):
    """The handler of an application: plain data, usable in any process."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def state(self) -> JobState | None:
        """The attempt's state. Raises PlatformError if the cluster cannot be reached."""
        event = self.application.event(self.application.rm.report(self.application.native_id))
        return JobState.SUBMITTING if event is None else event.state

    def wait(self, timeout: float | None = None) -> JobState | None:
        """Poll with growing pauses; waits for a cluster that cannot be reached."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, state = 0.1, None
        while True:
            try:
                state = self.state()
            except Unreachable:
                if deadline is not None and time.monotonic() > deadline:
                    raise
            if state is not None and state.ended:
                return state
            left = float("inf") if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return state
            time.sleep(min(pause, left))
            pause = min(pause * 1.2, 3.0)

    def logs(self, stream: str = "stdout", offset: int = 0) -> bytes | None:
        return self.application.logs(stream, offset)

    def stop(self, grace: float = 10.0) -> bool | None:
        try:
            self.application.stop(grace)
        finally:
            poll_hints.stopped()
        return True
