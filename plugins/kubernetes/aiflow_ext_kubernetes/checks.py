"""What keeps a cluster from being used now, each with its cure: asked once before a run's first intent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from aiflow_ext.model.errors import PlatformError, Problem
from aiflow_ext_kubernetes.access import RULES, yaml_of
from aiflow_ext_kubernetes.places import Place
from aiflow_ext_kubernetes.server import ApiError, Server, namespace_of, server_of

OLDEST = 29  # of 1.x: podFailurePolicy with podReplacementPolicy, on by default


def problems_of(place: Place, sample: dict[str, Any], pull_secrets: Sequence[str]) -> list[Problem]:
    """What is wrong with a place for jobs like ``sample``, a Job that is shown to the server and not kept."""
    try:
        server, namespace = server_of(place), namespace_of(place)
        version = server.get("/version")
        found = [*_version(version), *_expiry(server), *_permissions(server, namespace)]
        if not found:
            found += _dry_run(server, namespace, sample)
            found += _missing_pull_secrets(server, namespace, pull_secrets)
        return found
    except PlatformError as error:
        return list(error.problems)


def _version(version: dict[str, Any]) -> Iterator[Problem]:
    digits = "".join(char for char in str(version.get("minor")) if char.isdigit())
    if digits and (str(version.get("major")), int(digits)) < ("1", OLDEST):
        yield Problem(f"the cluster is Kubernetes {version.get('gitVersion')}; Jobs that tell a disruption from a "
                      f"failure need 1.{OLDEST}", hint="choose a newer cluster: context: in workflow.yaml")  # fmt: skip


def _expiry(server: Server) -> Iterator[Problem]:
    if server.expires is not None and server.expires < time.time():
        moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(server.expires))
        yield Problem(f"the client certificate for {server.url} expired at {moment}",
                      hint="log in again, or fetch the kubeconfig anew")  # fmt: skip


def _permissions(server: Server, namespace: str) -> Iterator[Problem]:
    """By SelfSubjectAccessReview, which every user may make: each verb that is used."""
    for rule in RULES:
        resource, _, part = rule.resource.partition("/")
        missing = []
        for verb in rule.verbs:
            asked = {"namespace": namespace, "verb": verb, "group": rule.group, "resource": resource}
            if part:
                asked["subresource"] = part
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                      "spec": {"resourceAttributes": asked}}  # fmt: skip
            answer = server.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
            if not answer["status"].get("allowed"):
                missing.append(verb)
        if missing:
            yield Problem(
                f"no permission to {', '.join(missing)} {rule.resource} in namespace {namespace}",
                hint=f"the Role needs the line {yaml_of(rule)}\n    aiflow-ext render --rbac PROJECT prints all of it",
            )


def _dry_run(server: Server, namespace: str, sample: dict[str, Any]) -> Iterator[Problem]:
    """The namespace, the quota, admission and the fields of this cluster's version: all of them say no at once."""
    try:
        server.send("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", sample,
                    query={"dryRun": "All", "fieldValidation": "Strict"})  # fmt: skip
    except ApiError as error:
        if error.api_reason != "AlreadyExists":
            yield from error.problems


def _missing_pull_secrets(server: Server, namespace: str, names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        try:
            server.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        except ApiError as error:
            if error.status == 404:
                yield Problem(f"the pull secret {name!r} is not in namespace {namespace}",
                              hint=f"kubectl -n {namespace} create secret docker-registry {name} ...")  # fmt: skip
