"""Jobs: what is executed, in which context, and the handler of one that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.graph import BaseNode
from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.model.states import JobState


class JobContext(Jsonable):
    """The place of an attempt in its run. The host fills it in after ``generate``; a plugin may leave it empty.

    Args:
        run_id: the run's id.
        job_name: the job's key.
        attempt: number of the attempt, from 1.
        native_id: the attempt's name on its platform.
        work_folder: absolute path of the attempt's own folder on this machine: its logs, and the plugin's files. Not
            where the job works: that is its variable AIFLOW_WORK_FOLDER, on its platform.
        artifacts_url: where the run's artifacts are: ``<artifacts>/<run>``.
        inputs: URL by name of each artifact that the job reads (``<job>/<node>`` or ``<job>/<node>/<output>``).
        run_folder: absolute path of the run's folder on this machine.
        gpus: the GPUs that the attempt is given, as CUDA_VISIBLE_DEVICES names them; None where its platform hands out
            none on this machine, or its job has no ``gpu``.
        failed_jobs: of a job that waits for failures or ends of others: those that have failed until now, as ``job``,
            ``state`` and ``reason``.
        environment: variables that are added to those of the job's config (``AbstractJobEnvironment``); they are in
            ``job.job_config.env`` too.
    """

    run_id: str | None = None
    job_name: str | None = None
    attempt: int | None = None
    native_id: str | None = None
    work_folder: str | None = None
    artifacts_url: str | None = None
    inputs: Mapping[str, str] = {}
    run_folder: str | None = None
    gpus: str | None = None
    failed_jobs: Sequence[Mapping[str, str]] = ()
    environment: Mapping[str, str] = {}

    def __init__(
        self,
        run_id: str | None = None,
        job_name: str | None = None,
        attempt: int | None = None,
        native_id: str | None = None,
        work_folder: str | None = None,
        artifacts_url: str | None = None,
        inputs: Mapping[str, str] | None = None,
        run_folder: str | None = None,
        gpus: str | None = None,
        failed_jobs: Sequence[Mapping[str, str]] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.run_id, self.job_name, self.attempt, self.native_id = run_id, job_name, attempt, native_id
        self.work_folder, self.artifacts_url, self.run_folder = work_folder, artifacts_url, run_folder
        self.inputs, self.gpus, self.failed_jobs = dict(inputs or {}), gpus, [dict(each) for each in failed_jobs]
        self.environment = dict(environment or {})


class BaseJob(BaseNode):
    """The basic unit that is executed. A plugin subclasses it and adds what its platform needs.

    Args:
        job_context: the place of the attempt in its run.
        job_config: the job's config.
    """

    job_context: JobContext | None = None
    job_config: BaseJobConfig | None = None

    def __init__(self, job_context: JobContext | None = None, job_config: BaseJobConfig | None = None) -> None:
        super().__init__(name=job_config.job_name if job_config else None)
        self.job_context, self.job_config = job_context, job_config


AbstractJob = BaseJob


class AbstractJobHandler(Jsonable):
    """The object for a submitted job. It is data: written as JSON, it works in another process.

    It is concrete: each method's default answer is None, *cannot tell*. Override what your platform can tell.
    """

    def state(self) -> JobState | None:
        """The job's state now; None: not known."""
        return None

    def wait(self, timeout: float | None = None) -> JobState | None:
        """Wait until the job has ended, at most ``timeout`` seconds (None: for ever).

        Returns the state it is in then, or None: cannot tell.
        """
        return None

    def logs(self, stream: str = "stdout", offset: int = 0) -> bytes | None:
        """The bytes of ``stream`` (``stdout`` or ``stderr``) from byte ``offset`` on, as far as they exist now.

        Returns None: cannot tell.
        """
        return None

    def stop(self, grace: float = 10.0) -> bool | None:
        """Ask the job to end, give it ``grace`` seconds, then end it. Twice is fine.

        Returns True once it is gone, None: cannot.
        """
        return None
