"""Files that a command reads, and that are none: each is named in a sentence, and none is waited for."""

from __future__ import annotations

import json
import os
import stat

import pytest
from dist_info import install

KINDS = ["fifo", "endless", "socket", "large", "folder"]


def put(kind, path):
    """Put something that is no file of the usual kind in a file's place."""
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "folder":
        path.mkdir()
    else:
        with open(path, "wb") as file:
            file.truncate(1 << 40)


@pytest.fixture
def local(project):
    project.jobs("with af.job('job'): af.cmd('true')", "job: {platform: local, engine: cmd_line}\n")
    return project


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["project.yaml", "workflow.yaml", "secret", "workflow.py"])
def test_a_file_of_a_project_that_is_none_is_named_before_the_run(local, cli, kind, name):
    if name == "secret":
        (local.root / "workflow.yaml").write_text(
            json.dumps({"job": {"env": {"A": {"secret": f"file:{local.root}/secret"}}}})
        )
    put(kind, local.root / name)
    done = cli("run", local.root)
    assert done.returncode == 3, done.stderr
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert not (local.root / ".aiflow" / "runs").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kubeconfig_that_is_none_is_named_before_the_run(project, cli, tmp_path, kind):
    put(kind, tmp_path / "kubeconfig")
    config = {"platform": "kubernetes", "engine": "cmd_line", "image": "x", "kubeconfig": str(tmp_path / "kubeconfig")}
    project.jobs("with af.job('job'): af.cmd('true')", json.dumps({"job": config}))
    done = cli("run", project.root)
    assert done.returncode == 6, done.stderr
    assert f"{tmp_path}/kubeconfig" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_hadoop_s_that_is_none_is_named_before_the_run(project, cli, cli_env, tmp_path, kind):
    put(kind, tmp_path / "yarn-site.xml")
    cli_env["HADOOP_CONF_DIR"] = str(tmp_path)
    project.jobs("with af.job('job'): af.cmd('true')", "job: {platform: yarn, engine: cmd_line}\n")
    done = cli("run", project.root)
    assert done.returncode == 3, done.stderr
    assert f"{tmp_path}/yarn-site.xml" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_metadata_of_a_distribution_that_is_no_file_hides_no_other_one(local, cli, cli_env, tmp_path, kind, name):
    install(tmp_path / "site", "odd", {"platforms": {"odd": "odd:Odd"}})
    cli_env["PYTHONPATH"] = str(tmp_path / "site")
    (found,) = (tmp_path / "site").glob("*.dist-info")
    put(kind, found / name)
    listed = cli("plugins")
    assert listed.returncode == 0, listed.stderr
    assert "kubernetes.cmd_line" in listed.stdout
    assert "Traceback" not in listed.stderr
    assert cli("run", local.root).returncode == 0
