"""Makes a plan of a project's workflow, before anything is sent, and finds every mistake that can be found offline."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from aiflow_ext.host.guard import unending
from aiflow_ext.host.host import PluginHost
from aiflow_ext.model.collector import paused
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import AiflowError, ConfigError, PluginError, Problem, ProjectError
from aiflow_ext.model.graph import AIGraph, AISubGraph
from aiflow_ext.run.planning.demands import capacities_of, check_demands
from aiflow_ext.run.planning.job_plugins import plugin_policy, resolve_all, runnable_platforms
from aiflow_ext.run.planning.job_secrets import read_secrets, secrets_of
from aiflow_ext.run.planning.plan import LeftOut, Plan, PlannedJob, generate
from aiflow_ext.run.planning.serving import check_ready
from aiflow_ext.run.planning.snapshot import tell_withheld
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.translate.blocks import check_blocks, check_limits
from aiflow_ext.translate.calls import check_calls
from aiflow_ext.translate.check import check_graph, check_keys, check_streams
from aiflow_ext.translate.config import WorkflowConfig, load_workflow_config
from aiflow_ext.translate.defaults import defaulted
from aiflow_ext.translate.files import secret_files
from aiflow_ext.translate.functions import freeze
from aiflow_ext.translate.gather import gathered
from aiflow_ext.translate.job_config import Structurer
from aiflow_ext.translate.layers import check_params
from aiflow_ext.translate.load import built_graph, chosen_workflow, imported_workflow, jobs_of_others
from aiflow_ext.translate.parameters import Given, parameters_of
from aiflow_ext.translate.profiles import laid_over, user_config
from aiflow_ext.translate.project import Project, load_project
from aiflow_ext.translate.properties import put_properties
from aiflow_ext.translate.split import split
from aiflow_ext.translate.yaml_source import Located

_log = logging.getLogger("aiflow_ext")
_LISTS = {"sets": "['train.retries=2']", "params": "['alpha=0.2']", "config": "['prod.yaml']", "only": "['train']"}


def check_lists(**given: Sequence[str]) -> None:
    """Raise ConfigError if an option that is a list of texts is a text or a mapping: its letters or keys would be taken
    for the items."""
    for name, value in given.items():
        if isinstance(value, (str, bytes, Mapping)) or not all(isinstance(each, str) for each in value):
            raise ConfigError(f"{name} is a list of texts, not {value!r}", hint=f"write it as {name}={_LISTS[name]}")


def param_texts(params: Mapping[str, Any]) -> list[str]:
    """Parameters by name as the texts of ``-p``. Raises ConfigError for a value that YAML has no word for."""
    found = []
    for name, value in params.items():
        if not isinstance(name, str) or not name.strip() or "=" in name:
            raise ConfigError(f"the parameter {name!r} is no name of a property", hint="write it as {'alpha': 0.2}")
        try:
            found.append(f"{name}={json.dumps(value, allow_nan=False)}")
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"the parameter {name!r} is no text, number, truth value, list or mapping: {error}",
                              hint="give its path or its text") from error  # fmt: skip
    return found


def make_plan(
    folder: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    params: Sequence[str] | Mapping[str, Any] = (),
    workflow: str | None = None,
    config: Sequence[str] = (),
    profile: str | None = None,
    only: Collection[str] | None = None,
    sent: Callable[[PlannedJob], object] = lambda job: True,
) -> Plan:
    """Plan the workflow of a project.

    Args:
        folder: the project's folder.
        sets: ``JOB.KEY=VALUE``, as the command line's ``--set``.
        params: ``NAME=VALUE``, as the command line's ``-p``, or values by name.
        workflow: which workflow, if workflow.py has several.
        config: paths of files that are laid over workflow.yaml, as the command line's ``--config``.
        profile: the name of a profile in project.yaml, which is laid under these.
        only: the jobs that are to be sent, by name; None for all. Of the others only the common keys are checked, and
            their plugins are not resolved.
        sent: whether a job is to be sent, given its typed config: others are not generated, and their secrets not read.
            All by default.

    Raises ProjectError with every mistake in the project's files, graph and code; PluginError if a job's plugin is
    missing or broken.
    """
    params = param_texts(params) if isinstance(params, Mapping) else params
    check_lists(sets=sets, params=params, config=config)
    problems: list[Problem] = []
    project = load_project(folder, problems)
    project.desc.artifacts = project.desc.artifacts or str(state_folder(project.root) / "artifacts")
    made: WorkflowConfig | None = None
    files = _Files(project, profile, config)
    try:
        with imported_workflow(project) as module, paused():
            given = parameters_of(chosen_workflow(project, module, workflow), params)
            graph = built_graph(project, module, workflow, {each.name: each.value for each in given if each.is_given})
            wrong = check_graph(graph)
            made = _configured(files, graph, sets, params, problems, [each.name for each in given])
            unused = [] if made is None else _unused(made, module, graph)
            if given:  # other parameters may give the workflow those jobs
                for each in unused:
                    _log.warning("%s: %s, with these parameters", each.where, each.message)
            else:
                wrong += unused
            wrong += check_calls(graph)
            wrong += freeze(graph, Path(project.desc.root), module, project.desc.python_paths)
    except ProjectError as error:
        if made is None:
            check_params(params, problems)
            _configured(files, None, (), (), problems)
        if problems:
            raise ConfigError(problems=gathered([*problems, *error.problems])) from error
        raise
    if wrong or made is None:
        raise ConfigError(problems=gathered(problems + wrong))
    with paused():
        return _planned(project, made, graph, problems, only, sent, given)


class _Files(NamedTuple):
    """What a workflow's config is read from."""

    project: Project
    profile: str | None
    config: Sequence[str]


def _configured(
    files: _Files,
    graph: AIGraph | None,
    sets: Sequence[str],
    params: Sequence[str],
    problems: list[Problem],
    taken: Collection[str] = (),
) -> WorkflowConfig | None:
    """The configs of the graph's jobs; None after problems were added. ``taken``: the workflow's own parameters."""
    places = None if graph is None else {name: _opened(graph, name) for name in graph.jobs}
    over: list[Located] | None = None
    try:
        over = laid_over(*files, problems)
    except ConfigError as error:
        problems += error.problems
        check_params(params, problems)
    known = params if over is not None else ()  # a property may be in what could not be read
    try:
        made = load_workflow_config(files.project.workflow_yaml, sets, known, problems, places, taken,
                                    user=user_config(), over=over or ())  # fmt: skip
    except ConfigError as error:
        problems += error.problems
        return None
    return None if over is None else made


def _unused(config: WorkflowConfig, module: ModuleType, graph: AIGraph) -> list[Problem]:
    """The config keys that match no job of any workflow in workflow.py."""
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
    given: Sequence[Given],
) -> Plan:
    host = PluginHost(*plugin_policy(project))
    parts = split(graph)
    layers = {name: config.layered(name) for name in parts.sub_graphs}
    structurer = Structurer()
    chosen: dict[str, tuple[str, str] | None] = {}
    defaults: dict[str, tuple[str, ...]] = {}
    for name, layer in layers.items():
        filled = defaulted(layer, parts.sub_graphs[name].nodes, _opened(graph, name), problems)
        defaults[name] = filled or ()
        put_properties(parts.sub_graphs[name].nodes, layer.value.get("properties"), problems)
        if filled is None:
            structurer.check_common(layer, problems)
        chosen[name] = None if filled is None else structurer.platform_and_engine(layer, problems)
    on = {name: pair[0] for name, pair in chosen.items() if pair is not None}
    problems += check_blocks(config, on, lambda: runnable_platforms(host))
    problems += check_limits(project.jobs, project.where, on.values(), lambda: runnable_platforms(host))
    wanted = {name: pair for name, pair in chosen.items() if pair is not None and (only is None or name in only)}
    resolved, missing = resolve_all(host, wanted, layers, defaults)
    upstream = parts.upstream()
    jobs, left_out = {}, {}
    for name, sub_graph in parts.sub_graphs.items():
        if only is not None and name not in only:
            left_out[name] = LeftOut(sub_graph, upstream[name], layers[name], defaults[name])
        if name in resolved:
            typed = structurer.structure(resolved[name].config_type, layers[name], problems)
            if typed is not None:
                sub_graph.config = typed
                _give_shell(sub_graph)
                jobs[name] = PlannedJob(name, sub_graph, resolved[name], upstream[name], layers[name].value,
                                        defaults[name], layers[name], _opened(graph, name))  # fmt: skip
        elif chosen[name] is not None:
            structurer.check_common(layers[name], problems)
    modes = {name: structurer.exec_mode(layers[name]) for name in left_out}
    problems += check_streams(graph, modes | {name: job.config.exec_mode for name, job in jobs.items()})
    problems += check_ready(jobs)
    capacities = capacities_of(jobs.values())
    problems += check_demands(jobs.values(), capacities)
    _raise_all(problems, missing)
    secrets = [*config.data, *(layer.value.get("env") for layer in layers.values())]
    project.desc.secret_files = tuple(secret_files(project.desc.root, secrets))
    plan = Plan(project.desc, host, graph.name, jobs, extensions=project.extensions, left_out=left_out,
                limits=project.jobs, capacities=capacities, layers=config.layers,
                parameters=[each.to_data() for each in given], report=project.report)  # fmt: skip
    unending(_try_generate, plan, sent)
    tell_withheld(plan)
    return plan


def _give_shell(sub_graph: AISubGraph) -> None:
    """Have the job's commands say which shell runs them, where it is not the usual one."""
    shell = sub_graph.config.shell
    # A plugin's config type of its own may have anything under this name.
    if isinstance(shell, (str, list, tuple)) and shell and shell != BaseJobConfig.shell:
        for node in sub_graph.nodes:
            if node.kind == "cmd_line":
                words = shell if isinstance(shell, str) else list(shell)
                node.properties = {**node.properties, "shell": words}


def _raise_all(problems: Sequence[Problem], missing: Sequence[PluginError]) -> None:
    """Raise the errors that were found: mistakes in the project first, with every missing or broken plugin."""
    # A missing platform is reported for each of its engines, with the same message.
    lacking = {str(problem): problem for error in missing for problem in error.problems}
    together = [*problems, *lacking.values()]
    if problems:
        raise ConfigError(problems=gathered(together))
    if missing:
        missing[0].problems = tuple(gathered(together))
        raise missing[0]


def _try_generate(plan: Plan, sent: Callable[[PlannedJob], object]) -> None:
    """Generate every job that is to be ``sent`` once, so that jobs which a plugin refuses, and missing secrets, are
    reported before anything starts."""
    problems: dict[str, Problem] = {}
    failed: type[AiflowError] | None = None
    sources, values = secrets_of(plan.host)
    for job in filter(sent, plan.jobs.values()):
        try:
            made = generate(plan, job)
            job.made = made if job.resolved.durable else None  # nine methods may not allow a second use of a job
            read_secrets(job, sources, values)
        except AiflowError as error:
            job.locate(error)
            for problem in error.problems:
                problems.setdefault(str(problem), problem)
            failed = failed or type(error)
    if failed is not None:
        raise failed(problems=gathered(problems.values()))
