"""The cluster and namespace that a run began in, recorded in its folder before anything is created there.

A kubeconfig's current context is an operator's, and may change while a run goes on or before it is resumed; a run's
objects stay where they are. What is recorded holds no credentials.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from aiflow_ext.plugin import PlatformError
from aiflow_ext.plugin.engines import read_whole
from aiflow_ext_kubernetes import answers
from aiflow_ext_kubernetes.server import namespace_of, server_of
from aiflow_ext_kubernetes.single_flight import SingleFlight
from aiflow_ext_kubernetes.target import Cluster, Target

LARGEST = 1 << 16  # bytes of a record
_SHAPE = {"context": str, "namespace": str, "server": str, "kube-system": str, "namespace-uid": str}

_known: dict[tuple[Target, str], Target] = {}
_recording = SingleFlight[dict[str, Any]]()


def of_run(target: Target, run_folder: str | None, *, record: bool = True) -> Target:
    """The target in the cluster, context and namespace in which a run began.

    Args:
        target: as the config names it.
        run_folder: the run's folder on this machine; None, or one that is not there: nothing is recorded or read.
        record: whether to ask the server, and record its answer, where nothing is recorded yet.

    Raises what the server raises, and PlatformError where the record cannot be read.
    """
    if run_folder is None:
        return target
    found = _known.get((target, run_folder))
    if found is None:
        named = json.dumps([target.kubeconfig, target.context, target.namespace])
        path = Path(run_folder, f"kubernetes-{hashlib.sha256(named.encode()).hexdigest()[:12]}.json")
        content = _read(path)
        if content is None:
            if not record or not path.parent.is_dir():
                return target
            content = _recording.call((target, run_folder), lambda: _record(path, target))
        found = _known[target, run_folder] = _pinned(target, content)
    return found


def _pinned(target: Target, content: dict[str, Any]) -> Target:
    cluster = Cluster(content.get("server", ""), content.get("kube-system"), content.get("namespace-uid"))
    return Target(target.kubeconfig, content.get("context"), content.get("namespace"), cluster, target.context is None)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = read_whole(path, LARGEST, follow=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PlatformError(
            f"the record of the run's cluster cannot be read: {error.strerror}", where=str(path)
        ) from None
    content: dict[str, Any] = answers.read(answers.parsed(data, str(path)), _SHAPE, str(path))
    return content


def _record(path: Path, target: Target) -> dict[str, Any]:
    """Record the target's cluster, durably; what another thread or process has recorded meanwhile is taken."""
    server, namespace = server_of(target), namespace_of(target)
    cluster = server.identify(namespace)
    content = {"context": server.context, "namespace": namespace, "server": cluster.server,
               "kube-system": cluster.system, "namespace-uid": cluster.home}  # fmt: skip
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".kubernetes-") as file:
        json.dump({key: value for key, value in content.items() if value is not None}, file)
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            pass
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return _read(path) or content
