"""A folder that another user may write to holds programs of well-known names: none is run for being in the current
folder, whatever relative entries PATH has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such a folder, which is the current one. A program that is run leaves ``NAME.ran``."""
    folder = tmp_path / "shared"
    for name in ("nvidia-smi", "java", "flink", "openssl", "python9", "a-login"):
        for place in (folder, folder / "bin"):
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(f"#!/bin/sh\n: > {folder}/{name}.ran\n")
            (place / name).chmod(0o755)
    monkeypatch.chdir(folder)
    return folder


def ran(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.glob("*.ran"))


@pytest.mark.parametrize("entry", ["", ".", "bin", "./bin", "../shared"])
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{engine: cmd_line, gpu: 1}", "this machine has no gpu"),
        ("{engine: python, python: python9}", "there is no 'python9' on the PATH"),
        ("{engine: flink}", "looked at JAVA_HOME, which is not set, and PATH"),
    ],
)
def test_no_program_of_the_current_folder_is_run_because_path_leads_there(
    planted, project, cli, cli_env, tmp_path, entry, config, words
):
    bodies = {"cmd_line": 'af.cmd("true")', "python": "af.python(step)", "flink": 'af.flink(sql="SELECT 1")'}
    (body,) = (body for engine, body in bodies.items() if engine in config.partition(",")[0])
    project.jobs(f'with af.job("a"): {body}', f"a: {{platform: local, {config[1:]}\n", "def step(): pass\n")
    for name in ("CUDA_VISIBLE_DEVICES", "JAVA_HOME"):
        cli_env.pop(name, None)
    (tmp_path / "flink" / "lib").mkdir(parents=True)
    (tmp_path / "flink" / "lib" / "flink-dist-2.3.0.jar").touch()
    cli_env["FLINK_HOME"] = str(tmp_path / "flink")
    cli_env["PATH"] = f"{entry}:/nonexistent:{entry}"
    done = cli("run", project.root, env=cli_env, cwd=planted)
    assert done.returncode in (1, 3, 6), done
    assert words in done.stdout + done.stderr
    assert ran(planted) == []


@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_no_login_program_of_the_current_folder_is_run_because_path_leads_there(planted, monkeypatch, tmp_path, entry):
    from aiflow_ext.plugin import UnreachableError
    from aiflow_ext_kubernetes.kubeconfig import read_credentials

    (tmp_path / "kubeconfig").write_text("""
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {exec: {apiVersion: v1, command: a-login}}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
""")
    monkeypatch.setenv("PATH", f"{entry}:/nonexistent:{entry}")
    with pytest.raises(UnreachableError, match=r"'a-login' of the kubeconfig fails: .*No such file or directory"):
        read_credentials(str(tmp_path / "kubeconfig"), None)
    assert ran(planted) == []


def test_a_program_of_another_entry_of_path_is_found(tmp_path, monkeypatch):
    from aiflow_ext.plugin.engines import find_program

    monkeypatch.chdir(tmp_path)
    assert find_program("sh", f":.:{os.defpath}") in ("/bin/sh", "/usr/bin/sh")
    assert find_program("/bin/sh", "") == "/bin/sh"
    assert find_program("no-such-program") is None
