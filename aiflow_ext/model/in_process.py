"""A job that runs in the process of its client, for ``aiflow-ext run --in-process``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiflow_ext.model.job import JobContext


class InProcessEnd(NamedTuple):
    """How such a job has ended. It has finished if its exit code is 0.

    Attributes:
        exit_code: None where a signal has ended a command of it.
        signal: the number of that signal.
        reason: in words, why it has failed.
        error: what code of the project has raised.
    """

    exit_code: int | None = 0
    signal: int | None = None
    reason: str | None = None
    error: BaseException | None = None


class InProcessJob(ABC):
    """What an engine makes of a subgraph (:meth:`AbstractEngine.in_process`)."""

    @abstractmethod
    def run(
        self, context: JobContext, env: Mapping[str, str], examine: Callable[[BaseException], None] | None = None
    ) -> InProcessEnd:
        """Run the job to its end. The process has its own variables, folder and modules again afterwards; no other job
        of it runs meanwhile.

        Args:
            context: of the attempt, whose folder exists, with ``work`` in it.
            env: the variables of its config, secrets resolved.
            examine: called with what code of the project has raised, while the job's folder and variables are in place.

        Raises KeyboardInterrupt where the user interrupts it.
        """
