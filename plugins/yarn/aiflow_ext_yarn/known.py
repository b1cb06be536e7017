"""What this process knows of jobs on YARN: the hooks that are given a native id or a run alone need a cluster to ask.

Everything is held weakly: it lives as long as the plan, or the job, that it came from.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.connection import Connection, connection_of

if TYPE_CHECKING:
    from aiflow_ext_yarn.jobs import YarnJob

_configs: dict[int, weakref.ref[YarnJobConfig]] = {}
_jobs: dict[int, weakref.ref[YarnJob]] = {}
_by_id: dict[str, weakref.ref[YarnJob]] = {}
_lock = threading.Lock()


def note(job: YarnJob) -> None:
    """A job has been generated: its cluster is one to ask."""
    for holder, thing in ((_configs, job.job_config), (_jobs, job)):
        key = id(thing)
        if key not in holder:
            with _lock:
                holder[key] = weakref.ref(thing, lambda _, key=key, holder=holder: holder.pop(key, None))  # type: ignore


def configs() -> list[YarnJobConfig]:
    """The configs of the jobs that are alive here, equal ones once."""
    with _lock:
        found = [config for ref in _configs.values() if (config := ref()) is not None]
    return found


def connections() -> Iterator[Connection]:
    """The clusters of those jobs; where there are none, the one of HADOOP_CONF_DIR. Raises ConfigError."""
    seen = set()
    for config in configs() or [YarnJobConfig()]:
        connection = connection_of(config)
        if connection.key not in seen:
            seen.add(connection.key)
            yield connection


def job_of(native_id: str) -> YarnJob | None:
    """The job, generated in this process, whose attempt has this native id."""
    ref = _by_id.get(native_id)
    job = ref() if ref is not None else None
    if job is not None and job.context.native_id == native_id:
        return job
    with _lock:
        alive = [job for ref in _jobs.values() if (job := ref()) is not None]
        _by_id.clear()
        for each in alive:
            if each.job_context is not None and each.job_context.native_id is not None:
                _by_id[each.job_context.native_id] = weakref.ref(each)
    ref = _by_id.get(native_id)
    return ref() if ref is not None else None
