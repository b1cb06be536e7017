"""The fixture ``aiflow_project``: a project in a folder of its own, whose workflow a test runs in its process."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiflow_ext.api.runs import OpenedRun, open_run
from aiflow_ext.model.errors import ProjectError
from aiflow_ext.run import run_project
from aiflow_ext.translate.files import ProjectFiles
from aiflow_ext.translate.modules import file_of
from aiflow_ext.translate.project import load_project
from aiflow_ext.translate.project_root import WORKFLOW_PY

Files = Mapping[str, str | bytes]


class ProjectOfTest:
    """A project that a test may change.

    Attributes:
        folder: its folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, files: Files) -> ProjectOfTest:
        """Write files, by their path in the project, and return the project. Of text the common indentation is
        removed."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else textwrap.dedent(content).encode()
            path.write_bytes(data)
        return self

    def run(
        self,
        *,
        params: Sequence[str] | Mapping[str, Any] = (),
        sets: Sequence[str] = (),
        workflow: str | None = None,
        config: Sequence[str] = (),
        profile: str | None = None,
        only: Sequence[str] = (),
        check: bool = True,
    ) -> OpenedRun:
        """Run the workflow in this process, and return the run: ``run.jobs["fit"].result``.

        Args:
            params: ``NAME=VALUE`` for each ``-p``, or a mapping of names to values.
            sets: ``JOB.KEY=VALUE`` for each ``--set``.
            workflow: which workflow, if workflow.py has several.
            config: paths of files that are laid over workflow.yaml, for each ``--config``.
            profile: the name of a profile in project.yaml; None by default.
            only: the keys of the jobs to run; what they read of others comes from an earlier run. All by default.
            check: raise RunFailedError with the failed jobs' words, caused by what their code has raised, unless the
                run has finished; True by default.

        Raises AiflowError for a mistake in the project.
        """
        _forget_modules(self.folder)  # it may have been changed since they were imported
        record = run_project(self.folder, params=params, sets=sets, workflow=workflow, config=config, profile=profile,
                             only=only, check=check,
                             in_process=True)  # fmt: skip
        self._let_values_be_read()
        return open_run(record.run_id, self.folder)

    def _let_values_be_read(self) -> None:
        """Let the classes of values be found in the project's modules, where the test itself has no such modules."""
        for path in load_project(self.folder).desc.python_paths:
            if (entry := os.path.normpath(self.folder / path)) not in sys.path:
                sys.path.append(entry)
        importlib.invalidate_caches()


class ProjectMaker:
    """What the fixture gives: makes a project for a test.

    Args:
        home: an empty folder.
        test: the test's file.
    """

    def __init__(self, home: Path, test: Path) -> None:
        self._home, self._test, self._made = home, test, 0

    def __call__(
        self, source: str | os.PathLike[str] | None = None, *, files: Files | None = None, empty: bool = False
    ) -> ProjectOfTest:
        """A project in a new folder.

        Args:
            source: the project whose files are copied, those that jobs get; a relative path begins at the folder of the
                test. By default the project that the test's file is in.
            files: what is written then, by path in the project; nothing by default.
            empty: copy nothing; False by default.

        Raises ProjectError where there is no project to copy.
        """
        self._made += 1
        folder = self._home / str(self._made)
        if empty:
            folder /= "project"
            folder.mkdir(parents=True)
        else:
            theirs = self._around() if source is None else Path(self._test.parent, source)
            project = load_project(theirs)
            folder.mkdir(parents=True)
            folder /= Path(project.desc.root).name
            ProjectFiles(project.desc).copy_to(folder)
        return ProjectOfTest(folder).write(files or {})

    def _around(self) -> Path:
        for folder in self._test.parents:
            if (folder / WORKFLOW_PY).is_file():
                return folder
        words = f"the test is in no project: no folder above it has a {WORKFLOW_PY}"
        hint = "name the project's folder, or write its files: aiflow_project(empty=True, files={...})"
        raise ProjectError(words, where=str(self._test), hint=hint)


@contextmanager
def maker(home: Path, test: Path) -> Iterator[ProjectMaker]:
    """A maker of projects; afterwards ``sys.path`` is as it was, and modules of these projects are forgotten."""
    path, written = list(sys.path), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a file that a test changes may keep its size and its second
    try:
        yield ProjectMaker(home, test)
    finally:
        sys.path[:], sys.dont_write_bytecode = path, written
        _forget_modules(home)


def _forget_modules(folder: Path) -> None:
    for name, module in list(sys.modules.items()):
        file = file_of(module)
        if file is not None and Path(file).is_relative_to(folder):
            del sys.modules[name]
