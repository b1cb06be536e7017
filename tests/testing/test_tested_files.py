"""Which files the kit has tested: those that are installed, and no others that lie about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dist_info import install

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin-nohup"
TEST = "test_the_installed_files_are_tested"


def run(kit_runner: Any, folder: Path) -> Any:
    declared = {"nohup.cmd_line": "aiflow_ext_nohup:NohupJobPlugin"}
    tests = (EXAMPLE / "test_nohup.py").read_text()
    return kit_runner(folder, [EXAMPLE / "aiflow_ext_nohup.py"], declared, tests, ["test_all.py", "-k", TEST])


def test_the_file_that_was_tested_is_reported(kit_runner: Any, tmp_path: Path) -> None:
    kit = run(kit_runner, tmp_path)
    assert kit.failed() == {}
    assert f"    tested: {tmp_path}/site/aiflow_ext_nohup.py" in kit.printed


def test_a_copy_in_the_folder_of_the_tests_is_not_what_is_installed(kit_runner: Any, tmp_path: Path) -> None:
    (tmp_path / "aiflow_ext_nohup.py").write_bytes((EXAMPLE / "aiflow_ext_nohup.py").read_bytes())
    kit = run(kit_runner, tmp_path)
    (words,) = kit.failed().values()
    assert f"imported aiflow_ext_nohup from {tmp_path}/aiflow_ext_nohup.py" in words
    assert f"gets it from {tmp_path}/site/aiflow_ext_nohup.py" in words
    assert "pip install --editable" in words


def test_a_copy_on_pythonpath_is_not_what_is_installed(
    kit_runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = EXAMPLE / "aiflow_ext_nohup.py"
    plugin = {"job_plugins": {"nohup.cmd_line": "aiflow_ext_nohup:NohupJobPlugin"}}
    install(tmp_path / "installed", "apart", plugin, {source.name: source})
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / source.name).write_bytes(source.read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    monkeypatch.syspath_prepend(str(tmp_path / "sources"))
    kit = kit_runner(tmp_path / "tests", [], {}, (EXAMPLE / "test_nohup.py").read_text(), ["test_all.py", "-k", TEST])
    (words,) = kit.failed().values()
    assert f"gets it from {tmp_path}/installed/aiflow_ext_nohup.py" in words
