"""Checks that a job fits into the cluster's largest container."""

from __future__ import annotations

from typing import Any

from aiflow_ext.plugin import Problem
from aiflow_ext_yarn.config import GPU, YarnJobConfig


def too_large(config: YarnJobConfig, largest: dict[str, Any], who: str) -> list[Problem]:
    """The resources that a config requests and that exceed ``largest``, the cluster's largest container.

    Args:
        config: the job's config.
        largest: ``memory`` in MiB and ``vCores``, 0 where they are not known; the cluster's other resources by name
            under ``others``, None where these are not known.
        who: the job, for messages.
    """
    found = []
    for what, key, wanted in config.asked:
        unit, most = ("Mi" if what == "memory" else ""), largest.get("memory" if what == "memory" else "vCores")
        if most and wanted > most:
            found.append(
                Problem(
                    f"{who} asks for {wanted}{unit} of {what}; the largest container of this cluster has {most}{unit}",
                    hint=f"give {key % f'{most}{unit}'} or less, or have yarn.scheduler.maximum-allocation raised",
                )
            )
    others = largest.get("others")
    if not config.other_resources or others is None:  # before Hadoop 3.1 they are not reported
        return found
    for name, wanted in config.other_resources.items():
        key = "gpu" if name == GPU else "resources"
        if name not in others:
            words = (
                f"which is no resource of this cluster: it has {', '.join(sorted(others)) or 'memory and cores alone'}"
            )
            hint = f"correct {key}:, or have it added to yarn.resource-types"
        elif wanted > others[name]:
            words = f"the largest container of this cluster has {others[name]}"
            less = others[name] if name == GPU else f"{{{name}: {others[name]}}}"
            hint = f"give {key}: {less} or less"
        else:
            continue
        asked = f"asks for {wanted} of {name}; {words}" if name in others else f"asks for {name}, {words}"
        found.append(Problem(f"{who} {asked}", hint=hint))
    return found
