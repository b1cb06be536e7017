"""What reaches the server for a run and an attempt: each step may come again, and finds what is there already."""

from __future__ import annotations

import base64
from typing import Any

from aiflow_ext.engines.bundle import Bundle
from aiflow_ext.model.errors import PlatformError
from aiflow_ext_kubernetes import archive, manifest
from aiflow_ext_kubernetes.handler import job_at, job_path, send_if_there
from aiflow_ext_kubernetes.places import Place
from aiflow_ext_kubernetes.server import MERGE_PATCH, ApiError, namespace_of, server_of


def send_project(place: Place, run: str, bundle: Bundle, at: str) -> None:
    """Send a run's project: into a Secret, or to a URL."""
    if "://" in at:
        archive.upload(bundle.archive, at)
        return
    data = archive.packed(bundle.archive)
    assert data is not None
    secret = manifest.archive_secret(run, bundle.archive.sha256)
    secret["data"] = {manifest.PROJECT_FILE: base64.b64encode(data).decode()}
    _post(place, "secrets", secret)


def remove_project(place: Place, at: str) -> None:
    """Remove what :func:`send_project` may have sent."""
    if "://" in at:
        archive.remove(at)
    else:
        send_if_there(server_of(place), "DELETE", f"/api/v1/namespaces/{namespace_of(place)}/secrets/{at}")


def create(place: Place, job: dict[str, Any], secret: dict[str, Any] | None) -> None:
    """Create an attempt's Job, suspended, and the Secret that it owns. Raises PlatformError where the name is taken by
    somebody else's Job."""
    made = _post(place, "jobs", job)
    if made is None:
        made = job_at(place, str(job["metadata"]["name"]))
        if made is None or not manifest.is_same(made, job):
            raise PlatformError(
                f"there is a Job {job['metadata']['name']} in namespace {namespace_of(place)} already, and it is not "
                "ours", hint=f"delete it (kubectl -n {namespace_of(place)} delete job {job['metadata']['name']}), or "
                "choose another namespace",
            )  # fmt: skip
    if secret is None:
        return
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": made["metadata"]["name"], "uid": made["metadata"]["uid"]}
    _post(place, "secrets", {**secret, "metadata": {**secret["metadata"], "ownerReferences": [owner]}})


def resume(place: Place, native_id: str) -> None:
    """Start a Job; twice is fine."""
    path = job_path(place, native_id)
    server_of(place).send("PATCH", path, manifest.resume_of(), content_type=MERGE_PATCH)


def _post(place: Place, what: str, thing: dict[str, Any]) -> dict[str, Any] | None:
    """Create an object; None where there is one of this name."""
    group = "/apis/batch/v1" if what == "jobs" else "/api/v1"
    query = {"fieldValidation": "Strict"}  # a field that this cluster does not know is an error, and not dropped
    try:
        made: dict[str, Any] = server_of(place).send(
            "POST", f"{group}/namespaces/{namespace_of(place)}/{what}", thing, query=query
        )
    except ApiError as error:
        if error.status == 409 and error.api_reason == "AlreadyExists":
            return None
        raise
    return made
