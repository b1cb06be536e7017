"""A project: the folder that holds a workflow and the team's own code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiflow_ext.model.jsonable import Jsonable


class ProjectDesc(Jsonable):
    """What a job plugin gets to know about the project.

    Args:
        name: the project's name; the folder's name by default.
        root: absolute path of the project's folder.
        python_paths: folders put first on ``sys.path`` of python jobs, relative to ``root``.
        artifacts: the fsspec URL (or local path) under which artifacts are kept.
        exclude: glob patterns of files that the project archive leaves out.
        resources: further files by name, as local paths; for callers that build a ProjectDesc themselves.
        include: glob patterns of files that the archive has though they may hold secrets, as ``.env`` does.
        secret_files: names in the project of files whose text secrets are; the archive leaves them out.
    """

    def __init__(
        self,
        name: str = "",
        root: str = ".",
        python_paths: Sequence[str] = (".",),
        artifacts: str = "",
        exclude: Sequence[str] = (),
        resources: Mapping[str, str] | None = None,
        include: Sequence[str] = (),
        secret_files: Sequence[str] = (),
    ) -> None:
        self.name, self.root, self.artifacts = name, root, artifacts
        self.python_paths, self.exclude = tuple(python_paths), tuple(exclude)
        self.resources = dict(resources or {})
        self.include, self.secret_files = tuple(include), tuple(secret_files)
