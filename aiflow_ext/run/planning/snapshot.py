"""A run's own copy of its project's files, so that its jobs run from the files as they were when the run started."""

from __future__ import annotations

import logging
import os
from pathlib import Path

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
        raise StateError(
            f"the project's files cannot be copied into the run's folder: {error.strerror}",
            where=str(error.filename or home),
            hint="make room or give permission there, or name another folder for state: AIFLOW_STATE=/path",
        ) from error
    finally:
        if os.path.lexists(made):
            import shutil

            shutil.rmtree(made, ignore_errors=True)


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


def replace_files(plan: Plan, home: Path) -> None:
    """Copy the project's files into the run's folder again, instead of the copy that is there.

    Raises StateError if they cannot be written there: then the copy that was there still is.
    """
    import shutil

    before = home / ".replaced"
    shutil.rmtree(before, ignore_errors=True)
    before.mkdir()
    there = [name for name in (WHOLE, CONFIG) if (home / name).is_dir()]
    try:
        for name in there:
            (home / name).rename(before / name)
        keep_files(plan, home)
    except BaseException:
        for name in there:
            if (before / name).is_dir() and not (home / name).exists():
                (before / name).rename(home / name)
        raise
    finally:
        shutil.rmtree(before, ignore_errors=True)


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
