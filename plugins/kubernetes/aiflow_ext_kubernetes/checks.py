"""Checks of a cluster before a run's first intent: problems, each with what to do about it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from aiflow_ext.plugin import PlatformError, Problem
from aiflow_ext_kubernetes import answers
from aiflow_ext_kubernetes.access import RULES, Rule, yaml_of
from aiflow_ext_kubernetes.fields import amount
from aiflow_ext_kubernetes.refusals import AnotherClusterError, ApiError, QuotaError
from aiflow_ext_kubernetes.server import Server, namespace_of, server_of
from aiflow_ext_kubernetes.status import is_never_admitted
from aiflow_ext_kubernetes.target import Target

JUST_NOW = 10.0  # seconds
# No right to create pods; a webhook; an account that the cluster itself creates soon after its namespace.
_UNSURE = ("is forbidden: User", "denied the request", 'serviceaccount "default" not found')
_REVIEW = {"status": {"allowed": bool}}
_QUOTA = {"metadata": answers.METADATA, "spec": {"scopes": [str], "scopeSelector": dict, "hard": {str: str}}}
OLDEST = 29  # of 1.x: podFailurePolicy with podReplacementPolicy, on by default
OLDEST_FOR_FLINK = 31  # successPolicy, on by default


def problems_of(
    target: Target,
    samples: Sequence[dict[str, Any]],
    secrets: Mapping[str, str],
    queues: Collection[str] = (),
    rules: Iterable[Rule] = RULES,
) -> list[Problem]:
    """What is wrong with a cluster and namespace for these jobs.

    Args:
        target: the cluster and namespace.
        samples: a Job of each kind, for dry runs.
        secrets: names of Secrets that must exist, each with what it is needed for.
        queues: names of queues of Kueue that jobs are handed to.
        rules: what must be permitted.

    Raises AnotherClusterError.
    """
    try:
        server, namespace = server_of(target), namespace_of(target)
        found = [*_version(server.get("/version"), samples), *_permissions(server, namespace, rules)]
        if not found:
            for sample in samples:
                found += _dry_run(server, namespace, sample)
        if not found:  # the other checks need an existing namespace
            found += _missing_secrets(server, namespace, secrets)
            found += _quota(server, namespace, samples)
            found += _without_kueue(server, namespace, queues)
        return list({str(problem): problem for problem in found}.values())
    except AnotherClusterError:
        raise
    except PlatformError as error:
        return list(error.problems)


def _version(version: dict[str, Any], samples: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    version = answers.read(version, {"major": str, "minor": str, "gitVersion": str}, "a version")
    minor = re.match(r"\d{1,4}", version.get("minor", ""))
    if minor is None:
        return
    found = (version.get("major", ""), int(minor[0]))
    if ("1", OLDEST) <= found < ("1", OLDEST_FOR_FLINK) and any("successPolicy" in each["spec"] for each in samples):
        yield Problem(f"the cluster is Kubernetes {version.get('gitVersion')}; Flink's task managers end with their "
                      f"job from 1.{OLDEST_FOR_FLINK} on (successPolicy of Jobs)",
                      hint="choose a newer cluster: context: in workflow.yaml")  # fmt: skip
    if found < ("1", OLDEST):
        yield Problem(f"the cluster is Kubernetes {version.get('gitVersion')}; Jobs that tell a disruption from a "
                      f"failure need 1.{OLDEST}", hint="choose a newer cluster: context: in workflow.yaml")  # fmt: skip


def _permissions(server: Server, namespace: str, rules: Iterable[Rule]) -> Iterator[Problem]:
    """By SelfSubjectAccessReview, which every user may make: each verb that is used."""
    for rule in rules:
        if time.monotonic() - server.permitted.get((namespace, rule), -math.inf) < JUST_NOW:
            continue  # another job plugin has asked
        resource, _, part = rule.resource.partition("/")
        missing = []
        for verb in rule.verbs:
            asked = {"namespace": namespace, "verb": verb, "group": rule.group, "resource": resource}
            if part:
                asked["subresource"] = part
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                      "spec": {"resourceAttributes": asked}}  # fmt: skip
            answer = server.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
            if not answers.read(answer, _REVIEW, "a review").get("status", {}).get("allowed"):
                missing.append(verb)
        if missing:
            yield Problem(
                f"no permission to {', '.join(missing)} {rule.resource} in namespace {namespace}",
                hint=f"the Role needs the line {yaml_of(rule)}\n    aiflow-ext render --rbac PROJECT prints all of it",
            )
        else:
            server.permitted[namespace, rule] = time.monotonic()


def _dry_run(server: Server, namespace: str, sample: dict[str, Any]) -> Iterator[Problem]:
    """A dry run finds a missing namespace, refusals of admission, and fields that this cluster's version lacks."""
    try:
        server.send("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", sample,
                    query={"dryRun": "All", "fieldValidation": "Strict"})  # fmt: skip
    except QuotaError:
        pass  # used up by what runs now, and waited for
    except ApiError as error:
        if error.api_reason != "AlreadyExists":
            yield from error.problems
    else:
        yield from _pod_dry_run(server, namespace, sample["spec"]["template"])


def _pod_dry_run(server: Server, namespace: str, template: Mapping[str, Any]) -> Iterator[Problem]:
    """A dry run of the pod, if the credentials allow it, finds what admission refuses only once the pod is created.

    What a webhook denies is not reported: it may admit the pods of a Job, and no others.
    """
    metadata = {**template.get("metadata", {}), "name": "aiflow-ext-check"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    try:
        server.send("POST", f"/api/v1/namespaces/{namespace}/pods", pod, query={"dryRun": "All"})
    except QuotaError:
        pass
    except ApiError as error:
        words = error.message
        if is_never_admitted(words) and not any(each in words for each in _UNSURE):
            yield Problem(f"no pod of the job would be admitted: {words}",
                          hint="the namespace's rules say what a pod must have: set it in workflow.yaml")  # fmt: skip


def _missing_secrets(server: Server, namespace: str, secrets: Mapping[str, str]) -> Iterator[Problem]:
    """Found by a dry run that would create a Secret of that name, so that no right to read Secrets is needed."""
    for name, use in secrets.items():
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        try:
            server.send("POST", f"/api/v1/namespaces/{namespace}/secrets", secret, query={"dryRun": "All"})
        except (ApiError, QuotaError):
            continue  # AlreadyExists; or it is not known
        kind = "docker-registry" if use.startswith("pull") else "generic"
        yield Problem(f"the Secret {name!r}, which {use} names, is not in namespace {namespace}",
                      hint=f"kubectl -n {namespace} create secret {kind} {name} ...")  # fmt: skip


def _without_kueue(server: Server, namespace: str, queues: Collection[str]) -> Iterator[Problem]:
    """Jobs with a queue that nobody would ever resume. By discovery, which every user may do: whether there is such a
    queue would take the right to read LocalQueues."""
    if not queues:
        return
    try:
        server.get("/apis/kueue.x-k8s.io")
    except ApiError as error:
        if error.status == 404:
            names = ", ".join(sorted(queues))
            yield Problem(f"the cluster has no Kueue (kueue.x-k8s.io), which admits jobs from queue {names}",
                          hint=f"install Kueue, and a LocalQueue in namespace {namespace}; or take queue: out of "
                               "workflow.yaml")  # fmt: skip


def _quota(server: Server, namespace: str, samples: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    """Jobs that no quota can ever admit. A job waits, QUEUED, for a quota that is used up now."""
    found = server.get(f"/api/v1/namespaces/{namespace}/resourcequotas")
    for quota in answers.items(found, _QUOTA):
        spec = quota.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        for sample in samples:
            wanted = _wanted(sample)
            for name, hard in (spec.get("hard") or {}).items():
                if name in wanted and wanted[name] > amount(hard):
                    which = quota.get("metadata", {}).get("name")
                    yield Problem(
                        f"a job asks for more than the quota {which!r} of namespace {namespace} "
                        f"ever allows: {name} {wanted[name]:g} of {amount(hard):g} ({hard})",
                        hint="ask for less in workflow.yaml, or have the quota raised",
                    )


def _wanted(job: dict[str, Any]) -> dict[str, float]:
    """What a job's pods use of a quota, by the quota's names of resources."""
    pods = int(job["spec"].get("parallelism", 1))
    found: dict[str, float] = {"pods": pods, "count/pods": pods, "count/jobs.batch": 1}
    for container in job["spec"]["template"]["spec"]["containers"]:
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        for kind, values in (("requests", {**limits, **(resources.get("requests") or {})}), ("limits", limits)):
            for name, value in values.items():
                for key in [f"{kind}.{name}", *([name] if kind == "requests" else [])]:
                    found[key] = found.get(key, 0) + pods * amount(value)
    return found
