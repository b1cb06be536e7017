"""The command ``config show``: settings as YAML, with the origin of each."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from aiflow_ext.cli.escape import one_line
from aiflow_ext.cli.output import print
from aiflow_ext.run.operations.settings import Setting, show
from aiflow_ext.translate.yaml_source import plain_scalar

# Text that needs no quotes, wherever it stands, unless it is a word of YAML's or a number.
_PLAIN = r"[\w/.][\w./+=@%-]*([ :][\w./+=@%-]+)*"


def show_config(project: str | None, job: str | None, *, origin: bool, as_json: bool, **options: Any) -> int:
    """``aiflow-ext config show``.

    Args:
        project: the project's folder; None: only the environment.
        job: the only job to show; None for all.
        origin: whether each line says where its setting comes from.
        as_json: print JSON, which always says so.
        options: of planning the project.
    """
    found = show(project, job, **options)
    if as_json:
        data = {
            "environment": [each.to_dict() for each in found.environment],
            "project": None if found.project is None else [each.to_dict() for each in found.project],
            "jobs": {name: [each.to_dict() for each in settings] for name, settings in found.jobs.items()},
            "remark": found.remark,
        }
        print(json.dumps(data, indent=1))
        return 0
    settings: list[Setting] = []
    if job is None:
        settings += [each._replace(path=("environment", *each.path)) for each in found.environment]
        settings += [each._replace(path=("project", *each.path)) for each in found.project or ()]
    for name, each_job in found.jobs.items():
        settings += [each._replace(path=("jobs", name, *each.path)) for each in each_job]
    _print_yaml(settings, origin=origin)
    if found.remark is not None:
        print(one_line(found.remark), file=sys.stderr)
    return 0


def _print_yaml(settings: Sequence[Setting], *, origin: bool) -> None:
    """Print settings whose paths are those of one YAML document."""
    lines: list[tuple[str, str]] = []
    before: tuple[str | int, ...] = ()
    for each in settings:
        *outer, last = each.path
        common = len([*takewhile(lambda pair: pair[0] == pair[1], zip(before, outer, strict=False))])
        for depth in range(common, len(outer)):
            lines.append((f"{'  ' * depth}{_said(outer[depth])}:", ""))
        head = "-" if isinstance(last, int) else f"{_said(last)}:"
        lines.append((f"{'  ' * len(outer)}{head} {_said(each.value)}", each.origin))
        before = tuple(outer)
    width = min(60, max((len(line) for line, _ in lines), default=0))
    for line, words in lines:
        print(one_line(f"{line:{width}}  # {words}" if origin and words else line))


def _said(value: Any) -> str:
    """A value in one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_said(key)}: {_said(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_said, value)) + "]"
    if isinstance(value, str) and re.fullmatch(_PLAIN, value):
        import yaml

        if isinstance(plain_scalar(value, "").value, str) and yaml.safe_load(value) == value:  # of YAML 1.2, and 1.1
            return value
    return json.dumps(value, ensure_ascii=False)
