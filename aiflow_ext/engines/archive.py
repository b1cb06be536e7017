"""The project archive: the files of a project that are sent, content-addressed."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import IO

import aiflow_ext
from aiflow_ext.engines.spawned import MARK
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.translate.files import files_of, mode_of
from aiflow_ext.translate.workflow_name import WORKFLOW, WORKFLOW_ELSEWHERE

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
elif {mark!r} in sys.path:
    from aiflow_ext.engines.spawned import restore
    restore()
"""

# What is imported in a job as the module of workflow.py; in the processes that a job starts by multiprocessing, too.
_WORKFLOW = """\
import os
from aiflow_ext.engines.workflow_module import load
home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
load(__name__, os.path.join(home, "project", "workflow.py"), globals())
"""


class ProjectArchive:
    """The files that python jobs of a project need: the project under ``project/``, our runner under ``runtime/``.

    Attributes:
        sha256: the content address: of every file's name, mode and content. The same project gives the same one.
        size: bytes of all files together.
    """

    def __init__(self, desc: ProjectDesc) -> None:
        """Scan the project. Raises CodeError that names every file that cannot be sent."""
        self._project, self._runtime = files_of(desc), _runtime_files()
        self._listed: tuple[Path, list[tuple[str, Path]]] | None = None
        self.size = self._project.size
        self.links = sorted((f"project/{name}", to) for name, to in self._project.links)
        self.sha256 = self._digest()

    @property
    def files(self) -> list[tuple[str, Path]]:
        """What the archive holds: (name in the archive, path on this machine), sorted."""
        if self._listed is None or self._listed[0] is not self._project.root:  # they may come from a copy by now
            project = [(f"project/{name}", path) for name, path in self._project.files]
            self._listed = self._project.root, sorted(project + self._runtime)
        return self._listed[1]

    def home(self, folder: Path) -> Path:
        """Where :meth:`copy_to` puts the archive's content below ``folder``."""
        return folder / self.sha256[:16]

    def _digest(self) -> str:
        whole = hashlib.sha256("\0".join(_texts().values()).encode())
        for name, path in self.files:
            content = self._project.digest(name, path)
            whole.update(f"{name}\0{mode_of(path):o}\0{content}\n".encode("utf-8", "surrogateescape"))
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
            made.chmod(0o755 | (made.stat().st_mode & stat.S_ISGID))  # what is in it has the group that it has
            for name, path in self.files:
                target = made / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                target.chmod(mode_of(path))
            for name, to in self.links:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).symlink_to(to)
            (made / "project").mkdir(exist_ok=True)
            for name, text in _texts().items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_text(text)
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
        with open(path, "wb") as raw:
            self.pack(raw)

    def pack(self, raw: IO[bytes]) -> None:
        """Write the archive into an open file, as :meth:`write` does."""
        import io

        level = 6 if self.size < 16 * 2**20 else 1
        with (
            gzip.GzipFile("", "wb", level, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, source in self.files:
                info = tarfile.TarInfo(name)
                info.size, info.mode = source.stat().st_size, mode_of(source)
                with open(source, "rb") as file:
                    tar.addfile(info, file)
            for name, target in self.links:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, target
                tar.addfile(info)
            for name, text in _texts().items():
                info, content = tarfile.TarInfo(name), text.encode()
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def _texts() -> dict[str, str]:
    """The files that are made for jobs alone. That for workflow.py is in a folder of its name, first on the path."""
    return {
        "runtime/run_job.py": _BOOTSTRAP.format(version=aiflow_ext.__version__, mark=MARK),
        **{f"runtime/{name}/{name}.py": _WORKFLOW for name in (WORKFLOW, WORKFLOW_ELSEWHERE)},
    }


def _runtime_files() -> list[tuple[str, Path]]:
    """What a job's python needs and may not have installed: the runner, the model, cloudpickle (all pure Python)."""
    import cloudpickle

    ours = Path(aiflow_ext.__file__).parent
    found = [*ours.glob("*.py"), *ours.glob("model/*.py"), ours / "engines/__init__.py", ours / "engines/runner.py",
             ours / "engines/artifacts.py", ours / "engines/command.py", ours / "engines/quoting.py",
             ours / "engines/shells.py", ours / "engines/folders.py", ours / "engines/moved.py",
             ours / "engines/ran_with.py", ours / "engines/debugging.py",
             ours / "engines/workflow_module.py",
             ours / "engines/held_files.py", ours / "engines/pickles.py", ours / "engines/spawned.py",
             ours / "engines/tracebacks.py", ours / "engines/remote_service.py"]  # fmt: skip
    files = [(f"runtime/aiflow_ext/{path.relative_to(ours).as_posix()}", path) for path in found]
    theirs = Path(cloudpickle.__file__).parent
    return files + [(f"runtime/cloudpickle/{path.name}", path) for path in theirs.glob("*.py")]
