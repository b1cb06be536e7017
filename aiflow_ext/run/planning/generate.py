"""Generates a job by its plugin, checks it, and sets its config and context."""

from __future__ import annotations

import contextlib
import copy
from typing import TypeVar

from aiflow_ext.host.guard import Ended
from aiflow_ext.host.loading import describe, not_found, raised_in
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import AiflowError, GraphError, PluginTypeError, named
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.translate.common import NAMES
from aiflow_ext.translate.shared import prints_on_stderr

T = TypeVar("T")


def generate_job(resolved: ResolvedPlugin, sub_graph: AISubGraph, project: ProjectDesc, context: JobContext) -> BaseJob:
    """Generate a job of ``sub_graph`` by the plugin ``resolved``, and set its config and context."""
    label, name = f"{resolved.platform}.{resolved.engine}", sub_graph.name
    if not resolved.durable:
        sub_graph, project = _copied(sub_graph), _copied(project)
    try:
        with prints_on_stderr():
            job = resolved.hook.generate(sub_graph=sub_graph, project_desc=project)
    except AiflowError:
        raise
    except ModuleNotFoundError as error:
        raise not_found(f"job {name!r}: {describe(resolved.record)}", resolved.record, error) from error
    except (Exception, SystemExit, Ended) as error:
        raise GraphError(
            f"job {name!r}: the job plugin {label} ({resolved.record.distribution}) cannot run it: "
            f"{named(error)}{_raised_at(error)}",
            hint="change the job, or its platform and engine in workflow.yaml",
        ) from error
    if not isinstance(job, resolved.job_type):
        raise PluginTypeError(
            f"the job plugin {label} of {resolved.record.distribution} {resolved.record.version} generated a "
            f"{type(job).__name__} for job {name!r}; its job_type is {resolved.job_type.__name__}",
            hint="generate() must return an instance of job_type()",
        )
    fill_in(job, resolved, sub_graph, context)
    return job


def fill_in(job: BaseJob, resolved: ResolvedPlugin, sub_graph: AISubGraph, context: JobContext) -> None:
    """Set a generated job's context, and its config and name if it lacks them."""
    own = getattr(job, "job_context", None)
    if isinstance(own, JobContext) and type(own) is not JobContext:  # the author's own kind of context is kept
        try:
            for key, value in context.to_json().items():
                setattr(own, key, value)
        except AttributeError as error:
            raise PluginTypeError(
                f"the {type(own).__name__} of a job of {resolved.platform}.{resolved.engine} takes no {key!r}: {error}",
                hint="the host fills in a job's context, its native id last: it cannot be frozen",
            ) from error
        context = own
    config = getattr(job, "job_config", None)
    if config is None:
        config = sub_graph.config
    elif config is not sub_graph.config:
        _complete(config, sub_graph.config)
    if context.environment and hasattr(config, "env"):  # an author's own kind of config may lack it
        config = copy.copy(config)  # that of all attempts stays as it is
        object.__setattr__(config, "env", {**context.environment, **config.env})
    for attribute, value in (("job_context", context), ("job_config", config)):
        try:
            object.__setattr__(job, attribute, value)
        except AttributeError as error:
            raise PluginTypeError(
                f"a {type(job).__name__} of the job plugin {resolved.platform}.{resolved.engine} takes no attribute "
                f"{attribute!r}",
                hint="the host fills in job_context and job_config: leave room for them (no __slots__ without them)",
            ) from error
    if job.name is None:
        object.__setattr__(job, "name", sub_graph.name)


def _complete(config: object, whole: BaseJobConfig) -> None:
    """Set the common values that a config lacks which ``generate`` derived from the host's (``attrs.evolve``)."""
    if isinstance(config, BaseJobConfig):
        there = Jsonable.to_json(config)
        for name in NAMES:
            if name not in there:
                with contextlib.suppress(AttributeError):  # a property of the author's own
                    object.__setattr__(config, name, getattr(whole, name))


def _raised_at(error: BaseException) -> str:
    """Where the error was raised, if it looks like a mistake of the plugin's author and not like a refusal."""
    return "" if isinstance(error, (ValueError, SystemExit)) else raised_in(error)


def _copied(value: T) -> T:
    """A copy that an author's code may change: generate is called again, and must get the same arguments."""
    try:
        return copy.deepcopy(value)
    except Exception:  # an author's config may hold what cannot be copied
        return value
