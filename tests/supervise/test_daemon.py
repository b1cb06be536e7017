"""The supervisor process: small, quick, private, and gone when nobody needs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aiflow_ext
from aiflow_ext.supervise import Supervisor, SupervisorError, kernel

# Where the tested package is: in the repository, or installed beside others.
PACKAGE = Path(aiflow_ext.__file__).parent


def test_supervisor_leaves_when_nothing_lives_and_nobody_is_connected(kit: Any) -> None:
    pipe = kit.pipe()
    os.mkfifo(f"{pipe.path}.go")
    kit.sh("job", f"echo $$ > {pipe.path}; read go < {pipe.path}.go")
    pid = kit.daemon()
    kit.supervisor.close()
    pipe.line()
    # A living process keeps it, for longer than it stays without one.
    descriptor = kernel.pidfd_open(pid)
    import select

    assert not select.select([descriptor], [], [], 1.5)[0]
    Path(f"{pipe.path}.go").write_text("go\n")
    assert select.select([descriptor], [], [], 5)[0]
    os.close(descriptor)
    assert not (kit.folder / "supervisor.sock").exists()
    assert kit.supervisor.record("job").exit_code == 0
    assert kit.run("again", "/bin/true").exit_code == 0
    assert kit.daemon() != pid


def test_supervisor_asked_to_terminate_sees_its_processes_to_their_end_first(kit: Any) -> None:
    pipe = kit.pipe()
    os.mkfifo(f"{pipe.path}.go")
    kit.sh("job", f"echo $$ > {pipe.path}; read go < {pipe.path}.go; exit 4")
    pipe.line()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(kit.daemon(), number)
    assert kit.supervisor.record("job").state == "running"
    Path(f"{pipe.path}.go").write_text("go\n")
    kit.gone(kit.daemon())
    assert kit.supervisor.record("job").exit_code == 4


def test_supervisor_is_detached_from_whoever_started_it(kit: Any) -> None:
    kit.run("job", "/bin/true")
    pid = kit.daemon()
    stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    assert int(stat[1]) != os.getpid()
    assert int(stat[3]) not in (pid, os.getsid(0))
    assert int(stat[4]) == 0
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/1") == str(kit.folder / "supervisor.log")


def test_environments_are_never_written_to_disk_nor_kept_by_the_supervisor(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "s3cret-of-the-client")
    kit.run("job", "/bin/sh", "-c", "exit 0", env={"TOKEN": "s3cret-of-the-job"})
    assert b"s3cret" not in Path(f"/proc/{kit.daemon()}/environ").read_bytes()
    for path in kit.folder.iterdir():
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path
            assert path.stat().st_mode & 0o077 == 0, path
    assert (kit.folder / "supervisor.sock").stat().st_mode & 0o177 == 0


def test_folder_path_may_be_longer_than_a_sockets(tmp_path: Path, make_kit: Any) -> None:
    folder = tmp_path / ("long" * 50) / ("longer é😀" * 12)
    folder.mkdir(parents=True)
    kit = make_kit(folder)
    assert kit.run("job", "/bin/sh", "-c", "exit 3").exit_code == 3


def test_folder_may_be_moved_while_processes_run(tmp_path: Path, make_kit: Any) -> None:
    before = make_kit(tmp_path / "before")
    before.folder.mkdir()
    pipe = before.pipe()
    before.sh("job", f"echo $$ > {pipe.path}; exec sleep 100")
    pipe.line()
    before.folder.rename(tmp_path / "after")
    after = make_kit(tmp_path / "after")
    assert after.supervisor.record("job").state == "running"
    assert before.supervisor.stop("job", grace=5).signal == signal.SIGTERM
    assert after.end("job").stop_requested


def test_folder_deleted_under_running_processes_leaves_them_alone(tmp_path: Path, make_kit: Any) -> None:
    kit = make_kit(tmp_path / "gone")
    kit.folder.mkdir()
    done = tmp_path / "done"
    pipe = kit.pipe()
    os.mkfifo(tmp_path / "go")
    kit.sh("job", f"echo $$ > {pipe.path}; read go < {tmp_path}/go; echo yes > {done}")
    pid = pipe.pid()
    daemon = kit.daemon()
    shutil.rmtree(kit.folder)
    (tmp_path / "go").write_text("go\n")
    kit.gone(pid)
    assert done.read_text() == "yes\n"
    kit.supervisor.close()
    kit.gone(daemon)


def test_supervisor_is_small(kit: Any) -> None:
    kit.run("job", "/bin/true")
    with open(f"/proc/{kit.daemon()}/status") as file:
        own = next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))
    assert own < kit.bare_interpreter() + 6 * 1024


def test_daemon_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.path.append(sys.argv[1]); import aiflow_ext.supervise.daemon; "
        "print(*{'typing','dataclasses','inspect','attrs','asyncio','logging'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == ""


def test_folder_that_cannot_be_written_is_named_with_a_cure(tmp_path: Path, make_kit: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    kit = make_kit(tmp_path / "file" / "run")
    with pytest.raises(OSError, match="file"):
        kit.start("job", "/bin/true", cwd="/", stdout="/dev/null", stderr="/dev/null")
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(SupervisorError, match=r"cannot start in .*Permission denied.*\n.*must be writable"):
            make_kit(tmp_path / "locked").start("job", "/bin/true")


def test_nonsense_on_the_socket_harms_nobody(kit: Any) -> None:
    import socket

    kit.run("first", "/bin/true")
    bad_start = b'{"n":1,"op":"start","spec":{}}\n'
    for nonsense in (b"\n", b"{}\n", b"[1,2\n", b"[1]\n", b'{"n":1,"op":"_send"}\n', bad_start, b"\xff" * 999):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(kit.folder / "supervisor.sock"))
            client.sendall(nonsense)
            if nonsense.endswith(b"\n"):
                assert b"error" in client.recv(4096)
    assert kit.run("next", "/bin/true").exit_code == 0


AS_USER = """
import os, sys
here = sys.argv[1]
from aiflow_ext.supervise import ProcessSpec, Supervisor
env = {"PATH": "/usr/bin:/bin", "AIFLOW_MARK": "user's"}
def spec(id, script):
    return ProcessSpec(id, ["/bin/sh", "-c", script], env, here, f"{here}/{id}.out", f"{here}/{id}.err", "user's")
supervisor = Supervisor(here)
supervisor.start(spec("ends", "exit 3"))
assert supervisor.wait("ends", 20).exit_code == 3
os.mkfifo(here + "/pipe")
child = f"setsid sh -c 'trap : TERM; echo $$ > {here}/pipe; while :; do sleep 1; done'"
supervisor.start(spec("stopped", child + " & wait"))
pid = int(open(here + "/pipe").readline())
assert supervisor.stop("stopped", 0.2).signal == 15
try:
    assert open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
except (FileNotFoundError, ProcessLookupError):
    pass
print(os.getuid(), supervisor.record("stopped").state)
"""


def test_ordinary_user_can_do_it_all_and_has_the_folder_to_himself(tmp_path_factory: pytest.TempPathFactory) -> None:
    if os.geteuid() != 0:
        pytest.skip("we are an ordinary user: all other tests show it")
    user = 65534
    candidates = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")
    python = next((path for path in candidates if usable(path, user)), None)
    if python is None:
        pytest.skip("there is no Python 3.10 or newer here that an ordinary user may run")
    import tempfile

    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        for part in ("__init__.py", "_lazy.py", "regular_file.py", "shared_folder.py", "model", "supervise"):
            source, target = PACKAGE / part, Path(top, "code/aiflow_ext", part)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        run = Path(top, "run")
        run.mkdir()
        os.chown(run, user, user)
        done = subprocess.run(
            [python, "-c", AS_USER, str(run)], user=user, group=user, extra_groups=[], cwd="/",
            env={"PYTHONPATH": f"{top}/code"}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.split() == [str(user), "ended"], done.stderr


def usable(python: str, user: int) -> bool:
    command = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]
    try:
        return subprocess.run(command, user=user, group=user, extra_groups=[], cwd="/", env={}).returncode == 0
    except OSError:
        return False


@pytest.fixture
def full_kit(tmp_path: Path, make_kit: Any) -> Iterator[Any]:
    """A folder on a file system of 256 KB; what is in ``filler`` is removed in the end."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root; CI runs this as root")
    mounted = subprocess.run(mount, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets root mount no tmpfs: {mounted.stderr.decode()}")
    kit = make_kit(folder)
    yield kit
    # Until its records are saved the supervisor does not leave.
    (folder / "filler").unlink(missing_ok=True)
    kit.tear_down()
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_refuses_starts_and_loses_no_end(full_kit: Any, tmp_path: Path) -> None:
    kit = full_kit
    go, out = tmp_path / "go", tmp_path / "out"
    os.mkfifo(go)
    spec = kit.spec("job", "/bin/sh", "-c", f"read go < {go}; exit 5", stdout=str(out), stderr=str(out))
    kit.supervisor.start(spec)
    events = kit.supervisor.events()
    kit.event(events, "job", "running")
    filler = kit.folder / "filler"
    written = subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1k"], capture_output=True, text=True)
    assert "No space left" in written.stderr
    # What is left of the journal's last page takes a few more lines, and then some shorter ones.
    refused = {}
    for length in [300] * 30 + list(range(300, -1, -1)):
        id = f"more{len(refused)}-{length}"
        try:
            kit.start(id, "/bin/true", stdout=str(out), stderr=str(out), mark="m" * length)
        except SupervisorError as error:
            refused[id] = str(error)
    assert all("No space left" in said for said in refused.values())
    assert not refused.keys() & kit.supervisor.records().keys()
    again = id
    assert again in refused
    threading.Thread(target=go.write_text, args=("go\n",)).start()
    record = kit.event(events, "job", "ended")
    assert (record.exit_code, record.unsaved) == (5, "No space left on device")
    assert kit.supervisor.record("job").exit_code == 5
    later = kit.event(Supervisor(kit.folder).events(), "job", "ended")
    assert (later.exit_code, later.unsaved) == (5, "No space left on device")
    filler.unlink()
    # Written as soon as there is room, and before anything else.
    assert kit.start(again, "/bin/true", stdout=str(out), stderr=str(out)).state == "running"
    assert Supervisor(kit.folder).record("job").unsaved is None
    seqs = [line["seq"] for line in kit.journal()]
    assert seqs == list(range(1, len(seqs) + 1))
    kit.end(again)
    events.close()
