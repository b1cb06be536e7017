"""Renders exactly what a run would send, offline, with secrets as references."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from aiflow_ext.host.secrets import is_secret
from aiflow_ext.model.errors import AiflowError, ConfigError, Problem, SecretError
from aiflow_ext.model.job import BaseJob
from aiflow_ext.model.jsonable import encode
from aiflow_ext.model.plugin import AbstractPlatform
from aiflow_ext.model.spelling import near
from aiflow_ext.run.planning.added_variables import added_variables
from aiflow_ext.run.planning.job_secrets import secrets_of
from aiflow_ext.run.planning.make_plan import check_lists, make_plan
from aiflow_ext.run.planning.plan import Plan, generate
from aiflow_ext.run.planning.serving import awaited
from aiflow_ext.run.platforms.plugin_adapter import adapter_for
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.gather import gathered


def render(folder: str | os.PathLike[str], *, only: Sequence[str] = (), **options: Any) -> list[dict[str, Any]]:
    """One dict for each job: job, platform, engine, kind and content of its request; options as ``make_plan``'s."""
    plan = _plan_of(folder, only, **options)
    found = rendered(plan)
    refuse_printed_secrets(plan, found)
    return found


def permissions(folder: str | os.PathLike[str], *, only: Sequence[str] = (), **options: Any) -> dict[str, str]:
    """The permissions that each platform's administrator must grant for a run, as text by platform. Offline; options as
    ``make_plan``'s."""
    plan = _plan_of(folder, only, **options)
    by_platform: dict[type[AbstractPlatform], list[BaseJob]] = {}
    for planned in plan.jobs.values():
        by_platform.setdefault(planned.resolved.plugin.platform(), []).append(generate(plan, planned))
    texts = {cls.platform(): getattr(cls, "permissions", lambda jobs: None)(jobs) for cls, jobs in by_platform.items()}
    return {platform: text for platform, text in texts.items() if text}


def _plan_of(folder: str | os.PathLike[str], only: Sequence[str], **options: Any) -> Plan:
    """The plan of these jobs, or of all where none is named."""
    check_lists(only=only)
    plan = make_plan(folder, only=only or None, **options)
    for name in only:
        if name not in plan.jobs:
            hint = near(name, plan.names) or f"the jobs are {listed(plan.names)}"
            raise ConfigError(f"the workflow has no job {name!r}", hint=hint)
    return plan


class Requests(list[dict[str, Any]]):
    """The requests of a project's jobs, a list that a notebook shows as a graph and a table."""

    def _repr_html_(self) -> str:
        from aiflow_ext.view.notebook import requests_html

        return requests_html(self)


def rendered(plan: Plan) -> list[dict[str, Any]]:
    """The requests of every job's first attempt, with ``${run}`` in place of a run's id."""
    home = state_folder(plan.desc.root) / "runs" / "${run}"
    shown = []
    for name, planned in plan.jobs.items():
        context = plan.context(name, "${run}", home)
        context.environment = added_variables(plan.host, context, os.environ.get("TRACEPARENT"))
        try:
            job = generate(plan, planned, context)
            adapter = adapter_for(planned, plan.desc)
            context = job.job_context or context
            context.native_id = adapter.offline_id(job)
            request = adapter.render(job)
        except AiflowError as error:
            planned.locate(error)
            raise
        shown.append(
            {
                "job": name,
                "platform": planned.resolved.platform,
                "engine": planned.resolved.engine,
                "defaults": list(planned.defaults),
                "waits_for": [
                    {"job": edge.source, "when": edge.when, "until": awaited(edge, plan), "data": edge.data}
                    for edge in planned.edges
                ],
                "kind": request.kind if request else "unknown",
                "content": encode(request.content) if request else None,
            }
        )  # fmt: skip
    return shown


def check_secrets(plan: Plan) -> None:
    """Refuse to run what :func:`render` would refuse to show."""
    if any(is_secret(value) for job in plan.jobs.values() for value in job.config.env.values()):
        check_recorded(plan)
        refuse_printed_secrets(plan, rendered(plan))


def check_recorded(plan: Plan) -> None:
    """Refuse to record a secret's value as a parameter of a run, or in an option that it was given."""
    recorded: list[dict[str, Any]] = [{"job": None, "parameters": plan.parameters, "layers": plan.layers}]
    recorded += [{"job": name, "properties": job.settings.get("properties")} for name, job in plan.jobs.items()]
    refuse_printed_secrets(plan, recorded)


def refuse_printed_secrets(plan: Plan, shown: list[dict[str, Any]]) -> None:
    """Raise SecretError if a request contains a secret's value: it would be printed and stored."""
    _, value_of = secrets_of(plan.host)
    values: dict[str, tuple[str, str | None]] = {}
    for name, job in plan.jobs.items():
        for variable, value in job.config.env.items():
            if is_secret(value):
                try:
                    what = f"{name}.env.{variable} ({value['secret']})"
                    values[value_of(str(value["secret"]))] = what, job.where("env", variable)
                except AiflowError:
                    continue  # the platform's own; a missing one was reported before
    problems = []
    for request in shown:
        sender = "what is recorded of the run" if request["job"] is None else f"what job {request['job']!r} sends"
        text = json.dumps(request, ensure_ascii=False)
        for value, (what, where) in values.items():
            if len(value) >= 4 and json.dumps(value, ensure_ascii=False)[1:-1] in text:
                problems.append(
                    Problem(
                        f"the value of the secret {what} stands in {sender}, and would be printed and stored",
                        where,
                        "let the job read the variable, and take the value out of its command and properties",
                    )
                )
    if problems:
        raise SecretError(problems=gathered(problems))
