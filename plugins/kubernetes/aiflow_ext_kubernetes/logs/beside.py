"""Keeps the logs of containers beside the job's own that have failed: init containers and sidecars.

They go with the pod, and a job that was never started has no other log. Both streams of a container are in one file,
as its node has them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiflow_ext.plugin import PlatformError
from aiflow_ext.plugin.engines import container_log, log_limit
from aiflow_ext_kubernetes.logs.merge import STAMPED
from aiflow_ext_kubernetes.objects import INDEX, is_main
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.response_stream import Stream
from aiflow_ext_kubernetes.server import RATE, READ, namespace_of, server_of
from aiflow_ext_kubernetes.target import Target
from aiflow_ext_kubernetes.template import CONTAINER

_log = logging.getLogger("aiflow_ext")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def keep_failed(target: Target, folder: str | None, pod: str | None, containers: Mapping[str, bool]) -> None:
    """Copy the logs of containers into an attempt's folder, each once; nothing is raised where one cannot be had.

    Args:
        target: where the pod is.
        folder: the attempt's folder on this machine; if it does not exist, nothing is kept.
        pod: the pod's name; None: there is none.
        containers: by name, whether the log is the one of the container's run before the present one.
    """
    if folder is None or pod is None:
        return
    for name, previous in containers.items():
        if _NAME.fullmatch(name) is None:
            continue
        path = Path(folder, container_log(name))
        if not path.exists():
            _keep(target, path, pod, name, previous)


def keep_helpers(target: Target, folder: str | None, pods: Iterable[Mapping[str, Any]], called: str) -> None:
    """Copy the log of the last pod of each index that has failed, as :func:`keep_failed` does.

    Args:
        target: where the pods are.
        folder: the attempt's folder on this machine; if it does not exist, nothing is kept.
        pods: the attempt's, oldest first.
        called: what a helper is called; its log is that of a container of this name with its index.
    """
    if folder is None:
        return
    failed = {str(pod["metadata"]["labels"][INDEX]): str(pod["metadata"]["name"]) for pod in pods
              if not is_main(pod) and (pod.get("status") or {}).get("phase") == "Failed"}  # fmt: skip
    for index, pod in failed.items():
        path = Path(folder, container_log(f"{called}-{index}"))
        if index.isdecimal() and not path.exists():
            _keep(target, path, pod, CONTAINER, False)


def begin_to_keep_failed(
    target: Target, folder: str | None, pod: str | None, containers: Mapping[str, bool]
) -> threading.Thread:
    """Call :func:`keep_failed` in a thread, which is returned: the pod is being deleted, or will be."""
    thread = threading.Thread(
        target=keep_failed, args=(target, folder, pod, dict(containers)), daemon=True, name="aiflow-log"
    )
    thread.start()
    return thread


def _keep(target: Target, path: Path, pod: str, name: str, previous: bool) -> None:
    try:
        _copy(target, path, pod, name, previous)
    except FileNotFoundError:  # the run's folder was removed: the log is not needed
        pass
    except (PlatformError, OSError) as error:
        level = logging.WARNING if isinstance(error, (ApiError, OSError)) else logging.DEBUG
        _log.log(level, "the log of container %s of pod %s cannot be kept: %s", name, pod, error)


def _copy(target: Target, path: Path, pod: str, name: str, previous: bool) -> None:
    """Write a container's log to ``path``: whole, up to the limit of logs, or not at all."""
    query = {"container": name, "timestamps": "true", **({"previous": "true"} if previous else {})}
    where = f"/api/v1/namespaces/{namespace_of(target)}/pods/{quote(pod)}/log"
    stream = server_of(target).stream(where, silence=READ, lasts=READ, rate=RATE, **query)
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(part, "xb") as file:
            left = log_limit()
            for line in _lines(stream):
                file.write(line[:left])
                left -= len(line)
                if left <= 0:
                    break
        part.replace(path)
    finally:
        stream.close()
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def _lines(stream: Stream) -> Iterator[bytes]:
    """A log's lines without their times. A line without one is the kubelet's own, in place of the rest of the log."""
    for line, ended in stream.pieces():
        if (stamp := STAMPED.match(line)) is None:
            return
        yield line[stamp.end() :] + (b"\n" if ended else b"")
