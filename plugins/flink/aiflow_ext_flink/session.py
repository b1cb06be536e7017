"""Jobs in a session cluster, which is somebody else's: what is sent to it, and what is taken from it again.

A jar is uploaded under a name that has the job's id in it. So a clean-up finds it without a record of its upload.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator
from typing import Any

from aiflow_ext.plugin import BaseJobConfig, ExecutionMode, PlatformError, Problem
from aiflow_ext.plugin.authoring import InputRef, OutputFile
from aiflow_ext_flink.config import FlinkKeys
from aiflow_ext_flink.configuration import STREAM, stop_mode
from aiflow_ext_flink.home import VERSION
from aiflow_ext_flink.program import Program, is_url
from aiflow_ext_flink.rest import FlinkRest, Refused, Unreachable
from aiflow_ext_flink.verdict import STATES

ENDS_WITHIN = 60.0  # seconds for a job that is cancelled to end
SUBMITS_TWICE = (
    "the program submits a second Flink job, and may submit one to a session cluster: make two jobs of it, put INSERTs "
    "of SQL into one STATEMENT SET, or give it a cluster of its own"
)
SAVEPOINT_FOLDER = ("execution.checkpointing.savepoint-dir", "state.savepoints.dir")  # Flink's key, and its former name
# States of a task that may have had no slot: one that has waited in vain is FAILED, and the others CANCELED with it.
_WITHOUT_A_SLOT = {"CREATED", "SCHEDULED", "FAILED", "CANCELED", "CANCELING"}
_ENDED = ("FINISHED", "FAILED", "CANCELED")
_LINKAGE = ("NoSuchMethodError", "NoSuchFieldError", "NoClassDefFoundError", "ClassNotFoundException",
            "IncompatibleClassChangeError", "AbstractMethodError", "UnsupportedClassVersionError",
            "InvalidClassException")  # fmt: skip


def is_here(address: str) -> bool:
    """Whether a session cluster's address, ``host:port``, is one of this machine, so that both see the same files."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def problems(name: str, config: BaseJobConfig, program: Program) -> Iterator[Problem]:
    """What a session cluster cannot be given by REST, before anything is sent.

    Args:
        name: the job's.
        config: its config, with FlinkKeys.
        program: what it runs.
    """
    assert isinstance(config, FlinkKeys)
    address = str(config.session)
    if program.kind == "python":
        yield Problem(
            f"job {name!r}: python= cannot be submitted to the session cluster {address}: its REST API takes no script",
            program.where,
            "take jobmanager: host:port away, so that the job gets a cluster of its own; or make it a jar, or SQL",
        )
    if config.jars:
        yield Problem(f"job {name!r}: a session cluster takes one jar, and jars names more", program.where,
                      "build one jar with all of it, or have them in the cluster's folder lib")  # fmt: skip
    if is_here(address):
        return
    if artifacts := sorted(key for key, value in program.names.items() if isinstance(value, (InputRef, OutputFile))):
        yield Problem(
            f"job {name!r}: {', '.join(artifacts)} would be a path of this machine, which the cluster {address} "
            "does not see",
            program.where,
            "give the path or URL of what the cluster sees as a text",
        )
    folders = (config.savepoints, config.checkpoints)
    if config.restore_from == "latest" and all(each is None or is_url(each) for each in folders):
        yield Problem(
            f"job {name!r}: restore_from: latest looks into folders that this machine sees, and it has none of the "
            f"session cluster {address}",
            program.where,
            "name the savepoint itself: aiflow-ext status tells where it is",
        )


def platform_problems(jobs: Iterable[tuple[BaseJobConfig, Program, FlinkRest]]) -> Iterator[Problem]:
    """What is wrong with the session clusters of jobs, of which each is asked once; and with jobs there.

    Args:
        jobs: the config of each, with FlinkKeys; what it runs; and the REST API of its cluster.
    """
    usable: dict[str, bool] = {}
    for config, program, rest in jobs:
        assert isinstance(config, FlinkKeys)
        if rest.url not in usable:
            problem = _problem_of(str(config.session), rest)
            usable[rest.url] = problem is None
            yield from [] if problem is None else [problem]
        if usable[rest.url] and (problem := _savepoint_problem(config, program, rest)) is not None:
            yield problem


def _problem_of(address: str, rest: FlinkRest) -> Problem | None:
    """What is wrong with a session cluster: it does not answer, is none of Flink's, or is of another major version.
    ``address`` is what the config says."""
    try:
        version = str(rest.config().get("flink-version") or "")
    except PlatformError as error:
        hint = (
            "jobmanager: host:port is the REST address of a Flink cluster; its port is 8081 by default, and it speaks "
            "plain HTTP (security.ssl.rest.enabled is false)"
        )
        return Problem(f"the session cluster {address} cannot be used: {error.message}", hint=hint)
    if not version:
        return Problem(f"what answers at {address} is no Flink: it does not tell its version")
    if version.partition(".")[0] != VERSION.partition(".")[0]:
        return Problem(f"the session cluster {address} runs Flink {version}, and jobs are submitted to Flink 2 alone",
                       hint=f"name a cluster of Flink {VERSION}")  # fmt: skip
    return None


def _savepoint_problem(config: BaseJobConfig, program: Program, rest: FlinkRest) -> Problem | None:
    """A job that a stop has take a savepoint, where neither its config nor that of its session cluster has a folder
    for it: Flink would refuse each stop."""
    assert isinstance(config, FlinkKeys)
    address = str(config.session)
    if stop_mode(config) == "cancel" or config.savepoints is not None or is_here(address):
        return None
    try:
        configured = rest.configuration()
    except PlatformError:  # it answers other questions: then each stop has its word on this
        return None
    if not configured or any(configured.get(key) for key in SAVEPOINT_FOLDER):
        return None
    return Problem(
        f"job {program.node.job!r}: stopping it takes a savepoint, and neither the job nor the session cluster "
        f"{address} has a folder for savepoints",
        program.where,
        "name one that the cluster's processes reach (savepoints: s3://bucket/name), or have it stopped without one "
        f"(on_stop: cancel); the cluster's own key is {SAVEPOINT_FOLDER[0]}",
    )


def configuration(config: BaseJobConfig, *, checkpoints: str | None) -> dict[str, str]:
    """Flink's configuration of one job in a session cluster: what is the cluster's is left to it.

    Args:
        config: the job's, with FlinkKeys.
        checkpoints: URL of the folder for checkpoints; None: the cluster's own one.
    """
    assert isinstance(config, FlinkKeys)
    stream = config.exec_mode is ExecutionMode.STREAM
    found: dict[str, Any] = {"execution.runtime-mode": "STREAMING" if stream else "BATCH"}
    found.update({**(STREAM if stream else {}), **config.flink})
    if checkpoints is not None:
        found["execution.checkpointing.dir"] = checkpoints
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in found.items()}


def page(url: str, job_id: str) -> str:
    """The address of a job's page in Flink's web page, which is at ``url``."""
    return f"{url}/#/job/running/{job_id}/overview"


def jar_name(job_id: str) -> str:
    """The name under which a job's jar is uploaded."""
    return f"aiflow-{job_id}.jar"


def remove_jars(rest: FlinkRest, job_id: str) -> None:
    """Remove what was uploaded for a job; there may be nothing."""
    for each in rest.jars():
        if each.get("name") == jar_name(job_id):
            rest.remove_jar(str(each.get("id")))


def end_job(rest: FlinkRest, job_id: str) -> None:
    """Cancel a job, and wait until it has ended. One that is not there has ended.

    Raises PlatformError where it goes on.
    """
    rest.cancel(job_id)
    deadline = time.monotonic() + ENDS_WITHIN
    while (state := status(rest, job_id)) is not None and state not in _ENDED:
        if time.monotonic() > deadline:
            raise PlatformError(
                f"job {job_id} at {rest.url} was cancelled, and is {state} after {ENDS_WITHIN:g} s",
                hint="look at it on Flink's web page, and stop it again",
            )
        time.sleep(0.1)


def status(rest: FlinkRest, job_id: str) -> str | None:
    """Flink's state of a job; None where the cluster does not know it."""
    found = job(rest, job_id)  # where it is unknown, /jobs/ID/status answers 500
    return None if found is None else str(found.get("state"))


def job(rest: FlinkRest, job_id: str) -> dict[str, Any] | None:
    """What Flink says of a job; None where the cluster does not know it."""
    try:
        return rest.job(job_id)
    except Refused as error:
        if error.status == 404:
            return None
        raise


def has_begun(rest: FlinkRest, job_id: str) -> bool:
    """Whether a task of a job has had a slot.

    What Flink says of tasks that have just begun is up to three seconds old. So a stop asks for a savepoint, and asks
    this only where that fails.
    """
    found = job(rest, job_id)
    return found is not None and _has_task(found)


def waits(rest: FlinkRest, job: dict[str, Any]) -> str | None:
    """Why none of a job's tasks runs yet, in words; None where one does.

    Args:
        rest: of its cluster.
        job: what ``FlinkRest.job`` says of it.
    """
    state = STATES.get(str(job.get("state")))
    if state is None or state.ended or not _statuses(job) <= _WITHOUT_A_SLOT:
        return None
    found = rest.overview()
    count, free, total = (found.get(key, "?") for key in ("taskmanagers", "slots-available", "slots-total"))
    return f"it waits for slots: of the {total} slots of {count} TaskManagers {free} are free"


def _has_task(job: dict[str, Any]) -> bool:
    return STATES.get(str(job.get("state"))) is None or not _statuses(job) <= {"CREATED", "SCHEDULED"}


def _statuses(job: dict[str, Any]) -> set[str]:
    """The states of a job's tasks."""
    vertices = job.get("vertices")
    return (
        {str(each.get("status")) for each in vertices if isinstance(each, dict)}
        if isinstance(vertices, list)
        else set()
    )


def explained(words: str, rest: FlinkRest) -> str:
    """The reason of a failure, with the cluster's version where classes do not fit together."""
    if not any(each in words for each in _LINKAGE):
        return words
    try:
        version = rest.config().get("flink-version")
    except Unreachable:
        return words
    return f"{words} (the cluster runs Flink {version}: build the jar for that version, with all that it needs in it)"
