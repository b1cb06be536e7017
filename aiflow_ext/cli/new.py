"""The commands ``new plugin`` and ``new workflow``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiflow_ext.cli.escape import one_line
from aiflow_ext.cli.output import print
from aiflow_ext.model.errors import StateError
from aiflow_ext.scaffold.write import new_engine, new_extension, new_plugin, new_workflow


def write_plugin(names: Sequence[str], *, nine: bool, kind: str, into: str | None) -> int:
    """``aiflow-ext new plugin``.

    Args:
        names: ``PLATFORM.ENGINE`` for each job plugin, or the name of the extension or engine.
        nine: by the nine methods alone.
        kind: ``plugin``, ``extension`` or ``engine``.
        into: the folder; None for one of the distribution's name.
    """
    folder = None if into is None else Path(into)
    try:
        if kind == "plugin":
            made = new_plugin(names, folder, nine=nine)
        else:
            made = (new_engine if kind == "engine" else new_extension)(names[0], folder)
    except OSError as error:
        raise _unwritable(error) from error
    _tell(made, 'pip install --editable ".[test]"', "aiflow-ext plugins", "pytest")
    return 0


def write_workflow(name: str, *, into: str | None) -> int:
    """``aiflow-ext new workflow``."""
    try:
        made = new_workflow(name, None if into is None else Path(into))
    except OSError as error:
        raise _unwritable(error) from error
    _tell(made, "aiflow-ext run .", "aiflow-ext artifacts latest")
    return 0


def _unwritable(error: OSError) -> StateError:
    return StateError(f"it cannot be written: {error.strerror}", where=str(error.filename), hint="--into FOLDER")


def _tell(made: Path, *commands: str) -> None:
    print(f"{one_line(str(made))} is written. In that folder:")
    for command in commands:
        print(f"    {command}")
