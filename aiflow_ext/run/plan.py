"""What a run will do, made before anything happens: every mistake that can be known now is found here."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import AiflowError, ConfigError, PluginError, Problem, SecretError
from aiflow_ext.model.graph import AIGraph, AISubGraph
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.names import artifact_key, artifact_url, safe_name
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.run.generate import fill_in, generate_job
from aiflow_ext.translate.calls import check_calls
from aiflow_ext.translate.check import check_graph, check_jobs, check_streams
from aiflow_ext.translate.collector import paused
from aiflow_ext.translate.config import (
    Structurer,
    WorkflowConfig,
    check_common,
    load_workflow_config,
)
from aiflow_ext.translate.functions import freeze
from aiflow_ext.translate.load import built_graph, imported_workflow
from aiflow_ext.translate.project import ExtensionSettings, Project, load_project
from aiflow_ext.translate.secrets import is_secret, resolve
from aiflow_ext.translate.split import JobEdge, split

_log = logging.getLogger("aiflow_ext")


class PlannedJob:
    """One job of a plan: its subgraph with its typed config, the plugin that runs it, and what it waits for."""

    def __init__(
        self,
        name: str,
        sub_graph: AISubGraph,
        resolved: ResolvedPlugin,
        edges: Sequence[JobEdge],
        settings: Mapping[str, Any],
    ) -> None:
        self.name, self.sub_graph, self.resolved, self.edges = name, sub_graph, resolved, tuple(edges)
        self.settings = settings  # the config as it was written, before the plugin's type took it
        self.made: BaseJob | None = None  # generated while planning, for the first who asks

    @property
    def config(self) -> BaseJobConfig:
        return self.sub_graph.config


class Plan:
    """A project's workflow, checked, split, and with a job plugin for every job."""

    def __init__(
        self,
        desc: ProjectDesc,
        host: PluginHost,
        workflow: str,
        jobs: Mapping[str, PlannedJob],
        given: Mapping[str, str] | None = None,
        extensions: ExtensionSettings | None = None,
    ) -> None:
        self.desc, self.host, self.workflow = desc, host, workflow
        self.extensions = extensions or ExtensionSettings()
        self.jobs: dict[str, PlannedJob] = {}
        self.given = dict(given or {})  # artifacts of an earlier run, by their names in JobContext.inputs
        self._source: dict[str, tuple[str, str]] = {}
        for job in jobs.values():
            self.add(job)

    def add(self, job: PlannedJob) -> None:
        """Have this job in the plan too."""
        self.jobs[job.name] = job
        for node in job.sub_graph.nodes:
            self._source[str(node.instance_id)] = job.name, str(node.name)

    def source(self, node_id: str) -> tuple[str, str]:
        """The job that holds a node, and the node's name in it."""
        return self._source[node_id]

    def restricted(self, only: Collection[str], given: Mapping[str, str]) -> Plan:
        """The plan with these jobs alone, whose other inputs are ``given``."""
        jobs = {}
        for name, job in self.jobs.items():
            if name in only:
                edges = [edge for edge in job.edges if edge.source in only]
                jobs[name] = PlannedJob(name, job.sub_graph, job.resolved, edges, job.settings)
        return Plan(self.desc, self.host, self.workflow, jobs, given, self.extensions)

    def context(
        self, job: str, run_id: str, run_folder: str | Path, attempt: int = 1, finished: Mapping[str, int] | None = None
    ) -> JobContext:
        """The context of an attempt.

        Args:
            job, run_id, run_folder, attempt: which attempt of which run.
            finished: by job, the attempt whose artifacts are read; the first where nothing is said.
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


def make_plan(
    folder: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    params: Sequence[str] = (),
    workflow: str | None = None,
) -> Plan:
    """Plan the workflow of a project.

    Args:
        folder: the project's folder.
        sets: ``JOB.KEY=VALUE``, as the command line's ``--set``.
        params: ``NAME=VALUE``, as the command line's ``-p``.
        workflow: which workflow, where workflow.py has several.

    Raises ProjectError with every mistake in the project's files, graph and code; PluginError where a job's plugin is
    missing or broken.
    """
    problems: list[Problem] = []
    project = load_project(folder, problems)
    config: WorkflowConfig | None = None
    try:
        config = load_workflow_config(project.workflow_yaml, sets, params, problems)
    except ConfigError as error:
        problems += error.problems
    with imported_workflow(project) as module, paused():
        graph = built_graph(project, module, workflow)
        wrong = check_graph(graph)
        if config is not None:
            file = project.workflow_yaml.name if project.workflow_yaml else "workflow.yaml"
            wrong += check_jobs(graph, config.jobs, config.where, file)
        wrong += check_calls(graph)
        wrong += freeze(graph, Path(project.desc.root), module, project.desc.python_paths)
    if wrong or config is None:
        raise ConfigError(problems=problems + wrong)
    with paused():
        return _planned(project, config, graph, problems)


def _planned(project: Project, config: WorkflowConfig, graph: AIGraph, problems: list[Problem]) -> Plan:
    host = PluginHost(*_policy(project))
    parts = split(graph)
    layers = {name: config.layered(name) for name in parts.sub_graphs}
    structurer = Structurer()
    chosen = {name: structurer.platform_and_engine(layer, problems) for name, layer in layers.items()}
    resolved, missing = _resolve_all(host, {name: pair for name, pair in chosen.items() if pair is not None})
    upstream = parts.upstream()
    jobs = {}
    for name, sub_graph in parts.sub_graphs.items():
        if name in resolved:
            typed = structurer.structure(resolved[name].config_type, layers[name], problems)
            if typed is not None:
                sub_graph.config = typed
                jobs[name] = PlannedJob(name, sub_graph, resolved[name], upstream[name], layers[name].value)
        elif chosen[name] is not None:
            check_common(layers[name], problems)
    problems += check_streams(graph, {name: job.config.exec_mode for name, job in jobs.items()})
    _raise_all(problems, missing)
    plan = Plan(project.desc, host, graph.name, jobs, extensions=project.extensions)
    _try_generate(plan)
    return plan


def _raise_all(problems: Sequence[Problem], missing: Sequence[PluginError]) -> None:
    """Raise what was found: mistakes in the project first, and with them every plugin that cannot be had."""
    together = [*problems, *(problem for error in missing for problem in error.problems)]
    if problems:
        raise ConfigError(problems=together)
    if len(missing) == 1:
        raise missing[0]
    if missing:
        raise type(missing[0])(problems=together) from missing[0]


def _policy(project: Project) -> tuple[Policy | None, Mapping[str, str] | None]:
    """The project's allow, deny and pins together with those of the environment."""
    theirs, settings = Policy.from_environment(), project.plugins
    policy = Policy([*theirs.allow, *settings.allow], [*theirs.deny, *settings.deny])
    return policy, {**settings.pins, **Policy.pins_from_environment()}


def _resolve_all(
    host: PluginHost, chosen: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, ResolvedPlugin], list[PluginError]]:
    """The plugin of each job that has one, and one error for each platform and engine that has none."""
    found: dict[str, ResolvedPlugin] = {}
    errors: dict[tuple[str, str], PluginError] = {}
    for name, pair in chosen.items():
        try:
            if pair not in errors:
                found[name] = host.resolve(*pair)
        except PluginError as error:
            errors[pair] = error
    for remark in dict.fromkeys(remark for resolved in found.values() for remark in resolved.remarks):
        _log.warning("%s", remark)
    return found, list(errors.values())


def _try_generate(plan: Plan) -> None:
    """Generate every job once, so that what a plugin cannot run is told before anything starts."""
    problems: list[Problem] = []
    failed: type[AiflowError] | None = None
    for job in plan.jobs.values():
        try:
            made = generate(plan, job)
            job.made = made if job.resolved.durable else None  # nine methods know of no second use of a job
            _read_secrets(job)
        except AiflowError as error:
            known = {str(problem) for problem in problems}
            problems += [problem for problem in error.problems if str(problem) not in known]
            failed = failed or type(error)
    if failed is not None:
        raise failed(problems=problems)


def _read_secrets(job: PlannedJob) -> None:
    """Raise SecretError for a secret of the job that this machine should have and has not."""
    here = {
        name: value
        for name, value in job.config.env.items()
        if is_secret(value) and not str(value["secret"]).startswith("kubernetes:")
    }
    try:
        resolve(here)
    except SecretError as error:
        problems = [Problem(f"job {job.name!r}: {each.message}", each.where, each.hint) for each in error.problems]
        raise SecretError(problems=problems) from error


def generate(plan: Plan, planned: PlannedJob, context: JobContext | None = None) -> BaseJob:
    """A new job of ``planned`` with ``context`` filled in. Raises what the plugin raised, as an AiflowError."""
    context = context or JobContext()
    if planned.made is None:
        return generate_job(planned.resolved, planned.sub_graph, plan.desc, context)
    made, planned.made = planned.made, None
    fill_in(made, planned.resolved, planned.sub_graph, context)
    return made


def new_run_id(workflow: str) -> str:
    """A new run's id: the workflow's name, the second in UTC, and four random characters."""
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"{safe_name(workflow, 24)}-{moment}-{secrets.token_hex(2)}"
