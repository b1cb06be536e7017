"""Loads a plugin for trial: called by :mod:`~aiflow_ext.host.trial`, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from aiflow_ext.host.extensions import made
from aiflow_ext.host.guard import guarded
from aiflow_ext.host.loading import describe, shown
from aiflow_ext.host.loading import load as load_object
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.host.resolve import authoring, job_environment, resolve, secret_source
from aiflow_ext.host.trial import REPORT
from aiflow_ext.host.validate import named_by
from aiflow_ext.model.errors import INTERRUPTED, PluginError, PluginTypeError

MOST = 16_384  # characters of a problem, and of an error


def load(records: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """The fields of a Trial of each plugin that ``records``, the fields of PluginRecords, advertise."""
    for fields in records:
        began = time.monotonic()
        found = _loaded(PluginRecord.of(fields))
        yield {**found, "seconds": time.monotonic() - began}


def _loaded(record: PluginRecord) -> dict[str, Any]:
    try:
        return {"remarks": _remarks(record)}
    except PluginError as error:
        return {"problem": error.message[:MOST], "hint": error.problems[0].hint, "exit_code": error.exit_code,
                "error": shown(error.__cause__ or error)[:MOST]}  # fmt: skip
    except KeyboardInterrupt as error:  # this process gets no Ctrl-C: the plugin raises it
        return {"problem": f"{error}: it raises KeyboardInterrupt", "hint": REPORT, "exit_code": INTERRUPTED}


def _remarks(record: PluginRecord) -> tuple[str, ...]:
    """Load the plugin as a run would; what is remarkable about it. Raises PluginError, KeyboardInterrupt."""
    if record.kind == "job_plugin":
        platform, _, engine = record.name.partition(".")
        return tuple(resolve(record, platform, engine).remarks)
    if record.kind == "extension":
        damage = made(record)[1]
        return tuple(f"importing it {each}, for all of the driver's process" for each in damage)
    if record.kind == "secret_source":
        secret_source(record, record.name, ())
    elif record.kind == "job_environment":
        job_environment(record)
    elif record.kind == "authoring":
        authoring(record)
    else:
        guarded(describe(record), partial(_check_type, record))
    return ()


def _check_type(record: PluginRecord) -> None:
    """Check a platform or an engine: a class with the name that it is advertised under."""
    where = describe(record)
    name = named_by(load_object(record), record.kind, where)
    if name != record.name:
        raise PluginTypeError(
            f"{where} is advertised as {record.name!r}, and calls itself {name!r}",
            hint=f"advertise it under the name that its {record.kind}() returns, or change that",
        )
