"""One job of a run: the settings that it has with the origin of each, and exactly what is sent for an attempt of it."""

from __future__ import annotations

from typing import Any

from aiflow_ext.model.errors import PluginError
from aiflow_ext.model.jsonable import decode, encode
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.origins import origins
from aiflow_ext.run.operations.refresh import generated
from aiflow_ext.run.operations.render import refuse_printed_secrets
from aiflow_ext.run.operations.settings import Setting, defaults_of, leaves
from aiflow_ext.run.planning.attempt_job import attempt_job
from aiflow_ext.run.planning.snapshot import copy_of
from aiflow_ext.run.platforms.plugin_adapter import adapter_for
from aiflow_ext.run.store.find import attempt_of, job_of
from aiflow_ext.translate.common import ALIASES


def settings_of(observed: Observed, job: str) -> tuple[list[Setting], str | None]:
    """The settings of a job of a run, and in words why the defaults of its plugin are not among them (None: they are).

    Where they are from is told by the run's own copy of the project's files; a file of which it has no copy is named
    without the line. Raises ConfigError for a job that the run lacks.
    """
    record = observed.record
    unset = job_of(record, job).defaults
    written = decode(observed.store.planned(observed.run_id, [job])[job]["settings"])
    _, options = observed.store.plan(observed.run_id)
    place = origins(record, copy_of(observed.folder), options, {job: written})
    found: list[Setting] = []
    for key, value in written.items():
        if value is None or key in unset:
            continue
        for each in leaves((key,), value, "project file", lambda path: place(job, path)):
            given = each.where is not None and each.where.startswith("-")
            found.append(each._replace(layer="command line") if given else each)
    found += [Setting((key,), written[key], "default") for key in unset]
    named = {ALIASES.get(str(each.path[0]), str(each.path[0])) for each in found}
    try:
        planned = observed.stored.holding([job]).jobs[job]
    except PluginError as error:
        return found, f"the defaults of its job plugin are not known: {error.message}"
    return [*found, *defaults_of(planned, job, named)], None


def request_of(observed: Observed, job: str, attempt: int | None = None) -> dict[str, Any]:
    """What is sent for an attempt of a job, in the shape of ``aiflow-ext render --json``; secrets as references.

    Args:
        observed: the run.
        job: the job's key.
        attempt: its number; None: the latest, or the first where there has been none yet.

    Raises ConfigError for a job or an attempt that the run lacks, what the plugin raises as an AiflowError, and
    SecretError where a secret's value stands in it.
    """
    record = observed.record
    sent = job_of(record, job).last
    if sent is not None and attempt is not None:
        sent = attempt_of(record, job, attempt)
    plan = observed.stored.holding([job])
    planned = plan.jobs[job]
    if sent is not None:
        adapter, made = generated(observed.stored, record, sent)
    else:
        adapter, made = adapter_for(planned, plan.desc), attempt_job(plan, record, job, 1)
    request = adapter.render(made)
    shown = {"job": job, "platform": planned.resolved.platform, "engine": planned.resolved.engine,
             "kind": request.kind if request else "unknown",
             "content": encode(request.content) if request else None}  # fmt: skip
    refuse_printed_secrets(plan, [shown])
    return shown
