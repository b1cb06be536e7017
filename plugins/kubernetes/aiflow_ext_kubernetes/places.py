"""Where jobs are: a cluster and a namespace in it; and what this process knows of its attempts, by native id.

A driver asks one job plugin of a platform for the events of all, and ``lookup`` is given an id alone: so this is the
process's, and not one plugin's. Nothing depends on it but where to ask first, and what need not be sent again.
"""

from __future__ import annotations

from typing import NamedTuple

from aiflow_ext.plugin import BaseJob
from aiflow_ext_kubernetes.config import KubernetesJobConfig


class Place(NamedTuple):
    """A namespace of a cluster, as the config names it; None leaves it to the kubeconfig."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None


class Known:
    """What is known of an attempt.

    Attributes:
        place, run: where it is, and whose.
        folder: its folder on this machine; None where it is not known.
        image_patience, start_within: as its config says.
        pod: the name of its pod, once it has been seen.
        has_run: whether its container was seen to have started.
        is_ours: whether the Job of its name is of this attempt; None where this process cannot tell.
    """

    def __init__(
        self,
        place: Place,
        run: str,
        folder: str | None = None,
        image_patience: float = 60.0,
        start_within: float | None = None,
    ) -> None:
        self.place, self.run, self.folder = place, run, folder
        self.image_patience, self.start_within = image_patience, start_within
        self.pod: str | None = None
        self.has_run = False
        self.is_ours: bool | None = None


attempts: dict[str, Known] = {}
sent: set[tuple[Place, str]] = set()  # the runs whose project this process has sent, by any of its job plugins


def place_of(config: KubernetesJobConfig) -> Place:
    """The place of a job."""
    return Place(config.kubeconfig, config.context, config.namespace)


def note(job: BaseJob) -> Known:
    """Remember a job's attempt."""
    context, config = job.job_context, job.job_config
    assert context is not None
    assert isinstance(config, KubernetesJobConfig)
    native_id = str(context.native_id)
    if native_id not in attempts:
        attempts[native_id] = Known(
            place_of(config), str(context.run_id), context.work_folder, config.image_patience, config.start_within
        )
    return attempts[native_id]
