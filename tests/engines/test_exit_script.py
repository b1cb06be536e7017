"""The exit script, run by a real ``/bin/sh``: it records the code of what it ran, whatever its name or end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiflow_ext.engines.exit_script import exit_script


def run(folder: Path, argv: list[str], env: dict[str, str] | None = None, name: str = "exit") -> tuple[int, str, str]:
    script = folder / "script.sh"
    script.write_text(exit_script(argv, str(folder / name), env), encoding="utf-8")
    done = subprocess.run(["/bin/sh", str(script)], capture_output=True, text=True, check=False)
    assert not list(folder.glob("*.part"))
    return done.returncode, (folder / name).read_text(), done.stdout


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["/no/such/program"], 127),
        (["/etc/passwd"], 126),
        (["exit", "0"], 127),
    ],
)
def test_the_code_is_recorded_and_is_the_scripts_own(tmp_path: Path, argv: list[str], code: int) -> None:
    assert run(tmp_path, argv)[:2] == (code, f"{code}\n")


@pytest.mark.parametrize("name", ["with space", 'it\'s "q"', "$HOME `id`", "-n", "é🙂", "a\nb"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    assert run(tmp_path, ["false"], name=name)[:2] == (1, "1\n")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=30))
def test_arguments_and_variables_arrive_as_they_are(tmp_path: Path, value: str) -> None:
    argv = ["sh", "-c", 'printf "%s|%s" "$1" "$VALUE"', "x", value]
    assert run(tmp_path, argv, {"VALUE": value})[2] == f"{value}|{value}"


def test_a_name_that_no_shell_can_export_is_refused() -> None:
    with pytest.raises(ValueError, match="'a-b', 'x y'"):
        exit_script(["true"], "x", {"a-b": "1", "GOOD_1": "2", "x y": "3"})
