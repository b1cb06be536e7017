"""Whether an attempt that has ended is followed by another one, and when."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from aiflow_ext.model.config import BaseJobConfig, RetryDelay
from aiflow_ext.run.store.records import AttemptRecord, JobRecord

MOST_PAUSE = 60.0  # seconds between two attempts after repeated disruptions by the platform
MOST_NOT_BEGUN = 8  # attempts in a row that the platform ended before they ran; then no other one is made


class Retries:
    """The retries of a run's jobs, and how many each has used up."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def recall(self, job: str, followed: Iterable[AttemptRecord]) -> None:
        """Count the retries that earlier drivers have used up: ``followed`` are attempts after which another one
        came."""
        self._used[job] = sum(each.state.failed and not each.disruption for each in followed)

    def open(self, attempt: AttemptRecord) -> bool:
        """Whether extensions and the config decide if another attempt follows."""
        return attempt.state.failed and not attempt.disruption and not attempt.refused

    def delay(self, job: JobRecord, attempt: AttemptRecord, config: BaseJobConfig) -> float | None:
        """Seconds until the next attempt of ``job``, whose ``attempt`` has ended; None: no attempt follows."""
        if not attempt.state.failed or attempt.refused:
            return None
        if attempt.disruption:  # not the job's failure: costs no retry, but repeated ones are delayed
            if not_begun(job.attempts) and not_begun(job.attempts) % MOST_NOT_BEGUN == 0:
                return None
            row = sum(1 for _ in itertools.takewhile(lambda each: each.disruption, reversed(job.attempts)))
            return 0.0 if row == 1 else min(2.0 ** (row - 2), MOST_PAUSE)
        why = "out_of_memory" if attempt.out_of_memory else str(attempt.state).lower()
        why = "timeout" if attempt.timed_out else why
        used = self._used.get(job.name, 0)
        if why not in config.retry_on or used >= config.retries:
            return None
        self._used[job.name] = used + 1
        return _seconds(config.retry_delay, used)


def not_begun(attempts: Sequence[AttemptRecord]) -> int:
    """How many of the last attempts, in a row, the platform ended before they ran."""
    return sum(1 for _ in itertools.takewhile(_did_not_begin, reversed(attempts)))


def _did_not_begin(attempt: AttemptRecord) -> bool:
    return attempt.disruption and attempt.started_at is None


def _seconds(delay: float | RetryDelay, used: int) -> float:
    """The delay after so many retries, in seconds; a growing one is drawn from its last fifth (jitter), so that jobs
    which failed together are not retried together."""
    if not isinstance(delay, RetryDelay):
        return delay
    try:
        grown = min(delay.first * delay.factor**used, delay.max)
    except OverflowError:
        grown = delay.max
    import random

    return grown * random.uniform(0.8, 1.0)
