"""What this process knows of jobs on YARN: the hooks that are given a native id or a run alone need a cluster to ask.

Everything is held weakly: it lives as long as the plan, or the job, that it came from.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from aiflow_ext_yarn.cluster import Cluster, cluster_of
from aiflow_ext_yarn.config import YarnJobConfig

if TYPE_CHECKING:
    from aiflow_ext_yarn.job import YarnJob

_configs: dict[int, weakref.ref[YarnJobConfig]] = {}
_jobs: dict[int, weakref.ref[YarnJob]] = {}
_by_id: dict[str, weakref.ref[YarnJob]] = {}
_lock = threading.Lock()
T = TypeVar("T")


def note(job: YarnJob) -> None:
    """A job has been generated: its cluster is one to ask."""
    _remember(_configs, job.config)
    _remember(_jobs, job)


def _remember(holder: dict[int, weakref.ref[T]], thing: T) -> None:
    key = id(thing)

    def forget(_: weakref.ref[T]) -> None:
        holder.pop(key, None)

    if key not in holder:
        holder[key] = weakref.ref(thing, forget)


def _alive(holder: dict[int, weakref.ref[T]]) -> list[T]:
    # A copy first: what dies meanwhile takes itself out.
    return [thing for ref in list(holder.values()) if (thing := ref()) is not None]


def configs() -> list[YarnJobConfig]:
    """The configs of the jobs that are alive here."""
    return _alive(_configs)


def clusters() -> Iterator[Cluster]:
    """The clusters of those jobs; where there are none, the one of HADOOP_CONF_DIR. Raises ConfigError."""
    seen = set()
    for config in configs() or [YarnJobConfig()]:
        cluster = cluster_of(config)
        if cluster.key not in seen:
            seen.add(cluster.key)
            yield cluster


def job_of(native_id: str) -> YarnJob | None:
    """The job, generated in this process, whose attempt has this native id."""
    ref = _by_id.get(native_id)
    job = ref() if ref is not None else None
    if job is not None and job.context.native_id == native_id:
        return job
    with _lock:
        _by_id.clear()
        for each in _alive(_jobs):
            if each.context.native_id is not None:
                _by_id[each.context.native_id] = weakref.ref(each)
    ref = _by_id.get(native_id)
    return ref() if ref is not None else None
