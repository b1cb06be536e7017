"""A durable plugin, called in the driver's process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from aiflow_ext.host.fit import refuse_awaitable
from aiflow_ext.host.guard import Ended, unending
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model.attempt import Lookup, Request
from aiflow_ext.model.errors import PlatformError
from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.run.platforms.platform_events import WatchEvents


class DirectAdapter:
    """Calls a durable plugin, one with ``lookup`` and ``attach``, in the driver's process."""

    def __init__(self, resolved: ResolvedPlugin) -> None:
        self.resolved = resolved
        self.key = resolved.plugin.platform()
        self.outlives_power_loss = bool(self.key.outlives_power_loss)
        quick = bool(self.key.answers_at_once) and "watch" in resolved.offers
        self.answers_at_once = quick and not resolved.wrapped
        self.calls_at_once = 1 if resolved.wrapped else max(1, int(self.key.calls_at_once))

    def allocate(self, job: BaseJob) -> str:
        return str(_called(self.resolved.hook.allocate_id, job=job))

    def offline_id(self, job: BaseJob) -> str | None:
        return None if "allocate_id" in self.resolved.offers else self.allocate(job)

    def prepare(self, job: BaseJob) -> None:
        _called(self.resolved.hook.generate_job_resource, job=job)

    def submit(self, job: BaseJob) -> AbstractJobHandler | None:
        handler: AbstractJobHandler | None = _called(self.resolved.hook.submit_job, job=job)
        if handler is None:  # the platform is asked later whether it was started
            raise PlatformError("submit_job returned no handler" + (
                "; a wrapper around it must return what its yield gave" if self.resolved.wrapped else ""
            ))  # fmt: skip
        return handler

    def lookup(self, job: BaseJob) -> Lookup:
        return Lookup(_called(self.resolved.hook.lookup, job=job))

    def attach(self, job: BaseJob) -> AbstractJobHandler | None:
        handler: AbstractJobHandler | None = _called(self.resolved.hook.attach, job=job)
        return handler

    def stop(self, job: BaseJob, handler: AbstractJobHandler | None, grace: float) -> None:
        if handler is None or handler.stop(grace) is None:
            _called(self.resolved.hook.stop_job, job=job)

    def cleanup(self, job: BaseJob) -> None:
        _called(self.resolved.hook.cleanup_job, job=job)

    def watch(self, jobs: Mapping[str, BaseJob], since: str | None) -> WatchEvents | None:
        if "watch" not in self.resolved.offers:
            return None
        events: WatchEvents = iter(_called(self.resolved.hook.watch, jobs=jobs, since=since))
        return events

    def render(self, job: BaseJob) -> Request | None:
        return _called(self.resolved.hook.render, job=job) if "render" in self.resolved.offers else None

    def is_ready(self, job: BaseJob) -> bool | str:
        answer = _called(self.resolved.hook.is_ready, job=job)
        return answer if isinstance(answer, str) else answer is True

    def cleanup_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        if "cleanup_run" in self.resolved.offers:
            _called(self.resolved.hook.cleanup_run, run_id=run_id, jobs=jobs)

    def remove_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        if "remove_run" in self.resolved.offers:
            _called(self.resolved.hook.remove_run, run_id=run_id, jobs=jobs)

    def remove_artifacts(self, jobs: Sequence[BaseJob], url: str, folders: Sequence[str]) -> list[str] | None:
        if "remove_artifacts" not in self.resolved.offers:
            return None
        left = _called(self.resolved.hook.remove_artifacts, jobs=jobs, url=url, folders=folders)
        return None if left is None else [str(each) for each in left]

    def check(self, jobs: Sequence[BaseJob]) -> list[Any]:
        if "check_platform" not in self.resolved.offers:
            return []
        return list(unending(partial(_called, self.resolved.hook.check_platform, jobs=jobs)) or ())


def _called(hook: Any, **arguments: Any) -> Any:
    """A hook's result. SystemExit and the like become PlatformError, as they would end a thread or the process."""
    try:
        answer = hook(**arguments)
    except SystemExit as error:
        raise PlatformError(f"{hook.name} called sys.exit({error.code!r})") from error
    except Ended as error:
        raise PlatformError(f"{hook.name}: {error}") from error
    except KeyboardInterrupt as error:
        if threading.current_thread() is threading.main_thread():  # a Ctrl-C of the user
            raise
        raise PlatformError(f"{hook.name} raised KeyboardInterrupt") from error
    refuse_awaitable(hook.name, answer)
    return answer
