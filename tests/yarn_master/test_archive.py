"""The application master as one file: the same each time, and for nodes with an old Python."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from aiflow_ext_yarn.master import archive
from aiflow_ext_yarn.master._archive import build

OLD = [(3, 6), (3, 7), (3, 8), (3, 9)]


def sources() -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(archive())) as file:
        return {name: file.read(name).decode() for name in file.namelist()}


def test_it_is_the_same_each_time() -> None:
    first = archive()
    build.cache_clear()
    assert archive() == first
    assert len(first) < 40_000


@pytest.mark.parametrize("version", OLD)
def test_old_pythons_can_parse_it(version: tuple[int, int]) -> None:
    for name, source in sources().items():
        ast.parse(source, name, feature_version=version)


def test_nothing_is_annotated() -> None:
    """Old Pythons evaluate annotations, and do not know what ours are made of."""
    for name, source in sources().items():
        for node in ast.walk(ast.parse(source, name)):
            assert not isinstance(node, ast.AnnAssign), name
            assert getattr(node, "annotation", None) is None, name
            assert getattr(node, "returns", None) is None, name


def test_it_needs_the_standard_library_alone() -> None:
    for name, source in sources().items():
        for node in ast.walk(ast.parse(source, name)):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [str(node.module)]
            for module in modules:
                top = module.partition(".")[0]
                assert top in sys.stdlib_module_names or top.startswith("aiflow_ext"), (name, module)


def test_it_runs(tmp_path: Path) -> None:
    (tmp_path / "am.pyz").write_bytes(archive())
    interpreters = [Path(sys.executable)]
    for old in OLD:
        interpreters += sorted(Path.home().glob(f".pyenv/versions/{old[0]}.{old[1]}.*/bin/python3"))
    for python in interpreters:
        call = [str(python), "-S", "-E", "am.pyz", "--logs", "."]
        done = subprocess.run(call, cwd=tmp_path, env={}, capture_output=True, text=True)
        assert done.returncode == 64, done.stderr
        assert done.stderr == "aiflow-ext: the application master cannot begin: 'HADOOP_TOKEN_FILE_LOCATION'\n"
