"""The variables that installed plugins add to a job's attempt, beside those of its config."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiflow_ext.host.guard import Ended
from aiflow_ext.model.errors import named
from aiflow_ext.translate.shared import prints_on_stderr

if TYPE_CHECKING:
    from aiflow_ext.host.host import PluginHost
    from aiflow_ext.model.job import JobContext

_log = logging.getLogger("aiflow_ext")
# Texts, compiled by re where they are used: most runs have no such plugin.
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_NEVER = "[\0\ud800-\udfff]"  # no environment holds NUL, and no request half a character
_RESERVED = "AIFLOW_"


def added_variables(host: PluginHost, context: JobContext, traceparent: str | None) -> dict[str, str]:
    """The variables of the attempt that ``context`` names.

    Args:
        host: has the plugins; of two that give a variable the one whose name comes first counts.
        context: as ``AbstractJobEnvironment.variables`` gets it, which gets a copy.
        traceparent: likewise.
    """
    found: dict[str, str] = {}
    for where, source in host.job_environments().items():
        try:
            with prints_on_stderr():
                given = _checked(source.variables(copy.deepcopy(context), traceparent), where)
            found = {**given, **found}
        except (Exception, SystemExit, Ended) as error:
            _log.warning("job %s goes without the variables of %s: it raised %s", context.job_name, where, named(error))
    return found


def _checked(given: Mapping[str, str], where: str) -> dict[str, str]:
    """Those that an environment can hold, and that are not the framework's own."""
    kept: dict[str, str] = {}
    for name, value in dict(given).items():
        if not isinstance(name, str) or not re.fullmatch(_NAME, name) or name.startswith(_RESERVED):
            _log.warning("%s gives a variable %r, which it cannot set; it is left out", where, name)
        elif not isinstance(value, str) or re.search(_NEVER, value):
            _log.warning("%s gives no text for the variable %s; it is left out", where, name)
        else:
            kept[name] = value
    return kept
