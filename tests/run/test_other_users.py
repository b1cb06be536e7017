"""What another user of the machine has planted is not believed, run, written or removed."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from patience import PATIENCE

THEM = 65534
JOB = 'with af.job("a"): af.cmd("echo mine")'
REFUSED = "state is used only where nobody else can write it"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user needs root; CI runs this as root")


def their_user() -> str:
    """The other user as messages name it."""
    try:
        return pwd.getpwuid(THEM).pw_name
    except KeyError:
        return f"user {THEM}"


def their_group() -> str:
    """The other user's group as messages name it."""
    try:
        return grp.getgrgid(THEM).gr_name
    except KeyError:
        return str(THEM)


def give(path: Path, user: int = THEM) -> None:
    """Have ``path`` and all below it belong to another user."""
    for each in (path, *path.rglob("*")):
        os.chown(each, user, user, follow_symlinks=False)


def tree(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """The files of a folder, their permissions and what is in them."""
    return {path: (path.stat().st_mode, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def planted(project, cli, tmp_path):
    """A project of another user that has been run, and a folder of ours that its store names."""
    project.jobs(JOB, "")
    assert cli("run", project.root).returncode == 0
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "thesis.txt").write_text("years of work")
    with contextlib.closing(sqlite3.connect(project.root / ".aiflow" / "state.db")) as db, db:
        db.execute("update runs set folder = ?, ended_at = 1, started_at = 1e11", (str(ours),))
    give(project.root / ".aiflow")
    return ours


COMMANDS = ["runs", "status latest", "logs latest", "stop latest", "resume latest", "graph latest", "gc --keep 0"]


@as_root
@pytest.mark.parametrize("command", COMMANDS)
def test_state_of_another_user_is_refused_by_name_and_left_as_it_is(planted, project, cli, command):
    before = tree(project.root / ".aiflow")
    done = cli(*command.split(), "--project", project.root)
    assert done.returncode == 6, done
    assert f"{project.root}/.aiflow: {REFUSED}" in done.stderr
    assert f"belongs to {their_user()}" in done.stderr
    assert "AIFLOW_STATE=/path" in done.stderr
    assert (planted / "thesis.txt").read_text() == "years of work"
    assert tree(project.root / ".aiflow") == before


@as_root
@pytest.mark.parametrize("command", ["run", "schedule"])
def test_nothing_is_run_on_state_of_another_user(planted, project, cli, command):
    project.jobs(JOB, "a: {periodic: {interval: 1s}}")
    done = cli(command, project.root)
    assert done.returncode == 6, done
    assert REFUSED in done.stderr


@as_root
def test_a_process_that_the_state_of_another_user_names_is_not_ended(project, cli):
    project.jobs(JOB, "")
    assert cli("run", project.root).returncode == 0
    with project.database() as db:
        db.execute("update runs set state = 'RUNNING', ended_at = null")
        db.execute("update jobs set state = 'RUNNING'")
        db.execute("update attempts set state = 'RUNNING', ended_at = null, cleaned = 0, exit_code = null")
    with subprocess.Popen(["sleep", "1000"], env={**os.environ, "AIFLOW_MARK": "theirs"}) as ours:
        started = int(Path(f"/proc/{ours.pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        process = {"pid": ours.pid, "start_time": started, "started_at": 1}
        lines = [{"id": "a/1", "state": "starting", "mark": "theirs", "boot_id": boot, "seq": 1},
                 {"id": "a/1", "state": "running", **process, "seq": 2}]  # fmt: skip
        journal = project.run_folder / "processes.jsonl"
        journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        give(project.root / ".aiflow")
        try:
            done = cli("stop", "latest", "--grace", "0", "--project", project.root)
            assert (done.returncode, ours.poll()) == (6, None), done
            assert REFUSED in done.stderr
        finally:
            ours.kill()


@as_root
def test_a_folder_that_one_is_in_by_chance_hides_none_of_ones_own_runs(planted, project, cli, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(project.root / "workflow.py", mine)
    shutil.copy(project.root / "steps.py", mine)
    assert cli("run", mine).returncode == 0
    shown = cli("runs", cwd=project.root)
    assert shown.returncode == 0
    assert str(mine) in shown.stdout
    assert str(project.root) not in shown.stdout
    assert REFUSED in shown.stderr
    assert cli("resume", "latest", cwd=project.root).returncode != 0
    assert cli("gc", "--keep", "0", cwd=project.root).returncode == 0
    assert (planted / "thesis.txt").exists()
    assert cli("runs", cwd=project.root).stdout.count("\n") == 1


@as_root
def test_whoever_is_trusted_by_name_may_own_state(project, cli, cli_env):
    project.jobs(JOB, "")
    assert cli("run", project.root).returncode == 0
    give(project.root / ".aiflow")
    assert cli("runs", "--project", project.root).returncode == 6
    for name in (their_user().removeprefix("user "), str(THEM), f"{THEM},@staff", "*"):
        assert cli("runs", "--project", project.root, env={**cli_env, "AIFLOW_TRUST": name}).returncode == 0


@as_root
@pytest.mark.parametrize("command", COMMANDS)
def test_folders_that_a_trusted_user_s_store_names_are_believed_no_more_than_ones_own(
    planted, project, cli, cli_env, command
):
    done = cli(*command.split(), "--project", project.root, env={**cli_env, "AIFLOW_TRUST": str(THEM)})
    assert done.returncode == 6
    assert f"runs.folder is {str(planted)!r}, which is not the folder of run" in done.stderr
    assert (planted / "thesis.txt").read_text() == "years of work"


@as_root
@pytest.mark.parametrize(
    ("mode", "words"), [(0o777, "can be written by everybody"), (0o770, f"can be written by the group {their_group()}")]
)
def test_state_below_a_folder_that_others_can_write_is_refused(project, cli, cli_env, mode, words):
    project.jobs(JOB, "")
    assert cli("run", project.root).returncode == 0
    os.chown(project.root, 0, THEM)
    project.root.chmod(mode)
    done = cli("status", "latest", "--project", project.root)
    assert done.returncode == 6
    assert f"{project.root}: {REFUSED}, and this {words}, which leads to the state folder" in done.stderr
    project.root.chmod(mode | 0o1000)
    assert cli("status", "latest", "--project", project.root).returncode == 0, "sticky, as /tmp is"
    if mode == 0o770:
        project.root.chmod(mode)
        trusting = {**cli_env, "AIFLOW_TRUST": f"@{their_group()}"}
        assert cli("status", "latest", "--project", project.root, env=trusting).returncode == 0


@as_root
def test_a_predictable_folder_below_aiflow_state_that_was_made_before_us_is_refused(project, cli, cli_env, tmp_path):
    base = tmp_path / "states"
    base.mkdir(mode=0o1777)
    base.chmod(0o1777)
    project.jobs(JOB, "")
    env = {**cli_env, "AIFLOW_STATE": str(base)}
    assert cli("run", project.root, env=env).returncode == 0
    (made,) = base.iterdir()
    give(made)
    done = cli("run", project.root, env=env)
    assert done.returncode == 6
    assert f"{made}: {REFUSED}, and this belongs to {their_user()}" in done.stderr


def test_links_to_files_of_ours_are_not_followed(project, cli, tmp_path):
    project.jobs(JOB, "")
    assert cli("run", project.root).returncode == 0
    ours = tmp_path / "ours"
    ours.write_text("x" * 100)
    for name in ("driver.lock", "supervisor.lock", "processes.jsonl"):
        file = project.run_folder / name
        file.unlink(missing_ok=True)
        file.symlink_to(ours)
    for command in ("status", "logs", "stop", "resume"):
        cli(command, "latest", "--project", project.root)
        assert ours.read_text() == "x" * 100
    state = project.root / ".aiflow"
    (state / "state.db").rename(tmp_path / "state.db")
    (state / "state.db").symlink_to(tmp_path / "state.db")
    done = cli("status", "latest", "--project", project.root)
    assert done.returncode == 6
    assert "state is no link to something else" in done.stderr


@pytest.mark.parametrize("how", ["folder", "link", "runs", "id", "artifacts"])
def test_gc_removes_only_what_is_marked_as_a_runs(project, cli, tmp_path, how):
    project.jobs(JOB, "")
    assert cli("run", project.root).returncode == 0
    ours, state, folder = tmp_path / "ours", project.root / ".aiflow", project.run_folder
    ours.mkdir()
    (ours / "thesis.txt").write_text("years of work")
    if how == "folder":  # refused as it is read
        with project.database() as db:
            db.execute("update runs set folder = ?", (str(ours),))
    elif how == "link":
        shutil.rmtree(folder)
        folder.symlink_to(ours)
    elif how == "runs":
        shutil.rmtree(state / "runs")
        (ours / folder.name).mkdir()
        (ours / folder.name / "thesis.txt").write_text("years of work")
        (state / "runs").symlink_to(ours)
    elif how == "id":
        for table in ("runs", "jobs", "attempts", "planned"):
            with project.database() as db:
                db.execute(f"update {table} set run = '..'")
    else:
        shutil.rmtree(state / "artifacts" / folder.name)
        (state / "artifacts" / folder.name).symlink_to(ours)
    done = cli("gc", "--keep", "0", "--project", project.root)
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if how in ("link", "artifacts") else 6), done
    assert (ours / "thesis.txt").exists()
    assert how != "runs" or (ours / folder.name / "thesis.txt").exists()
    assert how != "id" or (state / "artifacts").is_dir()


@as_root
def test_an_index_that_another_user_wrote_is_not_read(cli, cli_env, tmp_path):
    assert "available" in cli("plugins").stdout
    (index,) = (Path(cli_env["XDG_CACHE_HOME"]) / "aiflow-ext").glob("plugins-*.index")
    spoilt = index.read_bytes().replace(b"aiflow-ext-local", b"aiflow-ext-evil!")
    # As valid as one of ours but for its owner.
    head, _, body = spoilt.partition(b"\n")
    words = head.split(b" ")
    words[-2] = f"{zlib.crc32(body):08x}".encode()
    index.write_bytes(b" ".join(words) + b"\n" + body)
    assert "evil!" in cli("plugins").stdout, "the index is read"
    for spoil in (lambda: os.chown(index, THEM, THEM), lambda: index.chmod(0o666)):
        index.unlink()
        index.write_bytes(b" ".join(words) + b"\n" + body)
        spoil()
        assert "evil!" not in cli("plugins").stdout


def test_state_artifacts_and_logs_are_private_whatever_the_umask(project, cli, cli_env):
    project.jobs('with af.job("a"): af.cmd("echo > {o}", o=af.output("o"))', "")
    before = os.umask(0)
    try:
        assert cli("run", project.root).returncode == 0
    finally:
        os.umask(before)
    state = project.root / ".aiflow"
    assert state.stat().st_mode & 0o777 == 0o700
    folder = project.run_folder
    for path in (state / "state.db", folder, folder / "jobs" / "a" / "1", folder / "jobs" / "a" / "1" / "stdout",
                 state / "artifacts", state / "artifacts" / folder.name):  # fmt: skip
        assert not path.stat().st_mode & 0o077, path


@as_root
def test_artifacts_have_the_permissions_of_a_folder_that_is_shared_beforehand(project, cli, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 0, THEM)
    shared.chmod(0o2770)
    project.write(project_yaml=f"artifacts: {shared}\n")
    project.jobs('with af.job("a"): af.cmd("echo > {o}", o=af.output("o"))', "")
    assert cli("run", project.root).returncode == 0
    (made,) = shared.iterdir()
    assert made.stat().st_mode & 0o7777 == 0o2770
    assert made.stat().st_gid == THEM
    assert cli("gc", "--keep", "0", "--project", project.root).returncode == 0
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize("command", ["run --detach", "resume --detach", "why local cmd_line", "doctor", "run"])
def test_no_module_is_imported_from_the_folder_that_one_is_in(project, cli, cli_env, tmp_path, command):
    theirs, imported = tmp_path / "theirs", tmp_path / "imported"
    imported.mkdir()
    for name in ("aiflow_ext/__init__.py", "json.py", "click.py", "sitecustomize.py"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text(f"open({str(imported / name.replace('/', '.'))!r}, 'w')\n")
    give(theirs)
    project.jobs('with af.job("a"): af.python(print, 1)\nwith af.job("b"): af.cmd("true")', "")
    words, *options = command.split()
    if words == "resume":
        assert cli("run", project.root).returncode == 0
        options += ["latest", "--from", "a", "--project", project.root]
    elif words == "run":
        options += [project.root]
    done = subprocess.run(
        [Path(sys.executable).with_name("aiflow-ext"), words, *options],
        env=cli_env, cwd=theirs, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0 or words == "doctor", done.stderr
    if "--detach" in options:
        assert cli("status", "latest", "--watch", "--project", project.root).returncode == 0
    assert list(imported.iterdir()) == []


USER, GROUP, MASK, OWNER, OTHERS, OWNING_GROUP = 2, 8, 16, 1, 32, 4  # tags of acl(5)


def set_acl(path: Path, tag: int, number: int, mask: int = 7, kind: str = "access") -> None:
    """Let one more user or group do everything with a folder that has mode 0770, or with what is made in it (kind
    ``default``), as setfacl(1) does."""
    nobody = 0xFFFFFFFF
    entries = [(OWNER, 7, nobody), (USER, 7, number), (OWNING_GROUP, 7, nobody), (GROUP, 7, number),
               (MASK, mask, nobody), (OTHERS, 0, nobody)]  # fmt: skip
    wanted = [each for each in entries if each[0] not in (USER, GROUP) or each[0] == tag]
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in wanted)
    os.setxattr(path, f"system.posix_acl_{kind}", data)


@pytest.mark.parametrize(
    ("tag", "mask", "trust", "refused"),
    [
        (USER, 7, "", "can be written by nobody"),
        (GROUP, 7, "", "can be written by the group nogroup"),
        (USER, 7, "nobody", ""),
        (GROUP, 7, "@nogroup", ""),
        (USER, 5, "", ""),
    ],
)
def test_whom_an_access_control_list_lets_write_is_somebody_else(project, cli, cli_env, tag, mask, trust, refused):
    project.jobs(JOB, "")
    assert cli("run", project.root).returncode == 0
    set_acl(project.root, tag, THEM, mask)
    done = cli("status", "latest", "--project", project.root, env={**cli_env, "AIFLOW_TRUST": trust})
    assert done.returncode == (6 if refused else 0), done
    if refused:
        assert f"{project.root}: {REFUSED}, and this {refused}" in done.stderr
        assert "setfacl" in done.stderr


@pytest.mark.parametrize(("trust", "refused"), [("", True), ("nobody", False)])
def test_whom_a_default_access_control_list_lets_write_in_shared_state_is_somebody_else(
    project, cli, cli_env, trust, refused
):
    project.jobs(JOB, "")
    state = project.root / ".aiflow"
    state.mkdir()
    state.chmod(0o2775)
    set_acl(state, USER, THEM, kind="default")
    done = cli("run", project.root, env={**cli_env, "AIFLOW_TRUST": trust})
    assert done.returncode == (6 if refused else 0), done
    assert not refused or f"{state}: {REFUSED}, and this can be written by nobody" in done.stderr


def test_the_list_of_projects_is_private_whatever_a_default_access_control_list_says(project, cli, cli_env):
    project.jobs(JOB, "")
    home = Path(cli_env["XDG_STATE_HOME"])
    home.mkdir()
    set_acl(home, USER, THEM, kind="default")
    assert cli("run", project.root).returncode == 0
    assert (home / "aiflow-ext").stat().st_mode & 0o077 == 0


@as_root
def test_root_leaves_nothing_in_a_project_of_another_user_that_it_refuses(project, cli, cli_env):
    project.jobs(JOB, "")
    before = tree(project.root)
    give(project.root)
    for env in (cli_env, {**cli_env, "AIFLOW_STATE": str(project.root / "made" / "state")}):
        done = cli("run", project.root, env=env)
        assert done.returncode == 6, done
        assert f"{project.root}: {REFUSED}, and this belongs to {their_user()}" in done.stderr
        assert tree(project.root) == before
        assert not {".aiflow", "made"} & {path.name for path in project.root.iterdir()}


def test_a_link_of_another_user_leads_to_no_state(project, cli, cli_env, tmp_path):
    project.jobs(JOB, "")
    (tmp_path / "mine").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to("mine")
    env = {**cli_env, "AIFLOW_STATE": str(link)}
    assert cli("run", project.root, env=env).returncode == 0
    os.chown(link, THEM, THEM, follow_symlinks=False)
    for command in ("run", "runs --project"):
        done = cli(*command.split(), project.root, env=env)
        assert done.returncode == 6, done
        assert f"{link}: {REFUSED}, and this belongs to nobody" in done.stderr


@pytest.mark.parametrize("kind", ["link", "fifo", "theirs", "endless"])
def test_a_list_of_projects_that_another_made_is_neither_read_nor_written(project, cli, cli_env, tmp_path, kind):
    """HOME or XDG_STATE_HOME may be another user's, as after sudo."""
    project.jobs(JOB, "")
    folder = Path(cli_env["XDG_STATE_HOME"], "aiflow-ext")
    folder.mkdir(parents=True)
    ours, planted = tmp_path / "ours", folder / "projects"
    ours.write_text("mine\n")
    if kind == "link":
        planted.symlink_to(ours)
    elif kind == "fifo":
        os.mkfifo(planted)
    elif kind == "endless":
        planted.symlink_to("/dev/zero")
    else:
        planted.write_text("/etc\n")
        give(planted)
    assert cli("run", project.root).returncode == 0
    assert cli("runs").returncode == 0
    assert "there is no run" in cli("status", "nothing").stderr
    assert ours.read_text() == "mine\n"
    assert kind != "theirs" or planted.read_text() == "/etc\n"
