"""The steps of an attempt that reach the cluster: id, files, submission, cleaning up."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiflow_ext.plugin as af
from aiflow_ext.plugin import PlatformError, secrets
from aiflow_ext.plugin.engines import Backoff, SentOnce, poll, retry
from aiflow_ext_yarn import master, poll_hints, request, tokens
from aiflow_ext_yarn.capacity import too_large
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.handler import YarnHandler
from aiflow_ext_yarn.http_failures import Unreachable
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.layout import BUNDLE, MASTER
from aiflow_ext_yarn.log_download import finish_download
from aiflow_ext_yarn.reports import UNSAVED
from aiflow_ext_yarn.resourcemanager import ResourceManager
from aiflow_ext_yarn.webhdfs import FileStatus, WebHdfs

STEP_TIMEOUT = 5.0  # seconds that a step is retried while a service is away; the driver tries again later
_sent = SentOnce[FileStatus]()  # by cluster and path


def allocate(job: YarnJob) -> str:
    """A new application id. Raises PlatformError if the job requests more than the cluster's largest container has."""
    cluster = job.cluster
    native_id, largest = retry(ResourceManager(cluster).new_application, STEP_TIMEOUT)
    problems = too_large(job.config, largest, f"job {job.name!r}")
    if problems:
        raise PlatformError(problems=problems)
    poll_hints.absent(native_id)
    return native_id


def stage(job: YarnJob, needed: Iterable[request.Staged]) -> None:
    """Put a job's files into the staging folder; existing ones stay."""
    files, native_id = WebHdfs(job.cluster), str(job.context.native_id)
    retry(lambda: files.mkdirs_below(job.cluster.staging, job.folder(native_id)), STEP_TIMEOUT)
    for staged in needed:
        _status_of(job, files, staged)


def _status_of(job: YarnJob, files: WebHdfs, staged: request.Staged) -> FileStatus:
    """The status of a staged file, which is sent first where it is not there."""
    path = staged.path or urlsplit(str(staged.uri)).path
    if not staged.once:
        return _found_or_sent(job, files, staged, path)
    run = str(job.context.run_id)
    return _sent.send(job.cluster.key, run, path, lambda: _found_or_sent(job, files, staged, path))


def _found_or_sent(job: YarnJob, files: WebHdfs, staged: request.Staged, path: str) -> FileStatus:
    status = retry(lambda: files.status(path), STEP_TIMEOUT)
    if status is None and staged.path is None:
        raise PlatformError(
            f"job {job.name!r}: {staged.uri}, which is to be {staged.name!r} in its folder, is not on the cluster",
            hint="correct it under files or archives in workflow.yaml; hdfs dfs -ls shows what is there",
        )
    if status is not None and status.folder:
        raise PlatformError(f"job {job.name!r}: {path}, which is to be {staged.name!r} in its folder, is a folder",
                            hint="name a file, or an archive of it")  # fmt: skip
    if status is None:
        _send(job, files, staged, path)
        status = retry(lambda: files.status(path), STEP_TIMEOUT)
        if status is None:
            raise PlatformError(f"{path} was sent, and is not there", hint="does somebody clean up the staging folder?")
    return status


def _send(job: YarnJob, files: WebHdfs, staged: request.Staged, path: str) -> None:
    """Write under a temporary name, then rename: a file is complete or absent, and concurrent senders do no harm."""
    part = f"{path}.{uuid.uuid4().hex}.part"
    with tempfile.TemporaryDirectory(prefix=".sending-", dir=job.context.run_folder) as temporary:
        source = staged.source
        if staged.name == MASTER:
            source = master.archive()
        elif staged.name == BUNDLE:
            source = Path(temporary, "project.tar.gz")
            job.bundle.archive.write(source)
        if isinstance(source, bytes):
            data = source
            retry(lambda: files.put(part, data, len(data)), STEP_TIMEOUT)
        else:
            assert source is not None
            local, size = source, source.stat().st_size

            def put() -> None:
                with open(local, "rb") as file:
                    files.put(part, file, size)

            retry(put, STEP_TIMEOUT)
    if not retry(lambda: files.rename(part, path), STEP_TIMEOUT):
        retry(lambda: files.delete(part), STEP_TIMEOUT)


def submit(job: YarnJob, sent: af.Request, needed: Iterable[request.Staged]) -> YarnHandler:
    """Start the application; an existing one is not changed."""
    cluster = job.cluster
    files, rm = WebHdfs(cluster), ResourceManager(cluster)
    statuses = {staged.name: _status_of(job, files, staged) for staged in needed if staged.brought}
    hidden = {name: value for name, value in job.config.env.items() if secrets.is_secret(value)}
    values = {f"aiflow.env.{name}": value for name, value in secrets.resolve(hidden).items()}
    if cluster.kerberos:
        token = retry(lambda: files.delegation_token(cluster.renewer), STEP_TIMEOUT)
        values |= {"aiflow.delegation": token, "aiflow.file_system": tokens.for_nodes(token, cluster.file_system)}
    body = request.filled(sent.content, statuses, values)
    _start(rm, body)
    return attach(job)


def _start(rm: ResourceManager, body: dict[str, Any]) -> None:
    """Submit until the ResourceManager has stored the application, as Hadoop's own YarnClient does.

    Its answer to the submission proves nothing: if it dies before that, or something between here and there answers in
    its place, it does not know the application afterwards. Raises Unreachable if it is not stored in time.
    """
    native_id = str(body["application-id"])
    retry(lambda: rm.submit(body), STEP_TIMEOUT)
    for _ in poll(STEP_TIMEOUT, Backoff(0.01, 0.5)):
        report = retry(lambda: rm.report(native_id), STEP_TIMEOUT)
        if report is None:
            retry(lambda: rm.submit(body), STEP_TIMEOUT)
        elif report["state"] not in UNSAVED:
            return
    state = "does not know it" if report is None else f"has not stored it yet: its state is {report['state']}"
    raise Unreachable(f"application {native_id} was submitted, and the ResourceManager {state}",
                      hint="is its state store well, and does a proxy answer in its place?")  # fmt: skip


def attach(job: YarnJob) -> YarnHandler:
    """The handler of an application. Sets its lifetime, which a submission cannot contain, if it is not set yet."""
    native_id = str(job.context.native_id)
    poll_hints.submitted(native_id)
    lifetime = job.config.lifetime
    if lifetime is not None:
        retry(lambda: ResourceManager(job.cluster).limit(native_id, lifetime), STEP_TIMEOUT)
    return YarnHandler(job.application())


def cleanup(job: YarnJob, left: Iterable[str]) -> None:
    """Keep an attempt's logs, and remove what it has left except the markers, which are removed with the run."""
    if job.context.native_id is None:
        return
    native_id, cluster = job.context.native_id, job.cluster
    poll_hints.forget(native_id)  # again: its watch may have done so before it was submitted to the end
    kept = finish_download(job.application())
    files = WebHdfs(cluster)
    for path in left:
        retry(lambda path=path: files.delete(path), STEP_TIMEOUT)  # type: ignore[misc]
    if not kept:
        raise PlatformError(
            f"the logs of {native_id} cannot be had: neither its node nor the history server has them",
            hint="yarn.log-aggregation-enable and the history server keep them; yarn logs -applicationId "
            f"{native_id} may find them later",
        )


def cleanup_run(run_id: str, clusters: Iterable[Cluster]) -> None:
    """Remove a run's staging folder on these clusters."""
    if not run_id or "/" in run_id or run_id in (".", ".."):
        return
    for cluster in clusters:
        folder = cluster.run_folder(run_id)
        files = WebHdfs(cluster)
        _sent.forget(cluster.key, run_id)
        retry(lambda files=files, folder=folder: files.delete(folder), cluster.patience)  # type: ignore[misc]


def remove_artifacts(jobs: Iterable[YarnJob], url: str, folders: Sequence[str]) -> list[str] | None:
    """Remove folders below the URL of a run's artifacts; what is left there. None: they are on no cluster's file system
    of these jobs."""
    found = next(((job.cluster, path) for job in jobs if (path := job.path_of(url)) is not None), None)
    if found is None:
        return None
    cluster, path = found
    files = WebHdfs(cluster)
    for each in folders:
        retry(partial(files.delete, f"{path}/{each}"), cluster.patience)
    # Their parents, where they have become empty: of the checkpoints, and the run's own.
    parents = {each.rpartition("/")[0] for each in folders} - {""}
    for folder in (*(f"{path}/{parent}" for parent in sorted(parents)), path):
        left = retry(partial(files.names, folder), cluster.patience)
        if left == []:
            retry(partial(files.delete, folder), cluster.patience)
    return sorted(left or [])
