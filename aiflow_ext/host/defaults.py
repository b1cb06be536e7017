"""What an optional hook answers where the plugin does not offer it: a function for each that answers something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiflow_ext.model.job import BaseJob
from aiflow_ext.model.names import safe_name

if TYPE_CHECKING:
    from aiflow_ext.model.attempt import Lookup
    from aiflow_ext.model.errors import Problem


def allocate_id(job: BaseJob) -> str:
    """Run, job and attempt in at most 52 characters of [a-z0-9-]: the same for the same attempt, with a hash where
    they do not fit.

    52, because a platform may add a suffix of its own and stay within the 63 of a DNS label.
    """
    context = job.job_context
    assert context is not None
    return safe_name(f"{context.run_id}-{context.job_name}-{context.attempt}", 52)


def lookup(job: BaseJob) -> Lookup:
    """UNKNOWN: without a platform to ask, nothing is proved."""
    from aiflow_ext.model.attempt import Lookup

    return Lookup.UNKNOWN


def check_platform(jobs: Sequence[BaseJob]) -> Sequence[Problem]:
    """No problems known."""
    return ()
