"""Plugins loaded for trial, each in a process of its own: whatever that does, this process goes on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from aiflow_ext.host.isolated import Call, Outcome, call_each
from aiflow_ext.host.loading import describe
from aiflow_ext.host.metadata import split_value
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.model.errors import PLUGIN

SLOW = 5.0  # seconds of an import that are worth a remark
_TYPES = ("platform", "engine", "authoring")  # kinds that are imported, and neither made nor asked for more than a name
REPORT = "report it to its authors, or install another version of it"


class Trial(NamedTuple):
    """How loading went.

    Attributes:
        problem, hint: what is wrong and what to do; None where the plugin can be used.
        error: its exception, as text.
        exit_code: the code that ``run`` would end with for that; 0 where the plugin can be used.
        remarks: sentences on what its author may not have meant.
        seconds: how long it took.
    """

    problem: str | None = None
    hint: str | None = None
    error: str | None = None
    exit_code: int = 0
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0


def try_loading(record: PluginRecord, limit: float) -> Trial:
    """Load one plugin as :func:`try_each` does. What it prints is passed on to stderr, and remarked on."""
    ((_, outcome),) = call_each([_call([record], limit)], quiet=False)
    if outcome.printed:
        print(outcome.printed, end="" if outcome.printed.endswith("\n") else "\n", file=sys.stderr)
    return _trial(record, outcome, 0, limit)


def try_each(records: Iterable[PluginRecord], limit: float) -> Iterator[tuple[PluginRecord, Trial]]:
    """Load what each of ``records`` advertises as a run would, several at once, and yield each with its trial.

    Plugins of one module of one distribution share a process, in which it is imported once; all others have one of
    their own. What they print is dropped, and remarked on.

    Args:
        records: of plugins that are available.
        limit: seconds after which loading a module's plugins is given up, and their process ended.
    """
    by_module: dict[tuple[str, str], list[PluginRecord]] = {}
    for record in sorted(records, key=lambda each: each.kind not in _TYPES):
        by_module.setdefault((record.distribution, split_value(record.entry_point)[0]), []).append(record)
    groups = list(by_module.values())
    while groups:
        again = []
        for number, outcome in call_each([_call(group, limit) for group in groups]):
            group = groups[number]
            told = len(group) if outcome.is_complete else len(outcome.answers) + 1
            if told == 1 and outcome.exit_code is None and group[0].kind in _TYPES:
                told = len(group)  # of which there is nothing but the import that can hang, for all of them
            for place, record in enumerate(group[:told]):
                yield record, _trial(record, outcome, place, limit)
            if told < len(group):
                again.append(group[told:])
        groups = again


def _call(records: Sequence[PluginRecord], limit: float) -> Call:
    return Call("aiflow_ext.host.trial_child:load", {"records": [list(record) for record in records]}, limit)


def _trial(record: PluginRecord, outcome: Outcome, place: int, limit: float) -> Trial:
    """The trial of the plugin at ``place`` among those of a call."""
    if place >= len(outcome.answers):
        words = unanswered(describe(record), outcome, limit)
        return Trial(words, REPORT, exit_code=PLUGIN, seconds=outcome.seconds)
    trial = Trial(**outcome.answers[place])
    # A run that needs only this one waits for the import too, which the first one's time holds.
    seconds = trial.seconds + (outcome.answers[0]["seconds"] if place else 0.0)
    remarks = list(trial.remarks)
    first = next((line.strip() for line in outcome.printed.splitlines() if line.strip()), "")
    if first:
        remarks.append(f"it prints as it is imported: {first[:200]}")
    if outcome.left and trial.problem is None:
        remarks.append("importing it starts processes, and leaves them running")
    if seconds >= SLOW and trial.problem is None:
        remarks.append(f"importing it takes {seconds:.1f} s")
    return trial._replace(remarks=tuple(remarks), seconds=seconds)


def unanswered(where: str, outcome: Outcome, limit: float, does: str = "imports", done: str = "imported") -> str:
    """Why a call that ``does`` something with what ``where`` names has no answer: a sentence."""
    code = outcome.exit_code
    if code is None:
        return f"{where} is still not {done} after {limit:g} s"
    what = f"{where} cannot be {done}: the process that {does} it"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"{what} is ended by {name}"
    return f"{what} ends there, with exit code {code}"
