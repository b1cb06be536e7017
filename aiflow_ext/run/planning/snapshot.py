"""A run's own copy of its project's files, so that its jobs run from the files as they were when the run started."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import CodeError, StateError
from aiflow_ext.model.graph import AISubGraph, outputs_of
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.files import ProjectFiles, files_of, mode_of
from aiflow_ext.translate.project_root import PROJECT_YAML, WORKFLOW_PY, WORKFLOW_YAML

_log = logging.getLogger("aiflow_ext")
WHOLE, CONFIG = "project", "config"  # in the run's folder: all files, or only the project's own three
OWN = (PROJECT_YAML, WORKFLOW_YAML, WORKFLOW_PY)
_ASIDE = ".next-"  # what the name of a copy begins with that is not in its place yet
_MOST_NAMED = 5


def keep_files(plan: Plan, home: Path) -> None:
    """Copy the project's files into the run's folder, completely or not at all; if no job needs them, only its config.

    Raises StateError if they cannot be written there.
    """
    whole = any(needs_files(job.sub_graph) for job in plan.jobs.values())
    made = home / ".making"
    try:
        if whole:
            files_of(plan.desc).copy_to(made)
        else:
            made.mkdir()
            for name in OWN:
                if os.path.isfile(os.path.join(plan.desc.root, name)):
                    (made / name).write_bytes(Path(plan.desc.root, name).read_bytes())
        made.rename(home / (WHOLE if whole else CONFIG))
        if whole:
            files_of(plan.desc).move_to(home / WHOLE)
    except CodeError as error:  # a file cannot be sent: a plugin that needs no archive works all the same
        _log.debug("no copy of the project's files is kept: %s", error)
    except OSError as error:
        raise _not_copied(error, home) from error
    finally:
        if os.path.lexists(made):
            import shutil

            shutil.rmtree(made, ignore_errors=True)


def _not_copied(error: OSError, home: Path) -> StateError:
    return StateError(
        f"the project's files cannot be copied into the run's folder: {error.strerror}",
        where=str(error.filename or home),
        hint="make room or give permission there, or name another folder for state: AIFLOW_STATE=/path",
    )


def changed_files(desc: ProjectDesc, home: Path) -> list[str]:
    """The names of files that differ between the project as it is now and the run's copy."""
    whole = (home / WHOLE).is_dir()
    copy, now = home / (WHOLE if whole else CONFIG), Path(desc.root)
    if not copy.is_dir() or not now.is_dir():
        return []
    names = set(OWN)
    if whole:
        kept = ProjectDesc(root=str(copy), include=["*"])
        names = set(names_in(kept))
        try:
            names |= set(names_in(desc))
        except CodeError as error:
            _log.debug("the project's files: %s", error)
    return sorted(name for name in names if not _same(now / name, copy / name))


def tell_withheld(plan: Plan) -> None:
    """Say which of the project's files no job gets because they may hold secrets, where jobs get its files at all."""
    if not any(needs_files(job.sub_graph) for job in plan.jobs.values()):
        return
    try:
        withheld = files_of(plan.desc).withheld
    except CodeError:  # as in keep_files
        return
    if withheld:
        _log.warning(
            "jobs get the project's files without %s, which may hold secrets; include in project.yaml names those that "
            "jobs get all the same",
            listed(withheld, _MOST_NAMED),
        )


def copy_aside(plan: Plan, home: Path) -> str:
    """Copy the project's files as they are now into the run's folder, beside the copy that is there.

    Returns what names the new copy for :func:`settle_copies`. Raises StateError if it cannot be written.
    """
    aside = home / f"{_ASIDE}{os.urandom(4).hex()}"
    try:
        aside.mkdir()
        keep_files(plan, aside)
        if not os.listdir(aside):
            (aside / "none").touch()
    except BaseException as error:
        import shutil

        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError):
            raise _not_copied(error, home) from error
        raise
    return aside.name


def settle_copies(home: Path, copy: Any) -> None:
    """Put the copy aside that the run's plan names in the place of the one that was there, and remove others: the
    process that made them was killed. Once that is done, nothing.

    Raises StateError if it cannot be moved there: calling this again goes on with it.
    """
    for aside in home.glob(f"{_ASIDE}*"):
        import shutil

        try:
            made = os.listdir(aside) if aside.name == copy else []
            for name in (WHOLE, CONFIG) if made else ():
                if (home / name).is_dir():
                    shutil.rmtree(home / name)
            for name in {WHOLE, CONFIG}.intersection(made):
                (aside / name).rename(home / name)
            shutil.rmtree(aside)
        except OSError as error:
            raise _not_copied(error, home) from error


def use_own_files(desc: ProjectDesc, home: Path) -> str | None:
    """Make jobs run from the run's own copy, if the project has changed since, or is gone. Returns that in words."""
    changed, gone = changed_files(desc, home), not os.path.isdir(desc.root)
    if not changed and not gone:
        return None
    words = f"the project's folder {desc.root} is gone"
    if changed:
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        words = f"the project has changed since the run was started ({', '.join(changed[:_MOST_NAMED])}{more})"
    if (home / WHOLE).is_dir():
        desc.root = str(home / WHOLE)
    return words


def needs_files(graph: AISubGraph) -> bool:
    """Whether a job may need the project's files: every job but a command that reads and writes no artifact."""
    return bool(graph.inputs) or any(node.kind != "cmd_line" or outputs_of(node) for node in graph.nodes)


def copy_of(home: Path) -> Path | None:
    """The folder in a run's folder that has its copy of the project's files; None where there is none."""
    return next((home / name for name in (WHOLE, CONFIG) if (home / name).is_dir()), None)


def names_in(desc: ProjectDesc) -> list[str]:
    """The names of the project's files and links. Raises CodeError that names every file that cannot be sent."""
    found = ProjectFiles(desc)  # a scan of its own, as the jobs' archive may get the copy as its root
    return [name for name, _ in (*found.files, *found.links)]


def _leads_to(link: Path) -> str:
    return os.path.relpath(os.path.realpath(link), os.path.realpath(link.parent))


def _same(one: Path, other: Path) -> bool:
    """Whether two files (or links) are the same for a job; if both are missing, they are."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and _leads_to(one) == _leads_to(other)
    if not one.is_file() or not other.is_file():
        return one.exists() == other.exists()
    a, b = one.stat(), other.stat()
    if a.st_size != b.st_size or mode_of(one) != mode_of(other):
        return False
    if a.st_mtime_ns == b.st_mtime_ns:
        return True
    import filecmp

    return filecmp.cmp(one, other, shallow=False)
