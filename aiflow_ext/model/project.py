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
    """

    def __init__(
        self,
        name: str = "",
        root: str = ".",
        python_paths: Sequence[str] = (".",),
        artifacts: str = "",
        exclude: Sequence[str] = (),
        resources: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.root, self.artifacts = name, root, artifacts
        self.python_paths, self.exclude = tuple(python_paths), tuple(exclude)
        self.resources = dict(resources or {})
