"""State that a project shares with a group: what each member can do, and what only the owner of a process can."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from other_users import GROUP, USERS, OtherUsers, other_users
from patience import PATIENCE

WORKFLOW = """
import aiflow_ext as af

@af.workflow
def tested():
    with af.job("a"):
        made = af.cmd("echo of $(id -un); echo made > {o}", o=af.output("o"))
    with af.job("b"):
        af.cmd("cat {made}; read line < GATE; exit ${line:-1}", made=made)
"""
pytestmark = pytest.mark.slow
TRUST = {"AIFLOW_TRUST": f"@{GROUP[0]}"}


@pytest.fixture(scope="module")
def users():
    if os.geteuid() != 0:
        pytest.skip("only root can be other users")
    with other_users() as made:
        yield made


@pytest.fixture(params=["in the project", pytest.param("AIFLOW_STATE", marks=pytest.mark.thorough)])
def shared(request, users: OtherUsers, tmp_path: Path):
    """A project of alice's whose state is shared with the group; its folder, and the environment of each member."""
    root = users.home / f"project{len(list(users.home.iterdir()))}"
    root.mkdir(mode=0o755)
    gate = gate_of(root)
    os.mkfifo(gate)
    gate.chmod(0o666)
    (root / "workflow.py").write_text(WORKFLOW.replace("GATE", str(gate)))
    env, state = dict(TRUST), root / ".aiflow"
    if request.param == "AIFLOW_STATE":
        state = users.home / f"state{root.name}"
        env["AIFLOW_STATE"] = str(state)
    state.mkdir()
    os.chown(root, USERS["alice"], USERS["alice"])
    os.chown(state, USERS["alice"], GROUP[1])
    state.chmod(0o2770)
    held = os.open(gate, os.O_RDWR | os.O_CLOEXEC)
    yield root, env
    os.close(held)


def gate_of(root: Path) -> Path:
    return root.with_name(f"{root.name}.gate")


def pass_gate(root: Path, code: int) -> None:
    gate_of(root).write_text(f"{code}\n")  # the fixture holds the FIFO open, so that this does not wait for a reader


def wait_for(users: OtherUsers, root: Path, env: dict[str, str], job: str, state: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        done = users.run("bob", "status", "latest", "--project", root, "--json", env=env)
        assert done.returncode in (0, 8), done.stderr
        if {each["name"]: each["state"] for each in json.loads(done.stdout)["jobs"]}[job] == state:
            return
        assert time.monotonic() < deadline, done.stdout


def test_a_member_of_the_group_sees_stops_and_resumes_a_run_of_another(users, shared):
    root, env = shared
    done = users.run("alice", "run", root, "--detach", env=env, umask="007")
    assert done.returncode == 0, done.stderr
    wait_for(users, root, env, "b", "RUNNING")
    at = ("latest", "--project", root)
    assert "tested-" in users.run("bob", "runs", "--project", root, env=env).stdout
    assert "of alice" in users.run("bob", "logs", *at, "a", env=env).stdout
    stopped = users.run("bob", "stop", *at, "--grace", "1", env=env)
    assert stopped.returncode == 0, stopped.stderr
    assert users.run("alice", "status", *at, env=env).returncode == 7
    again = users.run("bob", "resume", *at, "--failed", "--detach", env=env)
    assert again.returncode == 0, again.stderr
    pass_gate(root, 0)
    watched = users.run("alice", "status", *at, "--watch", env=env)
    assert watched.returncode == 0, users.run("bob", "logs", *at, "b", env=env)
    refused = users.run("bob", "gc", "--keep", "0", "--project", root, env=env)
    assert "it is of alice, who removes it, or root" in refused.stderr, refused
    assert "tested-" in users.run("bob", "runs", "--project", root, env=env).stdout
    again = users.run("bob", "resume", *at, "--from", "a", "--detach", env=env, umask="007")
    assert again.returncode == 0, again.stderr
    pass_gate(root, 0)
    assert users.run("alice", "status", *at, "--watch", env=env).returncode == 0
    assert "of bob" in users.run("alice", "logs", *at, "a", env=env).stdout


def test_processes_of_another_member_are_stopped_by_their_driver_alone(users, shared):
    root, env = shared
    at = ("latest", "--project", root)
    assert users.run("alice", "run", root, "--detach", env=env).returncode == 0
    wait_for(users, root, env, "b", "RUNNING")
    run = json.loads(users.run("bob", "status", *at, "--json", env=env).stdout)
    os.kill(run["driver"], 9)
    done = users.run("bob", "stop", *at, "--grace", "1", env=env)
    assert done.returncode != 0
    assert "its processes on this machine belong to alice" in done.stderr, done
    assert "Traceback" not in done.stderr
    assert users.run("alice", "stop", *at, "--grace", "1", env=env).returncode == 0


def test_without_the_trust_that_is_named_shared_state_is_refused(users, shared):
    root, env = shared
    without = {name: value for name, value in env.items() if name != "AIFLOW_TRUST"}
    for user in USERS:
        done = users.run(user, "run", root, env=without)
        assert done.returncode == 6, done
        assert "AIFLOW_TRUST" in done.stderr
    if "AIFLOW_STATE" not in env:
        assert "AIFLOW_TRUST=@mlteam" in users.run("alice", "run", root, env=without).stderr


def test_state_that_was_not_prepared_is_private_in_a_shared_project(users):
    root = users.home / "team"
    root.mkdir()
    os.chown(root, 0, GROUP[1])
    root.chmod(0o2775)
    (root / "workflow.py").write_text(WORKFLOW.replace("; read line < GATE; exit ${line:-1}", ""))
    done = users.run("alice", "run", root, env=TRUST, umask="002")
    assert done.returncode == 0, done.stderr
    assert (root / ".aiflow").stat().st_mode & 0o077 == 0
    for command in (["status", "latest"], ["runs"], ["resume", "latest"], ["gc", "--keep", "0"]):
        for where in (["--project", root], []):
            done = users.run("bob", *command, *where, env=TRUST, cwd=root)
            assert "Traceback" not in done.stderr
            assert "Permission denied" in done.stderr, (command, where, done)


def test_a_folder_that_may_not_be_entered_is_named_wherever_it_is(users):
    root, closed = users.home / "open" / "project", users.home / "open" / "closed"
    for folder in (root / "lost", closed):
        folder.mkdir(parents=True)
        folder.chmod(0o700)
    os.chown(root, USERS["alice"], USERS["alice"])
    root.chmod(0o755)
    root.parent.chmod(0o755)
    (root / "workflow.py").write_text(WORKFLOW)
    for command, project, words in [
        (["run"], root, f"{root}/lost: cannot be read: Permission denied"),
        (["runs", "--project"], closed / "inside", "closed/inside: you may not enter this folder"),
        (["run"], root.parent / "projekt", "did you mean 'project'?"),
    ]:
        done = users.run("alice", *command, project)
        assert done.returncode == 3, done.stderr
        assert words in done.stderr
