"""The objects that are created on the server for a run and its attempts. Each step is idempotent."""

from __future__ import annotations

import base64
from typing import Any

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import Bundle, SentOnce
from aiflow_ext_kubernetes import answers, archive, manifest
from aiflow_ext_kubernetes.objects import job_at, job_path, send_if_there
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.server import MERGE_PATCH, namespace_of, server_of
from aiflow_ext_kubernetes.target import Target


class TakenError(PlatformError):
    """The name of an attempt is taken by an object that aiflow-ext did not create, of this ``kind``: Job or Secret."""

    kind = "Job"


_OWNERS = {"ownerReferences": [{"uid": str}]}
_sent = SentOnce[None]()


def send_project(target: Target, run: str, bundle: Bundle, at: str) -> None:
    """Send a run's project, once: into a Secret, or to a URL."""

    def send() -> None:
        if "://" in at:
            archive.upload(bundle.archive, at)
        else:
            _send_secret(target, run, bundle)

    _sent.send(target, run, at, send)


def _send_secret(target: Target, run: str, bundle: Bundle) -> None:
    data = archive.packed(bundle.archive)
    assert data is not None
    secret = manifest.archive_secret(run, bundle.archive.sha256)
    secret["data"] = {manifest.PROJECT_FILE: base64.b64encode(data).decode()}
    _post(target, "secrets", secret)


def remove_project(target: Target, run: str, at: str) -> None:
    """Remove what :func:`send_project` may have sent."""
    _sent.forget(target, run)
    if "://" in at:
        archive.remove(at)
    else:
        send_if_there(server_of(target), "DELETE", f"/api/v1/namespaces/{namespace_of(target)}/secrets/{at}")


def create(target: Target, job: dict[str, Any], secret: dict[str, Any] | None) -> dict[str, Any]:
    """Create an attempt's Job, suspended, and the Secret that it owns; returns the Job. Raises TakenError if another
    object has the name."""
    name = str(job["metadata"]["name"])
    made = _post(target, "jobs", job)
    is_new = made is not None
    if made is None:
        made = job_at(target, name)
        if made is None:  # it was deleted just now
            raise UnreachableError(f"there was a Job {name}, and now there is none", hint="it is made again")
        if not manifest.is_same(made, job):
            raise _taken(target, "Job", name)
    if secret is None:
        return made
    try:
        _send(target, "secrets", owned(secret, made))
    except ApiError as error:
        if not _exists(error):
            raise
        if is_new and not error.again:  # ours comes after its Job, which was not there a moment ago
            raise _taken(target, "Secret", name) from None
    return made


def create_owned(target: Target, what: str, thing: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Create an object that a Job owns, and that is called as the Job is; returns it as the server has it. One that is
    there already, of an earlier try, is asked for. ``what`` is the resource: ``services``. Raises TakenError where it
    is not this Job's."""
    name, uid = str(thing["metadata"]["name"]), job["metadata"].get("uid")
    made = _post(target, what, owned(thing, job))
    if made is None:
        found = server_of(target).get(f"/api/v1/namespaces/{namespace_of(target)}/{what}/{name}")
        made = answers.thing(found)
        owners = answers.read(found.get("metadata", {}), _OWNERS, "an object's metadata").get("ownerReferences", [])
        if all(each.get("uid") != uid for each in owners):
            raise _taken(target, str(thing["kind"]), name)
    return made


def owned(thing: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """An object that goes with a Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"],
             "uid": job["metadata"].get("uid", "")}  # fmt: skip
    return {**thing, "metadata": {**thing["metadata"], "ownerReferences": [owner]}}


def resume(target: Target, native_id: str, queue: str | None = None) -> None:
    """Start a Job, or hand it to its queue; idempotent."""
    path = job_path(target, native_id)
    server_of(target).send("PATCH", path, manifest.resume_of(queue), content_type=MERGE_PATCH)


def _taken(target: Target, kind: str, name: str) -> TakenError:
    namespace = namespace_of(target)
    error = TakenError(
        f"there is a {kind} {name} in namespace {namespace} already, and it is not ours",
        hint=f"delete it (kubectl -n {namespace} delete {kind.lower()} {name}), or choose another namespace",
    )
    error.kind = kind
    return error


def _post(target: Target, what: str, thing: dict[str, Any]) -> dict[str, Any] | None:
    """Create an object; None where there is one of this name."""
    try:
        return _send(target, what, thing)
    except ApiError as error:
        if _exists(error):
            return None
        raise


def _send(target: Target, what: str, thing: dict[str, Any]) -> dict[str, Any]:
    group = "/apis/batch/v1" if what == "jobs" else "/api/v1"
    query = {"fieldValidation": "Strict"}  # a field that this cluster does not know is an error, and not dropped
    path = f"{group}/namespaces/{namespace_of(target)}/{what}"
    return answers.thing(server_of(target).send("POST", path, thing, query=query))


def _exists(error: ApiError) -> bool:
    return error.status == 409 and error.api_reason == "AlreadyExists"
