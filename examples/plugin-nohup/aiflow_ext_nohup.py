"""Platform ``nohup``: the commands of a job, run by a shell on this machine. The nine methods and nothing else."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import aiflow_ext.plugin as af
from aiflow_ext.plugin.engines import CmdLineEngine, build_bundle


class NohupPlatform(af.AbstractPlatform):
    @staticmethod
    def platform() -> str:
        return "nohup"


class NohupJobConfig(af.AbstractJobConfig):
    """The keys of a nohup job in workflow.yaml, beside those that every job has."""

    def __init__(self, nice: int = 0) -> None:
        self.nice = nice


class NohupJob(af.AbstractJob):
    def __init__(self, job_config: NohupJobConfig, script: str) -> None:
        super().__init__(af.JobContext(), job_config)
        self.nice, self.script = job_config.nice, script

    @property
    def script_file(self) -> Path:
        return Path(self.job_context.work_folder, "script.sh")


class NohupJobPlugin(af.AbstractJobPlugin):
    """One object of this class sees an attempt through, from its resources to its cleanup."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> NohupJob:
        bundle = build_bundle(sub_graph, project_desc, "cmd_line", is_sent=False)
        if bundle.needs_runner:
            raise ValueError("platform nohup passes no artifacts: no command may read a node or write an af.output")
        return NohupJob(sub_graph.config, "set -e\n" + "\n".join(map(shlex.join, bundle.command())) + "\n")

    def generate_job_resource(self, job: NohupJob) -> None:
        job.script_file.write_text(job.script)

    def submit_job(self, job: NohupJob) -> af.AbstractJobHandler:
        self.process = subprocess.Popen(["nice", "-n", str(job.nice), "/bin/sh", job.script_file])
        code = self.process.wait()  # returning means FINISHED, raising means FAILED
        if code != 0:
            raise subprocess.CalledProcessError(code, str(job.script_file))
        return af.AbstractJobHandler()

    def stop_job(self, job: NohupJob) -> None:
        if self.process is not None:
            self.process.terminate()

    def cleanup_job(self, job: NohupJob) -> None:
        job.script_file.unlink(missing_ok=True)

    def job_type(self) -> type[af.AbstractJob]:
        return NohupJob

    def job_config_type(self) -> type[af.AbstractJobConfig]:
        return NohupJobConfig

    def platform(self) -> type[af.AbstractPlatform]:
        return NohupPlatform

    def engine(self) -> type[af.AbstractEngine]:
        return CmdLineEngine
