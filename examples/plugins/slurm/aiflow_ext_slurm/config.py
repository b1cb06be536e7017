"""The keys of a job's config on platform ``slurm``."""

from __future__ import annotations

from datetime import timedelta

import aiflow_ext.plugin as af


class SlurmJobConfig(af.BaseJobConfig):
    """What workflow.yaml may say of a job on this platform, beside the keys that every job has.

    Args:
        partition, account, qos: as Slurm's options of these names; Slurm's defaults by default.
        time: Slurm's limit for the job; it ends the job then, whatever the key ``timeout`` says. The partition's by
            default.
        requeue: whether Slurm itself may run the job again after a preemption or the loss of its node. By default it
            may not: aiflow-ext then makes a new attempt, which costs no retry.
        options: more options of sbatch, one an item: ``["--constraint=a100", "--exclusive"]``.
        folder: a folder that nodes and client have at the same path, for files of jobs. By default it is the run's own
            folder.
    """

    def __init__(
        self,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        time: timedelta | None = None,
        requeue: bool = False,
        options: list[str] | None = None,
        folder: str | None = None,
    ) -> None:
        self.partition, self.account, self.qos, self.time = partition, account, qos, time
        self.requeue, self.options, self.folder = requeue, options or [], folder
        wrong = [option for option in self.options if not option.startswith("-")]
        if wrong:
            raise ValueError(f"options has {wrong[0]!r}, which is no option of sbatch: it begins with no dash")
        if folder is not None and not folder.startswith("/"):
            raise ValueError(f"folder is {folder!r}: give an absolute path")
