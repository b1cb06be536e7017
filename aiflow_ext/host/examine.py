"""Examines every advertised plugin: metadata first, then each that is available is loaded in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext.host.explain import cure_of
from aiflow_ext.host.index import Snapshot
from aiflow_ext.host.proof import Proof
from aiflow_ext.host.records import IN_PROCESS, PluginRecord
from aiflow_ext.host.scan import scan
from aiflow_ext.host.site import check_index, check_site
from aiflow_ext.host.trial import Trial, try_each
from aiflow_ext.host.window import NEEDS_EXTRA
from aiflow_ext.model.errors import OK, PLUGIN, Problem


class Finding(NamedTuple):
    """What is known of one plugin after it was examined.

    Attributes:
        record: its record: ``loaded`` where it can be used.
        cures: what to do, one command or setting each; empty where nothing need be done.
        remarks: sentences on what is odd about it, although it can be used.
        seconds: how long its import took; None: it was not imported.
        proof: what its distribution's certificate proves; None where it has none.
    """

    record: PluginRecord
    cures: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    seconds: float | None = None
    proof: Proof | None = None

    @property
    def is_fault(self) -> bool:
        """Whether it cannot be used although nobody has said that it should not be, and its extras are installed."""
        if self.record.status == "incompatible":
            return not (self.record.reason or "").startswith(NEEDS_EXTRA)
        return self.record.status in ("broken", "conflicted")

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON types: the record's fields and these."""
        return {**self.record.to_dict(), "fault": self.is_fault, "cures": list(self.cures),
                "remarks": list(self.remarks), "seconds": self.seconds,
                "proof": None if self.proof is None else self.proof.to_dict()}  # fmt: skip


class Examination(NamedTuple):
    """What was found.

    Attributes:
        findings: one for each advertised plugin, sorted as records are.
        notes: what is remarkable about distributions and the index, and need not keep a plugin from being used.
    """

    findings: tuple[Finding, ...]
    notes: tuple[Problem, ...]

    @property
    def faults(self) -> list[Finding]:
        """The plugins that cannot be used and should be."""
        return [each for each in self.findings if each.is_fault]

    @property
    def exit_code(self) -> int:
        """0, or 5 where there is a fault."""
        return PLUGIN if self.faults else OK


def examine(
    records: Sequence[PluginRecord], before: Snapshot | None, limit: float, proofs: Mapping[tuple[str, ...], Proof]
) -> Examination:
    """Examine every plugin. Nothing is imported here.

    Args:
        records: of all plugins, as metadata, policy and conflicts have them now.
        before: the index that was trusted before these were read; None where there was none.
        limit: seconds after which an import is ended.
        proofs: by the first five fields of a record.
    """
    wanted = [record for record in records if record.status == "available" and record.distribution != IN_PROCESS]
    trials = dict(try_each(wanted, limit))
    notes = [*check_site(records), *check_index(before, scan())]
    findings = [_finding(record, trials.get(record))._replace(proof=proofs.get(record[:5])) for record in records]
    return Examination(tuple(findings), tuple(notes))


def _finding(record: PluginRecord, trial: Trial | None) -> Finding:
    if trial is None:
        cure = cure_of(record)
        return Finding(record, () if cure is None else (cure,))
    if trial.problem is None:
        return Finding(record.replace("loaded"), (), trial.remarks, trial.seconds)
    broken = record.replace("broken", trial.problem, trial.error or "")
    return Finding(broken, (trial.hint,) if trial.hint else (), trial.remarks, trial.seconds)
