"""A plan: one planned job for each job of the workflow that is to be sent."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import AiflowError, ConfigError, Problem
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.names import artifact_key, artifact_url, safe_name
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.model.resources import Capacity
from aiflow_ext.run.planning.generate import fill_in, generate_job
from aiflow_ext.translate.job_config import Structurer
from aiflow_ext.translate.layers import Layer
from aiflow_ext.translate.project import ExtensionSettings
from aiflow_ext.translate.split import JobEdge
from aiflow_ext.translate.yaml_source import Mark

# Keys whose names also occur in messages that are not about them.
_TOO_COMMON = ("platform", "engine", "python", "properties", "env", "job_name")


class PlannedJob:
    """One job of a plan: its subgraph with its typed config, the plugin that runs it, and what it waits for."""

    def __init__(
        self,
        name: str,
        sub_graph: AISubGraph,
        resolved: ResolvedPlugin,
        edges: Sequence[JobEdge],
        settings: Mapping[str, Any],
        defaults: Sequence[str] = (),
        layer: Layer | None = None,
        opened: str | None = None,
    ) -> None:
        self.name, self.sub_graph, self.resolved, self.edges = name, sub_graph, resolved, tuple(edges)
        self.settings = settings  # the config as it was written, before it was structured as the plugin's type
        self.defaults = tuple(defaults)  # which of platform and engine are defaults
        # Where the job's keys are, and where the workflow opens it; None for a job from a store.
        self.layer, self._opened = layer, opened
        self.made: BaseJob | None = None  # generated while planning, for the first use

    @property
    def config(self) -> BaseJobConfig:
        return self.sub_graph.config

    def with_memory(self, size: int) -> PlannedJob:
        """The same job with this much memory, in bytes, rounded up to Ki; its config is made anew."""
        layer = Layer({**self.settings, "memory": f"{-(-size // 1024)}Ki"}, Mark("memory"), "workflow.yaml", self.name)
        problems: list[Problem] = []
        typed = Structurer().structure(self.resolved.config_type, layer, problems)
        if typed is None:
            raise ConfigError(problems=problems)
        sub_graph = copy.copy(self.sub_graph)
        sub_graph.config = typed
        return PlannedJob(
            self.name, sub_graph, self.resolved, self.edges, layer.value, self.defaults, self.layer, self._opened
        )

    def where(self, *path: Any) -> str | None:
        """``file:line`` of the value at ``path`` in the job's config; None for a job from a store."""
        return self.layer.where(path) if self.layer is not None else None

    def locate(self, error: AiflowError) -> None:
        """Set the place of every problem of ``error`` that has none: that of the key it mentions, else of the job.

        A plugin does not know lines: its messages about a config mention a key, others are about the job's nodes.
        """
        error.problems = tuple(
            Problem(each.message, self._place(each.message, isinstance(error, ConfigError)), each.hint)
            if each.where is None
            else each
            for each in error.problems
        )

    def _place(self, message: str, of_config: bool) -> str | None:
        if self.layer is None or not of_config:
            return self._opened
        words = set(re.findall(r"\w+", message))
        paths: list[tuple[str, ...]] = [(key,) for key in self.layer.value if key in words and key not in _TOO_COMMON]
        paths += [("env", name) for name in self.config.env if name in words]
        return self.where(*paths[0] if len(paths) == 1 else ())


class LeftOut:
    """One job of a workflow that is not to be sent: neither its plugin nor anything of this machine is needed for
    it."""

    def __init__(
        self, sub_graph: AISubGraph, edges: Sequence[JobEdge], layer: Layer, defaults: Sequence[str] = ()
    ) -> None:
        self.sub_graph, self.edges, self.settings = sub_graph, tuple(edges), layer.value
        self.layer, self.defaults = layer, tuple(defaults)


class Plan:
    """A project's workflow, checked, split, and with a job plugin for every job that is to be sent.

    Attributes:
        jobs: the jobs that are to be sent, by name.
        left_out: the others, by name; empty in the plan of a run.
        limits: by platform, how many of its jobs run at once, as project.yaml says.
        capacities: by platform, what its jobs share of this machine, as it was read while planning; None: it was not.
        layers: where its config is from, in words, the weakest first; none of a plan from a store.
        parameters: the workflow's own, in the shape of a run's parameters; likewise.
        report: the folder to which a run's report is written at its end; empty: the run's own; None: none is written.
        traceparent: the variable TRACEPARENT of the process that has started the run; None: it had none.
    """

    def __init__(
        self,
        desc: ProjectDesc,
        host: PluginHost,
        workflow: str,
        jobs: Mapping[str, PlannedJob],
        given: Mapping[str, str] | None = None,
        extensions: ExtensionSettings | None = None,
        left_out: Mapping[str, LeftOut] | None = None,
        limits: Mapping[str, int] | None = None,
        capacities: Mapping[str, Capacity] | None = None,
        layers: Sequence[str] = (),
        parameters: Sequence[Mapping[str, Any]] = (),
        report: str | None = None,
    ) -> None:
        self.desc, self.host, self.workflow = desc, host, workflow
        self.extensions = extensions or ExtensionSettings()
        self.limits, self.capacities, self.layers = dict(limits or {}), capacities, tuple(layers)
        self.parameters, self.report = tuple(parameters), report
        self.traceparent: str | None = None
        self.jobs: dict[str, PlannedJob] = {}
        self.left_out = dict(left_out or {})
        self.given = dict(given or {})  # artifacts of an earlier run, by their names in JobContext.inputs
        self._source: dict[str, tuple[str, str]] = {}
        for job in jobs.values():
            self.add(job)
        for name, other in self.left_out.items():
            self._note_nodes(name, other.sub_graph)

    def add(self, job: PlannedJob) -> None:
        """Add a job."""
        self.jobs[job.name] = job
        self._note_nodes(job.name, job.sub_graph)

    def _note_nodes(self, job: str, sub_graph: AISubGraph) -> None:
        for node in sub_graph.nodes:
            self._source[str(node.instance_id)] = job, str(node.name)

    @property
    def names(self) -> list[str]:
        """The names of all jobs of the workflow."""
        return [*self.jobs, *self.left_out]

    def settings(self, job: str) -> Mapping[str, Any] | None:
        """The config of any job of the workflow, as it was written; None if there is no such job."""
        found = self.jobs.get(job) or self.left_out.get(job)
        return None if found is None else found.settings

    def downstream(self, job: str) -> set[str]:
        """The names of a job and of every job after it."""
        found: set[str] = set()
        grown = {job}
        while grown:
            found |= grown
            grown = {name for name, each in self.jobs.items() if any(edge.source in grown for edge in each.edges)}
            grown -= found
        return found

    def source(self, node_id: str) -> tuple[str, str]:
        """The job that holds a node, and the node's name in it."""
        return self._source[node_id]

    def located(self, problem: Problem) -> Problem:
        """A platform's problem about a job (``job 'train' asks for ...``) with the place of the key that it
        mentions."""
        named = re.search(r"\bjob '([^']*)'", problem.message)
        job = self.jobs.get(named[1]) if named and problem.where is None else None
        return problem if job is None else Problem(problem.message, job._place(problem.message, True), problem.hint)

    def restricted(self, only: Collection[str], given: Mapping[str, str]) -> Plan:
        """The plan with these jobs only; their inputs from other jobs are ``given``."""
        jobs = {}
        for name, job in self.jobs.items():
            if name in only:
                edges = [edge for edge in job.edges if edge.source in only]
                jobs[name] = PlannedJob(
                    name, job.sub_graph, job.resolved, edges, job.settings, job.defaults, job.layer, job._opened
                )
        return self.with_jobs(jobs, given)

    def with_jobs(self, jobs: Mapping[str, PlannedJob], given: Mapping[str, str] | None = None) -> Plan:
        """The plan with these jobs instead of its own, and none left out; ``given`` stays unless it is named."""
        other = copy.copy(self)
        other.jobs, other.left_out, other._source = {}, {}, {}
        if given is not None:
            other.given = dict(given)
        for job in jobs.values():
            other.add(job)
        return other

    def context(
        self, job: str, run_id: str, run_folder: str | Path, attempt: int = 1, finished: Mapping[str, int] | None = None
    ) -> JobContext:
        """The context of an attempt.

        Args:
            job: the job's key.
            run_id: the run's id.
            run_folder: the run's folder on this machine.
            attempt: the attempt's number, from 1.
            finished: by job, the attempt whose artifacts are read; by default the first.
        """
        url = f"{self.desc.artifacts.rstrip('/')}/{run_id}"
        inputs = {}
        for edge in self.jobs[job].sub_graph.inputs:
            key = artifact_key(edge.source, edge.output)
            if key in self.given:
                inputs[key] = self.given[key]
                continue
            upstream, node = self._source[edge.source]
            number = (finished or {}).get(upstream, 1)
            inputs[key] = artifact_url(url, upstream, number, node, edge.output)
        folder = attempt_folder(str(run_folder), job, attempt)
        return JobContext(run_id, job, attempt, None, folder, url, inputs, str(run_folder))


def attempt_folder(run_folder: str, job: str, attempt: int) -> str:
    """An attempt's own folder."""
    return f"{run_folder}/jobs/{safe_name(job)}/{attempt}"


def generate(plan: Plan, planned: PlannedJob, context: JobContext | None = None) -> BaseJob:
    """A new job of ``planned`` with ``context`` filled in. Raises what the plugin raised, as an AiflowError."""
    context = context or JobContext()
    if planned.made is None:
        return generate_job(planned.resolved, planned.sub_graph, plan.desc, context)
    made, planned.made = planned.made, None
    fill_in(made, planned.resolved, planned.sub_graph, context)
    return made
