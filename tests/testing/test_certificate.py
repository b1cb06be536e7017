"""The kit writes a certificate of what has passed, which proves the files that it was written for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin-nohup"
PLUGIN = {"nohup.cmd_line": "aiflow_ext_nohup:NohupJobPlugin"}


def run(kit_runner: Any, folder: Path, *asked: str) -> Any:
    tests = (EXAMPLE / "test_nohup.py").read_text()
    asked = ("test_all.py", "--aiflow-certificate", "certificate.json", *asked)
    return kit_runner(folder, [EXAMPLE / "aiflow_ext_nohup.py"], PLUGIN, tests, asked)


@pytest.mark.thorough
def test_a_certificate_of_the_kit_proves_the_files_that_it_has_tested(
    kit_runner: Any, tmp_path: Path, cli: Any, cli_env: dict[str, str]
) -> None:
    kit = run(kit_runner, tmp_path, "-n", "2")
    assert kit.failed() == {}
    assert "certificate: certificate.json" in kit.printed
    text = (tmp_path / "certificate.json").read_text()
    written = json.loads(text)
    assert written["plugins"] == {
        "nohup.cmd_line": {"level": "base", "kills": None, "seed": None, "left_out": [], "not_tested": []}
    }
    assert sorted(written["files"]) == ["aiflow_ext_nohup.py", "entry_points.txt"]
    info = tmp_path / "site" / "installed-1.0.dist-info"
    (info / "aiflow-certificate.json").write_text(text)
    with open(info / "RECORD", "a") as record:
        record.write(f"{info.name}/aiflow-certificate.json,,\n")

    def words() -> str:
        env = {**cli_env, "PYTHONPATH": os.fspath(tmp_path / "site")}
        listed = json.loads(cli("plugins", "--proof", "--json", env=env).stdout)
        (found,) = [each["proof"]["words"] for each in listed if each["name"] == "nohup.cmd_line"]
        return str(found)

    assert words() == "proven base"
    with open(tmp_path / "site" / "aiflow_ext_nohup.py", "a") as module:
        module.write("\n")
    assert words().startswith("not proven: aiflow_ext_nohup.py was changed")


def test_no_certificate_is_written_where_not_all_tests_of_a_level_were_run(kit_runner: Any, tmp_path: Path) -> None:
    kit = run(kit_runner, tmp_path, "-k", "test_the_installed_files_are_tested")
    assert kit.failed() == {}
    assert not (tmp_path / "certificate.json").exists()
    assert "no certificate was written: nohup.cmd_line has not reached a level: none (only 1 of " in kit.printed


def test_no_certificate_is_written_where_a_test_fails(kit_runner: Any, tmp_path: Path) -> None:
    (tmp_path / "aiflow_ext_nohup.py").write_bytes((EXAMPLE / "aiflow_ext_nohup.py").read_bytes())
    kit = run(kit_runner, tmp_path, "-k", "test_the_installed_files_are_tested")
    assert len(kit.failed()) == 1
    assert not (tmp_path / "certificate.json").exists()
    assert "no certificate was written: tests failed, or none was run" in kit.printed
