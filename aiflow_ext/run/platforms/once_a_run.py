"""Hooks that are called once a run for each job plugin: a check of its platform first, a cleanup after all jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Set

from aiflow_ext.model.errors import AiflowError, AnotherPlatformError, PlatformError, Problem, named
from aiflow_ext.run.planning.job_views import JobsOfRun, jobs_by_plugin
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.records import RunRecord

_log = logging.getLogger("aiflow_ext")


def check_platforms(
    plan: Plan, record: RunRecord, adapters: Mapping[str, PluginAdapter], *, may_wait: bool = False
) -> None:
    """Check each platform for the jobs that have not ended. Raises PlatformError with all problems.

    Args:
        plan: the run's.
        record: the run's.
        adapters: by job.
        may_wait: whether jobs of the run may be running, so that a problem is waited for, except that it is another
            platform.
    """
    names = {name for name, job in record.jobs.items() if not job.state.ended}
    problems: dict[str, Problem] = {}
    for adapter, jobs in _by_plugin(plan, record, adapters, names):
        for found in map(plan.located, problems_of(adapter, jobs, may_wait=may_wait)):
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


def problems_of(adapter: PluginAdapter, jobs: JobsOfRun, *, may_wait: bool) -> list[Problem]:
    """The problems of a platform; an exception of the check is a problem, too. ``may_wait`` as above."""
    try:
        problems = [found if isinstance(found, Problem) else Problem(str(found)) for found in adapter.check(jobs)]
    except AnotherPlatformError as error:
        return list(error.problems)
    except AiflowError as error:
        problems = list(error.problems)
    except Exception as error:
        problems = [Problem(f"the platform's check failed: {named(error)}")]
    return [] if may_wait else problems
