"""The command ``doctor``: what is wrong with what is installed and with a project's platforms, and what to do."""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from aiflow_ext import __version__
from aiflow_ext.cli.escape import indented, one_line
from aiflow_ext.cli.output import print
from aiflow_ext.cli.show import counted, print_table
from aiflow_ext.host.loading import describe
from aiflow_ext.model.errors import Problem
from aiflow_ext.run.operations.doctor import Diagnosis, diagnose
from aiflow_ext.run.operations.platform_checks import problems_to_data

if TYPE_CHECKING:
    from aiflow_ext.host.examine import Finding
    from aiflow_ext.host.records import PluginRecord


def show_diagnosis(project: str | None, *, limit: float, as_json: bool, **options: Any) -> int:
    """``aiflow-ext doctor``; returns its exit code (docs/exit-codes.md)."""
    found = diagnose(project, limit=limit, **options)
    if as_json:
        print(json.dumps(_data(found, project), indent=1))
    else:
        _print(found, project)
    return found.exit_code


def _data(found: Diagnosis, project: str | None) -> dict[str, Any]:
    checks = [
        {"platform": each.platform, "engine": each.engine, "jobs": list(each.jobs),
         "problems": problems_to_data(each.problems)}
        for each in found.checks
    ]  # fmt: skip
    return {
        "versions": {"python": platform.python_version(), "aiflow-ext": __version__},
        "python": sys.executable,
        "plugins": [each.to_dict() for each in found.examination.findings],
        "notes": problems_to_data(found.examination.notes),
        "project": None if project is None else {"problems": problems_to_data(found.problems), "platforms": checks},
        "exit_code": found.exit_code,
    }


def _reason(finding: Finding) -> str:
    """The last cell of a plugin's row: why it cannot be used, or what else there is to say of it."""
    proof = [] if finding.proof is None else [finding.proof.words]
    return finding.record.reason or "; ".join([*finding.remarks, *proof])


def _print(found: Diagnosis, project: str | None) -> None:
    findings = found.examination.findings
    print(one_line(f"aiflow-ext {__version__}, Python {platform.python_version()} ({sys.executable})"))
    rows = [
        (each.record.kind, each.record.name, each.record.status, each.record.distribution, each.record.version,
         "" if each.seconds is None else f"{each.seconds:.2f} s", _reason(each))
        for each in findings
    ]  # fmt: skip
    print_table(("kind", "name", "status", "distribution", "version", "import", "reason"), rows, coloured=2, prose=True)
    print()
    counts = Counter(each.record.status for each in findings)
    makers = {each.record.distribution for each in findings}
    states = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"{counted(len(findings), 'plugin')} of {counted(len(makers), 'distribution')}: {states or 'none'}")
    for group in _alike(found.examination.faults):
        _tell("fault", _sentence(group), None, list(dict.fromkeys(cure for each in group for cure in each.cures)))
    for each in findings:
        for remark in () if each.is_fault else each.remarks:
            _tell("note", f"{each.record.kind} {each.record.name} of {each.record.distribution}: {remark}", None, [])
    for note in found.examination.notes:
        _problem("note", note)
    for problem in found.problems:
        _problem("fault", problem)
    for check in found.checks:
        jobs = f"for {counted(len(check.jobs), 'job')} ({', '.join(check.jobs)})"
        if not check.problems:
            print(one_line(f"platform {check.platform}, engine {check.engine}: can be used {jobs}"))
        for problem in check.problems:
            _problem(f"fault: platform {check.platform}, engine {check.engine}", problem)
    if project is None and not found.exit_code:
        print("nothing is wrong with what is installed; aiflow-ext doctor PROJECT also asks the project's platforms")


def _alike(faults: list[Finding]) -> list[list[Finding]]:
    """The faults, those together that are of one conflict, or for one reason of one distribution."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for each in faults:
        record, reason = each.record, each.record.reason or ""
        whose = record.name if record.status == "conflicted" else record.distribution
        groups.setdefault((whose, reason.replace(describe(record), "")), []).append(each)
    return list(groups.values())


def _sentence(group: list[Finding]) -> str:
    """What is wrong with these plugins; the reason of one that was imported says it in full."""
    record, reason = group[0].record, group[0].record.reason or ""
    if group[0].seconds is None:
        whose = "" if record.status == "conflicted" else f" of {record.distribution} {record.version}"
        reason = f"{_named(record)}{whose} is {record.status}: {reason}"
    others = [_named(each.record) for each in group[1:] if each.record.distribution == record.distribution]
    return f"{reason}; likewise {', '.join(others)}" if others else reason


def _named(record: PluginRecord) -> str:
    return f"{record.kind.replace('_', ' ')} {record.name!r}"


def _problem(kind: str, problem: Problem) -> None:
    _tell(kind, problem.message, problem.where, [problem.hint] if problem.hint else [])


def _tell(kind: str, message: str, where: str | None, cures: list[str]) -> None:
    place = f"{where}: " if where else ""
    print(indented(f"{kind}: {place}{message}"))
    for cure in cures:
        print(f"    {indented(cure)}")
