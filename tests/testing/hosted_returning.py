"""Platform ``returning``: as the example's, but submit_job returns at once, with a handler that can tell the end."""

from __future__ import annotations

import subprocess

import aiflow_ext as af
from aiflow_ext_nohup import NohupJob, NohupJobPlugin


class ReturningPlatform(af.AbstractPlatform):
    @staticmethod
    def platform() -> str:
        return "returning"


class Handler(af.AbstractJobHandler):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def wait(self, timeout: float | None = None) -> af.JobState | None:
        return af.JobState.FAILED if self.process.wait(timeout) else af.JobState.FINISHED


class Plugin(NohupJobPlugin):
    def submit_job(self, job: NohupJob) -> Handler:
        self.process = subprocess.Popen(["/bin/sh", job.script_file])
        return Handler(self.process)

    def platform(self) -> type[af.AbstractPlatform]:
        return ReturningPlatform
