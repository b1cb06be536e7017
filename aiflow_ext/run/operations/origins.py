"""Where the settings of a run's jobs are from, by the run's own copy of the files and the options that it was given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import AiflowError, shown_path
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.translate.config import load_workflow_config
from aiflow_ext.translate.profiles import laid_over, user_config
from aiflow_ext.translate.project import load_project
from aiflow_ext.translate.project_root import PROJECT_YAML, WORKFLOW_YAML
from aiflow_ext.translate.yaml_source import Located, read_yaml

_MISSING = object()
Place = Callable[[str, Sequence[Any]], "str | None"]


def origins(record: RunRecord, code: Path | None, options: Mapping[str, Any], jobs: Mapping[str, Any]) -> Place:
    """What tells, of a job and a path in its config, ``file:line`` or the option that the value there is from.

    It is None where that is not known. A file of which the run has no copy is named without the line, as it may have
    changed since.

    Args:
        record: the run's.
        code: the folder that has its copy of the project's files; None where it has none.
        options: the run's, as they are stored.
        jobs: by job, its config as it was written.
    """
    if code is None:
        return lambda job, path: None
    files = _Files(code, Path(record.project))
    try:
        config = load_workflow_config(
            files.copied(WORKFLOW_YAML), options.get("sets", ()), options.get("params", ()), [], dict.fromkeys(jobs),
            user=user_config(), over=[*files.profile(options.get("profile")), *files.given(options)],
        )  # fmt: skip
    except AiflowError:
        return lambda job, path: None

    def where(job: str, path: Sequence[Any]) -> str | None:
        if _at(config.layered(job).value, path) != _at(jobs[job], path):  # kept from before an update of the run
            return None
        place = config.where(job, *path)
        return place if place.startswith("-") else files.named(place)

    return where


class _Files:
    """The files that a run's config was read from: the run's copy of each, else the file as it is today."""

    def __init__(self, code: Path, root: Path) -> None:
        self._code, self._root = code, root
        self._names: dict[str, str] = {}  # by what messages call a file: its name in the project
        self._copied: set[str] = set()

    def named(self, place: str) -> str:
        """``file:line`` with the file's name in the project; the name alone of one that may have changed since."""
        file, _, line = place.rpartition(":")
        name = self._names.get(file, file)
        return f"{name}:{line}" if file in self._copied else name

    def copied(self, name: str) -> Path | None:
        """The run's copy of a file of the project; None where it has none."""
        path = self._code / name
        if name.startswith((os.sep, "..")) or not path.is_file():
            return None
        self._names[shown_path(path)] = name
        self._copied.add(shown_path(path))
        return path

    def profile(self, name: str | None) -> Iterator[Located]:
        """What a profile lays over workflow.yaml."""
        if name is None or self.copied(PROJECT_YAML) is None:
            return
        project = load_project(self._code, [])
        file = project.profiles.get(name)
        if isinstance(file, str) and self.copied(file) is None:
            yield from self._today(self._root / file, file)
        else:
            yield from laid_over(project, name, [], [])

    def given(self, options: Mapping[str, Any]) -> Iterator[Located]:
        """What the files of ``--config`` lay over that."""
        for path in options.get("config", ()):
            inside = os.path.relpath(path, self._root)
            name = path if inside.startswith("..") else inside
            copy = self.copied(name)
            yield from self._today(Path(path), name) if copy is None else [read_yaml(copy, [])]

    def _today(self, path: Path, name: str) -> Iterator[Located]:
        self._names[shown_path(path)] = name
        with contextlib.suppress(AiflowError):  # it is gone
            yield read_yaml(path, [])


def _at(settings: Any, path: Sequence[Any]) -> Any:
    for key in path:
        settings = settings.get(key, _MISSING) if isinstance(settings, Mapping) else _MISSING
    return settings
