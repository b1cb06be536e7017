"""Whether an attempt that has ended is followed by another one, and when."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

from aiflow_ext.model.config import BaseJobConfig, RetryDelay
from aiflow_ext.run.store.records import AttemptRecord, JobRecord

MOST_PAUSE = 60.0  # seconds between two attempts that a platform's disruptions follow each other in


class Retries:
    """The retries of a run's jobs, and how many each has used up."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def recall(self, job: str, followed: Iterable[AttemptRecord]) -> None:
        """Count what earlier drivers have used up: ``followed`` are the attempts after which another one came."""
        self._used[job] = sum(each.state.failed and not each.disruption for each in followed)

    def open(self, attempt: AttemptRecord) -> bool:
        """Whether it is a question, for the extensions and the config, if another attempt follows."""
        return attempt.state.failed and not attempt.disruption and not attempt.refused

    def delay(self, job: JobRecord, attempt: AttemptRecord, config: BaseJobConfig) -> float | None:
        """Seconds until the next attempt of ``job``, whose ``attempt`` has ended; None where there is none."""
        if not attempt.state.failed or attempt.refused:
            return None
        if attempt.disruption:  # not the job's failure: costs no retry; but one after the other is paced
            row = sum(1 for _ in itertools.takewhile(lambda each: each.disruption, reversed(job.attempts)))
            return 0.0 if row == 1 else min(2.0 ** (row - 2), MOST_PAUSE)
        why = "timeout" if attempt.timed_out else str(attempt.state).lower()
        used = self._used.get(job.name, 0)
        if why not in config.retry_on or used >= config.retries:
            return None
        self._used[job.name] = used + 1
        return _seconds(config.retry_delay, used)


def _seconds(delay: float | RetryDelay, used: int) -> float:
    """How long to wait after so many retries; one that grows is drawn from its last fifth, so that jobs that failed
    together are not tried again together."""
    if not isinstance(delay, RetryDelay):
        return delay
    try:
        grown = min(delay.first * delay.factor**used, delay.max)
    except OverflowError:
        grown = delay.max
    return grown * random.uniform(0.8, 1.0)
