"""What a run will do, made before anything happens: every mistake that can be known now is found here."""

from __future__ import annotations

import functools
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from aiflow_ext.host.guard import unending
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.host.secrets import Lookup as SecretLookup
from aiflow_ext.host.secrets import check, is_secret, read
from aiflow_ext.model.collector import paused
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import (
    AiflowError,
    ConfigError,
    PluginError,
    Problem,
    ProjectError,
    shown_path,
)
from aiflow_ext.model.graph import AIGraph, AISubGraph
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.names import artifact_key, artifact_url, safe_name
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.run.planning.generate import fill_in, generate_job
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.translate.blocks import check_blocks
from aiflow_ext.translate.calls import check_calls
from aiflow_ext.translate.check import check_graph, check_keys, check_streams
from aiflow_ext.translate.common import common_values
from aiflow_ext.translate.config import (
    Structurer,
    WorkflowConfig,
    check_common,
    load_workflow_config,
)
from aiflow_ext.translate.defaults import defaulted
from aiflow_ext.translate.functions import freeze
from aiflow_ext.translate.gather import gathered
from aiflow_ext.translate.layers import Layer
from aiflow_ext.translate.load import built_graph, imported_workflow, jobs_of_others
from aiflow_ext.translate.project import ExtensionSettings, Project, load_project
from aiflow_ext.translate.project_root import PROJECT_YAML
from aiflow_ext.translate.split import JobEdge, split

_log = logging.getLogger("aiflow_ext")


# Keys whose names are said for other reasons than to speak of them.
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
        self.settings = settings  # the config as it was written, before the plugin's type took it
        self.defaults = tuple(defaults)  # which of platform and engine nobody has said
        # Where the job's keys stand, and where the workflow opens it; None for a job that comes from a store.
        self._layer, self._opened = layer, opened
        self.made: BaseJob | None = None  # generated while planning, for the first who asks

    @property
    def config(self) -> BaseJobConfig:
        return self.sub_graph.config

    def where(self, *path: Any) -> str | None:
        """``file:line`` of what is at ``path`` in the job's config; None for a job that comes from a store."""
        return self._layer.where(path) if self._layer is not None else None

    def locate(self, error: AiflowError) -> None:
        """Have every problem of ``error`` that names no place be where the job, or its key that is spoken of, stands.

        A plugin knows no lines: what it says of a config is about a key, all else about the job's nodes.
        """
        error.problems = tuple(
            Problem(each.message, self._place(each.message, isinstance(error, ConfigError)), each.hint)
            if each.where is None
            else each
            for each in error.problems
        )

    def _place(self, message: str, of_config: bool) -> str | None:
        if self._layer is None or not of_config:
            return self._opened
        words = set(re.findall(r"\w+", message))
        paths: list[tuple[str, ...]] = [(key,) for key in self._layer.value if key in words and key not in _TOO_COMMON]
        paths += [("env", name) for name in self.config.env if name in words]
        return self.where(*paths[0] if len(paths) == 1 else ())


class LeftOut:
    """One job of a workflow that is not to be sent: neither its plugin nor anything of this machine is needed."""

    def __init__(self, sub_graph: AISubGraph, edges: Sequence[JobEdge], layer: Layer) -> None:
        self.sub_graph, self.edges, self.settings = sub_graph, tuple(edges), layer.value


class Plan:
    """A project's workflow, checked, split, and with a job plugin for every job that is to be sent.

    Attributes:
        jobs: the jobs that are to be sent, by name.
        left_out: the others, by name; empty in the plan of a run.
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
    ) -> None:
        self.desc, self.host, self.workflow = desc, host, workflow
        self.extensions = extensions or ExtensionSettings()
        self.jobs: dict[str, PlannedJob] = {}
        self.left_out = dict(left_out or {})
        self.given = dict(given or {})  # artifacts of an earlier run, by their names in JobContext.inputs
        self._source: dict[str, tuple[str, str]] = {}
        for job in jobs.values():
            self.add(job)
        for name, other in self.left_out.items():
            self._note_nodes(name, other.sub_graph)

    def add(self, job: PlannedJob) -> None:
        """Have this job in the plan too."""
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
        """The config of one of all jobs as it was written; None where the workflow has no such job."""
        found = self.jobs.get(job) or self.left_out.get(job)
        return None if found is None else found.settings

    def source(self, node_id: str) -> tuple[str, str]:
        """The job that holds a node, and the node's name in it."""
        return self._source[node_id]

    def located(self, problem: Problem) -> Problem:
        """What a platform says of a job (``job 'train' asks for ...``) with the place of the key that it speaks of."""
        named = re.search(r"\bjob '([^']*)'", problem.message)
        job = self.jobs.get(named[1]) if named and problem.where is None else None
        return problem if job is None else Problem(problem.message, job._place(problem.message, True), problem.hint)

    def restricted(self, only: Collection[str], given: Mapping[str, str]) -> Plan:
        """The plan with these jobs alone, whose other inputs are ``given``."""
        jobs = {}
        for name, job in self.jobs.items():
            if name in only:
                edges = [edge for edge in job.edges if edge.source in only]
                jobs[name] = PlannedJob(
                    name, job.sub_graph, job.resolved, edges, job.settings, job.defaults, job._layer, job._opened
                )
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


_LISTS = {"sets": "['train.retries=2']", "params": "['alpha=0.2']", "only": "['train']"}


def check_lists(**given: Sequence[str]) -> None:
    """Raises ConfigError where an option that is a list of texts is given as something else: each of its letters, or of
    its keys, would be taken for one."""
    for name, value in given.items():
        if isinstance(value, (str, bytes, Mapping)) or not all(isinstance(each, str) for each in value):
            raise ConfigError(f"{name} is a list of texts, not {value!r}", hint=f"write it as {name}={_LISTS[name]}")


def make_plan(
    folder: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    params: Sequence[str] = (),
    workflow: str | None = None,
    only: Collection[str] | None = None,
    sent: Callable[[PlannedJob], object] = lambda job: True,
) -> Plan:
    """Plan the workflow of a project.

    Args:
        folder: the project's folder.
        sets: ``JOB.KEY=VALUE``, as the command line's ``--set``.
        params: ``NAME=VALUE``, as the command line's ``-p``.
        workflow: which workflow, where workflow.py has several.
        only: the jobs that are to be sent, by name; None for all. Of the others only what they have in common with
            every job is checked: their plugins are not looked for.
        sent: whether one of these is to be sent, where its typed config tells: others are not generated, and their
            secrets not asked for. All by default.

    Raises ProjectError with every mistake in the project's files, graph and code; PluginError where a job's plugin is
    missing or broken.
    """
    check_lists(sets=sets, params=params)
    problems: list[Problem] = []
    project = load_project(folder, problems)
    project.desc.artifacts = project.desc.artifacts or str(state_folder(project.root) / "artifacts")
    config: WorkflowConfig | None = None
    try:
        with imported_workflow(project) as module, paused():
            graph = built_graph(project, module, workflow)
            wrong = check_graph(graph)
            config = _configured(project, graph, sets, params, problems)
            wrong += [] if config is None else _unused(config, module, graph)
            wrong += check_calls(graph)
            wrong += freeze(graph, Path(project.desc.root), module, project.desc.python_paths)
    except ProjectError as error:
        if config is None:
            _configured(project, None, (), (), problems)
        if problems:
            raise ConfigError(problems=gathered([*problems, *error.problems])) from error
        raise
    if wrong or config is None:
        raise ConfigError(problems=gathered(problems + wrong))
    with paused():
        return _planned(project, config, graph, problems, only, sent)


def _configured(
    project: Project, graph: AIGraph | None, sets: Sequence[str], params: Sequence[str], problems: list[Problem]
) -> WorkflowConfig | None:
    """The configs of the graph's jobs; None after it was noted why they cannot be read."""
    places = None if graph is None else {name: _opened(graph, name) for name in graph.jobs}
    try:
        return load_workflow_config(project.workflow_yaml, sets, params, problems, places)
    except ConfigError as error:
        problems += error.problems
        return None


def _unused(config: WorkflowConfig, module: ModuleType, graph: AIGraph) -> list[Problem]:
    """The config keys that fit no job of any workflow in workflow.py."""
    others = jobs_of_others(module, graph) if config.unused else None
    if others is None:
        return []
    return check_keys(config.fitting_none_of(others), [*graph.jobs], config.where, others - graph.jobs.keys())


def _opened(graph: AIGraph, job: str) -> str | None:
    """Where the workflow opens a job."""
    return next(iter(graph.jobs[job].where), None)


def _planned(
    project: Project,
    config: WorkflowConfig,
    graph: AIGraph,
    problems: list[Problem],
    only: Collection[str] | None,
    sent: Callable[[PlannedJob], object],
) -> Plan:
    host = PluginHost(*_policy(project))
    parts = split(graph)
    layers = {name: config.layered(name) for name in parts.sub_graphs}
    structurer = Structurer()
    chosen: dict[str, tuple[str, str] | None] = {}
    defaults: dict[str, tuple[str, ...]] = {}
    for name, layer in layers.items():
        filled = defaulted(layer, parts.sub_graphs[name].nodes, _opened(graph, name), problems)
        defaults[name] = filled or ()
        if filled is None:
            check_common(layer, problems)
        chosen[name] = None if filled is None else structurer.platform_and_engine(layer, problems)
    on = {name: pair[0] for name, pair in chosen.items() if pair is not None}
    problems += check_blocks(config, on, lambda: _platforms(host))
    wanted = {name: pair for name, pair in chosen.items() if pair is not None and (only is None or name in only)}
    resolved, missing = _resolve_all(host, wanted, layers, defaults)
    upstream = parts.upstream()
    jobs, left_out = {}, {}
    for name, sub_graph in parts.sub_graphs.items():
        if only is not None and name not in only:
            left_out[name] = LeftOut(sub_graph, upstream[name], layers[name])
        if name in resolved:
            typed = structurer.structure(resolved[name].config_type, layers[name], problems)
            if typed is not None:
                sub_graph.config = typed
                jobs[name] = PlannedJob(name, sub_graph, resolved[name], upstream[name], layers[name].value,
                                        defaults[name], layers[name], _opened(graph, name))  # fmt: skip
        elif chosen[name] is not None:
            check_common(layers[name], problems)
    modes = {name: common_values(layers[name])[0].get("exec_mode", ExecutionMode.BATCH) for name in left_out}
    problems += check_streams(graph, modes | {name: job.config.exec_mode for name, job in jobs.items()})
    _raise_all(problems, missing)
    plan = Plan(project.desc, host, graph.name, jobs, extensions=project.extensions, left_out=left_out)
    unending(_try_generate, plan, sent)
    return plan


def _raise_all(problems: Sequence[Problem], missing: Sequence[PluginError]) -> None:
    """Raise what was found: mistakes in the project first, and with them every plugin that cannot be had."""
    # That a platform is missing is said of each of its engines, in the same words.
    lacking = {str(problem): problem for error in missing for problem in error.problems}
    together = [*problems, *lacking.values()]
    if problems:
        raise ConfigError(problems=gathered(together))
    if missing:
        missing[0].problems = tuple(gathered(together))
        raise missing[0]


def _policy(project: Project) -> tuple[Policy | None, Mapping[str, str] | None]:
    """The project's allow, deny and pins together with those of the environment."""
    theirs, settings = Policy.from_environment(), project.plugins
    policy = theirs.together(settings.allow, settings.deny, shown_path(project.root / PROJECT_YAML))
    return policy, {**settings.pins, **Policy.pins_from_environment()}


def _resolve_all(
    host: PluginHost,
    chosen: Mapping[str, tuple[str, str]],
    layers: Mapping[str, Layer],
    defaults: Mapping[str, Sequence[str]],
) -> tuple[dict[str, ResolvedPlugin], list[PluginError]]:
    """The plugin of each job that has one, and one error for each platform and engine that has none.

    An error has its problems once for each place where that platform or engine is asked for.
    """
    found: dict[str, ResolvedPlugin] = {}
    errors: dict[tuple[str, str], PluginError] = {}
    places: dict[tuple[str, str], dict[str, str]] = {}  # with what is to be said there beside the hint
    here: set[str] | None = None  # the platforms that there are
    for name, pair in chosen.items():
        try:
            if pair not in errors:
                found[name] = host.resolve(*pair)
        except PluginError as error:
            errors[pair] = error
        if pair in errors:
            here = _platforms(host) if here is None else here
            place = layers[name].where(("engine" if pair[0] in here else "platform",))
            words = f"{pair[0]} is the default: platform: NAME in workflow.yaml says another one"
            places.setdefault(pair, {})[place] = words if "platform" in defaults[name] else ""
    for remark in dict.fromkeys(remark for resolved in found.values() for remark in resolved.remarks):
        _log.warning("%s", remark)
    for pair, refused in errors.items():
        refused.problems = tuple(
            Problem(each.message, each.where or place, "\n    ".join(filter(None, (each.hint, words))) or None)
            for place, words in places[pair].items()
            for each in refused.problems
        )
    return found, list(errors.values())


def _platforms(host: PluginHost) -> set[str]:
    """The platforms that something installed runs jobs on."""
    return {record.name.partition(".")[0] for record in host.plugins() if record.kind == "job_plugin"}


def _try_generate(plan: Plan, sent: Callable[[PlannedJob], object]) -> None:
    """Generate every job that is to be ``sent`` once, so that what a plugin cannot run is told before anything starts,
    as are the secrets that it lacks."""
    problems: dict[str, Problem] = {}
    failed: type[AiflowError] | None = None
    sources, values = secrets_of(plan.host)
    for job in filter(sent, plan.jobs.values()):
        try:
            made = generate(plan, job)
            job.made = made if job.resolved.durable else None  # nine methods know of no second use of a job
            read_secrets(job, sources, values)
        except AiflowError as error:
            job.locate(error)
            for problem in error.problems:
                problems.setdefault(str(problem), problem)
            failed = failed or type(error)
    if failed is not None:
        raise failed(problems=gathered(problems.values()))


def secrets_of(host: PluginHost) -> tuple[SecretLookup, Callable[[str], str]]:
    """The sources of secrets by name, and values by reference: each is looked for once, however many jobs name it.

    The values live as long as what is returned: for a check, not for a run.
    """
    sources = functools.cache(host.secret_source)
    return sources, functools.cache(functools.partial(read, sources=sources))


def read_secrets(job: PlannedJob, sources: SecretLookup, values: Callable[[str], str]) -> None:
    """Raise for the job's secrets that its platform cannot read, and for those that this machine should have but lacks.

    Args:
        sources, values: of :func:`secrets_of`.

    Raises SecretError; PluginError where a source cannot be used, and UnreachableError where one gives no answer.
    """
    problems = []
    failed: type[AiflowError] | None = None
    for name, value in job.config.env.items():
        if is_secret(value):
            reference = str(value["secret"])
            try:
                if check(reference, job.resolved, sources).platforms is None:
                    values(reference)
            except AiflowError as error:
                failed = failed or type(error)
                for each in error.problems:
                    message = f"job {job.name!r}: variable {name}: {each.message}"
                    problems.append(Problem(message, each.where or job.where("env", name), each.hint))
    if failed is not None:
        raise failed(problems=problems)


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
