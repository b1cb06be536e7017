"""Prefetch: jobs are generated, with their ids and resources, while others still run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from aiflow_ext.model.job import BaseJob
from aiflow_ext.run.platforms import supervised
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.records import JobRecord

_log = logging.getLogger("aiflow_ext")
PREFETCHED = 24  # jobs without a slot that are prefetched on a platform that answers at once
BATCH = 8  # of these, prefetched together: their start intents are committed in one transaction


class Prefetch:
    """Jobs with their ids and resources; only a start intent is recorded of them.

    Args:
        adapters: by job.
        generate: makes the job of an attempt, from the job's name and the attempt's number.
        ledger: records the start intents.
        excluded: jobs that are not prefetched: a start intent does not say what they are given.
    """

    def __init__(
        self,
        adapters: Mapping[str, PluginAdapter],
        generate: Callable[[str, int], BaseJob],
        ledger: Ledger,
        excluded: Collection[str] = (),
    ) -> None:
        self._adapters, self._generate, self._ledger, self._excluded = adapters, generate, ledger, excluded
        self._made: dict[str, BaseJob | None] = {}  # None: it could not be

    def missing(self, soon: Iterable[str]) -> list[str]:
        """Of the jobs that start soon, those to be prefetched next."""
        return [name for name in soon if name not in self._made][:BATCH]

    def has(self, job: str) -> bool:
        """Whether a job is prefetched."""
        return self._made.get(job) is not None

    def take(self, job: str) -> BaseJob | None:
        """Remove and return a prefetched job, which starts now; None if it was not prefetched."""
        return self._made.pop(job, None)

    def make_ready(self, job: JobRecord) -> None:
        """Generate a job, with its id and its resources."""
        self._made[job.name] = None
        adapter = self._adapters[job.name]
        if not adapter.answers_at_once or job.name in self._excluded:
            return
        try:
            made = self._generate(job.name, len(job.attempts) + 1)
            context = made.job_context
            assert context is not None
            supervised.make_attempt_folder(str(context.work_folder))
            context.native_id = adapter.allocate(made)
            adapter.prepare(made)
        except Exception:
            _log.debug("not made ready", exc_info=True)  # the attempt's start raises it again, and that is reported
            return
        self._made[job.name] = made
        if not adapter.outlives_power_loss:
            self._ledger.intend_start(job, context.native_id)
