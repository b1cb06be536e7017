"""A project's files: which of them belong to what its jobs run from, and their content."""

from __future__ import annotations

import errno
import fnmatch
import heapq
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from weakref import WeakKeyDictionary

from aiflow_ext.model.errors import CodeError, Problem
from aiflow_ext.model.project import ProjectDesc

# Never part of a project: version control, caches, environments, our own state.
LEFT_OUT = (".git", ".hg", ".svn", "__pycache__", "*.py[co]", ".aiflow", ".mypy_cache", ".ruff_cache", ".pytest_cache",
            ".ipynb_checkpoints", ".DS_Store", "node_modules", "*.egg-info", ".tox", ".nox")  # fmt: skip
# Files of this machine that hold secrets by custom, and those that show only what stands in one of them.
PRIVATE = (".env", ".env.*", ".envrc", ".netrc")
EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist")
LIMIT = 512 * 2**20  # bytes of all files together; what is larger belongs in storage, not in an archive

# One scan for each loaded project: a later load of the same folder, after an edit, is scanned again.
_scanned: WeakKeyDictionary[ProjectDesc, ProjectFiles] = WeakKeyDictionary()


def files_of(desc: ProjectDesc) -> ProjectFiles:
    """The project's files. Raises CodeError that names every file that cannot be sent."""
    if desc not in _scanned:
        _scanned[desc] = ProjectFiles(desc)
    return _scanned[desc]


class ProjectFiles:
    """The files that travel with a project's jobs.

    Attributes:
        root: the project's folder.
        files: name in the project and path on this machine of each file, sorted.
        links: name in the project of each symbolic link, and where it leads to, sorted.
        withheld: name in the project of each file and folder that is left out because it may hold secrets, sorted.
        size: bytes of all files together.
    """

    def __init__(self, desc: ProjectDesc) -> None:
        """Scan the project. Raises CodeError that names every file that cannot be sent."""
        self.root = Path(desc.root).resolve()
        self.files: list[tuple[str, Path]] = []
        self.links: list[tuple[str, str]] = []
        self.withheld: list[str] = []
        self.size = 0
        largest: list[tuple[int, str]] = []
        problems: list[Problem] = []
        links: list[tuple[str, Path]] = []
        for name, entry in self._walk(desc, problems):
            if entry.is_symlink():
                links.append((name, Path(entry.path)))
                continue
            size = entry.stat().st_size
            self.size += size
            largest = heapq.nlargest(3, [*largest, (size, name)])
            self.files.append((name, Path(entry.path)))
        if links:
            kept = {str(part) for name, _ in self.files for part in (PurePosixPath(name), *PurePosixPath(name).parents)}
            for name, path in links:
                self._link(name, path, kept, problems)
        if self.size > LIMIT:
            named = ", ".join(f"{name} ({size / 2**20:.0f} MB)" for size, name in largest)
            problems.append(
                Problem(
                    f"the project's files are {self.size / 2**20:.0f} MB together, the limit is {LIMIT // 2**20} MB; "
                    f"the largest: {named}",
                    str(self.root),
                    "name them under exclude in project.yaml and let the job read them from where they are stored",
                )
            )
        if problems:  # before any file is read
            raise CodeError("the project cannot travel", problems=problems)
        self.files.sort()
        self.links.sort()
        self.withheld.sort()
        self._digests: dict[str, str] = {}

    def _walk(self, desc: ProjectDesc, problems: list[Problem]) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Each file and link to be sent: its name in the project, and the entry."""
        left_out, private = _matcher([*LEFT_OUT, *desc.exclude]), _matcher(PRIVATE)
        wanted, secrets = _matcher([*EXAMPLES, *desc.include]), set(desc.secret_files)
        artifacts = str(Path(desc.artifacts).resolve()) if desc.artifacts and "://" not in desc.artifacts else None
        folders = [""]
        while folders:
            folder = folders.pop()
            here = os.path.join(self.root, folder)
            try:
                with os.scandir(here) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError as error:
                problems.append(Problem(f"cannot be read: {error.strerror}", here, "exclude it in project.yaml"))
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if left_out(entry.name) or left_out(name) or entry.path == artifacts:
                    continue
                if (private(entry.name) or name in secrets) and not (wanted(entry.name) or wanted(name)):
                    if not (entry.is_dir() and _is_environment(entry.path)):
                        self.withheld.append(name)
                    continue
                if entry.is_symlink():
                    yield name, entry
                elif entry.is_dir():
                    if not _is_environment(entry.path):
                        folders.append(name)
                elif not entry.is_file():
                    problems.append(Problem("is no file, folder or link", entry.path, "exclude it in project.yaml"))
                elif not os.access(entry.path, os.R_OK):
                    problems.append(Problem("cannot be read: no permission", entry.path, "exclude it in project.yaml"))
                else:
                    yield name, entry

    def _link(self, name: str, path: Path, kept: set[str], problems: list[Problem]) -> None:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            to, code = os.readlink(path), getattr(error, "errno", None)
            if isinstance(error, RuntimeError) or code == errno.ELOOP:  # which of the two depends on the Python
                what = f"a link to {to} that leads round in a circle"
            elif code == errno.ENOENT:
                what = f"a link to {to}, which is not there"
            else:
                what = f"a link to {to}, which cannot be read: {getattr(error, 'strerror', error)}"
            problems.append(Problem(what, str(path), "remove it, or exclude it in project.yaml"))
            return
        if not target.is_relative_to(self.root):
            what = f"a link out of the project, to {target}: it would lead nowhere in a job"
            problems.append(Problem(what, str(path), "copy what it leads to into the project, or exclude the link"))
            return
        inside = target.relative_to(self.root).as_posix()
        if inside != "." and inside not in kept:
            what = f"a link to {inside}, which is left out: it would lead nowhere in a job"
            problems.append(Problem(what, str(path), "exclude the link too, or let both travel"))
            return
        self.links.append((name, os.path.relpath(target, path.parent)))

    def digest(self, name: str, path: Path) -> str:
        """The sha256 of a file's content; read once."""
        if name not in self._digests:
            import hashlib

            content = hashlib.sha256()
            with open(path, "rb") as file:
                while chunk := file.read(1 << 20):
                    content.update(chunk)
            self._digests[name] = content.hexdigest()
        return self._digests[name]

    def move_to(self, folder: Path) -> None:
        """From now on, have the files come from a copy that :meth:`copy_to` has made."""
        self.root = folder.resolve()
        self.files = [(name, self.root / name) for name, _ in self.files]

    def copy_to(self, folder: Path) -> None:
        """Copy every file and link below ``folder``, with the files' times."""
        import shutil

        folder.mkdir(parents=True, exist_ok=True)
        for name, path in self.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            shutil.copystat(path, target)
            target.chmod(mode_of(path))
        for name, to in self.links:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(to)


def secret_files(root: str, config: Any) -> list[str]:
    """The names in a project of the files that secrets in a config are read from: ``{secret: "file:PATH"}``.

    Args:
        root: the project's folder.
        config: plain data, searched as deep as it goes. A relative PATH is one of the current folder, as it is when the
            secret is read, or of the project.
    """
    found: set[str] = set()
    parts, home = [config], os.path.realpath(root)
    while parts:
        part = parts.pop()
        if type(part) is dict or isinstance(part, Mapping):  # isinstance asks the abstract class, which is slow
            parts += part.values()
            source, _, path = str(part.get("secret", "")).partition(":")
            if source == "file" and path:
                for base in (os.getcwd(), home):
                    there = os.path.join(base, os.path.expanduser(path))
                    folder, name = os.path.split(os.path.normpath(there))
                    # The file, and a link to it that has the name.
                    found |= {os.path.realpath(there), os.path.join(os.path.realpath(folder), name)}
        elif isinstance(part, (list, tuple)):
            parts += part
    inside = (os.path.relpath(path, home) for path in found if path.startswith(f"{home}{os.sep}"))
    return sorted(name for name in inside if os.path.lexists(os.path.join(home, name)))


def _matcher(patterns: Iterable[str]) -> Callable[[str], object]:
    """Whether any of the glob patterns fits; one regular expression, because a project may have many files."""
    cleaned = [pattern.removeprefix("./").strip("/") for pattern in patterns]
    cleaned += [pattern[3:] for pattern in cleaned if pattern.startswith("**/")]  # any depth, and none
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in cleaned)).match


def _is_environment(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, mark)) for mark in ("pyvenv.cfg", "conda-meta"))


def mode_of(path: Path) -> int:
    return 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
