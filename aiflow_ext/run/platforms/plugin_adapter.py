"""How an attempt reaches its platform: by a durable plugin directly, or through an attempt host of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiflow_ext.model.attempt import Lookup, Request
from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.run.platforms.direct_adapter import DirectAdapter
from aiflow_ext.run.platforms.hosted_adapter import HostedAdapter
from aiflow_ext.run.platforms.platform_events import WatchEvents


class PluginAdapter(Protocol):
    """What the driver needs of whoever runs a job's attempts. Raises whatever the plugin raises."""

    @property
    def key(self) -> object:
        """Adapters with an equal key are one platform to the driver: one thread of calls, one watch a run."""

    @property
    def outlives_power_loss(self) -> bool:
        """Whether a job may go on when this machine loses its power: then its intent must survive that too."""
        raise NotImplementedError

    @property
    def answers_at_once(self) -> bool:
        """Whether every call but a stop returns within milliseconds, so that it needs no thread."""
        raise NotImplementedError

    def allocate(self, job: BaseJob) -> str:
        """The attempt's native id; nothing is started."""

    def offline_id(self, job: BaseJob) -> str | None:
        """The native id as far as it is known without asking a server; for rendering."""

    def prepare(self, job: BaseJob) -> None:
        """Everything that the platform needs to start the job; nothing is started."""

    def submit(self, job: BaseJob) -> AbstractJobHandler | None:
        """Start the job."""

    def lookup(self, job: BaseJob) -> Lookup:
        """What the platform knows of the job's native id."""

    def attach(self, job: BaseJob) -> AbstractJobHandler | None:
        """The handler of a job that another process has started."""

    def stop(self, job: BaseJob, handler: AbstractJobHandler | None, grace: float) -> None:
        """End the job; returns once that is done or asked for."""

    def cleanup(self, job: BaseJob) -> None:
        """Remove what the job left on the platform."""

    def watch(self, jobs: Mapping[str, BaseJob], since: str | None) -> WatchEvents | None:
        """The platform's events of these attempts (native id -> job, which changes meanwhile) and, as far as they come
        from an attempt host, whether it gets answers; or None where there are none, and handlers are asked."""

    def render(self, job: BaseJob) -> Request | None:
        """What would be sent, or None where the plugin does not say."""

    def cleanup_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        """Remove what was sent once a run, of which these are the plugin's jobs."""

    def check(self, jobs: Sequence[BaseJob]) -> list[Any]:
        """What is wrong with the platform for these jobs of the plugin, in problems or sentences."""


def adapter_for(planned: PlannedJob, project: ProjectDesc) -> PluginAdapter:
    """The adapter for a planned job: direct where its plugin is durable, else an attempt host."""
    return DirectAdapter(planned.resolved) if planned.resolved.durable else HostedAdapter(planned, project)


def is_here(planned: PlannedJob) -> bool:
    """Whether a job's attempts are processes of this machine, or begin as one: those have a supervisor."""
    return not planned.resolved.durable or not DirectAdapter(planned.resolved).outlives_power_loss
