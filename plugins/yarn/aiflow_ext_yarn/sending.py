"""The steps of an attempt that reach the cluster: id, files, submission, cleaning up."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiflow_ext as af
from aiflow_ext.model.attempt import Lookup
from aiflow_ext.model.errors import PlatformError, Problem
from aiflow_ext.translate import secrets
from aiflow_ext_yarn import known, master, news, request, tokens
from aiflow_ext_yarn.attempt import YarnHandler
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.jobs import YarnJob
from aiflow_ext_yarn.keeping import keep_now
from aiflow_ext_yarn.patience import patiently
from aiflow_ext_yarn.resourcemanager import ResourceManager
from aiflow_ext_yarn.webhdfs import FileStatus, WebHdfs

BLIP = 5.0  # seconds that a step waits for a service that is away; then the driver goes on later, from the records
# What was sent once a run, by cluster and path; looked for there first in any other process.
_sent: dict[tuple[tuple[str, ...], str], FileStatus] = {}


def allocate(job: YarnJob) -> str:
    """A new application id. Raises PlatformError where the job asks for more than the cluster's largest container."""
    connection = job.connection
    native_id, largest = patiently(ResourceManager(connection).new_application, BLIP)
    problems = too_large(job.config, largest, f"job {job.name!r}")
    if problems:
        raise PlatformError(problems=problems)
    news.allocated(native_id)
    return native_id


def too_large(config: YarnJobConfig, largest: dict[str, Any], who: str) -> list[Problem]:
    """What of a config is more than ``largest``, the cluster's largest container, has.

    Args:
        largest: ``memory`` in MiB, ``vCores``; the cluster's other resources under ``resourceInformations``.
    """
    found = []
    for key, unit, wanted, most in (
        ("memory", " MiB", config.memory_mib, largest.get("memory")),
        ("vcores", "", config.vcores, largest.get("vCores")),
    ):
        if most is not None and wanted > int(most):
            found.append(
                Problem(
                    f"{who} asks for {wanted}{unit} of {key}; the largest container of this cluster has {most}{unit}",
                    hint=f"give {key}: {most} or less, or have yarn.scheduler.maximum-allocation raised",
                )
            )
    told = (largest.get("resourceInformations") or {}).get("resourceInformation")
    if not config.resources or told is None:  # before Hadoop 3.1 it does not say
        return found
    others = {str(each["name"]): int(each["value"]) for each in told if each["name"] not in ("memory-mb", "vcores")}
    for name, wanted in config.resources.items():
        if name not in others:
            words = (
                f"which is no resource of this cluster: it has {', '.join(sorted(others)) or 'memory and vcores alone'}"
            )
            hint = "correct resources:, or have it added to yarn.resource-types"
        elif wanted > others[name]:
            words = f"the largest container of this cluster has {others[name]}"
            hint = f"give resources: {{{name}: {others[name]}}} or less"
        else:
            continue
        asked = f"asks for {wanted} of {name}; {words}" if name in others else f"asks for {name}, {words}"
        found.append(Problem(f"{who} {asked}", hint=hint))
    return found


def stage(job: YarnJob) -> None:
    """Put a job's files into the staging folder: what is there already stays."""
    files, native_id = WebHdfs(job.connection), str(job.context.native_id)
    patiently(lambda: files.mkdirs(job.folder(native_id)), BLIP)
    for staged in request.files(job, native_id):
        _status_of(job, files, staged)


def _status_of(job: YarnJob, files: WebHdfs, staged: request.Staged) -> FileStatus:
    """The status of a staged file, which is sent first where it is not there."""
    path = staged.path or urlsplit(str(staged.uri)).path
    key = (job.connection.key, path)
    if staged.once and key in _sent:
        return _sent[key]
    status = patiently(lambda: files.status(path), BLIP)
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
        status = patiently(lambda: files.status(path), BLIP)
        if status is None:
            raise PlatformError(f"{path} was sent, and is not there", hint="does somebody clean up the staging folder?")
    if staged.once:
        _sent[key] = status
    return status


def _send(job: YarnJob, files: WebHdfs, staged: request.Staged, path: str) -> None:
    """Write under another name, then rename: a file is complete or absent, and a second sender finds the first's."""
    part = f"{path}.{uuid.uuid4().hex}.part"
    with tempfile.TemporaryDirectory(prefix=".sending-", dir=job.context.run_folder) as temporary:
        source = staged.source
        if staged.name == request.MASTER:
            source = master.archive()
        elif staged.name == request.BUNDLE:
            source = Path(temporary, "project.tar.gz")
            job.bundle.archive.write(source)
        if isinstance(source, bytes):
            data = source
            patiently(lambda: files.put(part, data, len(data)), BLIP)
        else:
            assert source is not None
            local, size = source, source.stat().st_size

            def put() -> None:
                with open(local, "rb") as file:
                    files.put(part, file, size)

            patiently(put, BLIP)
    if not patiently(lambda: files.rename(part, path), BLIP):
        patiently(lambda: files.delete(part), BLIP)


def submit(job: YarnJob, sent: af.Request) -> YarnHandler:
    """Start the application; one that is there already stays as it is."""
    connection, native_id = job.connection, str(job.context.native_id)
    files, rm = WebHdfs(connection), ResourceManager(connection)
    statuses = {staged.name: _status_of(job, files, staged) for staged in request.files(job, native_id)}
    hidden = {name: value for name, value in job.config.env.items() if secrets.is_secret(value)}
    values = {f"aiflow.env.{name}": value for name, value in secrets.resolve(hidden).items()}
    if connection.kerberos:
        token = patiently(lambda: files.delegation_token(connection.renewer), BLIP)
        values |= {"aiflow.delegation": token, "aiflow.file_system": tokens.for_nodes(token, connection.file_system)}
    body = request.filled(sent.content, statuses, values)
    patiently(lambda: rm.submit(body), BLIP)
    return attach(job, native_id)


def attach(job: YarnJob, native_id: str) -> YarnHandler:
    """The handler of an application; its lifetime, which no submission can hold, is set where it is not yet."""
    news.submitted(native_id)
    lifetime = job.config.lifetime
    if lifetime is not None:
        patiently(lambda: ResourceManager(job.connection).limit(native_id, lifetime), BLIP)
    return YarnHandler(job.attempt(native_id))


def cleanup(job: YarnJob) -> None:
    """Keep an attempt's logs, and remove its files but for the markers, which go with the run."""
    if job.context.native_id is None:
        return
    native_id, connection = job.context.native_id, job.connection
    kept = keep_now(job.attempt())
    own = [staged.path for staged in request.files(job, native_id) if not staged.once and staged.path is not None]
    files = WebHdfs(connection)
    for path in own:
        patiently(lambda path=path: files.delete(path), BLIP)  # type: ignore[misc]
    if not kept:
        raise PlatformError(
            f"the logs of {native_id} cannot be had: neither its node nor the history server has them",
            hint="yarn.log-aggregation-enable and the history server keep them; yarn logs -applicationId "
            f"{native_id} may find them later",
        )


def cleanup_run(run: str) -> None:
    """Remove a run's staging folder on every cluster that is known here."""
    if not run or "/" in run or run in (".", ".."):
        return
    for connection in known.connections():
        folder = connection.run_folder(run)
        files = WebHdfs(connection)
        patiently(lambda files=files, folder=folder: files.delete(folder), connection.patience)  # type: ignore[misc]
        for key in [key for key in _sent if key[1].startswith(f"{folder}/")]:
            _sent.pop(key, None)


def lookup_anywhere(native_id: str) -> Lookup:
    """What the known clusters say of an id of which nothing else is known."""
    for connection in known.connections():
        if ResourceManager(connection).app(native_id) is not None:
            return Lookup.FOUND
    return Lookup.UNKNOWN
