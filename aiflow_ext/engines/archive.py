"""The project archive: which files of a project travel, under one content address."""

from __future__ import annotations

import errno
import fnmatch
import gzip
import hashlib
import heapq
import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

import aiflow_ext
from aiflow_ext.model.errors import CodeError, Problem
from aiflow_ext.model.project import ProjectDesc

# Never part of a project: version control, caches, environments, our own state.
LEFT_OUT = (".git", ".hg", ".svn", "__pycache__", "*.py[co]", ".aiflow", ".mypy_cache", ".ruff_cache", ".pytest_cache",
            ".ipynb_checkpoints", ".DS_Store", "node_modules", "*.egg-info", ".tox", ".nox")  # fmt: skip
LIMIT = 512 * 2**20  # bytes of all files together; what is larger belongs in storage, not in an archive
_BOOTSTRAP = """\
\"\"\"Starts a python job: by the installed aiflow_ext where it is the sender's version, else by the one sent.\"\"\"
import os
import sys

if __name__ == "__main__":  # a child that multiprocessing spawns imports this file too
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.version_info < (3, 10):
        sys.exit("aiflow-ext: a job needs python 3.10 or newer; %s is %s" % (sys.executable, sys.version.split()[0]))
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(here):  # not so under python -I
        del sys.path[0]
    try:
        import aiflow_ext
        installed = aiflow_ext.__version__ == {version!r}
    except (ImportError, AttributeError):
        installed = False
    if installed:
        sys.path.append(here)
    else:
        for name in [name for name in sys.modules if name.partition(".")[0] == "aiflow_ext"]:
            del sys.modules[name]
        sys.path.insert(0, here)
    from aiflow_ext.engines.runner import main
    main(sys.argv[1])
"""


class ProjectArchive:
    """The files that python jobs of a project need: the project under ``project/``, our runner under ``runtime/``.

    Attributes:
        sha256: the content address: of every file's name, mode and content. The same project gives the same one.
        size: bytes of all files together.
        files: what the archive holds: (name in the archive, path on this machine), sorted.
    """

    def __init__(self, desc: ProjectDesc) -> None:
        """Scan the project. Raises CodeError that names every file that cannot travel."""
        self.root = Path(desc.root).resolve()
        self.files: list[tuple[str, Path]] = []
        self.links: list[tuple[str, str]] = []
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
            self.files.append((f"project/{name}", Path(entry.path)))
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
        self.files += _runtime_files()
        self.files.sort()
        self.links.sort()
        self.sha256 = self._digest()

    def home(self, folder: Path) -> Path:
        """Where :meth:`copy_to` puts the archive's content below ``folder``."""
        return folder / self.sha256[:16]

    def _walk(self, desc: ProjectDesc, problems: list[Problem]) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Each file and link that is to travel: its name in the project, and the entry."""
        left_out = _matcher([*LEFT_OUT, *desc.exclude])
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
        if inside != "." and f"project/{inside}" not in kept:
            what = f"a link to {inside}, which is left out: it would lead nowhere in a job"
            problems.append(Problem(what, str(path), "exclude the link too, or let both travel"))
            return
        self.links.append((f"project/{name}", os.path.relpath(target, path.parent)))

    def _digest(self) -> str:
        whole = hashlib.sha256(_bootstrap().encode())
        for name, path in self.files:
            with open(path, "rb") as file:
                content = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    content.update(chunk)
            whole.update(f"{name}\0{_mode(path):o}\0{content.hexdigest()}\n".encode("utf-8", "surrogateescape"))
        for name, target in self.links:
            whole.update(f"{name}\0link\0{target}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def copy_to(self, folder: Path) -> Path:
        """The archive's content in :meth:`home`, made there unless it is already. Returns that path.

        Complete or absent: it is made under another name and renamed.
        """
        home = self.home(folder)
        if home.is_dir():
            return home
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder))
        try:
            made.chmod(0o755)
            for name, path in self.files:
                target = made / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                target.chmod(_mode(path))
            for name, to in self.links:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).symlink_to(to)
            (made / "project").mkdir(exist_ok=True)
            (made / "runtime" / "run_job.py").write_text(_bootstrap())
            try:
                made.rename(home)
            except OSError:
                if not home.is_dir():  # else another process was quicker
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return home

    def write(self, path: Path) -> None:
        """Write the archive as a gzipped tar: the same content gives the same bytes."""
        import io

        level = 6 if self.size < 16 * 2**20 else 1
        with (
            open(path, "wb") as raw,
            gzip.GzipFile("", "wb", level, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, source in self.files:
                info = tarfile.TarInfo(name)
                info.size, info.mode = source.stat().st_size, _mode(source)
                with open(source, "rb") as file:
                    tar.addfile(info, file)
            for name, target in self.links:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, target
                tar.addfile(info)
            info, text = tarfile.TarInfo("runtime/run_job.py"), _bootstrap().encode()
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))


def _matcher(patterns: Iterable[str]) -> Callable[[str], object]:
    """Whether any of the glob patterns fits; one regular expression, because a project may have many files."""
    cleaned = [pattern.removeprefix("./").strip("/") for pattern in patterns]
    cleaned += [pattern[3:] for pattern in cleaned if pattern.startswith("**/")]  # any depth, and none
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in cleaned)).match


def _is_environment(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, mark)) for mark in ("pyvenv.cfg", "conda-meta"))


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644


def _bootstrap() -> str:
    return _BOOTSTRAP.format(version=aiflow_ext.__version__)


def _runtime_files() -> list[tuple[str, Path]]:
    """What a job's python needs and may not have installed: the runner, the model, cloudpickle (all pure Python)."""
    import cloudpickle

    ours = Path(aiflow_ext.__file__).parent
    found = [*ours.glob("*.py"), *ours.glob("model/*.py"), ours / "engines/__init__.py", ours / "engines/runner.py",
             ours / "engines/artifacts.py", ours / "engines/command.py", ours / "engines/quoting.py",
             ours / "engines/folders.py"]  # fmt: skip
    files = [(f"runtime/aiflow_ext/{path.relative_to(ours).as_posix()}", path) for path in found]
    theirs = Path(cloudpickle.__file__).parent
    return files + [(f"runtime/cloudpickle/{path.name}", path) for path in theirs.glob("*.py")]
