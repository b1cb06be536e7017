"""What an optional hook answers where the plugin does not offer it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiflow_ext.model.job import BaseJob

if TYPE_CHECKING:
    from aiflow_ext.model.attempt import Lookup
    from aiflow_ext.model.errors import Problem


def allocate_id(job: BaseJob) -> str:
    """Run, job and attempt in at most 52 characters of [a-z0-9-], beginning with a letter (RFC 1035), with a hash.

    52, because a platform may add a suffix of its own and stay within the 63 of a DNS label.
    """
    import hashlib

    from aiflow_ext.model.names import safe_name

    context = job.job_context
    parts = (context.run_id, context.job_name, str(context.attempt)) if context is not None else (None, job.name, "")
    exact = "\0".join(part or "" for part in parts)
    mark = hashlib.sha256(exact.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    stem = safe_name("-".join(part for part in parts[1:] if part) or "job", 37)
    return f"af-{stem}-{mark}"


def lookup(job: BaseJob) -> Lookup:
    """UNKNOWN: without a platform to ask, nothing is proved."""
    from aiflow_ext.model.attempt import Lookup

    return Lookup.UNKNOWN


def check_platform(jobs: Sequence[BaseJob]) -> Sequence[Problem]:
    """No problems known."""
    return ()
