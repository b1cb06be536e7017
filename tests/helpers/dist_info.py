"""Distributions for tests: installed in a folder as pip would have done it, or as a wheel."""

from __future__ import annotations

import importlib
import sys
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

EntryPoints = Mapping[str, Mapping[str, str]]


def declared(folder: Path) -> dict[str, Any]:
    """What the pyproject.toml of a distribution's folder says."""
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    said: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    return said


def install(
    site: Path,
    name: str,
    entry_points: EntryPoints | str,
    files: Mapping[str, str | Path] | None = None,
    *,
    version: str = "1.0",
    requires: Sequence[str] = (),
    metadata: str | None = None,
) -> Path:
    """Install a distribution in ``site``, which is made if need be; returns its ``.dist-info`` folder.

    Args:
        site: a folder on the import path.
        name: the distribution's name.
        entry_points: by group (without ``aiflow_ext.``) and name; or entry_points.txt as it is.
        files: its modules by path: their text, which is dedented, or a file to copy.
        version: its version.
        requires: requirements, such as ``aiflow-ext<0.2``.
        metadata: METADATA as it is, in place of what ``name``, ``version`` and ``requires`` make.
    """
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    listed = [f"{info.name}/{file}" for file in ("METADATA", "entry_points.txt", "RECORD")]
    for path, content in (files or {}).items():
        (site / path).write_text(content.read_text() if isinstance(content, Path) else textwrap.dedent(content))
        listed.append(path)
    (info / "METADATA").write_text(metadata_text(name, version, requires) if metadata is None else metadata)
    (info / "entry_points.txt").write_text(entry_points_text(entry_points))
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in listed))
    return info


def wheel(
    folder: Path,
    name: str,
    entry_points: EntryPoints | str,
    files: Mapping[str, str | Path],
    *,
    version: str = "1.0",
    requires: Sequence[str] = (),
) -> Path:
    """A wheel in ``folder`` with the same arguments; returns its path."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    content = {path: text.read_text() if isinstance(text, Path) else text for path, text in files.items()} | {
        f"{info}/METADATA": metadata_text(name, version, requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points_text(entry_points),
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in content.items():
            archive.writestr(inside, text)
    return path


def entry_points_text(groups: EntryPoints | str) -> str:
    """entry_points.txt of these groups of ``aiflow_ext``."""
    if isinstance(groups, str):
        return groups
    return "\n".join(
        f"[aiflow_ext.{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in groups.items()
    )


def metadata_text(name: str, version: str, requires: Sequence[str] = ()) -> str:
    """METADATA, whose description looks like one more requirement."""
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {one}" for one in requires)]
    return "\n".join([*lines, "", "Requires-Dist: aiflow-ext<0.0.1 (this line is the description)", ""])
