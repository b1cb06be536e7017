"""Everything of aiflow-ext that a plugin uses. What is not in this package or its modules may change in any release.

A plugin imports nothing else of aiflow-ext: neither the other packages, nor ``aiflow_ext`` itself, which is for authors
of workflows. Only its tests use ``aiflow_ext.testing`` too. Each name is imported from the module that defines it when
it is first used, so that a plugin imports only what it needs.

What to write, with the nine methods and the optional hooks (``python -m pydoc aiflow_ext.host.specs``):

    AbstractJobPlugin, AbstractPlatform, AbstractEngine    the classes that entry points lead to
    AbstractJobGenerator, AbstractJobSubmitter             the two halves of a job plugin
    AbstractJob (BaseJob), AbstractJobConfig (BaseJobConfig), AbstractJobHandler    what a job plugin makes and takes
    AbstractSecretSource                                   where secrets are kept: NAME in ``{secret: "NAME:REST"}``
    AbstractJobEnvironment                                 adds variables to jobs, on every platform
    InProcessJob, InProcessEnd                             what an engine's in_process returns, for run --in-process
    hookimpl                                               marks the optional hooks, and those of an extension

What a plugin is given:

    AISubGraph, AINode, DataEdge, BaseNode    a job's nodes and the edges between them
    ProjectDesc, JobContext                   the project; an attempt's ids, folders and URLs
    ExecutionMode, PeriodicConfig, RetryDelay, Grow, Ready    values of a config
    Transition, EndedAttempt, EndedRun, EndedJob    arguments of an extension's hooks

What it returns or raises:

    JobState, Lookup, AttemptEvent, Request    states, look-ups, events; what is sent
    PollableWatch, StartingWatch               what watch returns if no thread is to wait for events
    Problem                                    a mistake, its place and what to do about it
    AiflowError and its subclasses             PlatformError, UnreachableError (no answer: retried),
                                               AnotherPlatformError (not where the run began: retried, and no run is
                                               resumed), ConfigError, CodeError, SecretError, GraphError,
                                               ProjectError, DataError, StateError, PluginError
    Jsonable, dumps, loads, register_type      handlers, jobs and configs as JSON
    safe_name                                  a name that every platform takes, in [a-z0-9-]
    Resources                                  cores, bytes and GPUs
    Usage                                      what an attempt has used, for the event of its end
    parse_cpu, parse_memory                    read the units of the keys cpu and memory, for keys of a plugin's own
    cpu_text, memory_text                      write them: ``500m``, ``2Gi``

In modules of their own, because not every plugin needs them:

    authoring     for a function of a plugin's own that authors of workflows call, as they call af.cmd
    engines       what python and cmd_line jobs need: bundle, command, variables, artifacts
    secrets       references under ``env``: how they are shown, and their values for ``submit_job``
    supervised    attempts as supervised processes of the client's machine
    processes     ends all processes of an attempt; standard library only, for code that runs beside a job
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiflow_ext.host.specs import hookimpl as hookimpl
    from aiflow_ext.model.attempt import AttemptEvent as AttemptEvent
    from aiflow_ext.model.attempt import EndedAttempt as EndedAttempt
    from aiflow_ext.model.attempt import EndedJob as EndedJob
    from aiflow_ext.model.attempt import EndedRun as EndedRun
    from aiflow_ext.model.attempt import Lookup as Lookup
    from aiflow_ext.model.attempt import Request as Request
    from aiflow_ext.model.attempt import Transition as Transition
    from aiflow_ext.model.config import AbstractJobConfig as AbstractJobConfig
    from aiflow_ext.model.config import BaseJobConfig as BaseJobConfig
    from aiflow_ext.model.config import Grow as Grow
    from aiflow_ext.model.config import PeriodicConfig as PeriodicConfig
    from aiflow_ext.model.config import Ready as Ready
    from aiflow_ext.model.config import RetryDelay as RetryDelay
    from aiflow_ext.model.errors import AiflowError as AiflowError
    from aiflow_ext.model.errors import AnotherPlatformError as AnotherPlatformError
    from aiflow_ext.model.errors import CodeError as CodeError
    from aiflow_ext.model.errors import ConfigError as ConfigError
    from aiflow_ext.model.errors import DataError as DataError
    from aiflow_ext.model.errors import GraphError as GraphError
    from aiflow_ext.model.errors import PlatformError as PlatformError
    from aiflow_ext.model.errors import PluginError as PluginError
    from aiflow_ext.model.errors import Problem as Problem
    from aiflow_ext.model.errors import ProjectError as ProjectError
    from aiflow_ext.model.errors import SecretError as SecretError
    from aiflow_ext.model.errors import StateError as StateError
    from aiflow_ext.model.errors import UnreachableError as UnreachableError
    from aiflow_ext.model.graph import AINode as AINode
    from aiflow_ext.model.graph import AISubGraph as AISubGraph
    from aiflow_ext.model.graph import BaseNode as BaseNode
    from aiflow_ext.model.graph import DataEdge as DataEdge
    from aiflow_ext.model.in_process import InProcessEnd as InProcessEnd
    from aiflow_ext.model.in_process import InProcessJob as InProcessJob
    from aiflow_ext.model.job import AbstractJob as AbstractJob
    from aiflow_ext.model.job import AbstractJobHandler as AbstractJobHandler
    from aiflow_ext.model.job import BaseJob as BaseJob
    from aiflow_ext.model.job import JobContext as JobContext
    from aiflow_ext.model.jsonable import Jsonable as Jsonable
    from aiflow_ext.model.jsonable import dumps as dumps
    from aiflow_ext.model.jsonable import loads as loads
    from aiflow_ext.model.jsonable import register_type as register_type
    from aiflow_ext.model.names import safe_name as safe_name
    from aiflow_ext.model.plugin import AbstractEngine as AbstractEngine
    from aiflow_ext.model.plugin import AbstractJobEnvironment as AbstractJobEnvironment
    from aiflow_ext.model.plugin import AbstractJobGenerator as AbstractJobGenerator
    from aiflow_ext.model.plugin import AbstractJobPlugin as AbstractJobPlugin
    from aiflow_ext.model.plugin import AbstractJobSubmitter as AbstractJobSubmitter
    from aiflow_ext.model.plugin import AbstractPlatform as AbstractPlatform
    from aiflow_ext.model.plugin import AbstractSecretSource as AbstractSecretSource
    from aiflow_ext.model.project import ProjectDesc as ProjectDesc
    from aiflow_ext.model.resources import Resources as Resources
    from aiflow_ext.model.resources import Usage as Usage
    from aiflow_ext.model.resources import cpu_text as cpu_text
    from aiflow_ext.model.resources import memory_text as memory_text
    from aiflow_ext.model.resources import parse_cpu as parse_cpu
    from aiflow_ext.model.resources import parse_memory as parse_memory
    from aiflow_ext.model.states import ExecutionMode as ExecutionMode
    from aiflow_ext.model.states import JobState as JobState
    from aiflow_ext.model.watch import PollableWatch as PollableWatch
    from aiflow_ext.model.watch import StartingWatch as StartingWatch

_HOMES = {
    "aiflow_ext.host.specs": ("hookimpl",),
    "aiflow_ext.model.attempt": (
        "AttemptEvent", "EndedAttempt", "EndedJob", "EndedRun", "Lookup", "Request", "Transition",
    ),
    "aiflow_ext.model.config": ("AbstractJobConfig", "BaseJobConfig", "Grow", "PeriodicConfig", "Ready", "RetryDelay"),
    "aiflow_ext.model.errors": (
        "AiflowError", "AnotherPlatformError", "CodeError", "ConfigError", "DataError", "GraphError", "PlatformError",
        "PluginError", "Problem", "ProjectError", "SecretError", "StateError", "UnreachableError",
    ),
    "aiflow_ext.model.graph": ("AINode", "AISubGraph", "BaseNode", "DataEdge"),
    "aiflow_ext.model.in_process": ("InProcessEnd", "InProcessJob"),
    "aiflow_ext.model.job": ("AbstractJob", "AbstractJobHandler", "BaseJob", "JobContext"),
    "aiflow_ext.model.jsonable": ("Jsonable", "dumps", "loads", "register_type"),
    "aiflow_ext.model.names": ("safe_name",),
    "aiflow_ext.model.plugin": (
        "AbstractEngine", "AbstractJobEnvironment", "AbstractJobGenerator", "AbstractJobPlugin",
        "AbstractJobSubmitter", "AbstractPlatform", "AbstractSecretSource",
    ),
    "aiflow_ext.model.project": ("ProjectDesc",),
    "aiflow_ext.model.resources": ("Resources", "Usage", "cpu_text", "memory_text", "parse_cpu", "parse_memory"),
    "aiflow_ext.model.states": ("ExecutionMode", "JobState"),
    "aiflow_ext.model.watch": ("PollableWatch", "StartingWatch"),
}  # fmt: skip

if not TYPE_CHECKING:  # to a type checker, a name that is not above is a mistake
    from aiflow_ext._lazy import lazily

    __all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
