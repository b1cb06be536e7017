"""The job plugins of platform ``slurm``: what is sent for a job, and when."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiflow_ext.plugin as af
from aiflow_ext.plugin import secrets
from aiflow_ext.plugin.engines import (
    RAN_WITH,
    STREAMS,
    Bundle,
    CmdLineEngine,
    PythonEngine,
    build_bundle,
    job_environment,
    one_command,
    unpack,
)
from aiflow_ext_slurm import backend, commands, states
from aiflow_ext_slurm.config import SlurmJobConfig
from aiflow_ext_slurm.platform import SlurmPlatform

PAYLOAD = "payload.json"


class SlurmJob(af.AbstractJob):
    """A job of this platform.

    Args:
        job_config: its config.
        bundle: its code: the commands, or what the runner is given.
    """

    def __init__(self, job_config: af.BaseJobConfig, bundle: Bundle) -> None:
        super().__init__(af.JobContext(), job_config)
        self.bundle = bundle

    @property
    def context(self) -> af.JobContext:
        """Whose attempt it is; filled in after ``generate``."""
        assert self.job_context is not None
        return self.job_context

    @property
    def config(self) -> SlurmJobConfig:
        """The keys of workflow.yaml."""
        assert isinstance(self.job_config, SlurmJobConfig)
        return self.job_config

    @property
    def native_id(self) -> str:
        """The attempt's name on the cluster: the name of its Slurm job."""
        return str(self.context.native_id)

    @property
    def run_folder(self) -> Path:
        """What all jobs of the run share."""
        if self.config.folder:
            return Path(self.config.folder, str(self.context.run_id))
        return Path(str(self.context.run_folder), "slurm")

    @property
    def folder(self) -> str:
        """The attempt's own folder, as client and nodes see it."""
        return str(self.run_folder / self.native_id) if self.config.folder else str(self.context.work_folder)

    @property
    def checkpoints(self) -> Path:
        """The folder that all attempts of the job share."""
        return self.run_folder / "checkpoints" / af.safe_name(str(self.context.job_name))

    def request(self, env: Mapping[str, str]) -> dict[str, Any]:
        """What is sent; ``env``: the variables of its config, with secrets as references or as values."""
        argv = self._argv()
        return {
            "submit": ["sbatch", "--parsable", *self.options(), *self._places()],
            "script": backend.script(self.native_id, self.folder, argv),
            "argv": argv,
            "cwd": f"{self.folder}/work",
            "env": {**env, **self._variables()},
            "env_from": "the client's environment",
        }

    def options(self) -> list[str]:
        """The options of sbatch that its config leads to."""
        config = self.config
        found = {"partition": config.partition, "account": config.account, "qos": config.qos}
        if config.time is not None:
            found["time"] = str(max(1, math.ceil(config.time.total_seconds() / 60)))
        if config.cpu is not None:
            found["cpus-per-task"] = str(max(1, math.ceil(config.cpu)))
        if config.memory is not None:
            found["mem"] = f"{math.ceil(config.memory / 1024)}K"
        if config.gpu:
            found["gpus"] = str(config.gpu)
        given = [f"--{name}={value}" for name, value in found.items() if value is not None]
        return [*given, "--requeue" if config.requeue else "--no-requeue", *config.options]

    def _places(self) -> list[str]:
        """The options that a config cannot change."""
        logs = self.folder.replace("%", "%%")  # in which sbatch puts in values of its own
        return [f"--job-name={self.native_id}", f"--comment={self.native_id}", "--export=ALL", "--open-mode=append",
                "--chdir=/", f"--output={logs}/stdout", f"--error={logs}/stderr"]  # fmt: skip

    def _argv(self) -> list[str]:
        if not self.bundle.needs_runner:
            return one_command(self.bundle.command())
        python = self.config.python or sys.executable
        return [python, f"{self._home()}/runtime/run_job.py", f"{self.folder}/{PAYLOAD}"]

    def _home(self) -> Path:
        return self.bundle.archive.home(self.run_folder / "bundle")

    def _variables(self) -> dict[str, str]:
        """What every job finds in its environment."""
        project = f"{self._home()}/project" if self.bundle.needs_runner else None
        work = f"{self.folder}/work"
        variables = job_environment(
            self, work_folder=work, project_folder=project, checkpoint_dir=str(self.checkpoints)
        )
        if self.bundle.needs_runner:
            variables["AIFLOW_RAN_WITH_FILE"] = f"{self.folder}/{RAN_WITH}"
        return {**variables, "AIFLOW_REASON_FILE": f"{self.folder}/{states.REASON}", "PYTHONUNBUFFERED": "1"}


class SlurmJobPlugin(af.AbstractJobPlugin):
    """What the job plugins of both engines have in common."""

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> SlurmJob:
        return SlurmJob(sub_graph.config, build_bundle(sub_graph, project_desc, self.engine().engine()))

    def generate_job_resource(self, job: af.BaseJob) -> None:
        job = _own(job)
        Path(job.folder, "work").mkdir(parents=True, exist_ok=True)
        job.checkpoints.mkdir(parents=True, exist_ok=True)
        if job.bundle.needs_runner:
            unpack(job.bundle, job.run_folder / "bundle")
            Path(job.folder, PAYLOAD).write_bytes(job.bundle.payload(job.context))

    def submit_job(self, job: af.BaseJob) -> backend.SlurmHandler:
        job = _own(job)
        request = job.request(secrets.resolve(job.config.env))
        backend.submit(job.native_id, job.folder, request["submit"], request["script"], request["env"])
        return backend.SlurmHandler(job.native_id, job.folder)

    def stop_job(self, job: af.BaseJob) -> None:
        backend.stop(_own(job).native_id, _own(job).folder, 10.0)

    def cleanup_job(self, job: af.BaseJob) -> None:
        job = _own(job)
        Path(job.folder, PAYLOAD).unlink(missing_ok=True)
        if job.config.folder:
            for name in (*STREAMS, RAN_WITH):
                if Path(job.folder, name).is_file():
                    shutil.copyfile(Path(job.folder, name), Path(str(job.context.work_folder), name))

    def job_type(self) -> type[af.BaseJob]:
        return SlurmJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return SlurmJobConfig

    def platform(self) -> type[af.AbstractPlatform]:
        return SlurmPlatform

    # The optional hooks. With lookup and attach the plugin is durable: its jobs go on without the process that
    # submitted them, and a later one finds them again.

    @af.hookimpl
    def render(self, job: af.BaseJob) -> af.Request:
        job = _own(job)
        return af.Request("slurm", job.request(secrets.shown(job.config.env)))

    @af.hookimpl
    def lookup(self, job: af.BaseJob) -> af.Lookup:
        return backend.lookup(_own(job).native_id, _own(job).folder)

    @af.hookimpl
    def attach(self, job: af.BaseJob) -> backend.SlurmHandler:
        return backend.SlurmHandler(_own(job).native_id, _own(job).folder)

    @af.hookimpl
    def watch(self, jobs: Mapping[str, af.BaseJob], since: str | None) -> Iterator[af.AttemptEvent | None]:
        return backend.watch(jobs, lambda job: job.folder if isinstance(job, SlurmJob) else None)

    @af.hookimpl
    def remove_run(self, run_id: str, jobs: Sequence[af.BaseJob]) -> None:
        for folder in {_own(job).run_folder for job in jobs}:
            shutil.rmtree(folder, ignore_errors=True)

    @af.hookimpl
    def check_platform(self, jobs: Sequence[af.BaseJob]) -> list[af.Problem]:
        """Have Slurm check the options of each job, without submitting anything."""
        try:
            commands.rows()
        except af.UnreachableError as error:
            first = error.problems[0]
            return [af.Problem(f"{first.message}; {commands.controllers()}", hint=first.hint)]
        problems: list[af.Problem] = []
        for options in sorted({tuple(_own(job).options()) for job in jobs}):
            try:
                commands.check(options)
            except af.UnreachableError as error:
                return list(error.problems)
            except af.PlatformError as error:
                problems.append(af.Problem(f"{error.problems[0].message} ({' '.join(options)})",
                                           hint="change the job's config; sinfo lists the partitions"))  # fmt: skip
        return problems


class SlurmCmdLineJobPlugin(SlurmJobPlugin):
    """Job plugin ``slurm.cmd_line``."""

    def engine(self) -> type[af.AbstractEngine]:
        return CmdLineEngine


class SlurmPythonJobPlugin(SlurmJobPlugin):
    """Job plugin ``slurm.python``."""

    def engine(self) -> type[af.AbstractEngine]:
        return PythonEngine


def _own(job: af.BaseJob) -> SlurmJob:
    assert isinstance(job, SlurmJob)
    return job
