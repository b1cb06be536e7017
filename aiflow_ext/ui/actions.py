"""What the page's buttons do: what the commands do, by the same functions."""

from __future__ import annotations

from typing import Any

from aiflow_ext.model.errors import ConfigError
from aiflow_ext.run.driving.attempt import GRACE
from aiflow_ext.run.operations.detach import detach_resumed
from aiflow_ext.run.operations.stop import stop
from aiflow_ext.ui.runs import Runs


def stop_run(runs: Runs, run_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    """``aiflow-ext stop RUN [JOB] --no-wait``; ``asked`` may have ``job``. Raises as that does."""
    (job,) = _given(asked, job=str)
    with runs.observed(run_id) as observed:
        stop(observed, job, GRACE)
        return {"run": run_id, "job": job}


def resume_run(runs: Runs, run_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    """``aiflow-ext resume RUN --detach``: another process drives the run, whatever becomes of this one.

    ``asked`` may have ``failed``, ``from`` and ``update``, as the options. Raises as that does.
    """
    failed, from_job, update = _given(asked, failed=bool, **{"from": str}, update=bool)
    if update and not failed and from_job is None:
        raise ConfigError("update says what a job runs with: name the jobs with from or failed")
    with runs.observed(run_id) as observed:
        project = observed.record.project
    _, pid = detach_resumed(run_id, project=project, failed=bool(failed), from_job=from_job, update=bool(update))
    return {"run": run_id, "driver": pid}


def _given(asked: dict[str, Any], **kinds: type) -> list[Any]:
    """The values of these keys, None where they are missing. Raises ConfigError for other keys and types."""
    for name, value in asked.items():
        if name not in kinds or not (value is None or type(value) is kinds[name]):
            raise ConfigError(f"{name!r} is not known here, or of another type", hint=f"there are: {', '.join(kinds)}")
    return [asked.get(name) for name in kinds]
