"""Checks of a Flink job before a run, offline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from aiflow_ext.plugin import ExecutionMode, Problem
from aiflow_ext.plugin.engines import is_reached, is_remote
from aiflow_ext_flink.config import MIB, FlinkKeys
from aiflow_ext_flink.configuration import stop_mode
from aiflow_ext_flink.program import Program, is_url, slot_problems
from aiflow_ext_kubernetes import flink_session
from aiflow_ext_kubernetes.config import KubernetesJobConfig

LATEST = "latest"  # for restore_from: the newest savepoint or checkpoint in the job's folders


def problems_of(name: str, config: KubernetesJobConfig, program: Program, artifacts: str) -> Iterator[Problem]:
    """What is wrong with a job, as far as this machine knows.

    Args:
        name: the job's.
        config: its config, with FlinkKeys.
        program: what it runs.
        artifacts: the project's.
    """
    keys = keys_of(config)
    if config.distroless:
        yield Problem(f"job {name!r}: distroless is for an image without /bin/sh, and Flink's scripts need one",
                      hint="take distroless out")  # fmt: skip
    for each in program.py_files:
        if os.path.isdir(each):
            yield Problem(f"job {name!r}: py_files: {each} is a folder, and only files travel to the pods",
                          where=program.where, hint="make it a zip file, or have it in the image")  # fmt: skip
    for each in keys.jars:
        if not is_url(each) and not os.path.isfile(each):
            yield Problem(f"job {name!r}: jars: {each} is not there", hint="name a file of the project, or a URL")
    if keys.session is not None:
        yield from flink_session.problems(name, config, program)
    else:
        yield from _cluster_problems(name, config, program, artifacts)


def _cluster_problems(name: str, config: KubernetesJobConfig, program: Program, artifacts: str) -> Iterator[Problem]:
    """What is wrong with a job that gets a cluster of its own."""
    keys = keys_of(config)
    yield from slot_problems(name, config, program)
    needed = max(keys.jobmanager.memory, keys.taskmanagers.memory)
    if config.memory is not None and config.memory < needed:
        yield Problem(
            f"job {name!r}: memory {config.memory // MIB}Mi is less than that of Flink's processes, {needed // MIB}Mi",
            hint="take memory out, or lower that of jobmanager: or taskmanagers:",
        )
    state, stream = keys.checkpoints or artifacts, config.exec_mode is ExecutionMode.STREAM
    if stream and (config.retries or keys.restore_from == LATEST) and is_remote(state):
        what = "restore_from: latest" if keys.restore_from == LATEST else "retries"
        yield Problem(
            f"job {name!r}: {what} of a STREAM job begins with its latest checkpoint, which is looked for in the pod, "
            f"and the pod's shell cannot look into {state}", where=program.where,
            hint=f"name a folder where a volume is mounted under checkpoints:; or take {what} out, and name a "
                 "checkpoint or savepoint under restore_from:",
        )  # fmt: skip
    if not stream or is_reached(artifacts, config.shared_folders):
        return
    missing = [] if keys.checkpoints else ["checkpoints"]
    missing += [] if keys.savepoints or stop_mode(config) == "cancel" else ["savepoints"]
    if missing:
        yield Problem(
            f"job {name!r}: there is no folder for its {' and '.join(missing)} that its pods reach",
            hint=f"name one ({': ...; '.join(missing)}: ...), such as s3://..., or a path where a volume is mounted",
        )


def keys_of(config: Any) -> FlinkKeys:
    """A config's keys of Flink."""
    assert isinstance(config, FlinkKeys)
    return config
