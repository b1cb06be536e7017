"""A job environment of the kit's own: what any installed one may add to the jobs of a plugin."""

from __future__ import annotations

from collections.abc import Mapping

import aiflow_ext.plugin as af

ADDED = "KIT_ADDED"


def added_for(job: str | None, attempt: int | str | None) -> str:
    """The value of ``ADDED`` in an attempt."""
    return f'it\'s "{job}" $HOME é {attempt}'


class Adding(af.AbstractJobEnvironment):
    """Gives each attempt ``ADDED``."""

    def variables(self, context: af.JobContext, traceparent: str | None) -> Mapping[str, str]:
        return {ADDED: added_for(context.job_name, context.attempt)}
