"""What to do about an exception that a user's code raised while workflow.py was imported or its graph built."""

from __future__ import annotations

import builtins
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from aiflow_ext.model.spelling import near

if TYPE_CHECKING:
    from aiflow_ext.translate.project import Project

_STANDS_FOR = re.compile(r"\b(AINode|NodeOutput|OutputFile)\b")
_PROPERTY = re.compile(r"\bPropertyRef\b")
_BY_POSITION = re.compile(r"^cmd\(\) takes 1 positional argument but \d+ were given$")
_NO_NAME = re.compile(r"^cannot import name '(\w+)' from '([\w.]+)'")


def cure(error: BaseException, project: Project) -> str | None:
    """A hint for the author of the code, or None."""
    if isinstance(error, ModuleNotFoundError):
        hint = (
            f"install what brings the module {error.name!r}, or add the folder that holds it to python_paths in "
            "project.yaml"
        )
        meant = near(str(error.name), _modules(project))
        return f"{meant} Otherwise {hint}" if meant else hint
    if isinstance(error, (TypeError, AttributeError, ValueError)) and _STANDS_FOR.search(str(error)):
        return (
            "a node stands for a value that is not there while the graph is built: do this in a function that gets it, "
            "af.python(function, node)"
        )
    if isinstance(error, (TypeError, AttributeError, ValueError)) and _PROPERTY.search(str(error)):
        return (
            'af.property("lr") stands for a value of the job\'s config that is not there while the graph is built: '
            'compute in the function that gets it; of a mapping, af.property("optimizer.rate") names what is in it'
        )
    if isinstance(error, TypeError) and _BY_POSITION.match(str(error)):
        return "what a command uses is given by keyword: af.cmd('cat {data}', data=node)"
    return _misspelt(error)


def _misspelt(error: BaseException) -> str | None:
    """The names that are near to one that is not there."""
    if isinstance(error, AttributeError) and error.name:
        return near(error.name, _public(dir(error.obj)))
    if isinstance(error, NameError) and error.name:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            frame = trace.tb_frame
            return near(error.name, {**vars(builtins), **frame.f_globals, **frame.f_locals})
    if isinstance(error, ImportError) and (matched := _NO_NAME.match(str(error))):
        return near(matched[1], _public(vars(sys.modules.get(matched[2], builtins))))
    return None


def _public(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def _modules(project: Project) -> list[str]:
    """The modules in the project's own folders."""
    folders = [Path(project.desc.root, folder) for folder in project.desc.python_paths]
    files = [file for folder in folders for file in folder.glob("*") if file.stem.isidentifier()]
    return [file.stem for file in files if file.suffix == ".py" or os.path.isfile(file / "__init__.py")]
