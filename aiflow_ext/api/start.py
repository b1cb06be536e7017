"""Runs that do not block: driven by another process, or awaited."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiflow_ext.api.drive import drive_async
from aiflow_ext.api.runs import OpenedRun, open_run

if TYPE_CHECKING:
    from aiflow_ext.run.store.records import RunRecord, Transition


def start_project(
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
) -> OpenedRun:
    """Start a run that another process drives, as ``aiflow-ext run --detach`` does, and return it at once.

    The run goes on when this process ends: a notebook may be closed. Arguments and errors as of ``af.run_project``.
    """
    from aiflow_ext.run.operations.detach import detach

    run_id, _ = detach(folder, sets=sets, params=params, workflow=workflow, config=config, profile=profile,
                       jobs=jobs, fail_fast=fail_fast, only=only,
                       from_run=from_run, firing=firing)  # fmt: skip
    return open_run(run_id, folder)


async def run_project_async(
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
) -> RunRecord:
    """As ``af.run_project``, to be awaited: the run is driven, and ``listener`` is called, in another thread.

    Where this is cancelled, nothing more is started, and the jobs that run are left running: ``aiflow-ext resume``
    follows them, ``aiflow-ext stop`` stops them.
    """
    from aiflow_ext.run import prepare_run
    from aiflow_ext.run.operations.failed import check_finished

    record = await drive_async(
        lambda: prepare_run(folder, sets=sets, params=params, workflow=workflow, config=config, profile=profile,
                            jobs=jobs, fail_fast=fail_fast,
                            only=only, from_run=from_run, firing=firing, listener=listener)
    )  # fmt: skip
    if check:
        check_finished(record)
    return record
