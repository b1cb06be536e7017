"""Hooks that are called once a run for each job plugin: a check of its platform first, a cleanup after all jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Set

from aiflow_ext.model.errors import AiflowError, PlatformError, Problem, named
from aiflow_ext.run.planning.job_views import JobsOfRun, jobs_by_plugin
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.records import RunRecord

_log = logging.getLogger("aiflow_ext")


def check_platforms(plan: Plan, record: RunRecord, adapters: Mapping[str, PluginAdapter]) -> None:
    """Check each platform for the jobs that have not ended; ``adapters`` by job. Raises PlatformError with all
    problems."""
    names = {name for name, job in record.jobs.items() if not job.state.ended}
    problems: dict[str, Problem] = {}
    for adapter, jobs in _by_plugin(plan, record, adapters, names):
        for found in map(plan.located, _checked(adapter, jobs)):
            problems.setdefault(str(found), found)
    if problems:
        raise PlatformError(problems=list(problems.values()))


def clean_up_platforms(plan: Plan, record: RunRecord, adapters: Mapping[str, PluginAdapter]) -> None:
    """Call ``cleanup_run`` of each job plugin; exceptions are logged. ``gc`` calls it again."""
    for adapter, jobs in _by_plugin(plan, record, adapters, plan.jobs.keys(), tolerant=True):
        try:
            adapter.cleanup_run(record.run_id, jobs)
        except Exception as error:
            _log.warning("cleaning up: %s", named(error))


def _by_plugin(
    plan: Plan, record: RunRecord, adapters: Mapping[str, PluginAdapter], names: Set[str], *, tolerant: bool = False
) -> Iterator[tuple[PluginAdapter, JobsOfRun]]:
    """An adapter of each job plugin of these jobs, with the plugin's jobs."""
    for first, jobs in jobs_by_plugin(plan, record.run_id, record.folder, names, tolerant=tolerant).items():
        yield adapters[first], jobs


def _checked(adapter: PluginAdapter, jobs: JobsOfRun) -> list[Problem]:
    """The problems of a platform; an exception of the check is a problem, too."""
    try:
        return [found if isinstance(found, Problem) else Problem(str(found)) for found in adapter.check(jobs)]
    except AiflowError as error:
        return list(error.problems)
    except Exception as error:
        return [Problem(f"the platform's check failed: {named(error)}")]
