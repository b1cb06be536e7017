"""The keys of a job's config on platform kubernetes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import aiflow_ext.plugin as af
from aiflow_ext.plugin import Jsonable
from aiflow_ext_kubernetes import fields

Quantity = str | int | float
WEEK = 7 * 24 * 3600
SHM = "/dev/shm"  # noqa: S108 - a mount point in the container
QUEUE = "kueue.x-k8s.io/queue-name"  # label of a Job: its LocalQueue (kueue.sigs.k8s.io, "Run A Kubernetes Job")
_AFFINITIES = ("nodeAffinity", "podAffinity", "podAntiAffinity")


class Volume(Jsonable):
    """A volume and where it is mounted; exactly one source.

    Args:
        mount: absolute path in the container.
        claim: a PersistentVolumeClaim's name.
        host_path: a path of the node.
        secret, config_map: the object's name; its keys are files.
        empty_dir: true, or what an emptyDir takes: ``{medium: Memory, sizeLimit: 1Gi}``.
        sub_path: the part of the volume that is mounted.
        read_only: mounted so.
    """

    def __init__(
        self,
        mount: str,
        claim: str | None = None,
        host_path: str | None = None,
        secret: str | None = None,
        config_map: str | None = None,
        empty_dir: bool | dict[str, Any] | None = None,
        sub_path: str | None = None,
        read_only: bool = False,
    ) -> None:
        self.mount, self.sub_path, self.read_only = mount, sub_path, read_only
        self.claim, self.host_path, self.secret, self.config_map = claim, host_path, secret, config_map
        self.empty_dir = {} if empty_dir is True else empty_dir if isinstance(empty_dir, dict) else None
        given = [claim, host_path, secret, config_map, self.empty_dir]
        if sum(each is not None for each in given) != 1:
            raise ValueError("say exactly one of claim, host_path, secret, config_map and empty_dir")
        if not mount.startswith("/") or ":" in mount:
            raise ValueError(f"mount {mount!r} is no absolute path in the container")
        if mount.rstrip("/") in ("", "/aiflow") or mount.startswith("/aiflow/"):
            raise ValueError(f"mount {mount!r} is where aiflow-ext puts its own files; choose another path")


class EnvFrom(Jsonable):
    """Every key of a Secret or a ConfigMap as a variable.

    Args:
        secret, config_map: the object's name; exactly one.
        prefix: put before each name.
        optional: the job starts although there is no such object.
    """

    def __init__(
        self, secret: str | None = None, config_map: str | None = None, prefix: str = "", optional: bool = False
    ) -> None:
        if (secret is None) == (config_map is None):
            raise ValueError("say either secret or config_map")
        self.secret, self.config_map, self.prefix, self.optional = secret, config_map, prefix, optional


class Spread(Jsonable):
    """One rule of how pods are spread, as a pod's ``topologySpreadConstraints`` have it.

    Args:
        over: the label of nodes whose values are the places, such as ``topology.kubernetes.io/zone``.
        skew: how many more pods a place may have than the one with the fewest; at least 1.
        required: whether a pod waits where it would break the rule; else it only prefers other places.
        labels: of the pods that are counted; by default those of the run.
    """

    def __init__(self, over: str, skew: int = 1, required: bool = False, labels: dict[str, str] | None = None) -> None:
        if skew < 1:
            raise ValueError(f"skew {skew} is less than 1")
        self.over, self.skew, self.required, self.labels = over, skew, required, labels


class KubernetesJobConfig(af.BaseJobConfig):
    """The config of a job on a cluster.

    Args:
        image: the container's image.
        distroless: whether the image has no ``/bin/sh``: the job's command is the container's first process, and both
            of its streams are stdout.
        kubeconfig: a kubeconfig's path; ``KUBECONFIG`` or ``~/.kube/config`` by default, and inside a cluster, where
            neither is there, the pod's own service account.
        context: the kubeconfig's context; its current one by default.
        namespace: the context's by default.
        pull_policy: Always, IfNotPresent or Never; the cluster's default where unset.
        pull_secrets: names of Secrets to pull the image with.
        service_account: whose token the job gets; unset, the namespace's default account without a token.
        gpu_resource: the extended resource that a gpu of the common key ``gpu`` is.
        requests, limits: any other resource by its name; they override the common keys ``cpu`` (requested), ``memory``
            and ``gpu`` (requested, and the limit).
        env_from: Secrets and ConfigMaps whose keys become variables.
        volumes: what is mounted.
        node_selector, tolerations, affinity: where the pod may run, as in a pod's spec.
        spread: how pods are spread over nodes, zones and the like.
        priority_class: the name of the pod's PriorityClass.
        queue: the LocalQueue of Kueue that admits the job: it stays suspended until then.
        shm: size of ``/dev/shm``, in memory; unset, the container runtime's, usually 64 MiB.
        labels, annotations: of the Job and its pod.
        user: the uid that the container runs as; null leaves it to image and cluster.
        ttl: seconds after its end until the cluster removes a Job that was not cleaned up.
        keep: ``failed``: the Job and pod of an attempt that failed stay, until ``gc`` or ``ttl`` removes them; else as
            on every platform.
        grace: seconds between SIGTERM and SIGKILL where the pod is ended from outside aiflow-ext.
        image_patience: seconds for which pulling the image may fail before the attempt is FAILED.
        start_within: seconds until the container must run, or of a Flink job a task of it; null for no limit.
        pod_template: a mapping or a file of the project (YAML): metadata and spec of a pod, merged underneath.
    """

    def __init__(
        self,
        image: str,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        pull_policy: str | None = None,
        pull_secrets: list[str] | None = None,
        service_account: str | None = None,
        gpu_resource: str = "nvidia.com/gpu",
        requests: dict[str, Quantity] | None = None,
        limits: dict[str, Quantity] | None = None,
        env_from: list[EnvFrom] | None = None,
        volumes: list[Volume] | None = None,
        node_selector: dict[str, str] | None = None,
        tolerations: list[dict[str, Any]] | None = None,
        affinity: dict[str, Any] | None = None,
        spread: list[Spread] | None = None,
        priority_class: str | None = None,
        queue: str | None = None,
        shm: Quantity | None = None,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        user: int | None = 1000,
        ttl: int = WEEK,
        keep: bool | str = True,
        grace: int = 30,
        image_patience: float = 60.0,
        start_within: float | None = None,
        pod_template: str | dict[str, Any] | None = None,
        distroless: bool = False,
    ) -> None:
        self.distroless = distroless
        self.image, self.kubeconfig, self.context, self.namespace = image, kubeconfig, context, namespace
        self.pull_policy, self.pull_secrets, self.service_account = (
            pull_policy,
            list(pull_secrets or ()),
            service_account,
        )
        self.gpu_resource, self.requests, self.limits = gpu_resource, dict(requests or {}), dict(limits or {})
        self.env_from, self.volumes = list(env_from or ()), list(volumes or ())
        self.node_selector, self.tolerations = dict(node_selector or {}), list(tolerations or ())
        self.affinity, self.spread, self.priority_class = dict(affinity or {}), list(spread or ()), priority_class
        self.queue, self.shm = queue, shm
        self.labels, self.annotations = dict(labels or {}), dict(annotations or {})
        self.user, self.ttl, self.keep, self.grace = user, ttl, keep, grace
        self.image_patience, self.start_within, self.pod_template = image_patience, start_within, pod_template
        problems = [*self._problems()]
        if problems:
            raise ValueError("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        if not self.image or any(char.isspace() for char in self.image):
            yield f"image {self.image!r} is no image: say it as registry/team/name:tag"
        if self.pull_policy not in (None, "Always", "IfNotPresent", "Never"):
            yield f"pull_policy {self.pull_policy!r} is none of Always, IfNotPresent and Never"
        if self.namespace is not None:
            yield from fields.label_name_problem("namespace", self.namespace)
        for name in self.pull_secrets:
            yield from fields.name_problem("pull_secrets:", name)
        if self.service_account is not None:
            yield from fields.name_problem("service_account", self.service_account)
        yield from fields.key_problem("gpu_resource", self.gpu_resource)
        for what in ("requests", "limits"):
            for key, value in getattr(self, what).items():
                yield from fields.key_problem(f"{what}:", key)
                yield from fields.quantity_problem(f"{what}: {key}", value)
        for volume in self.volumes:
            for source in (volume.claim, volume.secret, volume.config_map):
                if source is not None:
                    yield from fields.name_problem("volumes:", source)
        for each in self.env_from:
            yield from fields.name_problem("env_from:", each.secret or each.config_map)
        yield from self._place_problems()
        yield from self._label_problems("labels", self.labels)
        yield from self._label_problems("node_selector", self.node_selector)
        for key in self.annotations:
            yield from fields.key_problem("annotations:", key)
        for what in ("ttl", "grace", "image_patience"):
            if getattr(self, what) < 0:
                yield f"{what} {getattr(self, what)} is less than 0 seconds"

    def _place_problems(self) -> Iterator[str]:
        for key, value in self.affinity.items():
            if key not in _AFFINITIES:
                yield f"affinity: {key!r} is none of {', '.join(_AFFINITIES)}"
            elif not isinstance(value, Mapping):
                yield f"affinity: {key} is no mapping"
        for each in self.spread:
            yield from fields.key_problem("spread: over:", each.over)
            for key, text in (each.labels or {}).items():
                yield from fields.key_problem("spread: labels:", key)
                yield from fields.label_problem(f"spread: labels: {key}:", text)
        for over in sorted({each.over for each in self.spread}):
            if sum(each.over == over for each in self.spread) > 1:
                yield f"spread: two rules are over {over}"
        if self.priority_class is not None:
            yield from fields.name_problem("priority_class", self.priority_class)
        if self.queue is not None:
            yield from fields.name_problem("queue", self.queue)
            yield from fields.label_problem("queue", self.queue)
        if self.shm is not None:
            try:
                af.parse_memory(self.shm)
            except ValueError as error:
                yield f"shm {error}"
            if any(volume.mount.rstrip("/") == SHM for volume in self.volumes):
                yield f"shm and a volume are both mounted at {SHM}; say one of them"

    @staticmethod
    def _label_problems(what: str, labels: Mapping[str, str]) -> Iterator[str]:
        for key, value in labels.items():
            yield from fields.key_problem(f"{what}:", key)
            yield from fields.label_problem(f"{what}: {key}:", value)
            if key.partition("/")[0] == "aiflow-ext":
                yield f"{what}: {key!r} is of aiflow-ext's own"
            if key == QUEUE and what == "labels":
                yield f"{what}: {key!r} is given by the key queue: say queue: {value}"

    def kind(self) -> str:
        """Equal for jobs that a cluster checks alike."""
        return json.dumps({name: getattr(self, name) for name in _OWN}, default=vars, sort_keys=True)

    def secrets(self) -> Iterator[tuple[str, str]]:
        """The cluster's Secrets that must exist, each with the key that names it."""
        from aiflow_ext_kubernetes.secret_source import secret_key_of

        yield from ((name, "pull_secrets") for name in self.pull_secrets)
        yield from ((each.secret, "env_from") for each in self.env_from if each.secret and not each.optional)
        yield from ((each.secret, "volumes") for each in self.volumes if each.secret)
        for value in self.env.values():
            if (found := secret_key_of(value)) is not None:
                yield found[0], "env"

    def resources(self) -> dict[str, dict[str, str]]:
        """The container's ``resources``."""
        requests: dict[str, Any] = {}
        limits: dict[str, Any] = {}
        if self.cpu is not None:
            requests["cpu"] = af.cpu_text(self.cpu)
        if self.memory is not None:
            requests["memory"] = limits["memory"] = af.memory_text(self.memory)
        if self.gpu:
            requests[self.gpu_resource] = limits[self.gpu_resource] = self.gpu
        found = {"requests": {**requests, **self.requests}, "limits": {**limits, **self.limits}}
        return {what: fields.strings(values) for what, values in found.items() if values}

    @property
    def shared_folders(self) -> list[str]:
        """Folders of this machine that may be the same in the pod: something is mounted there."""
        return [volume.mount for volume in self.volumes if volume.sub_path is None]


_OWN = (*inspect.signature(KubernetesJobConfig).parameters, "cpu", "memory", "gpu")


def env_problems(env: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the common key ``env`` on this platform."""
    for name in env:
        yield from fields.variable_problem(name)
