"""The submission of a job: the request to the ResourceManager and the files that are sent before it, as pure data.

``render`` shows it, and :func:`filled` makes from it what is sent. It contains ``${server:application_id}`` (until
there is one), ``${server:size}`` and ``${server:timestamp}`` (of a staged file, as the file system reports them),
``${base64:spec}`` (the ``spec`` beside it) and, for secrets, their references.

Names and shapes are those of the ResourceManager's *Cluster Applications API (Submit Application)*.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from aiflow_ext.plugin.engines import (
    ARTIFACT_HOSTS,
    INSECURE_NODES,
    RAN_WITH,
    UNFINISHED,
    attempt_mark,
    job_environment,
    ready_command,
)
from aiflow_ext.plugin.secrets import is_secret, plain
from aiflow_ext_yarn import master
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.layout import BUNDLE, CA, MASTER, PAYLOAD, PROGRESS, REASON, SPEC_FILE, WORK
from aiflow_ext_yarn.webhdfs import FileStatus

Json = dict[str, Any]
APPLICATION_ID = "${server:application_id}"
DELEGATION, FILE_SYSTEM = "${server:delegation_token}", "${server:delegation_token:nodes}"
# In a variable's value: of the file with this name in the container's folder.
_STATUS = re.compile(r"\$\{server:(size|timestamp):([^}]+)\}")
SIZE, TIMESTAMP, SPEC = "${server:size}", "${server:timestamp}", "${base64:spec}"
INLINE = 48_000  # bytes: a spec up to this size is part of the submission; a larger one is a file
GRACE = 60.0  # seconds that the application master grants a job by itself; a stop has its own grace period
TYPE = "AIFLOW"


class Staged:
    """A file that nodes take from the cluster's file system.

    Args:
        name: its name in the container's folder.
        path: absolute path on the file system, for a file that is sent; else ``uri`` is given.
        uri: of a file that exists already.
        archive: whether it is unpacked.
        once: sent once a run; else it belongs to the attempt.
        source: its content: a local path, or the bytes.
        shown: how render describes its content.
        brought: whether nodes bring it to the container's folder; else it is only sent, before the submission.
    """

    def __init__(
        self,
        name: str,
        path: str | None = None,
        *,
        uri: str | None = None,
        archive: bool = False,
        once: bool = False,
        source: Path | bytes | None = None,
        shown: str = "",
        brought: bool = True,
    ) -> None:
        self.name, self.path, self.uri, self.archive, self.once = name, path, uri, archive, once
        self.source, self.shown, self.brought = source, shown, brought


def run_tag(run: str | None) -> str:
    """The tag by which a run's applications are found; YARN compares tags in lower case."""
    return f"aiflow-{run}".lower()[:100]


def content(job: YarnJob) -> Json:
    """The whole request of a job whose context is filled in."""
    native_id = job.context.native_id or APPLICATION_ID
    spec = _spec(job, native_id)
    staged = files(job, native_id)
    environment: list[Json] = []
    command = f"exec {job.python()} -S -E {MASTER}"
    inline = len(_encoded(spec)) <= INLINE
    if inline:
        environment.append({"key": "AIFLOW_AM_SPEC", "value": SPEC})
    else:
        command += f" --spec {SPEC_FILE}"
    command += " --logs <LOG_DIR> 1><LOG_DIR>/am.stdout 2><LOG_DIR>/am.stderr"
    return {**request_of(job, native_id, staged, environment, command), "spec": spec}


def request_of(job: YarnJob, native_id: str, staged: Sequence[Staged], environment: list[Json], command: str) -> Json:
    """What the requests of all engines have: the submission, with where it and the files go.

    Args:
        job: the job.
        native_id: its application id, or the placeholder.
        staged: its files.
        environment: the container's variables, as ``{"key": ..., "value": ...}``.
        command: the container's, for a shell.
    """
    cluster, config = job.cluster, job.config
    if config.container is not None:
        environment += ({"key": name, "value": value} for name, value in config.container.environment().items())
    resource: Json = {"memory": config.memory_mib, "vCores": config.vcores}
    if config.other_resources:
        resource["resourceInformations"] = {
            "resourceInformation": [
                {"name": name, "value": amount, "units": "", "resourceType": "COUNTABLE"}
                for name, amount in config.other_resources.items()
            ]
        }
    brought = [_local_resource(job, each) for each in staged if each.brought]
    submission: Json = {
        "application-id": native_id,
        "application-name": (job.context.job_name or job.name or "job")[:200],
        "application-type": TYPE,
        "queue": config.queue,
        "max-app-attempts": config.am_attempts,
        "unmanaged-AM": False,
        "keep-containers-across-application-attempts": False,
        "application-tags": {"tag": ["aiflow", run_tag(job.context.run_id), *config.tags]},
        "resource": resource,
        "am-container-spec": {
            "local-resources": {"entry": brought},
            "environment": {"entry": environment},
            "commands": {"command": command},
            "credentials": _credentials(job),
        },
    }
    if config.access_lists:
        submission["am-container-spec"]["application-acls"] = {
            "entry": [{"key": kind, "value": text} for kind, text in config.access_lists.items()]
        }
    if config.priority is not None:
        submission["priority"] = config.priority
    if config.node_label is not None:
        submission["app-node-label-expression"] = submission["am-container-node-label-expression"] = config.node_label
    return {
        "resource_manager": list(cluster.resource_managers),
        "webhdfs": list(cluster.namenodes),
        "user": cluster.user,
        **({"rpc": list(cluster.rpc)} if config.other_resources else {}),
        "files": {str(each.path): each.shown for each in staged if each.path is not None},
        "submission": submission,
        **({"lifetime": config.lifetime} if config.lifetime is not None else {}),
    }


def files(job: YarnJob, native_id: str) -> list[Staged]:
    """The files of a job, those that are sent once a run first."""
    own = job.folder(native_id)
    found = [master_file(job)]
    if job.bundle.needs_runner:
        found.append(project_file(job))
    found += given_files(job)
    spec = _spec(job, native_id)
    if len(_encoded(spec)) > INLINE:
        found.append(Staged(SPEC_FILE, f"{own}/{SPEC_FILE}", source=json.dumps(spec).encode(), shown="the spec"))
    return found


def master_file(job: YarnJob) -> Staged:
    """The application master."""
    run = job.cluster.run_folder(str(job.context.run_id))
    return Staged(MASTER, f"{run}/{MASTER.replace('.pyz', '')}-{master_digest()}.pyz", once=True,
                  shown=f"the application master, version {master.SPEC_VERSION}")  # fmt: skip


def project_file(job: YarnJob) -> Staged:
    """The project archive."""
    run, archive = job.cluster.run_folder(str(job.context.run_id)), job.bundle.archive
    return Staged(BUNDLE, f"{run}/project-{archive.sha256[:16]}.tar.gz", archive=True, once=True,
                  shown=f"the project archive; files: {len(archive.files)}")  # fmt: skip


def given_files(job: YarnJob) -> Iterator[Staged]:
    """The files and archives that the job's config names."""
    for names, unpacked in ((job.config.files, False), (job.config.archives, True)):
        for name, source in names.items():
            if "://" in source:
                yield Staged(name, uri=job.uri_of(source), archive=unpacked, once=True)
            else:
                yield local_file(job, name, job.local_file(source), archive=unpacked)


def local_file(job: YarnJob, name: str, path: Path, *, archive: bool = False) -> Staged:
    """A file of this machine, sent once a run, by its name in the container's folder."""
    run = job.cluster.run_folder(str(job.context.run_id))
    return Staged(name, f"{run}/files/{job.stamp(path)}/{path.name}", archive=archive, once=True, source=path,
                  shown=f"the file {path}")  # fmt: skip


def master_digest() -> str:
    """A digest of the application master that is sent."""
    import hashlib

    return hashlib.sha256(master.archive()).hexdigest()[:16]


def _local_resource(job: YarnJob, staged: Staged) -> Json:
    uri = staged.uri if staged.path is None else job.cluster.uri(staged.path)
    value = {
        "resource": uri,
        "type": "ARCHIVE" if staged.archive else "FILE",
        "visibility": "PRIVATE" if staged.once else "APPLICATION",
        "size": SIZE,
        "timestamp": TIMESTAMP,
    }
    return {"key": staged.name, "value": value}


def _spec(job: YarnJob, native_id: str) -> Json:
    """The specification for the application master, version 1."""
    cluster = job.cluster
    mark, variables = variables_of(job, native_id, WORK)
    env: Json = fsspec_variables(job)
    for name, value in job.config.env.items():
        env[name] = {"secret": f"aiflow.env.{name}"} if is_secret(value) else plain(value)
    if job.checkpoints_by_rpc is not None:
        env["AIFLOW_CHECKPOINT_HDFS"] = job.checkpoints_by_rpc
    env |= {**variables, "AIFLOW_WORK_FOLDER": {"path": WORK}, "PYTHONUNBUFFERED": "1"}
    if job.bundle.needs_runner:
        env["AIFLOW_PROJECT_FOLDER"] = {"path": f"{BUNDLE}/project"}
    folder = quote(job.folder(native_id), safe="/${}:")
    staging: Json = {"urls": [f"{url}{folder}" for url in cluster.node_namenodes], "user": cluster.user}
    if cluster.kerberos:
        staging |= {"user": None, "delegation": {"secret": "aiflow.delegation"}}
    if not cluster.verify:
        staging["verify"] = False
    elif cluster.ca is not None:
        staging["ca"] = {"path": CA}
    if cluster.insecure_nodes:
        staging["insecure_nodes"] = cluster.insecure_nodes
    # Small ones need no files of their own: each costs a job four requests and its node a download.
    own: Json = {}
    if job.bundle.needs_runner:
        own[PAYLOAD] = {"text": job.payload().decode()}
    if "ca" in staging:
        own[CA] = {"text": Path(str(cluster.ca)).read_text(encoding="utf-8")}
    steps, pages = len(job.bundle.steps), _log_pages(cluster)
    return {
        **({"files": own} if own else {}),
        "version": master.SPEC_VERSION,
        "scheduler": list(cluster.schedulers),
        "argv": job.argv(),
        "env": env,
        "cwd": WORK,
        "mark": mark,
        "reason_file": REASON,
        **({"at_active": ["AIFLOW_CHECKPOINT_DIR"]} if _on_pair(job, job.checkpoints) else {}),
        **({"unfinished": UNFINISHED, "ran_with": RAN_WITH} if job.bundle.needs_runner else {}),
        **({"container": job.config.container.runtime} if job.config.container is not None else {}),
        **({"steps": steps, "progress_file": PROGRESS} if job.bundle.needs_runner and steps > 1 else {}),
        **({"ready": _ready(job)} if job.config.ready is not None else {}),
        **({"log_pages": pages} if pages else {}),
        "grace": GRACE,
        "staging": staging,
    }


def _ready(job: YarnJob) -> Json:
    """How the application master finds out whether a job that serves others is ready."""
    ready, command = job.config.ready, ready_command(job.config)
    assert ready is not None
    return {"every": ready.every, **({"port": ready.port} if command is None else {"argv": command})}


def variables_of(job: YarnJob, native_id: str, work_folder: str) -> tuple[str, dict[str, str]]:
    """The mark of an attempt, and its ``AIFLOW_*`` variables."""
    context = job.context
    kept, context.native_id = context.native_id, native_id
    try:
        return attempt_mark(context), job_environment(job, work_folder=work_folder, checkpoint_dir=job.checkpoints)
    finally:
        context.native_id = kept


def _log_pages(cluster: Cluster) -> Json:
    """Which web pages show a container's logs.

    The ResourceManager's proxy has neither a Kerberos ticket for a NodeManager's page nor an authority to trust for it.
    """
    found: Json = {}
    if not cluster.kerberos and not cluster.resource_managers[0].startswith("https:"):
        found["node"] = True
    for service, page in (("/ws/v1/history", "/jobhistory"), ("/ws/v1/applicationhistory", "/applicationhistory")):
        if cluster.history is not None and cluster.history.endswith(service):
            found["log_server"] = f"{cluster.history.removesuffix(service)}{page}/logs"
    return found


def fsspec_variables(job: YarnJob) -> Json:
    """The configuration that fsspec's WebHDFS needs besides a URL, as variables that fsspec reads."""
    cluster = job.cluster
    if not job.reachable(job.context.artifacts_url or job.bundle.project.artifacts).startswith("webhdfs://"):
        return {}
    found: Json = {}
    if _on_pair(job, job.reachable(job.context.artifacts_url or job.bundle.project.artifacts)):
        found[ARTIFACT_HOSTS] = ",".join(urlsplit(each).netloc for each in cluster.node_namenodes)
    if cluster.kerberos:
        found["FSSPEC_WEBHDFS_TOKEN"] = {"secret": "aiflow.delegation"}
    if cluster.node_namenodes[0].startswith("https:"):
        found["FSSPEC_WEBHDFS_USE_HTTPS"] = "true"
        if cluster.insecure_nodes:
            found[INSECURE_NODES] = ",".join(cluster.insecure_nodes)
        if not cluster.verify:
            found["FSSPEC_WEBHDFS_SESSION_VERIFY"] = "false"
        elif cluster.ca is not None:
            found["FSSPEC_WEBHDFS_SESSION_VERIFY"] = {"path": CA}
    return found


def _on_pair(job: YarnJob, url: str | None) -> bool:
    """Whether a URL is at one of several NameNodes of the cluster."""
    hosts = [urlsplit(each).netloc for each in job.cluster.node_namenodes]
    return len(hosts) > 1 and urlsplit(url or "").netloc.rpartition("@")[2] in hosts


def _credentials(job: YarnJob) -> Json:
    """Secrets, and under Kerberos the token with which nodes and application master reach the file system."""
    entries = [
        {"key": f"aiflow.env.{name}", "value": f"${{secret:{value['secret']}}}"}
        for name, value in job.config.env.items()
        if is_secret(value)
    ]
    found: Json = {"secrets": {"entry": entries}}
    if job.cluster.kerberos:
        entries.append({"key": "aiflow.delegation", "value": DELEGATION})
        found["tokens"] = {"entry": [{"key": "aiflow.file_system", "value": FILE_SYSTEM}]}
    return found


def filled(request: Json, statuses: Mapping[str, FileStatus], secrets: Mapping[str, str]) -> Json:
    """The body of the POST: the ``submission`` of :func:`content` with its placeholders replaced.

    Args:
        request: of :func:`content`.
        statuses: of each staged file, by its name in the container's folder.
        secrets: values by their keys in the credentials, tokens included.
    """
    submission: Json = json.loads(json.dumps(request["submission"]))
    container = submission["am-container-spec"]
    for entry in container["local-resources"]["entry"]:
        status = statuses[entry["key"]]
        entry["value"] |= {"size": status.size, "timestamp": status.timestamp}
    for entry in container["environment"]["entry"]:
        if entry["value"] == SPEC:
            entry["value"] = _encoded(request["spec"])
        else:
            entry["value"] = _STATUS.sub(lambda found: str(getattr(statuses[found[2]], found[1])), entry["value"])
    for entry in container["credentials"]["secrets"]["entry"]:
        entry["value"] = base64.b64encode(secrets[entry["key"]].encode("utf-8", "surrogateescape")).decode()
    for entry in container["credentials"].get("tokens", {}).get("entry", []):
        entry["value"] = secrets[entry["key"]]
    return submission


def _encoded(spec: Json) -> str:
    return base64.b64encode(json.dumps(spec).encode()).decode()
