"""The objects that are sent for an attempt, as pure data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiflow_ext.plugin import BaseJob, ConfigError, JobContext, memory_text, parse_memory, safe_name, secrets
from aiflow_ext.plugin.engines import RAN_WITH, job_environment
from aiflow_ext_kubernetes import shell
from aiflow_ext_kubernetes.config import QUEUE, SHM, EnvFrom, KubernetesJobConfig, Spread, Volume
from aiflow_ext_kubernetes.fields import label_problem
from aiflow_ext_kubernetes.probe import probe_of
from aiflow_ext_kubernetes.secret_source import secret_key_of
from aiflow_ext_kubernetes.template import CONTAINER, checked, merged
from aiflow_ext_kubernetes.yaml_files import read_yaml

MANAGER = "aiflow-ext"
RUN, JOB, ATTEMPT = "aiflow-ext/run", "aiflow-ext/job", "aiflow-ext/attempt"
NAME = "aiflow-ext/name"  # annotation: the attempt in full, because labels are truncated
RESUMED = "aiflow-ext/resumed"  # annotation: set with the resume, so that a Job suspended later does not look new
ONE_STREAM = "aiflow-ext/one-stream"  # annotation of a pod: nothing marks its log, which is stdout as a whole
PAGE = "aiflow-ext/page"  # annotation: the address of a web page of the attempt's while it lives
STOPPED = "aiflow-ext/stopped"  # annotation: the deletion that follows is aiflow-ext's own
WORK, BUNDLE, INPUT = "/aiflow/work", "/aiflow/bundle", "/aiflow/in"
PROJECT_FILE, PAYLOAD_FILE, START_FILE = "project.tar.gz", "payload.json", "start.py"
DEADLINE_SLACK = 600  # seconds that the pod's own deadline, for runs without a driver, is beyond the job's timeout


class Sending(NamedTuple):
    """What an attempt needs besides its config.

    Args:
        argv: the job's own argument vector.
        payload: the runner's input; None if there is no runner.
        archive: the Secret with the project's archive, or its URL; None where none is needed.
        checkpoints: folder or URL that all attempts of the job share.
    """

    argv: list[str]
    payload: str | None
    archive: str | None
    checkpoints: str | None


def selector(run: str) -> str:
    """The label selector of a run's objects."""
    return f"app.kubernetes.io/managed-by={MANAGER},{RUN}={_label(run)}"


def archive_name(run: str) -> str:
    """The name of the Secret that holds a run's project."""
    return f"{_label(run, 54)}-project"


def job_of(job: BaseJob, sending: Sending, template: Mapping[str, Any] | None) -> dict[str, Any]:
    """The suspended Job of an attempt."""
    context, config = _context(job), _config(job)
    labels = labels_of(context)
    ours = {
        "metadata": {"labels": {**config.labels, **labels}, "annotations": {**config.annotations, **_names(context)}},
        "spec": _pod_spec(job, sending),
    }
    if config.distroless:
        ours["metadata"]["annotations"][ONE_STREAM] = "true"
    base = {"spec": _defaults(config)}
    pod = merged(merged(base, template or {}), ours)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": str(context.native_id),
            "labels": {**config.labels, **labels},
            "annotations": {**config.annotations, **_names(context)},
        },
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            # What a preempted or drained pod leaves is a Job that says so, and no second pod beside the first.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "ttlSecondsAfterFinished": config.ttl,
            "template": pod,
        },
    }


def secret_of(job: BaseJob, sending: Sending, values: Mapping[str, str]) -> dict[str, Any] | None:
    """The Secret of an attempt, without its owner: payload and secret variables; None where it would be empty.

    Args:
        job: the attempt's job.
        sending: what it needs besides its config.
        values: the values of the variables that are secrets of this machine; or their references, to be shown.
    """
    data = {_secret_key(name): value for name, value in values.items()}
    if sending.payload is not None:
        data |= {PAYLOAD_FILE: sending.payload, START_FILE: shell.START}
    if not data:
        return None
    context = _context(job)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": str(context.native_id), "labels": labels_of(context), "annotations": _names(context)},
        "type": "Opaque",
        "immutable": True,
        "stringData": data,
    }


def archive_secret(run: str, sha256: str) -> dict[str, Any]:
    """The Secret of a run's project, without its data."""
    labels = {"app.kubernetes.io/managed-by": MANAGER, RUN: _label(run)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": archive_name(run), "labels": labels,
                     "annotations": {NAME: run, "aiflow-ext/sha256": sha256}},
        "type": "Opaque",
    }  # fmt: skip


def resume_of(queue: str | None) -> dict[str, Any]:
    """The merge patch that starts an attempt.

    One with a queue is handed to Kueue, which resumes it: only now, because Kueue may do so as soon as it sees the
    label, and Kueue lets the label of a suspended Job change.
    """
    metadata: dict[str, Any] = {"annotations": {RESUMED: "true"}}
    if queue is not None:
        return {"metadata": {**metadata, "labels": {QUEUE: queue}}}
    return {"metadata": metadata, "spec": {"suspend": False}}


def queue_of(thing: Mapping[str, Any]) -> str | None:
    """The queue of a Job that was handed to Kueue; None also for what is no label: it is shown in a command."""
    found = (thing["metadata"].get("labels") or {}).get(QUEUE)
    return found if found and not any(label_problem("", found)) else None


def is_ours(thing: Mapping[str, Any]) -> bool:
    """Whether aiflow-ext has created a Job."""
    return run_of(thing) is not None


def run_of(thing: Mapping[str, Any]) -> str | None:
    """The run of a Job that aiflow-ext has created."""
    labels, annotations = (thing["metadata"].get(what) or {} for what in ("labels", "annotations"))
    name = annotations.get(NAME)
    if labels.get("app.kubernetes.io/managed-by") != MANAGER or not isinstance(name, str):
        return None
    return name.partition("/")[0]


def is_same(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a Job is of the very attempt."""
    return is_ours(there) and _name_of(there) == _name_of(wanted)


def is_of(there: Mapping[str, Any], context: JobContext) -> bool:
    """Whether a Job is of the very attempt."""
    return is_ours(there) and _name_of(there) == _names(context)[NAME]


def _name_of(thing: Mapping[str, Any]) -> Any:
    return (thing["metadata"].get("annotations") or {}).get(NAME)


def own_secrets(config: KubernetesJobConfig) -> dict[str, Any]:
    """The variables whose secret is read on this machine and travels."""
    return {name: value for name, value in config.env.items()
            if secrets.is_secret(value) and secret_key_of(value) is None}  # fmt: skip


def read_template(config: KubernetesJobConfig, root: str, job: str) -> dict[str, Any] | None:
    """The pod template that a config names. Raises ConfigError."""
    given = config.pod_template
    if given is None:
        return None
    if isinstance(given, Mapping):
        return checked(given, f"job {job!r}: pod_template", config.image)
    path = Path(root, given)
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"job {job!r}: the pod template cannot be read: {words}", where=str(path),
            hint="pod_template: names a YAML file of the project, or is a mapping itself",
        ) from error  # fmt: skip
    return checked(content, f"job {job!r}: pod_template {given}", config.image)


def literal(text: str) -> str:
    """``text`` escaped so that the kubelet passes it on unchanged: it reads ``$(NAME)`` as a reference, and ``$$`` as a
    dollar (kubernetes.io/docs, "Define Dependent Environment Variables")."""
    return re.sub(r"\$(?=[$(])", "$$", text)


def _label(run: str, limit: int = 63) -> str:
    """A run's id as a label's value; a placeholder, which ``render`` shows, as it is."""
    return run if run.startswith("${") else safe_name(run, limit)


def label_value(name: str) -> str:
    """A job's name as a label's value: as it is if it is one, else made safe."""
    return safe_name(name, 63) if any(label_problem("", name)) else name


def labels_of(context: JobContext) -> dict[str, str]:
    """The labels of an attempt's objects."""
    return {
        "app.kubernetes.io/managed-by": MANAGER,
        RUN: _label(str(context.run_id)),
        JOB: label_value(str(context.job_name)),
        ATTEMPT: str(context.attempt or 1),
    }


def _names(context: JobContext) -> dict[str, str]:
    return {NAME: f"{context.run_id}/{context.job_name}/{context.attempt or 1}"}


def _defaults(config: KubernetesJobConfig) -> dict[str, Any]:
    """The defaults, which a template may override. They meet the Pod Security Standard *restricted*."""
    pod: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if config.user is not None:
        pod |= {"runAsUser": config.user}
        if config.user == 0:
            pod["runAsNonRoot"] = False
    return {
        "automountServiceAccountToken": config.service_account is not None,
        "enableServiceLinks": False,
        "securityContext": pod,
        "terminationGracePeriodSeconds": config.grace,
        "containers": [
            {
                "name": CONTAINER,
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                # A user whom the image does not know has / for a home, and cannot write there.
                "env": [{"name": "HOME", "value": WORK}],
            }
        ],
    }


def _pod_spec(job: BaseJob, sending: Sending) -> dict[str, Any]:
    context, config = _context(job), _config(job)
    volumes: list[dict[str, Any]] = [{"name": "aiflow-work", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "aiflow-work", "mountPath": WORK}]
    if sending.payload is not None:
        volumes += [{"name": "aiflow-bundle", "emptyDir": {}}, _input(str(context.native_id), sending.archive)]
        mounts += [{"name": "aiflow-bundle", "mountPath": BUNDLE},
                   {"name": "aiflow-in", "mountPath": INPUT, "readOnly": True}]  # fmt: skip
    for number, volume in enumerate(config.volumes):
        volumes.append({"name": f"aiflow-volume-{number}", **_source(volume)})
        mounts.append(_mount(f"aiflow-volume-{number}", volume))
    if config.shm is not None:
        volumes.append(
            {"name": "aiflow-shm", "emptyDir": {"medium": "Memory", "sizeLimit": memory_text(parse_memory(config.shm))}}
        )
        mounts.append({"name": "aiflow-shm", "mountPath": SHM})
    argv = sending.argv
    if not config.distroless:
        argv = shell.wrapped(argv, str(context.native_id), config.python or "python3")
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": config.image,
        "command": [literal(part) for part in argv],
        "workingDir": WORK,
        "env": _env(job, sending),
        "volumeMounts": mounts,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    if config.pull_policy is not None:
        container["imagePullPolicy"] = config.pull_policy
    if config.env_from:
        container["envFrom"] = [_env_from(each) for each in config.env_from]
    if (probe := probe_of(config)) is not None:
        container["readinessProbe"] = probe
    if resources := config.resources():
        container["resources"] = resources
    spec: dict[str, Any] = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    # A Job's own deadline would delete the pod, and its log.
    if config.timeout is not None and (deadline := math.ceil(config.timeout) + DEADLINE_SLACK) < 2**31:
        spec["activeDeadlineSeconds"] = deadline  # the API takes none that is longer; the driver counts, too
    if config.service_account is not None:
        spec["serviceAccountName"] = config.service_account
    if config.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in config.pull_secrets]
    if config.node_selector:
        spec["nodeSelector"] = dict(config.node_selector)
    if config.tolerations:
        spec["tolerations"] = list(config.tolerations)
    if config.affinity:
        spec["affinity"] = dict(config.affinity)
    if config.spread:
        spec["topologySpreadConstraints"] = [_spread(each, context) for each in config.spread]
    if config.priority_class is not None:
        spec["priorityClassName"] = config.priority_class
    return spec


def _spread(rule: Spread, context: JobContext) -> dict[str, Any]:
    counted = rule.labels if rule.labels is not None else {RUN: _label(str(context.run_id))}
    return {
        "topologyKey": rule.over,
        "maxSkew": rule.skew,
        "whenUnsatisfiable": "DoNotSchedule" if rule.required else "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(counted)},
    }


def _input(native_id: str, archive: str | None) -> dict[str, Any]:
    items = [{"key": name, "path": name} for name in (PAYLOAD_FILE, START_FILE)]
    sources: list[dict[str, Any]] = [{"secret": {"name": native_id, "items": items}}]
    if archive is not None and "://" not in archive:
        sources.append({"secret": {"name": archive, "items": [{"key": PROJECT_FILE, "path": PROJECT_FILE}]}})
    return {"name": "aiflow-in", "projected": {"sources": sources}}


def _env(job: BaseJob, sending: Sending) -> list[dict[str, Any]]:
    context, config = _context(job), _config(job)
    runs = sending.payload is not None
    ours = job_environment(
        job, work_folder=WORK, project_folder=f"{BUNDLE}/project" if runs else None, checkpoint_dir=sending.checkpoints
    )
    ours |= {"AIFLOW_REASON_FILE": "/dev/termination-log", "PYTHONUNBUFFERED": "1"}
    if runs:
        ours |= {"AIFLOW_BUNDLE": BUNDLE, "AIFLOW_RAN_WITH_FILE": f"{BUNDLE}/{RAN_WITH}"}
    if sending.archive is not None and "://" in sending.archive:
        ours["AIFLOW_ARCHIVE"] = sending.archive
    found: list[dict[str, Any]] = []
    for name, value in config.env.items():
        if name in ours:
            continue
        if not secrets.is_secret(value):
            found.append({"name": name, "value": literal(secrets.plain(value))})
            continue
        secret, key = secret_key_of(value) or (str(context.native_id), _secret_key(name))
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    return found + [{"name": name, "value": literal(value)} for name, value in ours.items()]


def _secret_key(variable: str) -> str:
    return f"env.{variable}"


def _env_from(each: EnvFrom) -> dict[str, Any]:
    found: dict[str, Any] = {"prefix": each.prefix} if each.prefix else {}
    reference: dict[str, Any] = {"name": each.secret or each.config_map}
    if each.optional:
        reference["optional"] = True
    return {**found, "secretRef" if each.secret else "configMapRef": reference}


def _source(volume: Volume) -> dict[str, Any]:
    if volume.claim is not None:
        return {"persistentVolumeClaim": {"claimName": volume.claim}}
    if volume.host_path is not None:
        return {"hostPath": {"path": volume.host_path}}
    if volume.secret is not None:
        return {"secret": {"secretName": volume.secret}}
    if volume.config_map is not None:
        return {"configMap": {"name": volume.config_map}}
    return {"emptyDir": dict(volume.empty_dir or {})}


def _mount(name: str, volume: Volume) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "mountPath": volume.mount}
    if volume.sub_path is not None:
        found["subPath"] = volume.sub_path
    if volume.read_only:
        found["readOnly"] = True
    return found


def _context(job: BaseJob) -> JobContext:
    assert job.job_context is not None
    return job.job_context


def _config(job: BaseJob) -> KubernetesJobConfig:
    assert isinstance(job.job_config, KubernetesJobConfig)
    return job.job_config
