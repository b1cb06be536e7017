"""Serialises a plan and back: what a run does is fixed when it starts, also if the project's files change."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.model.collector import paused
from aiflow_ext.model.errors import ConfigError, DataError, PluginError, Problem, named
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.jsonable import decode, encode
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.run.planning.plan import Plan, PlannedJob
from aiflow_ext.run.planning.provenance import provenance_of
from aiflow_ext.run.planning.serving import awaited_as_written
from aiflow_ext.translate.job_config import Structurer
from aiflow_ext.translate.layers import Layer
from aiflow_ext.translate.project import ExtensionSettings
from aiflow_ext.translate.split import JobEdge
from aiflow_ext.translate.yaml_source import Mark

_log = logging.getLogger("aiflow_ext")


@paused()
def plan_to_data(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON: graph, config, which plugin of which version each job had, and what it was made of."""
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
        "extensions": {
            "require": list(plan.extensions.require),
            "timeout": plan.extensions.timeout.total_seconds(),
        },
        "limits": plan.limits,
        "report": plan.report,
        "defaults": {name: list(job.defaults) for name, job in plan.jobs.items() if job.defaults},
        "provenance": provenance_of(plan),
        "jobs": jobs,
    }


class StoredPlan:
    """A stored plan, deserialised job by job as needed; its plugins are resolved again.

    Args:
        data: of :func:`plan_to_data`, with or without the jobs.
        jobs: returns the data of the jobs with these names; with None, of all jobs in the workflow's order.
        options: of the run, as they were stored with it; none where it is no run's.

    Raises DataError if the data is damaged. Not thread-safe until :meth:`whole` was called.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        jobs: Callable[[Iterable[str] | None], Mapping[str, Any]],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._jobs = jobs
        with _damage():
            host = PluginHost(Policy(data["allow"], data["deny"]).denying_more(), data["pins"])
            desc = decode(data["project"])
            if not isinstance(desc, ProjectDesc):
                raise DataError("the run's stored plan names no project")
            self.desc = desc
            kept = data.get("extensions", {})  # an older version did not store it
            extensions = ExtensionSettings(
                tuple(kept.get("require", ())), timedelta(seconds=float(kept.get("timeout", 30)))
            )
            limits, report = data.get("limits"), data.get("report")  # likewise
            self._plan = Plan(desc, host, data["workflow"], {}, data["given"], extensions, limits=limits, report=report)
            self._plan.traceparent = (options or {}).get("traceparent")
        self._is_whole = False
        self._held: set[str] = set()  # jobs that are deserialised, with all whose artifacts they read
        self._structurer = Structurer()

    def whole(self) -> Plan:
        """The whole plan.

        Raises PluginError if a plugin cannot be resolved any more, ConfigError if a plugin of another version refuses
        the stored config, DataError if the data is damaged. A plugin of another version is logged.
        """
        if self._is_whole:
            return self._plan
        stored = self._jobs(None)
        self._make(stored)
        if list(self._plan.jobs) != list(stored):
            self._plan = self._plan.with_jobs({name: self._plan.jobs[name] for name in stored})
        self._is_whole = True
        return self._plan

    def edges(self) -> list[tuple[JobEdge, str]]:
        """The edges between its jobs, each with what its target waits for, as ``serving.awaited`` says it. No plugin is
        needed. Raises DataError if the data is damaged."""
        stored = self._jobs(None)
        with paused(), _damage():
            written = {name: decode(each["settings"]) for name, each in stored.items()}
            edges = [edge for each in stored.values() for edge in _edges(each)]
            return [(edge, awaited_as_written(edge, written.get(edge.source, {}))) for edge in edges]

    def holding(self, jobs: Iterable[str]) -> Plan:
        """A plan that has these jobs, and maybe others. Raises as :meth:`whole`."""
        missing = set() if self._is_whole else {*jobs} - self._held
        if missing:
            stored = self._jobs(missing)
            with _damage():
                read = {edge.source for name in missing for edge in _edges(stored[name])}  # whose artifacts they read
            self._make({**stored, **self._jobs(read - missing)})
            self._held |= missing
        return self._plan

    def _make(self, stored: Mapping[str, Any]) -> None:
        problems: list[Problem] = []
        with paused(), _damage():
            for name, each in stored.items():
                if name not in self._plan.jobs and (planned := self._planned(name, each, problems)) is not None:
                    self._plan.add(planned)
        if problems:
            raise ConfigError(problems=problems)

    def _planned(self, name: str, stored: Mapping[str, Any], problems: list[Problem]) -> PlannedJob | None:
        try:
            resolved = self._plan.host.resolve(stored["platform"], stored["engine"])
        except PluginError as error:
            had = "job {!r} was started with {} {}".format(name, *stored["plugin"])
            again = "to go on with the run, have that again: pip install {}=={}".format(*stored["plugin"])
            raise type(error)(
                problems=[Problem(f"{had}: {each.message}", each.where, again) for each in error.problems]
            ) from error
        if [resolved.record.distribution, resolved.record.version] != stored["plugin"]:
            _log.warning("job %r was started with %s %s; it goes on with %s %s", name, *stored["plugin"],
                         resolved.record.distribution, resolved.record.version)  # fmt: skip
        layer = Layer(decode(stored["settings"]), Mark("the run's own copy of workflow.yaml"), "workflow.yaml", name)
        typed = self._structurer.structure(resolved.config_type, layer, problems)
        if typed is None:
            return None
        sub_graph = AISubGraph.from_json({**decode(stored["graph"]), "config": typed})
        return PlannedJob(name, sub_graph, resolved, _edges(stored), layer.value)


def _edges(stored: Mapping[str, Any]) -> list[JobEdge]:
    return [edge for edge in decode(stored["edges"]) if isinstance(edge, JobEdge)]


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Raise DataError for missing data, and for data of another type than was written."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the run's stored plan is damaged: {named(error)}") from error
