"""Reads the secrets that jobs name before a run, so that a missing one is reported before anything is sent."""

from __future__ import annotations

import functools
from collections.abc import Callable

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.secrets import Lookup as SecretLookup
from aiflow_ext.host.secrets import check, is_secret, read
from aiflow_ext.model.errors import AiflowError, Problem
from aiflow_ext.run.planning.plan import PlannedJob


def secrets_of(host: PluginHost) -> tuple[SecretLookup, Callable[[str], str]]:
    """Functions that return secret sources by name and values by reference, each read once however many jobs name it.

    They keep the values as long as they exist: for a check, not for a run.
    """
    sources = functools.cache(host.secret_source)
    return sources, functools.cache(functools.partial(read, sources=sources))


def read_secrets(job: PlannedJob, sources: SecretLookup, values: Callable[[str], str]) -> None:
    """Raise an error for the job's secrets that its platform cannot read, and for those that this machine lacks.

    Args:
        job: the job.
        sources: of :func:`secrets_of`.
        values: of :func:`secrets_of`.

    Raises SecretError; PluginError where a source cannot be used, and UnreachableError where one gives no answer.
    """
    problems = []
    failed: type[AiflowError] | None = None
    for name, value in job.config.env.items():
        if is_secret(value):
            reference = str(value["secret"])
            try:
                if check(reference, job.resolved, sources).platforms is None:
                    values(reference)
            except AiflowError as error:
                failed = failed or type(error)
                for each in error.problems:
                    message = f"job {job.name!r}: variable {name}: {each.message}"
                    problems.append(Problem(message, each.where or job.where("env", name), each.hint))
    if failed is not None:
        raise failed(problems=problems)
