"""Durable job plugins of a platform that is away while the file exists that KIT_AWAY names, with one mistake each."""

from __future__ import annotations

import os

from wrong_durable import RightDurable

import aiflow_ext.plugin as af
from aiflow_ext.run.platforms import supervised


def is_away() -> bool:
    return os.path.exists(os.environ["KIT_AWAY"])


def ask() -> None:
    if is_away():
        raise af.UnreachableError("the queue's server gives no answer")


class AwayHandler(supervised.ProcessHandler):
    def state(self):
        ask()
        return super().state()

    def wait(self, timeout=None):
        ask()
        return super().wait(timeout)

    def stop(self, grace=10.0):
        ask()
        return super().stop(grace)


class RightAway(RightDurable):
    """Nothing is wrong with it."""

    handler: type[supervised.ProcessHandler] = AwayHandler

    def submit_job(self, job):
        ask()
        super().submit_job(job)
        return self.handler(job.job_context.native_id)

    def stop_job(self, job):
        ask()
        super().stop_job(job)

    def cleanup_job(self, job):
        ask()
        super().cleanup_job(job)

    @af.hookimpl
    def lookup(self, job):
        ask()
        return super().lookup(job)

    @af.hookimpl
    def attach(self, job):
        return self.handler(job.job_context.native_id)

    @af.hookimpl
    def watch(self, jobs, since):
        ask()
        for event in super().watch(jobs, since):
            ask()
            yield event


class SilenceIsNoJob(RightAway):
    """What the platform cannot be asked for was never there."""

    @af.hookimpl
    def lookup(self, job):
        return af.Lookup.NEVER_STARTED if is_away() else super().lookup(job)


class SilentHandler(AwayHandler):
    def state(self):
        return af.JobState.LOST if is_away() else super().state()


class SilenceIsALoss(RightAway):
    handler = SilentHandler


class WatchTellsALoss(RightAway):
    @af.hookimpl
    def watch(self, jobs, since):
        if is_away():
            yield from (af.AttemptEvent(native_id, af.JobState.LOST) for native_id in jobs)
        else:
            yield from super().watch(jobs, since)


class OptimisticHandler(AwayHandler):
    def stop(self, grace=10.0):
        return is_away() or super().stop(grace)


class StopsNobody(RightAway):
    """That nobody was told to stop the job is no mistake to it."""

    handler = OptimisticHandler


class CleansWithAnotherError(RightAway):
    def cleanup_job(self, job):
        if is_away():
            raise ConnectionError("connection refused")
        super().cleanup_job(job)
