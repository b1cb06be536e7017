"""Durable job plugins whose handler has one mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from wrong_durable import RightDurable

import aiflow_ext as af
from aiflow_ext.plugin import secrets
from aiflow_ext.run.platforms import supervised


class WithHandler(RightDurable):
    """Its handler is one of a subclass's own."""

    handler: type[supervised.ProcessHandler] = supervised.ProcessHandler

    def submit_job(self, job):
        super().submit_job(job)
        return self.handler(job.job_context.native_id)

    @af.hookimpl
    def attach(self, job):
        return self.handler(job.job_context.native_id)


class CuttingHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream, offset)[: max(0, 2048 - offset)]


class RepeatingHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream, max(0, offset - 10)) if super().logs(stream, offset) else b""


class LockedHandler(supervised.ProcessHandler):
    def __init__(self, native_id):
        super().__init__(native_id)
        self.lock = threading.Lock()


_known: set[str] = set()


class ForgetfulHandler(supervised.ProcessHandler):
    def __init__(self, native_id):
        super().__init__(native_id)
        _known.add(native_id)

    def state(self):
        if self.native_id not in _known:
            raise KeyError(self.native_id)
        return super().state()


class ShallowHandler(supervised.ProcessHandler):
    def stop(self, grace=10.0):
        supervisor = supervised.supervisor_of(self.native_id)
        record = supervisor.record(supervised.process_id(self.native_id))
        # Else it would end the others soon, as what a process has left behind.
        pid = int(Path(supervisor.folder, "supervisor.lock").read_text().split()[0])
        os.kill(pid, signal.SIGSTOP)
        # By a process of its own: the client may be gone by then, and the supervisor would stand still for ever.
        subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {pid}"], start_new_session=True)
        os.kill(record.pid, signal.SIGKILL)
        return True


class CutsLogs(WithHandler):
    handler = CuttingHandler


class RepeatsLogs(WithHandler):
    handler = RepeatingHandler


class TextHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream, offset).decode()


class EndlessHandler(supervised.ProcessHandler):
    def wait(self, timeout=None):
        return super().wait(None)


class HastyHandler(supervised.ProcessHandler):
    def stop(self, grace=10.0):
        return super().stop(0.0)


class LogsAreText(WithHandler):
    handler = TextHandler


class WaitsForEver(WithHandler):
    handler = EndlessHandler


class EndsAtOnce(WithHandler):
    handler = HastyHandler


class HandlerIsNoData(WithHandler):
    handler = LockedHandler


class HandlerStaysAtHome(WithHandler):
    handler = ForgetfulHandler


class StopsTheFirstOnly(WithHandler):
    handler = ShallowHandler


class BusyHandler(supervised.ProcessHandler):
    def wait(self, timeout=None):
        end = time.monotonic() + (1e9 if timeout is None else timeout)
        while not self.state().ended and time.monotonic() < end:
            pass
        return self.state()


class WaitsBusily(WithHandler):
    handler = BusyHandler


class WaveringHandler(supervised.ProcessHandler):
    asked = 0

    def state(self):
        self.asked += 1
        state = super().state()
        return af.JobState.RUNNING if state.ended and self.asked % 2 == 0 else state


class GoesBack(WithHandler):
    handler = WaveringHandler


_own: set[str] = set()


class ForgettingHandler(supervised.ProcessHandler):
    """It knows of the failures of those that this process has submitted."""

    def state(self):
        state = super().state()
        return af.JobState.FINISHED if state is af.JobState.FAILED and self.native_id not in _own else state


class ForgetsFailures(WithHandler):
    handler = ForgettingHandler

    def submit_job(self, job):
        _own.add(job.job_context.native_id)
        return super().submit_job(job)


class DecodingHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream).decode(errors="replace").encode()[offset:]


class LineHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        found = super().logs(stream, offset)
        return found[: found.rfind(b"\n") + 1]


class TextModeHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream).replace(b"\r\n", b"\n").replace(b"\r", b"\n")[offset:]


class BufferHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream)[: 1 << 16][offset:]


class DecodesLogs(WithHandler):
    handler = DecodingHandler


class WantsWholeLines(WithHandler):
    handler = LineHandler


class TextModeLogs(WithHandler):
    handler = TextModeHandler


class OneBufferOfLogs(WithHandler):
    handler = BufferHandler


class LateHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        return super().logs(stream, offset) if self.state().ended else b""


class LogsAtTheEnd(WithHandler):
    handler = LateHandler


class SecretInItsHandler(WithHandler):
    def submit_job(self, job):
        handler = super().submit_job(job)
        handler.env = secrets.resolve(job.job_config.env)
        return handler


class SweepingHandler(supervised.ProcessHandler):
    def stop(self, grace=10.0):
        for folder in Path(self.native_id).parent.parent.glob("*/*"):
            supervised.stop(str(folder), grace)
        return True


class StopsTheWholeRun(WithHandler):
    handler = SweepingHandler


class LateWaiter(supervised.ProcessHandler):
    def wait(self, timeout=None):
        time.sleep(5)
        return super().wait(timeout)


class WaitsInSteps(WithHandler):
    handler = LateWaiter


class AttachesNothing(WithHandler):
    @af.hookimpl
    def attach(self, job):
        return None


class KnowsTheEndedOnly(RightDurable):
    @af.hookimpl
    def lookup(self, job):
        native_id = job.job_context.native_id
        record = supervised.supervisor_of(native_id).record(supervised.process_id(native_id))
        runs = record is not None and record.state == "running"
        return af.Lookup.UNKNOWN if runs else super().lookup(job)


class MergingHandler(supervised.ProcessHandler):
    def logs(self, stream="stdout", offset=0):
        both = b"".join(supervised.ProcessHandler.logs(self, each) for each in ("stdout", "stderr"))
        return both[offset:] if stream == "stdout" else b""


class MergesStreams(WithHandler):
    handler = MergingHandler


class OtherEndHandler(supervised.ProcessHandler):
    """Its wait asks nobody: a time-out is an end to it."""

    def wait(self, timeout=None):
        state = super().wait(timeout)
        return state if state.ended else af.JobState.FAILED


class TakesATimeoutForAnEnd(WithHandler):
    handler = OtherEndHandler
