"""A run as plain lines, one for each transition: what is shown where there is no terminal."""

from __future__ import annotations

import time

from aiflow_ext.cli.outlet import Outlet
from aiflow_ext.cli.show import clock, counted, duration, inputs_shown
from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.records import AttemptRecord, RunRecord, Transition

REPEAT = 60.0  # seconds before the same job's waiting is worth another line


class Silent:
    """Nothing is shown."""

    def tell(self, transition: Transition) -> None: ...

    def waits(self, attempt: AttemptRecord) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def pause(self) -> None: ...

    def go_on(self) -> None: ...

    def abandon(self) -> None: ...


class PlainLines(Silent):
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
            self._say(words if attempt.ready_at is None else f"{words} ready", f"{words}: {attempt.reason}")

    def _say(self, of: str, words: str) -> None:
        now = time.monotonic()
        if now - self.said.get(of, -REPEAT) >= REPEAT:
            self.said[of] = now
            self.outlet.line(f"{clock(time.time())} {words}")
