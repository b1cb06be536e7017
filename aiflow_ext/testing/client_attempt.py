"""A client's calls for one attempt: the hooks that take its job, step by step, and its handler's methods."""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiflow_ext as af
from aiflow_ext.host.host import PluginHost
from aiflow_ext.model.attempt import AttemptEvent
from aiflow_ext.model.jsonable import encode
from aiflow_ext.model.states import ATTEMPT_ENDS
from aiflow_ext.run.planning.make_plan import make_plan
from aiflow_ext.run.planning.plan import Plan, PlannedJob, generate
from aiflow_ext.run.platforms.direct_adapter import DirectAdapter
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter, adapter_for
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store


class AttemptCalls:
    """An attempt, step by step, as in a driver."""

    def __init__(self, root: Path) -> None:
        self.root, self.project = root, root / "project"
        self.handler: af.AbstractJobHandler | None = None
        self._occupied = 0.0, 0.0

    def do_open(
        self, run: str, job: str | None = None, number: int = 1, native_id: str | None = None
    ) -> dict[str, Any]:
        """Generate an attempt's job, in this process."""
        self.plan: Plan = make_plan(self.project)
        self.planned: PlannedJob = self.plan.jobs[job or next(iter(self.plan.jobs))]
        state = state_folder(self.plan.desc.root)
        Store(state).close()
        home = state / "runs" / run
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        context = self.plan.context(self.planned.name, run, home, number)
        self.adapter: PluginAdapter = adapter_for(self.planned, self.plan.desc)
        self.job = generate(self.plan, self.planned, context)
        self.context = self.job.job_context or context
        self.context.native_id = native_id
        Path(str(self.context.work_folder)).mkdir(parents=True, exist_ok=True)
        return {"folder": self.context.work_folder, "run_folder": str(home)}

    def do_allocate_id(self) -> Any:
        return self.adapter.allocate(self.job)

    def do_take_id(self, native_id: str) -> None:
        """Set the allocated id in the job, as the driver does once it is recorded."""
        self.context.native_id = native_id

    def do_pack(self) -> bytes:
        """The job, serialised for ``take_job`` in another process."""
        import cloudpickle

        packed: bytes = cloudpickle.dumps(self.job)
        return packed

    def do_take_job(self, platform: str, engine: str, packed: str) -> None:
        """Deserialise a durable plugin's job from another process: in this one the plugin generates nothing."""
        self.adapter = DirectAdapter(PluginHost().resolve(platform, engine))
        self.job = pickle.loads(base64.b64decode(packed))
        self.context = self.job.job_context or af.JobContext()

    def do_generate_job_resource(self) -> None:
        self.adapter.prepare(self.job)

    def do_submit_job(self) -> str | None:
        """Submit; the handler as JSON comes from ``handler``."""
        self.handler = self.adapter.submit(self.job)
        return None if self.handler is None else type(self.handler).__name__

    def do_lookup(self) -> str:
        return str(self.adapter.lookup(self.job))

    def do_attach(self) -> str:
        self.handler = self.adapter.attach(self.job)
        if self.handler is None:
            raise TypeError("it returned None, and no handler")
        return type(self.handler).__name__

    def do_stop_attempt(self, grace: float) -> None:
        """Stop as the driver does."""
        self.adapter.stop(self.job, self.handler, grace)

    def do_cleanup_attempt(self) -> None:
        """Clean up as the driver does."""
        self.adapter.cleanup(self.job)

    def do_cleanup_run(self, run: str) -> None:
        context = self.plan.context(self.planned.name, run, state_folder(self.plan.desc.root) / "runs" / run)
        self.adapter.cleanup_run(run, [generate(self.plan, self.planned, context)])

    def do_cleanup_run_of_job(self, run: str) -> None:
        """The same with the job that this process has."""
        self.adapter.cleanup_run(run, [self.job])

    def do_check_platform(self) -> list[str]:
        return [f"{type(problem).__name__}: {problem}" for problem in self.adapter.check([self.job])]

    def do_render(self) -> Any:
        request = self.adapter.render(self.job)
        return None if request is None else {"kind": request.kind, "content": encode(request.content)}

    def do_events(self, seconds: float, cursor: str | None = None, until: str | None = None) -> list[dict[str, Any]]:
        """The events of a watch of this attempt until its end (or the state ``until``), for so many seconds at most."""
        native_id = str(self.context.native_id)
        seen: list[dict[str, Any]] = []
        raised: list[BaseException] = []
        deadline = time.monotonic() + seconds

        def read() -> None:
            since = cursor
            while time.monotonic() < deadline:  # a watch may end, and is called again, as in a driver
                for event in self.adapter.watch({native_id: self.job}, since) or ():
                    if isinstance(event, AttemptEvent) and event.native_id == native_id:
                        since = event.cursor or since
                        seen.append({"state": word(event.state), "exit_code": event.exit_code,
                                     "signal": event.signal, "cursor": event.cursor})  # fmt: skip
                        if seen[-1]["state"] in (*ATTEMPT_ENDS, until):
                            return
                    if time.monotonic() > deadline:
                        return
                time.sleep(0.1)

        def watch() -> None:
            try:
                with self._measured():
                    read()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=watch, daemon=True)  # it may block while nothing happens
        thread.start()
        thread.join(max(0.0, deadline - time.monotonic()) + 1.0)
        if raised:
            raise raised[0]
        return list(seen)

    def do_occupied(self) -> tuple[float, float]:
        """Seconds for which the last wait, or the last look at a watch, has used a processor or wanted one; and of how
        many."""
        return self._occupied

    @contextlib.contextmanager
    def _measured(self) -> Iterator[None]:
        before, began = (_wanted_cpu(), sum(os.times()[:4])), time.monotonic()
        try:
            yield
        finally:
            used = max(_wanted_cpu() - before[0], sum(os.times()[:4]) - before[1])
            self._occupied = used, time.monotonic() - began

    # -- the handler ------------------------------------------------------------------------------------------------

    def do_handler(self) -> str:
        return af.dumps(self.handler)

    def do_take_handler(self, text: str) -> None:
        self.handler = af.loads(text)

    def do_state(self) -> str | None:
        return word(self._handler.state())

    def do_wait(self, seconds: float | None = None) -> str | None:
        with self._measured():
            return word(self._handler.wait(seconds))

    def do_logs(self, stream: str = "stdout", offset: int = 0) -> Any:
        return self._handler.logs(stream, offset)

    def do_stop(self, grace: float) -> Any:
        return self._handler.stop(grace)

    @property
    def _handler(self) -> af.AbstractJobHandler:
        assert self.handler is not None
        return self.handler


def _wanted_cpu() -> float:
    """Seconds that this thread has run, or waited for a processor: a busy loop is visible on a loaded machine, too."""
    try:
        with open("/proc/thread-self/schedstat") as file:
            return sum(map(int, file.read().split()[:2])) / 1e9
    except (OSError, ValueError):
        return time.thread_time()


def word(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
