"""The command ``why``: which job plugin is used, or why none is, and every decision that led to it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from aiflow_ext.cli.escape import indented, one_line
from aiflow_ext.cli.output import print
from aiflow_ext.translate.project_root import WORKFLOW_PY

if TYPE_CHECKING:
    from aiflow_ext.host.decisions import Decision


def show_why(platform: str, engine: str, *, limit: float | None, as_json: bool, **options: Any) -> int:
    """``aiflow-ext why PLATFORM ENGINE``, or ``why PROJECT JOB``; returns the exit code that ``run`` would end with.

    Args:
        platform: a platform's name, or a project's folder.
        engine: an engine's name, or a job's key.
        limit: seconds that loading the plugin may take; None: read metadata only.
        as_json: print JSON.
        options: of planning the project.
    """
    if os.sep in platform or os.path.exists(os.path.join(platform, WORKFLOW_PY)):
        return _show_job(platform, engine, limit, as_json, options)
    if any(options.values()):
        raise click.UsageError(f"these options are about a project's jobs: {platform} has no workflow.py")
    from aiflow_ext.host.host import PluginHost

    found = PluginHost().why(platform, engine, limit=limit)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        for line in found.lines():
            print(indented(line))
        _print_decisions(found.decisions)
    return found.exit_code


def _show_job(project: str, job: str, limit: float | None, as_json: bool, options: dict[str, Any]) -> int:
    from aiflow_ext.run.operations.why import why_job

    found = why_job(project, job, limit=limit, **options)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
        return found.exit_code
    for line in found.plugin.lines() if found.plugin is not None else ():
        print(indented(line))
    for problem in found.problems:
        print(indented(str(problem)))
    _print_decisions(found.decisions)
    return found.exit_code


def _print_decisions(decisions: Sequence[Decision]) -> None:
    width = max((len(each.about) for each in decisions), default=0)
    for number, each in enumerate(decisions, 1):
        print(one_line(f"{number:3} {each.about:{width}}  {each.words}"))
