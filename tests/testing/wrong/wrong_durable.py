"""Durable job plugins with one mistake each, and the right one that they are made from."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

from wrong_base import kebab, platform_named

import aiflow_ext as af
from aiflow_ext.engines import CmdLineEngine
from aiflow_ext.engines.command import one_command
from aiflow_ext.plugin import secrets
from aiflow_ext.run.platforms import supervised
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
    def lookup(self, job):
        return af.Lookup.FOUND


class LooksUpNeverStarted(RightDurable):
    @af.hookimpl
    def lookup(self, job):
        return af.Lookup.NEVER_STARTED


class StartsAgain(RightDurable):
    def submit_job(self, job):
        native_id = job.job_context.native_id
        known = supervised.supervisor_of(native_id).record(supervised.process_id(native_id))
        handler = super().submit_job(job)
        if known is not None:
            subprocess.call(self._argv(job))
        return handler


class DoublesAfterACrash(StartsAgain):
    @af.hookimpl
    def lookup(self, job):
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


class RemovesLogs(RightDurable):
    def cleanup_job(self, job):
        super().cleanup_job(job)
        Path(job.job_context.work_folder, "stdout").unlink(missing_ok=True)


class NeverTellsRunning(RightDurable):
    @af.hookimpl
    def watch(self, jobs, since):
        for event in supervised.watch(jobs, since):
            yield None if event is not None and event.state is af.JobState.RUNNING else event


class OneIdForAllRuns(RightDurable):
    @af.hookimpl
    def allocate_id(self, job):
        context = job.job_context
        home = Path(context.run_folder).parent / "kit-any"
        folder = home / "jobs" / str(context.job_name) / str(context.attempt)
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)


class ExitCodesAreZero(RightDurable):
    @af.hookimpl
    def watch(self, jobs, since):
        for event in supervised.watch(jobs, since):
            if event is not None and event.exit_code is not None:
                event.exit_code = 0
            yield event


class SignalsAreLost(RightDurable):
    @af.hookimpl
    def watch(self, jobs, since):
        for event in supervised.watch(jobs, since):
            if event is not None:
                event.signal = None
            yield event


class WatchBeginsLate(RightDurable):
    @af.hookimpl
    def watch(self, jobs, since):
        told = False
        for event in supervised.watch(jobs, since):
            told = told or event is None
            yield event if told else None


class OneIdForAll(RightDurable):
    @af.hookimpl
    def allocate_id(self, job):
        return str(Path(job.job_context.run_folder, "jobs", "job", "1"))


class WatchesBusily(RightDurable):
    @af.hookimpl
    def watch(self, jobs, since):
        while True:
            for native_id in jobs:
                record = supervised.supervisor_of(native_id).record(supervised.process_id(native_id))
                yield supervised.event_of(native_id, record) if record is not None else None


class WatchesTheFirst(RightDurable):
    """The ids that it was given at first are all that it ever looks at."""

    @af.hookimpl
    def watch(self, jobs, since):
        wanted = set(jobs)
        for event in supervised.watch(jobs, since):
            yield event if event is not None and event.native_id in wanted else None


class TellsEndsEarly(RightDurable):
    @af.hookimpl
    def watch(self, jobs, since):
        for event in supervised.watch(jobs, since):
            yield event
            if event is not None and event.state is af.JobState.RUNNING:
                yield af.AttemptEvent(event.native_id, af.JobState.FINISHED, exit_code=0)


class SecretInItsCommand(RightDurable):
    given: tuple[str, ...] = ()

    def submit_job(self, job):
        self.given = tuple(f"{name}={value}" for name, value in secrets.resolve(job.job_config.env).items())
        try:
            return super().submit_job(job)
        finally:
            self.given = ()

    def _argv(self, job):
        argv = super()._argv(job)
        return ["/bin/sh", "-c", '"$0" "$@"; exit $?', "/usr/bin/env", *self.given, *argv] if self.given else argv


class RenderAsksADaemon(RightDurable):
    @af.hookimpl
    def render(self, job):
        with socket.socket(socket.AF_UNIX) as channel, contextlib.suppress(OSError):
            channel.connect("/run/docker.sock")
        return super().render(job)


class PrintsInSubmit(RightDurable):
    def submit_job(self, job):
        print("submitting", job.job_context.native_id)
        return super().submit_job(job)


class StartsWhenAllocated(RightDurable):
    """Its lookup tells of what is on record, and that is written later."""

    @af.hookimpl
    def allocate_id(self, job):
        native_id = job.job_context.native_id = super().allocate_id(job)
        super().generate_job_resource(job)
        self.process = subprocess.Popen(self._argv(job), env={**os.environ, **self._variables(job)})
        time.sleep(0.5)
        return native_id


class SubmitsAndWaits(RightDurable):
    def submit_job(self, job):
        handler = super().submit_job(job)
        handler.wait()
        return handler


class DropsIt(RightDurable):
    def submit_job(self, job):
        return supervised.ProcessHandler(job.job_context.native_id)


class RightSlowly(RightDurable):
    """Everything takes its time, ids are random and have colons, the watch looks once and returns, without cursors."""

    @af.hookimpl
    def allocate_id(self, job):
        return f"{job.job_context.run_folder}/jobs/pond:{random.getrandbits(40):x}:q/{job.job_context.attempt}"

    def submit_job(self, job):
        time.sleep(0.5)
        return super().submit_job(job)

    def cleanup_job(self, job):
        super().cleanup_job(job)
        for stream in ("stdout", "stderr"):
            text = supervised.ProcessHandler(job.job_context.native_id).logs(stream)
            Path(job.job_context.work_folder, stream).write_bytes(text)

    @af.hookimpl
    def lookup(self, job):
        """What was created is seen a little later: it looks again before it says that something is not there."""
        end = time.monotonic() + 0.5
        while (found := super().lookup(job)) is not af.Lookup.FOUND and time.monotonic() < end:
            time.sleep(0.05)
        return found

    @af.hookimpl
    def watch(self, jobs, since):
        for native_id in jobs:
            record = supervised.supervisor_of(native_id).record(supervised.process_id(native_id))
            event = supervised.event_of(native_id, record) if record is not None else None
            if event is not None:
                event.cursor = None
                yield event


class SafeNames(RightDurable):
    """Its names are safe, and no longer distinct."""

    @af.hookimpl
    def allocate_id(self, job):
        name = re.sub(r"\W", "-", job.job_context.job_name)[:60].lower()
        return f"{job.job_context.run_folder}/jobs/{name}/{job.job_context.attempt}"


class RunsAgainLater(RightDurable):
    """The second execution begins when everybody has gone, in a process that nobody knows of."""

    def submit_job(self, job):
        handler = super().submit_job(job)
        command = ["/bin/sh", "-c", 'sleep 5; exec "$@"', "sh", *self._argv(job)]
        self.process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        return handler


class ForgetsWithCleanup(RightDurable):
    """It takes its record of a job away with the job."""

    def cleanup_job(self, job):
        super().cleanup_job(job)
        Path(job.job_context.native_id, "gone").touch()

    @af.hookimpl
    def lookup(self, job):
        gone = Path(job.job_context.native_id, "gone").exists()
        return af.Lookup.NEVER_STARTED if gone else super().lookup(job)


class ForgetsWithTheRun(RightDurable):
    """It takes its records away with the run."""

    folder: Path | None = None

    def submit_job(self, job):
        type(self).folder = Path(job.job_context.run_folder)
        return super().submit_job(job)

    @af.hookimpl
    def cleanup_run(self, run_id, jobs):
        if self.folder is not None:
            (self.folder / "gone").touch()

    @af.hookimpl
    def lookup(self, job):
        gone = (supervised.run_folder(job.job_context.native_id) / "gone").exists()
        return af.Lookup.NEVER_STARTED if gone else super().lookup(job)


class ServesItsFirst(RightDurable):
    """It follows one attempt after the other."""

    @af.hookimpl
    def watch(self, jobs, since):
        first = next(iter(jobs), None)
        for event in supervised.watch([first] if first is not None else [], since):
            yield event
            if first not in jobs:
                return


class TellsLostAsFinished(RightDurable):
    """Of a killed job and a killed supervisor, it depends on the moment whether the end is LOST or SIGKILL."""

    @af.hookimpl
    def watch(self, jobs, since):
        for event in supervised.watch(jobs, since):
            if event is not None and (event.state is af.JobState.LOST or event.signal == signal.SIGKILL):
                event.state = af.JobState.FINISHED
            yield event


class UnknownIsFinished(RightDurable):
    """What its platform does not know any more must have ended."""

    @af.hookimpl
    def watch(self, jobs, since):
        for native_id in list(jobs):
            if not supervised.supervisor_of(native_id).known(supervised.process_id(native_id)):
                yield af.AttemptEvent(native_id, af.JobState.FINISHED, exit_code=0)
        yield from supervised.watch(jobs, since)


class TellsNobody(RightDurable):
    def _variables(self, job):
        return {"PWD": super()._variables(job)["PWD"]}


class TakesEnvWhileGenerating(RightDurable):
    """What the host adds to it afterwards does not reach the job."""

    def generate(self, sub_graph, project_desc):
        job = super().generate(sub_graph, project_desc)
        job.early = dict(sub_graph.config.env)
        return job

    def _process(self, job, env, base):
        late = job.job_config.env.keys() - job.early
        return super()._process(job, {name: value for name, value in env.items() if name not in late}, base)


class IgnoresPython(RightDurable):
    def _argv(self, job):
        argv = super()._argv(job)
        return [sys.executable, *argv[1:]] if job.bundle.needs_runner else argv


class KeepsFilesOpen(RightDurable):
    def submit_job(self, job):
        os.dup(0)
        return super().submit_job(job)


class KeepsThreads(RightDurable):
    def submit_job(self, job):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().submit_job(job)


class RemembersItsJobs(RightDurable):
    """What generate has made is what it looks at later."""

    def __init__(self):
        super().__init__()
        self.made = {}

    def generate(self, sub_graph, project_desc):
        job = self.made[sub_graph.name] = super().generate(sub_graph, project_desc)
        return job

    @af.hookimpl
    def lookup(self, job):
        return super().lookup(self.made[job.job_context.job_name] and job)


class StopsWhatItGenerated(RightDurable):
    """Of a job that this process has not made it knows nothing, and takes it for ended."""

    def __init__(self):
        super().__init__()
        self.made = weakref.WeakSet()

    def generate(self, sub_graph, project_desc):
        job = super().generate(sub_graph, project_desc)
        self.made.add(job)
        return job

    def stop_job(self, job):
        if job in self.made:
            super().stop_job(job)


class TakesStreamsForDone(RightDurable):
    """A job that never ends by itself is done once it was started."""

    @af.hookimpl
    def watch(self, jobs, since):
        for event in supervised.watch(jobs, since):
            yield event
            if event is not None and event.state is af.JobState.RUNNING:
                job = jobs.get(event.native_id)
                if job is not None and job.job_config.exec_mode is af.ExecutionMode.STREAM:
                    yield af.AttemptEvent(event.native_id, af.JobState.FINISHED, exit_code=0)


class TakesItForReady(RightDurable):
    """What runs is ready, whatever its config says."""

    @af.hookimpl
    def is_ready(self, job):
        return True


class TellsItsEndOnly(NeverTellsRunning):
    """The same, for a job that has none."""


class AttachStarts(RightDurable):
    """What it cannot find to attach to it submits."""

    @af.hookimpl
    def attach(self, job):
        return self.submit_job(job)
