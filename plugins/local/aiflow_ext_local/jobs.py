"""The base of both job plugins of the platform: a job as a supervised process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiflow_ext.plugin as af
from aiflow_ext.plugin import PlatformError, secrets, supervised
from aiflow_ext.plugin.engines import (
    RAN_WITH,
    Bundle,
    attempt_mark,
    build_bundle,
    find_program,
    job_environment,
    unpack,
)
from aiflow_ext.plugin.supervised import ProcessSpec
from aiflow_ext_local.platform import LocalPlatform

INHERITED = "the client's environment"
GPUS = "${gpus}"  # those that are free when the job starts


class LocalJobConfig(af.BaseJobConfig):
    """A local job's config has no keys of its own."""


class LocalJob(af.AbstractJob):
    """A job that runs as a process of this machine."""

    def __init__(self, job_config: af.BaseJobConfig, bundle: Bundle) -> None:
        super().__init__(af.JobContext(), job_config)
        self.bundle = bundle


class LocalJobPlugin(af.AbstractJobPlugin):
    """Jobs as processes, supervised so that they and the record of their end outlive the client."""

    _environ: tuple[str | None, dict[str, str]] | None = None

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> LocalJob:
        return LocalJob(sub_graph.config, build_bundle(sub_graph, project_desc, self.engine().engine()))

    def generate_job_resource(self, job: af.BaseJob) -> None:
        job, native_id = _local(job), _native_id(job)
        supervised.prepare_folder(native_id)
        if job.bundle.needs_runner:
            unpack(job.bundle, _bundles(job))
            supervised.write_regular(f"{native_id}/payload.json", self._payload(job))

    def submit_job(self, job: af.BaseJob) -> supervised.ProcessHandler:
        job, native_id = _local(job), _native_id(job)
        config = _config(job)
        env = {**secrets.resolve(config.env), **self._variables(job)}
        supervised.supervisor_of(native_id).hand_over(self._process(job, env, self._inherited(_context(job))))
        return supervised.ProcessHandler(native_id)

    def stop_job(self, job: af.BaseJob) -> None:
        supervised.stop(_native_id(job))

    def cleanup_job(self, job: af.BaseJob) -> None:
        native_id = _native_id(job)
        job = _local(job)
        if _config(job).ready is not None and not _was_stopped(native_id):
            supervised.stop(native_id, 0)  # it has ended by itself: its check, and what it has left, end with it
        if job.bundle.needs_runner:
            Path(native_id, "payload.json").unlink(missing_ok=True)
        # The folder itself stays: ext4 is slow to make new ones for a minute after many were removed.
        work = f"{native_id}/work"
        if os.path.islink(work):  # a job may have put it there: what it leads to is not the attempt's
            return
        with os.scandir(work) as found:
            left = list(found)
        # The author of a failed job may want to inspect its files; what is mounted there is not the attempt's.
        if left and supervised.succeeded(native_id) and supervised.mounted_in(work) is None:
            import shutil

            for entry in left:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)

    def job_type(self) -> type[af.BaseJob]:
        return LocalJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return LocalJobConfig

    def platform(self) -> type[af.AbstractPlatform]:
        return LocalPlatform

    # -- the optional hooks -------------------------------------------------------------------------------------------

    @af.hookimpl
    def allocate_id(self, job: af.BaseJob) -> str:
        return str(_context(job).work_folder)

    @af.hookimpl
    def render(self, job: af.BaseJob) -> af.Request:
        job = _local(job)
        context, config = _context(job), _config(job)
        if context.native_id is None:
            context.native_id = context.work_folder
        if config.gpu:
            context.gpus = GPUS
        spec = self._process(job, {**secrets.shown(config.env), **self._variables(job)}, {})
        content: dict[str, Any] = {"argv": spec.argv, "cwd": spec.cwd, "env": spec.env, "env_from": INHERITED}
        if job.bundle.needs_runner:
            content["payload"] = self._payload(job).decode()
        return af.Request("exec", content)

    @af.hookimpl
    def lookup(self, job: af.BaseJob) -> af.Lookup:
        return supervised.lookup(_native_id(job))

    @af.hookimpl
    def attach(self, job: af.BaseJob) -> supervised.ProcessHandler:
        return supervised.ProcessHandler(_native_id(job))

    @af.hookimpl
    def watch(self, jobs: Mapping[str, af.BaseJob], since: str | None) -> Iterator[af.AttemptEvent | None]:
        return supervised.watch(jobs, since)

    @af.hookimpl
    def is_ready(self, job: af.BaseJob) -> bool | str:
        from aiflow_ext.plugin.engines import is_ready_here

        job, config = _local(job), _config(job)
        env = {**os.environ, **secrets.resolve(config.env), **self._variables(job)}
        env["AIFLOW_MARK"] = attempt_mark(_context(job))  # it ends with the job
        return is_ready_here(config, env, f"{_native_id(job)}/work")

    # -- the process ------------------------------------------------------------------------------------------------

    def _argv(self, job: LocalJob) -> list[str]:
        """The job's argument vector; commands that need no runner replace it."""
        python = interpreter(_config(job).python)
        bundle = job.bundle.archive.home(_bundles(job))
        return [python, str(bundle / "runtime" / "run_job.py"), f"{_native_id(job)}/payload.json"]

    def _payload(self, job: LocalJob) -> bytes:
        """What the process is given in its file ``payload.json``."""
        return job.bundle.payload(_context(job))

    def _variables(self, job: LocalJob) -> dict[str, str]:
        native_id = _native_id(job)
        project = job.bundle.archive.home(_bundles(job)) / "project" if job.bundle.needs_runner else None
        found = job_environment(
            job,
            work_folder=f"{native_id}/work",
            project_folder=str(project) if project else None,
            checkpoint_dir=supervised.checkpoints(native_id),
        )
        if (gpus := _context(job).gpus) is not None:
            found["CUDA_VISIBLE_DEVICES"] = gpus
        if job.bundle.needs_runner:
            found["AIFLOW_RAN_WITH_FILE"] = f"{native_id}/{RAN_WITH}"
        return {
            **found,
            "AIFLOW_REASON_FILE": f"{native_id}/{supervised.REASON_FILE}",
            "PYTHONUNBUFFERED": "1",
            "PWD": f"{native_id}/work",
        }

    def _process(self, job: LocalJob, env: Mapping[str, str], base: Mapping[str, str]) -> ProcessSpec:
        native_id = _native_id(job)
        return ProcessSpec(
            id=supervised.process_id(native_id),
            argv=self._argv(job),
            env=dict(env),
            cwd=f"{native_id}/work",
            stdout=f"{native_id}/stdout",
            stderr=f"{native_id}/stderr",
            mark=attempt_mark(_context(job)),
            base=base,
        )

    def _inherited(self, context: af.JobContext) -> dict[str, str]:
        """The client's environment, read once a run: os.environ decodes it at every access."""
        if self._environ is None or self._environ[0] != context.run_id:
            self._environ = (context.run_id, dict(os.environ))
        return self._environ[1]


def interpreter(python: str | None) -> str:
    """The python that a job runs under: the client's own, or the one that its config names.

    Raises PlatformError where a bare name is not on the PATH.
    """
    if python is None:
        return sys.executable
    if os.sep in python:
        return os.path.expanduser(python)
    found = find_program(python)
    if found is None:
        raise PlatformError(
            f"there is no {python!r} on the PATH", hint="give the interpreter's full path under python:"
        )
    return found


def _local(job: af.BaseJob) -> LocalJob:
    assert isinstance(job, LocalJob)
    return job


def _context(job: af.BaseJob) -> af.JobContext:
    assert job.job_context is not None
    return job.job_context


def _config(job: af.BaseJob) -> af.BaseJobConfig:
    assert job.job_config is not None
    return job.job_config


def _native_id(job: af.BaseJob) -> str:
    return str(_context(job).native_id or _context(job).work_folder)


def _was_stopped(native_id: str) -> bool:
    """Whether the attempt was ended with all that it had started."""
    record = supervised.supervisor_of(native_id).record(supervised.process_id(native_id))
    return record is not None and record.stop_requested


def _bundles(job: af.BaseJob) -> Path:
    return Path(str(_context(job).run_folder), "bundle")
