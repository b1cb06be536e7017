"""aiflow-ext: run a machine-learning workflow on a laptop today and on your cluster tomorrow.

Every public name is here and is imported from its package when it is first used, so that ``import aiflow_ext`` costs
nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiflow_ext.api.compare import diff as diff
    from aiflow_ext.api.runs import open_run as open_run
    from aiflow_ext.api.runs import runs as runs
    from aiflow_ext.api.start import run_project_async as run_project_async
    from aiflow_ext.api.start import start_project as start_project
    from aiflow_ext.host import Policy as Policy
    from aiflow_ext.host.host import PluginHost as PluginHost
    from aiflow_ext.host.host import plugins as plugins
    from aiflow_ext.host.registry import register_engine as register_engine
    from aiflow_ext.host.registry import register_job_plugin as register_job_plugin
    from aiflow_ext.host.registry import register_platform as register_platform
    from aiflow_ext.host.specs import hookimpl as hookimpl
    from aiflow_ext.model.attempt import AttemptEvent as AttemptEvent
    from aiflow_ext.model.attempt import EndedAttempt as EndedAttempt
    from aiflow_ext.model.attempt import Lookup as Lookup
    from aiflow_ext.model.attempt import Request as Request
    from aiflow_ext.model.attempt import Transition as Transition
    from aiflow_ext.model.authoring import cmd as cmd
    from aiflow_ext.model.authoring import job as job
    from aiflow_ext.model.authoring import node as node
    from aiflow_ext.model.authoring import on_failure as on_failure
    from aiflow_ext.model.authoring import output as output
    from aiflow_ext.model.authoring import property as property
    from aiflow_ext.model.authoring import python as python
    from aiflow_ext.model.authoring import run_after as run_after
    from aiflow_ext.model.authoring import workflow as workflow
    from aiflow_ext.model.config import AbstractJobConfig as AbstractJobConfig
    from aiflow_ext.model.config import BaseJobConfig as BaseJobConfig
    from aiflow_ext.model.config import PeriodicConfig as PeriodicConfig
    from aiflow_ext.model.current import current_job as current_job
    from aiflow_ext.model.errors import AiflowError as AiflowError
    from aiflow_ext.model.graph import AIGraph as AIGraph
    from aiflow_ext.model.graph import AINode as AINode
    from aiflow_ext.model.graph import AISubGraph as AISubGraph
    from aiflow_ext.model.graph import BaseNode as BaseNode
    from aiflow_ext.model.graph import ControlEdge as ControlEdge
    from aiflow_ext.model.graph import DataEdge as DataEdge
    from aiflow_ext.model.job import AbstractJob as AbstractJob
    from aiflow_ext.model.job import AbstractJobHandler as AbstractJobHandler
    from aiflow_ext.model.job import BaseJob as BaseJob
    from aiflow_ext.model.job import JobContext as JobContext
    from aiflow_ext.model.jsonable import Jsonable as Jsonable
    from aiflow_ext.model.jsonable import dumps as dumps
    from aiflow_ext.model.jsonable import loads as loads
    from aiflow_ext.model.plugin import AbstractEngine as AbstractEngine
    from aiflow_ext.model.plugin import AbstractJobGenerator as AbstractJobGenerator
    from aiflow_ext.model.plugin import AbstractJobPlugin as AbstractJobPlugin
    from aiflow_ext.model.plugin import AbstractJobSubmitter as AbstractJobSubmitter
    from aiflow_ext.model.plugin import AbstractPlatform as AbstractPlatform
    from aiflow_ext.model.project import ProjectDesc as ProjectDesc
    from aiflow_ext.model.states import ExecutionMode as ExecutionMode
    from aiflow_ext.model.states import JobState as JobState
    from aiflow_ext.run import render_project as render_project
    from aiflow_ext.run import run_project as run_project
    from aiflow_ext.run.operations.failed import RunFailedError as RunFailedError

__version__ = "0.1.0"

_HOMES = {
    "aiflow_ext.api.compare": ("diff",),
    "aiflow_ext.api.runs": ("open_run", "runs"),
    "aiflow_ext.api.start": ("run_project_async", "start_project"),
    "aiflow_ext.host": ("Policy",),
    "aiflow_ext.host.host": ("PluginHost", "plugins"),
    "aiflow_ext.host.registry": ("register_engine", "register_job_plugin", "register_platform"),
    "aiflow_ext.host.specs": ("hookimpl",),
    "aiflow_ext.model.attempt": ("AttemptEvent", "EndedAttempt", "Lookup", "Request", "Transition"),
    "aiflow_ext.model.authoring": (
        "cmd", "job", "node", "on_failure", "output", "property", "python", "run_after", "workflow",
    ),
    "aiflow_ext.model.config": ("AbstractJobConfig", "BaseJobConfig", "PeriodicConfig"),
    "aiflow_ext.model.current": ("current_job",),
    "aiflow_ext.model.errors": ("AiflowError",),
    "aiflow_ext.model.graph": ("AIGraph", "AINode", "AISubGraph", "BaseNode", "ControlEdge", "DataEdge"),
    "aiflow_ext.model.job": ("AbstractJob", "AbstractJobHandler", "BaseJob", "JobContext"),
    "aiflow_ext.model.jsonable": ("Jsonable", "dumps", "loads"),
    "aiflow_ext.model.plugin": (
        "AbstractEngine", "AbstractJobGenerator", "AbstractJobPlugin", "AbstractJobSubmitter", "AbstractPlatform",
    ),
    "aiflow_ext.model.project": ("ProjectDesc",),
    "aiflow_ext.model.states": ("ExecutionMode", "JobState"),
    "aiflow_ext.run": ("render_project", "run_project"),
    "aiflow_ext.run.operations.failed": ("RunFailedError",),
}  # fmt: skip

if not TYPE_CHECKING:  # to a type checker, a name that is not above is a mistake
    from aiflow_ext._lazy import lazily

    def _added(name: str) -> object:
        """An authoring function of an installed distribution: an entry point of the group ``aiflow_ext.authoring``."""
        from importlib.util import find_spec

        # "from aiflow_ext import host" asks for the module here before it imports it. Inside a job there is no host.
        if name.startswith("_") or find_spec(f"{__name__}.{name}") or not find_spec(f"{__name__}.host"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from aiflow_ext.host.host import PluginHost

        return PluginHost().authoring(name)

    _names, __getattr__, __dir__ = lazily(__name__, _HOMES, _added)
    # "from aiflow_ext import *" must not replace the built-in property.
    __all__ = [*(name for name in _names if name != "property"), "__version__"]  # noqa: PLE0604
