"""Removes what attempts and runs left on their platforms: after a stop without a driver, and by ``gc``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiflow_ext.host import secrets
from aiflow_ext.model.errors import UnreachableError, named
from aiflow_ext.run.planning.attempt_job import job_again
from aiflow_ext.run.planning.job_views import JobsOfRun, jobs_by_plugin
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter, adapter_for
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")


def clean_up(plan: Plan, record: RunRecord, store: Store) -> None:
    """Clean up after a run that has ended. Raises what the first ``cleanup_run`` raises, and UnreachableError."""
    cleanup_attempts(plan, record, store)
    cleanup_run(plan, record.run_id, Path(record.folder))


def cleanup_attempts(plan: Plan, record: RunRecord, store: Store) -> None:
    """Clean up after each attempt that was not cleaned up yet, and record it. Raises UnreachableError."""
    ledger = Ledger(record, store)
    secrets.use(plan.host)
    try:
        for name, job in record.jobs.items():
            left = [each for each in job.attempts if each.native_id is not None and each.state.ended]
            for attempt in [each for each in left if not each.cleaned]:
                try:
                    adapter_for(plan.jobs[name], plan.desc).cleanup(job_again(plan, record, attempt))
                except UnreachableError:
                    raise
                except Exception as error:
                    _log.warning("cleaning up after %s: %s", attempt.native_id, named(error))
                else:
                    ledger.note(attempt, cleaned=True)
    finally:
        ledger.flush()


def cleanup_run(plan: Plan, run_id: str, folder: Path) -> None:
    """Have every job plugin of a run remove what was sent once for it. Raises what the first one raises."""
    for adapter, jobs in _offering("cleanup_run", plan, run_id, folder):
        adapter.cleanup_run(run_id, jobs)


def remove_run(plan: Plan, run_id: str, folder: Path) -> None:
    """Have every job plugin of a run remove what it has left of it on purpose. Raises what the first one raises."""
    for adapter, jobs in _offering("remove_run", plan, run_id, folder):
        adapter.remove_run(run_id, jobs)


def remove_artifacts(plan: Plan, run_id: str, folder: Path, url: str, folders: Sequence[str]) -> list[str] | None:
    """Have the run's job plugins remove folders below the URL of its artifacts.

    Returns what is left there; None if the URL is of no plugin's own file system. Raises what the plugin raises.
    """
    for adapter, jobs in _offering("remove_artifacts", plan, run_id, folder):
        left = adapter.remove_artifacts(jobs, url, folders)
        if left is not None:
            return left
    return None


def _offering(hook: str, plan: Plan, run_id: str, folder: Path) -> Iterator[tuple[PluginAdapter, JobsOfRun]]:
    """The job plugins of a run that have a hook, each with its jobs."""
    secrets.use(plan.host)
    offering = {name for name, each in plan.jobs.items() if hook in each.resolved.offers}
    for first, jobs in jobs_by_plugin(plan, run_id, folder, offering, tolerant=True).items():
        yield adapter_for(plan.jobs[first], plan.desc), jobs
