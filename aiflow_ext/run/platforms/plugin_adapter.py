"""The interface through which attempts are run: a durable plugin directly, others in an attempt host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiflow_ext.model.attempt import Lookup, Request
from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.run.platforms.direct_adapter import DirectAdapter
from aiflow_ext.run.platforms.platform_events import WatchEvents


class PluginAdapter(Protocol):
    """What the driver calls to run a job's attempts. Every method raises what the plugin raises."""

    @property
    def key(self) -> object:
        """Adapters with an equal key are one platform for the driver: one pool of calls, one watch a run."""

    @property
    def outlives_power_loss(self) -> bool:
        """Whether a job may go on after a power loss of this machine: then its intent must survive that too."""
        raise NotImplementedError

    @property
    def answers_at_once(self) -> bool:
        """Whether every call except a stop returns within milliseconds, so that no thread is needed."""
        raise NotImplementedError

    @property
    def calls_at_once(self) -> int:
        """How many calls may be made at once, of different attempts; a stop and the watch come in addition."""
        raise NotImplementedError

    def allocate(self, job: BaseJob) -> str:
        """The attempt's native id; nothing is started."""

    def offline_id(self, job: BaseJob) -> str | None:
        """The native id as far as it is known offline; for rendering."""

    def prepare(self, job: BaseJob) -> None:
        """Create everything that the platform needs to start the job; nothing is started."""

    def submit(self, job: BaseJob) -> AbstractJobHandler | None:
        """Start the job."""

    def lookup(self, job: BaseJob) -> Lookup:
        """What the platform knows of the job's native id."""

    def attach(self, job: BaseJob) -> AbstractJobHandler | None:
        """The handler of a job that another process has started."""

    def stop(self, job: BaseJob, handler: AbstractJobHandler | None, grace: float) -> None:
        """End the job; returns once it has ended or the end was requested."""

    def cleanup(self, job: BaseJob) -> None:
        """Remove what the job left on the platform."""

    def watch(self, jobs: Mapping[str, BaseJob], since: str | None) -> WatchEvents | None:
        """The platform's events of these attempts (native id -> job, which changes meanwhile), with Unreachable and
        Reachable for attempt hosts; None if there is no watch, and handlers are to be polled."""

    def render(self, job: BaseJob) -> Request | None:
        """The request that would be sent, or None if the plugin has no ``render``."""

    def is_ready(self, job: BaseJob) -> bool | str:
        """Whether a job that serves others is ready; or in words, what is missing."""
        raise NotImplementedError

    def cleanup_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        """Remove what was sent once a run, of which these are the plugin's jobs."""

    def remove_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        """Remove what cleanups have left of a run on purpose."""

    def remove_artifacts(self, jobs: Sequence[BaseJob], url: str, folders: Sequence[str]) -> list[str] | None:
        """Remove folders below the URL of a run's artifacts; what is left there. None: not the plugin's file system."""

    def check(self, jobs: Sequence[BaseJob]) -> list[Any]:
        """The problems of the platform for these jobs of the plugin."""


def adapter_for(planned: PlannedJob, project: ProjectDesc) -> PluginAdapter:
    """The adapter for a planned job: direct if its plugin is durable, else an attempt host."""
    if planned.resolved.durable:
        return DirectAdapter(planned.resolved)
    from aiflow_ext.run.platforms.hosted_adapter import HostedAdapter

    return HostedAdapter(planned, project)


def is_here(planned: PlannedJob) -> bool:
    """Whether a job's attempts have a supervisor: they are processes of this machine, or run in an attempt host."""
    return not planned.resolved.durable or not DirectAdapter(planned.resolved).outlives_power_loss
