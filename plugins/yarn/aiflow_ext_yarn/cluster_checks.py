"""Checks of a cluster before a run's first intent, and by the doctor: problems, each with what to do about it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence

from aiflow_ext.plugin import AiflowError, PlatformError, Problem
from aiflow_ext_yarn.capacity import too_large
from aiflow_ext_yarn.cluster import Cluster, cluster_of
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.queues import Queues
from aiflow_ext_yarn.resourcemanager import ResourceManager
from aiflow_ext_yarn.webhdfs import WebHdfs

SKEW = 300.0  # seconds: what Kerberos allows by default, and half of a container token's life
SMALLEST = 64  # MiB: the application master takes 35, and a job is to have something too
OLDEST = (2, 8)  # signal, tags and timeouts over REST; log endpoints of the NodeManager


def check(configs: Sequence[YarnJobConfig]) -> list[Problem]:
    """The problems of every cluster that these configs name; without configs, of the one in HADOOP_CONF_DIR."""
    found: list[Problem] = []
    by_cluster: dict[tuple[str, ...], tuple[Cluster, list[YarnJobConfig]]] = {}
    try:
        for config in configs or [YarnJobConfig()]:
            cluster = cluster_of(config)
            by_cluster.setdefault(cluster.key, (cluster, []))[1].extend([config] if configs else [])
    except AiflowError as error:
        return list(error.problems)
    for cluster, its_configs in by_cluster.values():
        rm = ResourceManager(cluster)
        try:
            _, info = rm.active()
        except PlatformError as error:
            found += error.problems
            continue
        found += _version(info)
        for step in (_proxy_user, _clock, _scheduler, _size, _labels, _queues, _staging):
            try:
                found += step(rm, its_configs)
            except PlatformError as error:
                found += error.problems
    return found


def check_artifacts(jobs: Iterable[YarnJob]) -> list[Problem]:
    """Check that a file can be written where these jobs' artifacts are, if that is on their cluster's file system."""
    folders = {(job.cluster.key, path): job.cluster for job in jobs if (path := job.artifacts_path()) is not None}
    found: list[Problem] = []
    for (_, path), cluster in folders.items():
        try:
            _write_trial(cluster, path)
        except PlatformError as error:
            found += [
                Problem(f"artifacts cannot be kept: {each.message}", hint=_ARTIFACTS_HINT) for each in error.problems
            ]
    return found


_ARTIFACTS_HINT = "artifacts: in project.yaml names their folder; it must be one that this user may write to"


def _version(info: dict[str, object]) -> Iterator[Problem]:
    said = str(info.get("resourceManagerVersion") or info.get("hadoopVersion") or "")
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})", said, re.ASCII)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST:
        yield Problem(f"the ResourceManager is of Hadoop {said}; platform yarn needs {OLDEST[0]}.{OLDEST[1]} or newer",
                      hint="upgrade the cluster")  # fmt: skip


def _clock(rm: ResourceManager, configs: list[YarnJobConfig]) -> Iterator[Problem]:
    skew = rm.clock_skew()
    if skew is not None and abs(skew) > SKEW:
        way = "ahead of" if skew > 0 else "behind"
        yield Problem(
            f"the ResourceManager's clock is {abs(skew):.0f} s {way} this machine's: tokens expire before their use",
            hint="set the clocks right: both by NTP",
        )


def _proxy_user(rm: ResourceManager, configs: list[YarnJobConfig]) -> Iterator[Problem]:
    """Check that applications would belong to the user for whom they are submitted."""
    who, user = rm.cluster.real_user, rm.cluster.user
    if who is None or (taken_for := rm.requester()) == user:
        return
    said = f"takes the requests for {taken_for!r}'s own" if taken_for else "does not tell whose it takes requests for"
    yield Problem(
        f"{who!r} cannot act for {user!r} (proxy_user): the ResourceManager {said}",
        hint="its web services accept doAs from Hadoop 3.3 on: with Kerberos, if "
        "yarn.resourcemanager.webapp.delegation-token-auth-filter.enabled is true (the default), else with "
        "ProxyUserAuthenticationFilterInitializer in hadoop.http.filter.initializers",
    )


def _scheduler(rm: ResourceManager, configs: list[YarnJobConfig]) -> Iterator[Problem]:
    """Check that application masters get the scheduler's port; hosts are not compared, as they have several names."""
    said = rm.setting("yarn.resourcemanager.scheduler.address") or ""
    port, ours = said.rpartition(":")[2], rm.cluster.schedulers
    if port.isdigit() and all(each.rpartition(":")[2] != port for each in ours):
        yield Problem(
            f"application masters would look for the ResourceManager at {', '.join(ours)}; it awaits them at port "
            f"{port}",
            hint=f"give scheduler: {said}, or let HADOOP_CONF_DIR name the cluster's configuration",
        )


def _size(rm: ResourceManager, configs: list[YarnJobConfig]) -> Iterator[Problem]:
    _, largest = rm.new_application()
    told = set()
    least = SMALLEST
    if any(config.memory_mib < SMALLEST for config in configs):
        given = rm.setting("yarn.scheduler.minimum-allocation-mb") or ""
        least = (
            0 if re.fullmatch(r"[0-9]{1,9}", given) and int(given) >= SMALLEST else SMALLEST
        )  # no container is smaller than that
    for config in configs:
        if config.memory_mib < least:
            yield Problem(
                f"job {config.job_name!r} asks for {config.memory_mib}Mi of memory; the application master in its "
                f"container takes 35Mi of it",
                hint=f"give memory: {SMALLEST}Mi or more",
            )
        for problem in too_large(config, largest, f"job {config.job_name!r}" if config.job_name else "a job"):
            if problem.message not in told:
                told.add(problem.message)
                yield problem


def _labels(rm: ResourceManager, configs: list[YarnJobConfig]) -> Iterator[Problem]:
    wanted = dict.fromkeys(config.node_label for config in configs if config.node_label)
    labels = rm.labels() if wanted else []
    for label in wanted:
        if labels is not None and label not in labels:
            have = f"it has {', '.join(labels)}" if labels else "it has none"
            yield Problem(f"the cluster has no node label {label!r}: {have}",
                          hint="name one that it has (node_label: NAME), or take node_label: away")  # fmt: skip


def _queues(rm: ResourceManager, configs: list[YarnJobConfig]) -> Iterator[Problem]:
    queues = Queues(rm)
    for name in dict.fromkeys(config.queue for config in configs):
        queue = queues.named(name)
        if queue is None and queues.may_be_made(name):
            continue
        if queue is None:
            yield Problem(
                f"the cluster has no queue {name!r}", hint="name one that it has: queue: NAME (yarn queue -list)"
            )
            continue
        paths = queues.paths_of(name)
        if len(paths) > 1:
            yield Problem(f"the cluster has several queues {name!r}: {', '.join(paths)}",
                          hint=f"give the path of one: queue: {paths[0]}")  # fmt: skip
            continue
        state = str(queue.get("state") or "RUNNING")
        if state != "RUNNING":
            yield Problem(f"the queue {name!r} takes no applications: it is {state}",
                          hint="name another one (queue: NAME), or have it started again")  # fmt: skip
            continue
        children = queue.get("queues") or queue.get("childQueues")
        if children and str(queue.get("autoCreationEligibility", "off")) == "off":
            yield Problem(f"the queue {name!r} holds other queues, and takes no applications itself",
                          hint="name one of those in it: queue: NAME")  # fmt: skip
            continue
        why = queues.may_submit(name)
        if why is not None:
            yield Problem(
                f"user {rm.cluster.user!r} may not submit to the queue {name!r}: {why}",
                hint="name another queue (queue: NAME), act as another user (user: NAME), or ask for access",
            )


def _staging(rm: ResourceManager, configs: list[YarnJobConfig]) -> Iterator[Problem]:
    """Check that a file can be written below the staging folder."""
    WebHdfs(rm.cluster).mkdirs(rm.cluster.staging)
    _write_trial(rm.cluster, rm.cluster.staging)
    yield from ()


def _write_trial(cluster: Cluster, folder: str) -> None:
    """Write a file below a folder, and remove it. Raises PlatformError."""
    files, trial = WebHdfs(cluster), f"{folder}/.check-{uuid.uuid4().hex}"
    try:
        files.put(trial, b"x", 1)
    finally:
        files.delete(trial)
