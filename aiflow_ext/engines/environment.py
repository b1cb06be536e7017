"""What a job can see: its ``AIFLOW_*`` variables, the same on every platform.

``AIFLOW_RUN``, ``AIFLOW_JOB``, ``AIFLOW_ATTEMPT``: which attempt of which job in which run.
``AIFLOW_PROPERTIES``: the job config's properties, as JSON.
``AIFLOW_MEMORY``: the memory that the attempt asks for, in bytes; unset where its job names none.
``AIFLOW_WORK_FOLDER``: the attempt's own folder, the current one at the start.
``AIFLOW_PROJECT_FOLDER``: where the project's files are; unset in a job that is sent no archive.
``AIFLOW_CHECKPOINT_DIR``: folder or URL that all attempts of the job in this run share.
``AIFLOW_REASON_FILE``: set by a platform that keeps one: the runner, or the job itself, writes there in one line why
the job failed, and the platform shows it with the attempt's end.
``AIFLOW_PROGRESS_FILE``: set by a platform that shows progress: the runner writes there how many of the job's steps are
done.
``AIFLOW_RAN_WITH_FILE``: set by a platform that keeps it: the runner writes there, as JSON, what the job runs with.
``AIFLOW_ARTIFACT_HOSTS``: ``host:port``s of the artifacts' file system, if it has several addresses.
``AIFLOW_ARTIFACT_INSECURE_NODES``: hosts to which that file system may lead without TLS although it has it.
``AIFLOW_ARTIFACT_PATIENCE``: read where it is set: for how many seconds an artifact is read or written again while its
file system does not answer; 300 by default.
``AIFLOW_MARK``: carried by every process of the attempt, to find the ones that left its session.
"""

from __future__ import annotations

import json

from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.names import safe_name

MARK = "AIFLOW_MARK"


def attempt_mark(context: JobContext) -> str:
    """The value that every process of an attempt carries in ``AIFLOW_MARK``."""
    return f"{context.run_id}:{context.native_id}"


def checkpoint_url(artifacts_url: str, context: JobContext) -> str:
    """Where all attempts of a job in its run keep checkpoints, beside the run's artifacts.

    Args:
        artifacts_url: the run's artifacts, as the job reaches them.
        context: of any attempt of the job.
    """
    return f"{artifacts_url.rstrip('/')}/checkpoints/{safe_name(str(context.job_name))}"


def properties_text(config: BaseJobConfig | None) -> str:
    """A config's properties as ``AIFLOW_PROPERTIES`` holds them."""
    return json.dumps(dict(config.properties)) if config is not None else "{}"


def job_environment(
    job: BaseJob, *, work_folder: str, project_folder: str | None = None, checkpoint_dir: str | None = None
) -> dict[str, str]:
    """The ``AIFLOW_*`` variables of a job's attempt.

    Args:
        job: a job whose context the host has filled in.
        work_folder: the attempt's current folder, as the job sees it.
        project_folder: where the project's files are, as the job sees them.
        checkpoint_dir: folder or URL that all attempts of the job in this run share.
    """
    context, config = job.job_context, job.job_config
    assert context is not None
    found = {
        "AIFLOW_RUN": context.run_id or "",
        "AIFLOW_JOB": context.job_name or "",
        "AIFLOW_ATTEMPT": str(context.attempt or 1),
        "AIFLOW_PROPERTIES": properties_text(config),
        "AIFLOW_MEMORY": str(config.memory) if config is not None and config.memory is not None else None,
        "AIFLOW_WORK_FOLDER": work_folder,
        "AIFLOW_PROJECT_FOLDER": project_folder,
        "AIFLOW_CHECKPOINT_DIR": checkpoint_dir,
        "AIFLOW_FAILED_JOBS": json.dumps(list(context.failed_jobs)) if context.failed_jobs else None,
        MARK: attempt_mark(context),
    }
    return {name: value for name, value in found.items() if value is not None}
