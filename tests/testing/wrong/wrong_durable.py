"""Durable job plugins with one mistake each, and the right one that they are made from."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

from wrong_base import kebab, platform_named

import aiflow_ext as af
from aiflow_ext.engines import CmdLineEngine
from aiflow_ext.engines.command import one_command
from aiflow_ext.supervise import attempts
from aiflow_ext.translate import secrets
from aiflow_ext_local.jobs import LocalJob, LocalJobPlugin


class RightDurable(LocalJobPlugin):
    """Nothing is wrong with it."""

    def platform(self):
        return platform_named(kebab(type(self).__name__))

    def engine(self):
        return CmdLineEngine

    def _argv(self, job: LocalJob) -> list[str]:
        return super()._argv(job) if job.bundle.needs_runner else one_command(job.bundle.command())


class ChangesItsGraph(RightDurable):
    def generate(self, sub_graph, project_desc):
        sub_graph.config.properties = {"generated": True}
        return super().generate(sub_graph, project_desc)


class LooksUpFound(RightDurable):
    @af.hookimpl
    def lookup(self, native_id):
        return af.Lookup.FOUND


class LooksUpNeverStarted(RightDurable):
    @af.hookimpl
    def lookup(self, native_id):
        return af.Lookup.NEVER_STARTED


class StartsAgain(RightDurable):
    def submit_job(self, job):
        native_id = job.job_context.native_id
        known = attempts.supervisor_of(native_id).record(attempts.process_id(native_id))
        handler = super().submit_job(job)
        if known is not None:
            subprocess.call(self._argv(job))
        return handler


class DoublesAfterACrash(StartsAgain):
    @af.hookimpl
    def lookup(self, native_id):
        return af.Lookup.NEVER_STARTED


class RendersAnother(RightDurable):
    @af.hookimpl
    def render(self, job):
        request = super().render(job)
        request.content["env"]["EXTRA"] = "shown only"
        return request


class RenderWrites(RightDurable):
    @af.hookimpl
    def render(self, job):
        Path(job.bundle.project.root, "request.json").write_text("{}")
        return super().render(job)


class RendersSecrets(RightDurable):
    @af.hookimpl
    def render(self, job):
        request = super().render(job)
        request.content["env"].update(secrets.resolve(job.job_config.env))
        return request


class WritesSecrets(RightDurable):
    def submit_job(self, job):
        Path(job.job_context.work_folder, "environment").write_text(str(secrets.resolve(job.job_config.env)))
        return super().submit_job(job)


class WithHandler(RightDurable):
    """Its handler is one of a subclass's own."""

    handler: type[attempts.ProcessHandler] = attempts.ProcessHandler

    def submit_job(self, job):
        super().submit_job(job)
        return self.handler(job.job_context.native_id)

    @af.hookimpl
    def attach(self, job, native_id):
        return self.handler(native_id)


class CuttingHandler(attempts.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream, offset)[: max(0, 2048 - offset)]


class RepeatingHandler(attempts.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream, max(0, offset - 10)) if super().logs(stream, offset) else b""


class LockedHandler(attempts.ProcessHandler):
    def __init__(self, native_id):
        super().__init__(native_id)
        self.lock = threading.Lock()


_known: set[str] = set()


class ForgetfulHandler(attempts.ProcessHandler):
    def __init__(self, native_id):
        super().__init__(native_id)
        _known.add(native_id)

    def state(self):
        if self.native_id not in _known:
            raise KeyError(self.native_id)
        return super().state()


class ShallowHandler(attempts.ProcessHandler):
    def stop(self, grace=10.0):
        record = attempts.supervisor_of(self.native_id).record(attempts.process_id(self.native_id))
        os.kill(record.pid, signal.SIGKILL)
        return True


class CutsLogs(WithHandler):
    handler = CuttingHandler


class RepeatsLogs(WithHandler):
    handler = RepeatingHandler


class TextHandler(attempts.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream, offset).decode()


class EndlessHandler(attempts.ProcessHandler):
    def wait(self, timeout=None):
        return super().wait(None)


class HastyHandler(attempts.ProcessHandler):
    def stop(self, grace=10.0):
        return super().stop(0.0)


class LogsAreText(WithHandler):
    handler = TextHandler


class WaitsForEver(WithHandler):
    handler = EndlessHandler


class EndsAtOnce(WithHandler):
    handler = HastyHandler


class RemovesLogs(RightDurable):
    def cleanup_job(self, job):
        super().cleanup_job(job)
        Path(job.job_context.work_folder, "stdout").unlink(missing_ok=True)


class NeverTellsRunning(RightDurable):
    @af.hookimpl
    def watch(self, native_ids, since):
        for event in attempts.watch(native_ids, since):
            yield None if event is not None and event.state is af.JobState.RUNNING else event


class OneIdForAllRuns(RightDurable):
    @af.hookimpl
    def allocate_id(self, job):
        context = job.job_context
        home = Path(context.run_folder).parent / "kit-any"
        folder = home / "jobs" / str(context.job_name) / str(context.attempt)
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)


class HandlerIsNoData(WithHandler):
    handler = LockedHandler


class HandlerStaysAtHome(WithHandler):
    handler = ForgetfulHandler


class StopsTheFirstOnly(WithHandler):
    handler = ShallowHandler


class ExitCodesAreZero(RightDurable):
    @af.hookimpl
    def watch(self, native_ids, since):
        for event in attempts.watch(native_ids, since):
            if event is not None and event.exit_code is not None:
                event.exit_code = 0
            yield event


class SignalsAreLost(RightDurable):
    @af.hookimpl
    def watch(self, native_ids, since):
        for event in attempts.watch(native_ids, since):
            if event is not None:
                event.signal = None
            yield event


class WatchBeginsLate(RightDurable):
    @af.hookimpl
    def watch(self, native_ids, since):
        told = False
        for event in attempts.watch(native_ids, since):
            told = told or event is None
            yield event if told else None


class OneIdForAll(RightDurable):
    @af.hookimpl
    def allocate_id(self, job):
        return str(Path(job.job_context.run_folder, "jobs", "job", "1"))
