"""A plan as data and back: what a run does is fixed when it starts, whatever becomes of the project's files."""

from __future__ import annotations

import logging
from typing import Any

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.model.errors import ConfigError, DataError, PluginError, Problem
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.jsonable import decode, encode
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.run.plan import Plan, PlannedJob
from aiflow_ext.translate.collector import paused
from aiflow_ext.translate.config import Structurer
from aiflow_ext.translate.layers import Layer
from aiflow_ext.translate.split import JobEdge
from aiflow_ext.translate.yaml_source import Mark

_log = logging.getLogger("aiflow_ext")


def plan_to_data(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON: graph, config, and which plugin of which version each job had."""
    with paused():
        return _data(plan)


def _data(plan: Plan) -> dict[str, Any]:
    jobs = {}
    for name, job in plan.jobs.items():
        record = job.resolved.record
        graph = {key: value for key, value in job.sub_graph.to_json().items() if key != "config"}
        jobs[name] = {
            "platform": job.resolved.platform,
            "engine": job.resolved.engine,
            "plugin": [record.distribution, record.version],
            "settings": encode(job.settings),
            "graph": encode(graph),
            "edges": encode(list(job.edges)),
        }
    return {
        "workflow": plan.workflow,
        "project": encode(plan.desc),
        "allow": list(plan.host.policy.allow),
        "deny": list(plan.host.policy.deny),
        "pins": dict(plan.host.pins),
        "given": plan.given,
        "jobs": jobs,
    }


def plan_from_data(data: dict[str, Any]) -> Plan:
    """The plan that was stored; its plugins are resolved anew.

    Raises PluginError where one cannot be had any more, ConfigError where a plugin of another version refuses the
    stored config, DataError where the data is damaged. A plugin of another version is told in the log.
    """
    try:
        return _plan(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the run's stored plan is damaged: {type(error).__name__}: {error}") from error


def _plan(data: dict[str, Any]) -> Plan:
    host = PluginHost(Policy(data["allow"], data["deny"]), data["pins"])
    desc = decode(data["project"])
    if not isinstance(desc, ProjectDesc):
        raise DataError("the run's stored plan names no project")
    problems: list[Problem] = []
    structurer = Structurer()
    jobs = {}
    for name, stored in data["jobs"].items():
        try:
            resolved = host.resolve(stored["platform"], stored["engine"])
        except PluginError as error:
            had = "job {!r} was started with {} {}".format(name, *stored["plugin"])
            again = "to go on with the run, have that again: pip install {}=={}".format(*stored["plugin"])
            raise type(error)(
                problems=[Problem(f"{had}: {each.message}", each.where, again) for each in error.problems]
            ) from error
        if [resolved.record.distribution, resolved.record.version] != stored["plugin"]:
            _log.warning("job %r was started with %s %s; it goes on with %s %s", name, *stored["plugin"],
                         resolved.record.distribution, resolved.record.version)  # fmt: skip
        layer = Layer(
            decode(stored["settings"]), Mark("the run's own copy of workflow.yaml"), "workflow.yaml", name, None
        )
        typed = structurer.structure(resolved.config_type, layer, problems)
        if typed is None:
            continue
        sub_graph = AISubGraph.from_json({**decode(stored["graph"]), "config": typed})
        edges = [edge for edge in decode(stored["edges"]) if isinstance(edge, JobEdge)]
        jobs[name] = PlannedJob(name, sub_graph, resolved, edges, layer.value)
    if problems:
        raise ConfigError(problems=problems)
    return Plan(desc, host, data["workflow"], jobs, data["given"])
