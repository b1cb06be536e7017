"""Warns, before a run, of files that a node may not have brought and unpacked before YARN gives their job up.

An application master that does not register within ``yarn.am.liveness-monitor.expiry-interval-ms`` of its launch is
ended, and localisation comes before it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from aiflow_ext.plugin import PlatformError
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.resourcemanager import ResourceManager
from aiflow_ext_yarn.webhdfs import WebHdfs

_log = logging.getLogger("aiflow_ext")
RATE = 10 << 20  # bytes a second: an archive with many small files, on a node with one disk
_EXPIRY = "yarn.am.liveness-monitor.expiry-interval-ms"
_DEFAULT = 600_000


def warn_of_slow_localisation(jobs: Iterable[YarnJob]) -> None:
    """Log a warning for each set of files that is larger than what a node brings within the expiry, with a job that has
    it. Nothing is said where the cluster does not answer."""
    try:
        _warn(jobs)
    except PlatformError as error:
        _log.debug("how long localisation takes is not known: %s", error)


def _warn(jobs: Iterable[YarnJob]) -> None:
    sizes: dict[tuple[tuple[str, ...], str], int] = {}
    expiries: dict[tuple[str, ...], float] = {}
    told = set()
    for job in jobs:
        sources = [*job.config.files.values(), *job.config.archives.values()]
        if not sources:
            continue
        key = job.cluster.key
        for source in sources:
            if (key, source) not in sizes:
                sizes[key, source] = _size(job, source)
        if key not in expiries:
            expiries[key] = _expiry(ResourceManager(job.cluster))
        whole = sum(sizes[key, source] for source in sources)
        seconds = whole / RATE
        if seconds < expiries[key] or (key, *sources) in told:
            continue
        told.add((key, *sources))
        largest = max(sources, key=lambda source: sizes[key, source])
        _log.warning(
            "job %r: %s, the largest of its files and archives, which have %d MiB together: a node that brings and "
            "unpacks %d MiB a second needs %.0f s, and YARN ends an application that has not begun after %.0f s (%s). "
            "Make it smaller, have it on the nodes (python: /path), or have that interval raised",
            job.name, largest, whole >> 20, RATE >> 20, seconds, expiries[key], _EXPIRY,
        )  # fmt: skip


def _size(job: YarnJob, source: str) -> int:
    """The size of a file that a job's config names; 0 where it is not there: submission reports that."""
    if "://" not in source:
        try:
            return Path(job.local_file(source)).stat().st_size
        except OSError:
            return 0
    status = WebHdfs(job.cluster).status(urlsplit(source).path)
    return 0 if status is None or status.folder else status.size


def _expiry(rm: ResourceManager) -> float:
    """Seconds that an application master has for its beginning."""
    given = rm.setting(_EXPIRY) or ""
    return (int(given) if given.isascii() and given.isdigit() and len(given) < 16 else _DEFAULT) / 1000
