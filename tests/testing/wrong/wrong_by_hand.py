"""Durable job plugins that start processes by hand: right, or wrong, by what they note down when."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from wrong_durable import RightDurable

import aiflow_ext as af
from aiflow_ext.plugin import secrets
from aiflow_ext.run.platforms import supervised
from aiflow_ext.supervise import proc


class PidHandler(supervised.ProcessHandler):
    """Of a process that nobody supervises: a shell around it leaves its exit code in a file."""

    def code(self):
        with contextlib.suppress(FileNotFoundError):
            return int(Path(self.native_id, "code").read_text())
        return None

    def is_gone(self):
        with contextlib.suppress(FileNotFoundError, ValueError):
            stat = proc.read_stat(int(Path(self.native_id, "pid").read_text()))
            return stat is None or not stat.alive
        return False

    def state(self):
        gone = self.is_gone()  # before its code is read, which is there by then if it ever comes
        code = self.code()
        if code is None:
            return af.JobState.LOST if gone else af.JobState.RUNNING
        return af.JobState.FAILED if code else af.JobState.FINISHED

    def wait(self, timeout=None):
        end = time.monotonic() + (1e9 if timeout is None else timeout)
        while not self.state().ended and time.monotonic() < end:
            time.sleep(0.02)
        return self.state()


class ByHand(RightDurable):
    """A shell writes the exit code down, a file says that it was started; in which order is the question."""

    def script(self, job):
        return (
            f"{shlex.join(self._argv(job))} > ../stdout 2> ../stderr; echo $? > ../code.part; mv ../code.part ../code"
        )

    def spawn(self, job):
        native_id = job.job_context.native_id
        env = {**os.environ, **secrets.resolve(job.job_config.env), **self._variables(job)}
        return subprocess.Popen(
            ["/bin/sh", "-c", self.script(job)], cwd=f"{native_id}/work", env=env, start_new_session=True
        )

    def cleanup_job(self, job):
        pass

    @af.hookimpl
    def lookup(self, job):
        return af.Lookup.FOUND if Path(job.job_context.native_id, "pid").exists() else af.Lookup.NEVER_STARTED

    @af.hookimpl
    def attach(self, job):
        return PidHandler(job.job_context.native_id)

    @af.hookimpl
    def watch(self, jobs, since):
        for native_id in jobs:
            if Path(native_id, "pid").exists():
                handler = PidHandler(native_id)
                yield af.AttemptEvent(native_id, handler.state(), exit_code=handler.code())


class NotesAfterTheStart(ByHand):
    """Killed in between, it has started what it knows nothing of."""

    def submit_job(self, job):
        file = Path(job.job_context.native_id, "pid")
        if not file.exists():
            process = self.spawn(job)
            file.write_text(str(process.pid))
        return PidHandler(job.job_context.native_id)


class NotesBeforeTheStart(ByHand):
    """Killed in between, it knows of what it has not started."""

    def submit_job(self, job):
        file = Path(job.job_context.native_id, "pid")
        if not file.exists():
            file.touch()
            self.spawn(job)
        return PidHandler(job.job_context.native_id)


class RightByHand(ByHand):
    """The job itself notes that it has started, and whoever comes second does nothing."""

    def script(self, job):
        return f"set -C; echo $$ > ../pid || exit 0; set +C; {super().script(job)}"

    def submit_job(self, job):
        native_id = job.job_context.native_id
        self.spawn(job)
        while not Path(native_id, "pid").exists():
            time.sleep(0.005)
        return PidHandler(native_id)


class GroupHandler(PidHandler):
    """It ends the process group that it has started."""

    def stop(self, grace=10.0):
        if self.code() is None:
            Path(self.native_id, "code").write_text("143")
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(Path(self.native_id, "pid").read_text()), number)
            time.sleep(0.1)
        return True


class StopsItsGroup(RightByHand):
    def submit_job(self, job):
        super().submit_job(job)
        return GroupHandler(job.job_context.native_id)

    @af.hookimpl
    def attach(self, job):
        return GroupHandler(job.job_context.native_id)


class QueuesAgain(RightByHand):
    """It writes much down before it queues a job, and that it has queued it, later: the queue would start it again."""

    def submit_job(self, job):
        native_id = job.job_context.native_id
        folder = Path(native_id, "request")
        folder.mkdir(exist_ok=True)
        (folder / "job").write_text(str(job.job_context.job_name))
        (folder / "run").write_text(str(job.job_context.run_id))
        (folder / "attempt").write_text(str(job.job_context.attempt))
        (folder / "argv").write_text(shlex.join(self._argv(job)))
        (folder / "cwd").write_text(f"{native_id}/work")
        (folder / "queue").write_text("default")
        (folder / "priority").write_text("0")
        (folder / "time").write_text("0:10:00")
        (folder / "memory").write_text("1Gi")
        (folder / "cpus").write_text("1")
        (folder / "gpus").write_text("0")
        (folder / "nodes").write_text("1")
        (folder / "partition").write_text("all")
        (folder / "account").write_text("none")
        (folder / "shell").write_text("/bin/sh")
        (folder / "user").write_text(str(os.getuid()))
        queued = folder / "queued"
        if not queued.exists():
            self.spawn(job)
            queued.touch()
        Path(native_id, "pid").touch()
        return PidHandler(native_id)

    def script(self, job):
        return ByHand.script(self, job)


class StartsWhatWaits(RightByHand):
    """It looks whether a job runs or has ended, and not whether it waits; its queue starts all that it holds."""

    def script(self, job):
        return f"sleep 1; echo $$ > ../pid; {ByHand.script(self, job)}"

    def submit_job(self, job):
        native_id = job.job_context.native_id
        Path(native_id, "queued").touch()
        if not Path(native_id, "pid").exists():
            self.spawn(job)
        return PidHandler(native_id)

    @af.hookimpl
    def lookup(self, job):
        return af.Lookup.FOUND if Path(job.job_context.native_id, "queued").exists() else af.Lookup.NEVER_STARTED


class AbsentHandler(PidHandler):
    """What is not there has ended, and it takes that for success."""

    def state(self):
        state = super().state()
        return af.JobState.FINISHED if state is af.JobState.LOST else state


class TakesAbsenceForSuccess(RightByHand):
    @af.hookimpl
    def attach(self, job):
        return AbsentHandler(job.job_context.native_id)

    @af.hookimpl
    def watch(self, jobs, since):
        for native_id in jobs:
            if Path(native_id, "pid").exists():
                handler = AbsentHandler(native_id)
                yield af.AttemptEvent(native_id, handler.state(), exit_code=handler.code())


class QueueHandler(GroupHandler):
    """Who creates the pid file decides: the job, which writes its pid, or somebody who stops it before it begins."""

    def pid(self):
        with contextlib.suppress(FileNotFoundError):
            return Path(self.native_id, "pid").read_text()
        return None

    def state(self):
        pid = self.pid()
        return af.JobState.QUEUED if pid is None else af.JobState.STOPPED if pid == "none" else super().state()

    def stop(self, grace=10.0):
        try:
            with open(f"{self.native_id}/pid", "x") as file:
                file.write("none")
        except FileExistsError:
            return self.pid() == "none" or super().stop(grace)
        return True


class RightQueue(RightByHand):
    """Its queue looks at what it holds after a second, and runs one job after the other."""

    handler = QueueHandler

    def script(self, job):
        slot = f"{job.job_context.run_folder}/slot"
        wait = f"sleep 1; until mkdir {slot}; do sleep 0.05; done 2> /dev/null"
        return f"{wait}; ({super().script(job)}); rmdir {slot}"

    def submit_job(self, job):
        queued = Path(job.job_context.native_id, "queued")
        if not queued.exists():
            self.spawn(job)
            queued.touch()
        return self.handler(job.job_context.native_id)

    def stop_job(self, job):
        self.handler(job.job_context.native_id).stop()

    @af.hookimpl
    def lookup(self, job):
        return af.Lookup.FOUND if Path(job.job_context.native_id, "queued").exists() else af.Lookup.NEVER_STARTED

    @af.hookimpl
    def attach(self, job):
        return self.handler(job.job_context.native_id)

    @af.hookimpl
    def watch(self, jobs, since):
        for native_id in jobs:
            handler = self.handler(native_id)
            yield af.AttemptEvent(native_id, handler.state(), exit_code=handler.code())


class WaitingHandler(QueueHandler):
    """What waits has no pid, and without one there is nothing to stop."""

    def stop(self, grace=10.0):
        return super().stop(grace) if self.pid() is not None else True


class StopsNothingThatWaits(RightQueue):
    handler = WaitingHandler


class EagerHandler(QueueHandler):
    def state(self):
        state = super().state()
        return af.JobState.RUNNING if state is af.JobState.QUEUED else state


class SaysItRuns(RightQueue):
    """It tells RUNNING as soon as it has queued a job."""

    handler = EagerHandler


class StopJobDoesNothing(RightQueue):
    """Its handler can stop, and it leaves all to that."""

    def stop_job(self, job):
        pass
