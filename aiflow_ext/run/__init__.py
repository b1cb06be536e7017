"""Submit, watch, record, stop: a run, from its plan to one record for each job.

Others may use: ``run_project`` and ``render_project`` here, ``make_plan.make_plan``, and the records in ``records``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiflow_ext.run.operations.start import Run
    from aiflow_ext.run.store.records import RunRecord, Transition


def run_project(
    folder: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    params: Sequence[str] | Mapping[str, Any] = (),
    workflow: str | None = None,
    config: Sequence[str] = (),
    profile: str | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    only: Sequence[str] = (),
    from_run: str | None = None,
    firing: str | None = None,
    listener: Callable[[Transition], None] | None = None,
    check: bool = False,
    in_process: bool = False,
) -> RunRecord:
    """Run a project's workflow to its end, as ``aiflow-ext run`` does. Any thread may call it, several at once, too.

    Args:
        folder: the project's folder.
        sets: ``JOB.KEY=VALUE`` for each ``--set``.
        params: ``NAME=VALUE`` for each ``-p``, or a mapping of names to values: {"alpha": 0.2}.
        workflow: which workflow, if workflow.py has several.
        config: paths of files that are laid over workflow.yaml, for each ``--config``.
        profile: the name of a profile in project.yaml; None by default.
        jobs: how many jobs run at once, whatever their platform; by default each platform has its own number.
        fail_fast: start nothing new after the first FAILED or LOST job; False by default.
        only: the keys of the jobs to run; what they read of others comes from an earlier run. All by default.
        from_run: the run whose artifacts ``only`` reads; by default the latest one that has finished the job. Inputs
            that were made from different attempts of one job are refused (ConfigError).
        firing: an id that at most one run gets, for periodic starts from outside; None by default.
        listener: called with every Transition, in order, in this thread.
        check: raise RunFailedError, which has the record and says why, unless the run has FINISHED; False by default.
        in_process: run the jobs in this process, one after another, as ``aiflow-ext run --in-process`` does: for a
            debugger and for tests. ``jobs`` is None then. False by default.

    Returns the run's record; ``record.state`` is FINISHED, FAILED or STOPPED. Raises AiflowError if the run cannot
    start: nothing has been submitted then.
    """
    if in_process:
        return _run_in_process(folder, jobs, check, sets=sets, params=params, workflow=workflow, config=config,
                               profile=profile, fail_fast=fail_fast, only=only, from_run=from_run, firing=firing,
                               listener=listener)  # fmt: skip
    record = _run(prepare_run(folder, sets=sets, params=params, workflow=workflow, config=config, profile=profile,
                              jobs=jobs, fail_fast=fail_fast,
                            only=only, from_run=from_run, firing=firing, listener=listener))  # fmt: skip
    if check:
        from aiflow_ext.run.operations.failed import check_finished

        check_finished(record)
    return record


def _run_in_process(folder: str | os.PathLike[str], jobs: int | None, check: bool, **options: Any) -> RunRecord:
    from aiflow_ext.model.errors import ConfigError
    from aiflow_ext.run.operations.in_process import prepare_in_process
    from aiflow_ext.run.operations.notebook import shown_live

    if jobs is not None:
        raise ConfigError("jobs in process run one after another", hint="leave out jobs, or in_process")
    run = prepare_in_process(folder, **options)
    try:
        with shown_live(lambda: run.record):
            record = run.drive()
    finally:
        run.close()
    if check:
        run.check_finished()
    return record


def prepare_run(folder: str | os.PathLike[str], **options: Any) -> Run:
    """Prepare a run, with the arguments of :func:`run_project`: returns its driver; nothing has been submitted."""
    from aiflow_ext.run.operations.start import prepare

    return prepare(folder, **options)


def resume_run(run: str, **options: Any) -> RunRecord:
    """Resume a run and drive it to its end, as ``aiflow-ext resume`` does; options as ``resume.take_up``'s."""
    return _run(prepare_resume(run, **options))


def _run(run: Run) -> RunRecord:
    from aiflow_ext.run.operations.notebook import shown_live

    try:
        with shown_live(lambda: run.record):
            return run.drive()
    finally:
        run.close()


def prepare_resume(run: str, **options: Any) -> Run:
    """Prepare to resume a run, with the arguments of :func:`resume_run`: returns its driver."""
    from aiflow_ext.run.operations.resume import take_up

    return take_up(run, **options)


def render_project(
    folder: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    params: Sequence[str] | Mapping[str, Any] = (),
    workflow: str | None = None,
    config: Sequence[str] = (),
    profile: str | None = None,
    only: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Exactly what would be sent for each job, offline, as ``aiflow-ext render`` shows it; secrets as references.

    Args:
        folder: the project's folder.
        sets: ``JOB.KEY=VALUE`` for each ``--set``.
        params: ``NAME=VALUE`` for each ``-p``, or a mapping of names to values: {"alpha": 0.2}.
        workflow: which workflow, if workflow.py has several.
        config: paths of files that are laid over workflow.yaml, for each ``--config``.
        profile: the name of a profile in project.yaml; None by default.
        only: the keys of the jobs to render; all by default.

    Returns one dict for each job, in the workflow's order, in the shape that docs/json.md describes. Raises AiflowError
    for every mistake that a run would report before it starts.
    """
    from aiflow_ext.run.operations.render import Requests, render

    return Requests(
        render(folder, sets=sets, params=params, workflow=workflow, config=config, profile=profile, only=only)
    )
