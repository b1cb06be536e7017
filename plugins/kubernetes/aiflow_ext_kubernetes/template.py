"""Pod templates merged as Kubernetes merges: mappings by key, some lists by a key of their items.

Source of the merge keys: the ``x-kubernetes-patch-merge-key`` of PodSpec and Container in the API's OpenAPI document.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiflow_ext.plugin import ConfigError, Problem

CONTAINER = "job"
_MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "env": "name", "volumes": "name",
    "volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort", "imagePullSecrets": "name",
    "hostAliases": "ip", "topologySpreadConstraints": "topologyKey", "resourceClaims": "name",
}  # fmt: skip
_JOINED = ("tolerations", "envFrom")  # atomic there: ours would take the author's away
_SOURCES = {"env": ("value", "valueFrom")}  # an item has one of these: the overriding one replaces the other
_OURS = "aiflow-"  # the prefix of the volumes that aiflow-ext adds
_FOLDER = "/aiflow"
_COMMAND = frozenset(("command", "args"))
_OWN_OF_CONTAINER = ("command", "args", "workingDir", "image", "terminationMessagePath", "terminationMessagePolicy",
                     "restartPolicy", "stdin", "tty")  # fmt: skip


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` merged into it; ``over`` has precedence."""
    found = copy.deepcopy(dict(base))
    for key, value in over.items():
        below = found.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            found[key] = merged(below, value)
        elif isinstance(value, list) and isinstance(below, list) and key in _MERGE_KEYS:
            found[key] = _merged_by(below, value, _MERGE_KEYS[key], _SOURCES.get(key, ()))
        elif isinstance(value, list) and isinstance(below, list) and key in _JOINED:
            found[key] = below + [copy.deepcopy(each) for each in value if each not in below]
        else:
            found[key] = copy.deepcopy(value)
    return found


def _merged_by(base: list[Any], over: list[Any], key: str, sources: Iterable[str]) -> list[Any]:
    found = copy.deepcopy(base)
    place = {each.get(key): number for number, each in enumerate(found) if isinstance(each, Mapping)}
    for each in over:
        name = each.get(key) if isinstance(each, Mapping) else None
        if name is not None and name in place:
            below = found[place[name]]
            if any(source in each for source in sources):
                below = {what: value for what, value in below.items() if what not in sources}
            found[place[name]] = merged(below, each)
        else:
            found.append(copy.deepcopy(each))
    return found


def checked(template: Any, what: str, image: str) -> dict[str, Any]:
    """A pod template's ``metadata`` and ``spec``. Raises ConfigError for a template that is invalid or not permitted.

    Args:
        template: a Pod, a PodTemplate, or the ``metadata`` and ``spec`` of one.
        what: its place, for messages.
        image: the job's own, from its config.
    """
    problems = [Problem(words, hint=hint) for words, hint in _problems(template, what, image)]
    if problems:
        raise ConfigError(problems=problems)
    if template.get("kind") == "PodTemplate":
        template = template["template"]
    return {"metadata": dict(template.get("metadata") or {}), "spec": dict(template.get("spec") or {})}


def _problems(template: Any, what: str, image: str) -> Iterator[tuple[str, str | None]]:
    if not isinstance(template, Mapping):
        yield f"{what} is no mapping", "write it as a pod: metadata and spec"
        return
    if template.get("kind") == "PodTemplate":
        yield from _problems(template.get("template") or {}, what, image)
        return
    unknown = sorted(set(map(str, template)) - {"apiVersion", "kind", "metadata", "spec"})
    if unknown:
        yield f"{what}: {', '.join(unknown)} is no key of a pod", "its keys are metadata and spec"
    if template.get("kind") not in (None, "Pod"):
        yield f"{what} is a {template['kind']}", "give a Pod or a PodTemplate, or its metadata and spec alone"
    spec = template.get("spec") or {}
    if not isinstance(spec, Mapping) or not isinstance(template.get("metadata") or {}, Mapping):
        yield f"{what}: metadata and spec are mappings", None
        return
    if spec.get("restartPolicy", "Never") != "Never":
        contradicts = "contradicts aiflow-ext, whose retries are new attempts with records of their own"
        cure = "take it out; retries: N in workflow.yaml says how often"
        yield f"{what}: restartPolicy {spec['restartPolicy']} {contradicts}", cure
    security = spec.get("securityContext")
    if isinstance(security, Mapping) and security.get("runAsUser") == 0 and "runAsNonRoot" not in security:
        yield f"{what}: runAsUser 0 contradicts runAsNonRoot, which is our default", "say user: 0 in workflow.yaml"
    for label in (template.get("metadata") or {}).get("labels") or {}:
        if str(label).partition("/")[0] == "aiflow-ext":
            yield f"{what}: the label {label} is aiflow-ext's own", "take it out"
    for volume in _items(spec, "volumes"):
        if str(volume.get("name")).startswith(_OURS):
            yield f"{what}: a volume is called {volume['name']}, as aiflow-ext's own are", "rename it"
    for group in ("containers", "initContainers"):
        for container in spec.get(group) or []:
            if not isinstance(container, Mapping) or not container.get("name"):
                yield f"{what}: one of its {group} has no name", f"call the job's own {CONTAINER}, others as you like"
            elif container["name"] == CONTAINER:
                if group == "initContainers":
                    yield f"{what}: an init container is called {CONTAINER}, as the job's own is", "rename it"
                for key in _OWN_OF_CONTAINER:
                    if key in container:
                        yield f"{what}: {key} of container {CONTAINER} is aiflow-ext's to say", _cure(key)
                for mount in _items(container, "volumeMounts"):
                    path = str(mount.get("mountPath"))
                    if path.rstrip("/") == _FOLDER or path.startswith(f"{_FOLDER}/"):
                        yield f"{what}: {path} is where aiflow-ext puts its own files", "mount it elsewhere"
            elif not container.get("image"):
                cure = f"if it is meant to be the job's own, call it {CONTAINER}; others need an image"
                yield f"{what}: container {container['name']} has no image", cure
            elif group == "containers" and container["image"] == image and not _COMMAND & set(container):
                words = f"container {container['name']} has the job's image, and no command of its own"
                cure = f"if it is meant to be the job's own, call it {CONTAINER}, and take image out; else give command"
                yield f"{what}: {words}", cure


def _items(thing: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    """The mappings of a list; the cluster reports other items."""
    found = thing.get(key)
    yield from (each for each in (found if isinstance(found, list) else ()) if isinstance(each, Mapping))


def _cure(key: str) -> str:
    return f"take it out; {'say image: in workflow.yaml' if key == 'image' else 'what runs is what the job holds'}"
