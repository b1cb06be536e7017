"""Folders of a Flink job on the cluster's file system: that of its archive, and its earlier attempts' checkpoints."""

from __future__ import annotations

import re
from functools import partial
from urllib.parse import urlsplit

from aiflow_ext.plugin import ExecutionMode, Problem
from aiflow_ext.plugin.engines import retry
from aiflow_ext_flink.ids import earlier_ids
from aiflow_ext_flink.savepoint import METADATA
from aiflow_ext_yarn.flink_job import YarnFlinkJob
from aiflow_ext_yarn.http_failures import Refused
from aiflow_ext_yarn.lifecycle import STEP_TIMEOUT
from aiflow_ext_yarn.webhdfs import WebHdfs


def prepare(job: YarnFlinkJob) -> None:
    """Make the folder in which Flink archives how the attempt has ended."""
    retry(lambda: WebHdfs(job.cluster).mkdirs(job.application().archives), STEP_TIMEOUT)


def restore_problem(job: YarnFlinkJob) -> Problem | None:
    """What is wrong with the savepoint or checkpoint that a job is to begin from; None: nothing, or not known, as it is
    not on the cluster's own file system. Raises Unreachable if that does not answer."""
    said = job.config.restore_from or ""
    url = job.for_flink(said)
    if not url.startswith(f"{job.cluster.file_system}/"):
        return None
    path = urlsplit(url).path.rstrip("/")
    files, hint = WebHdfs(job.cluster), "correct restore_from: the reason of an attempt that was stopped has its path"
    try:
        found = retry(partial(files.status, path), STEP_TIMEOUT)
        if found is None:
            return Problem(f"job {job.name!r}: {said}, which it is to begin from, is not there", hint=hint)
        if found.folder and retry(partial(files.status, f"{path}/{METADATA}"), STEP_TIMEOUT) is None:
            return Problem(f"job {job.name!r}: {said} is no complete savepoint or checkpoint: it has no {METADATA}",
                           hint=hint)  # fmt: skip
    except Refused as error:
        return Problem(f"job {job.name!r} cannot begin from {said}: {error.problems[0].message}", hint=hint)
    return None


def latest(job: YarnFlinkJob) -> str | None:
    """The latest complete checkpoint of the earlier attempts, from which this one is to go on.

    None for a BATCH job, where there is none, and where checkpoints are on another file system than the cluster's own.
    Raises Unreachable if that does not answer.
    """
    kept = job.config.checkpoints or job.kept("checkpoints")
    folder = urlsplit(kept).path if kept.startswith(job.cluster.file_system) else job.path_of(kept)
    if job.config.exec_mode is not ExecutionMode.STREAM or folder is None:
        return None
    files = WebHdfs(job.cluster)
    for name in reversed(earlier_ids(job.context)):
        names = retry(partial(files.names, f"{folder}/{name}"), STEP_TIMEOUT) or []
        numbers = sorted(
            int(match[1]) for each in names if (match := re.fullmatch(r"chk-(\d{1,18})", each)) is not None
        )
        for number in reversed(numbers):
            path = f"{name}/chk-{number}"
            if retry(partial(files.status, f"{folder}/{path}/{METADATA}"), STEP_TIMEOUT) is not None:  # it is complete
                return f"{kept}/{path}"
    return None
