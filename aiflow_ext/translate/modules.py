"""Where a job will find a module that this process has loaded, if at all. Nothing is imported to find out."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from aiflow_ext.model.own_imports import without_project

_SENT_ALONG = ("aiflow_ext", "cloudpickle")


class Modules:
    """What a job of the project in ``root`` can import.

    Args:
        root: the project's folder.
        python_paths: what jobs put first on ``sys.path``, relative to ``root``.
        workflow: the name of the module of workflow.py, which jobs have in any case, whatever it imports.
    """

    def __init__(self, root: Path, python_paths: Sequence[str], workflow: str | None = None) -> None:
        self.root, self.workflow = root.resolve(), workflow
        self.paths = [Path(os.path.normpath(self.root / path)) for path in python_paths]
        self._told: dict[str, tuple[str, str] | None] = {}

    def missing(self, name: str) -> tuple[str, str] | None:
        """Why a job cannot import the loaded module ``name``, and what mends it; None where it can.

        A module of the project is looked into: what it imports at its top must be there too.
        """
        if name not in self._told:
            self._told[name] = self._look(name)
        return self._told[name]

    def is_own(self, module: ModuleType) -> bool:
        """Whether a loaded module is one of the project's."""
        file = file_of(module)
        return file is not None and Path(file).resolve().is_relative_to(self.root) and not is_installed(file)

    def _look(self, name: str) -> tuple[str, str] | None:
        for each in self._with_imports(name):
            module = sys.modules.get(each) if each != self.workflow else None
            lacks = self._missing(module) if module is not None else None
            if lacks is not None:
                by = "" if each == name else f" (module {name!r} needs it)"
                return f"needs the module {each!r} ({file_of(module)}), {lacks[0]}{by}", lacks[1]
        return None

    def _missing(self, module: ModuleType) -> tuple[str, str] | None:
        file, name = file_of(module), module.__name__
        if file is None or is_installed(file) or name.partition(".")[0] in _SENT_ALONG:
            return None  # built in, or made by what is installed, or part of every bundle
        # By the path that it was imported by: a file or folder that is a link has two names, and both are right.
        path = Path(os.path.normpath(file))
        if not path.is_relative_to(self.root):
            path = path.resolve()
        if not path.is_relative_to(self.root):
            if _found_afresh(name.partition(".")[0], path):
                return None
            hint = "move it into the project (python_paths in project.yaml says where jobs look), or install it"
            return "which is neither in the project nor installed: no job can import it", hint
        found = [self._name_in(folder, path) for folder in (*self.paths, self.root) if path.is_relative_to(folder)]
        if name in found[:-1]:
            return None
        words = "which is in the project but not where its jobs look"
        in_root = found[-1]
        if not f".{in_root}".endswith(f".{name}"):  # loaded by hand, under a name of its own
            return words, f"import it by the name of its file, {in_root}"
        folder = in_root[: -len(name)].rstrip(".").replace(".", "/") or "."
        return words, f"add {folder!r} to python_paths in project.yaml"

    @staticmethod
    def _name_in(folder: Path, path: Path) -> str:
        parts = list(path.relative_to(folder).parts)
        if parts and not path.is_dir():
            parts[-1] = parts[-1].partition(".")[0]
            if parts[-1] == "__init__":
                parts.pop()
        return ".".join(parts)

    def _with_imports(self, name: str) -> Iterator[str]:
        """``name``, its packages, and all that modules of the project among them import at their top."""
        queue, seen = [name], set[str]()
        while queue:
            each = queue.pop()
            while each and each not in seen:
                seen.add(each)
                yield each
                file = file_of(sys.modules.get(each)) if each != self.workflow else None
                if file and file.endswith(".py") and Path(file).resolve().is_relative_to(self.root):
                    queue += _imports(file, each, os.path.basename(file) == "__init__.py")
                each = each.rpartition(".")[0]


def is_installed(file: str) -> bool:
    """Whether ``file`` is the standard library's, or of an installed distribution."""
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in _installed_folders()) or any(
        part in ("site-packages", "dist-packages") for part in path.parts
    )


@lru_cache(maxsize=1)
def _installed_folders() -> tuple[Path, ...]:
    with without_project():
        import sysconfig

        paths = sysconfig.get_paths()
    return tuple(Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib"))


def file_of(module: ModuleType | None) -> str | None:
    """A module's file; a namespace package's first folder."""
    file = getattr(module, "__file__", None)
    if file is None and getattr(module, "__spec__", None) is not None:
        try:
            file = next(iter(getattr(module, "__path__", ())), None)
        except KeyError:  # its parent has been forgotten
            return None
    return file


@lru_cache(maxsize=256)
def _found_afresh(top: str, path: Path) -> bool:
    """Whether a fresh interpreter finds ``path`` under that name: editable installs and .pth files lead anywhere."""
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.find_spec(sys.argv[1])\n"
        "print(*(spec.submodule_search_locations or [spec.origin]) if spec else (), sep='\\0', end='')"
    )
    with without_project():
        import subprocess

    # In the root folder: "-c" puts the current one on the path.
    done = subprocess.run([sys.executable, "-c", code, top], cwd="/", capture_output=True, text=True, check=False)
    return any(path.is_relative_to(Path(found).resolve()) for found in done.stdout.split("\0") if found)


def _imports(file: str, name: str, is_package: bool) -> list[str]:
    """The modules that a source file imports whenever it is imported: not in a function, nor in a ``try``."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    package = name if is_package else name.rpartition(".")[0]
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in sys.modules)]
    return found
