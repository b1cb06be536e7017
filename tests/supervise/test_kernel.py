"""What the kernel has, on an interpreter that was compiled without it; and a kernel that refuses it."""

from __future__ import annotations

import ctypes
import os
import platform
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.supervise import kernel

# A filter of system calls (seccomp(2)), as containers have one. Each rule: number, fcntl's command or -1, errno.
REFUSING = """
import ctypes, os, struct, sys
rules = {rules}
code = [(0x20, 0, 0, 0)]  # load the system call's number
for number, command, error in rules:
    if command < 0:
        code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error)]
    else:
        code += [(0x15, 0, 4, number), (0x20, 0, 0, 24), (0x15, 0, 1, command), (0x06, 0, 0, 0x50000 | error),
                 (0x20, 0, 0, 0)]
code.append((0x06, 0, 0, 0x7FFF0000))
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
libc = ctypes.CDLL(None, use_errno=True)
head = ctypes.create_string_buffer(struct.pack("HP", len(code), ctypes.addressof(program)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, head, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
FCNTL = {"x86_64": 72, "aarch64": 25}[platform.machine()]
EPERM, EINVAL, ENOSYS = 1, 22, 38
JOB = "import aiflow_ext as af\n\n@af.workflow\ndef tested():\n    with af.job('only'):\n        af.cmd('echo done')\n"

Started = Callable[..., tuple[int, str]]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that was compiled against an old C library."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.delattr(signal, "pidfd_send_signal", raising=False)


@pytest.fixture(params=["native or C library", "C library", "subprocess"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    """Starts a program in each of the ways that there are; its wait status and what it printed."""
    ways: dict[str, Any] = {"C library": kernel._spawn_of_libc(), "subprocess": kernel._spawn_by_subprocess}
    monkeypatch.setattr(kernel, "_instead", ways.get(request.param))

    def call(*argv: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        with open(os.devnull) as nothing, open(tmp_path / "printed", "w+") as printed:
            streams = (nothing.fileno(), printed.fileno(), printed.fileno())
            pid = kernel.spawn(argv[0], list(argv), dict(os.environ) if env is None else env, streams)
            status = os.waitpid(pid, 0)[1]
            printed.seek(0)
            return status, printed.read().replace(str(pid), "PID")

    return call


def test_spawned_program_leads_a_session_with_default_signals_and_its_streams(start: Started) -> None:
    tell = "import os; print(os.getpid(), os.getsid(0), os.readlink('/proc/self/fd/0'), os.environb[b'WORD'])"
    status, printed = start(sys.executable, "-c", tell, env={"WORD": "gr\u00fc\udcff"})
    assert (status, printed) == (0, f"PID PID {os.devnull} " + r"b'gr\xc3\xbc\xff'" + "\n")
    status, printed = start("/bin/sh", "-c", "grep -E 'Sig(Ign|Blk)' /proc/self/status; exit 7")
    assert os.waitstatus_to_exitcode(status) == 7
    # Of signals that have names: glibc sees to two of its own.
    assert [int(line.split()[1], 16) & 0x7FFFFFFF for line in printed.splitlines()] == [0, 0]


def test_what_cannot_be_spawned_is_told_alike(start: Started, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "missing")):
        start(str(tmp_path / "missing"))
    (tmp_path / "plain").write_text("echo")
    with pytest.raises(PermissionError, match=str(tmp_path / "plain")):
        start(str(tmp_path / "plain"))
    (tmp_path / "plain").chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        start(str(tmp_path / "plain"))
    for argv, env in ((["/bin/true", "a\0b"], {}), (["/bin/true"], {"A": "a\0b"}), (["/bin/true"], {"A=B": "c"})):
        with pytest.raises(ValueError, match=r"null byte|environment variable name"):
            start(*argv, env=env)


@pytest.mark.usefixtures("without")
def test_pidfds_are_had_by_number() -> None:
    child = subprocess.Popen(["/bin/sleep", "100"])
    descriptor = kernel.pidfd_open(child.pid)
    assert not os.get_inheritable(descriptor)
    assert not select.select([descriptor], [], [], 0)[0]
    kernel.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert select.select([descriptor], [], [], 20)[0]
    assert child.wait() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        kernel.pidfd_send_signal(descriptor, 0)
    os.close(descriptor)
    with pytest.raises(ProcessLookupError):
        kernel.pidfd_open(child.pid)


@pytest.mark.usefixtures("without")
def test_an_interpreter_without_ctypes_is_reported_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Dynamic loading not supported")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    monkeypatch.setattr(kernel, "_loaded", None)
    with pytest.raises(OSError, match=r"cannot call pidfd_open: it has no ctypes that works .*Dynamic loading"):
        kernel.pidfd_open(os.getpid())
    assert kernel._spawn_of_libc() is None


def under(rules: list[tuple[int, int, int]], *argv: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", REFUSING.format(rules=rules), *argv]
    return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("error", [EPERM, ENOSYS])
def test_a_sandbox_without_pidfds_runs_jobs(project: Any, cli_env: dict[str, str], error: int) -> None:
    project.write(workflow_py=JOB, workflow_yaml="only: {platform: local, engine: cmd_line}\n")
    refused = [(434, -1, error), (424, -1, error)]
    done = under(refused, "-m", "aiflow_ext", "run", str(project.root), env=cli_env)
    assert done.returncode == 0, done.stderr
    assert project.log("only") == b"done\n"


def test_a_sandbox_without_locks_of_open_files_is_reported(project: Any, cli: Any, cli_env: dict[str, str]) -> None:
    project.write(workflow_py=JOB, workflow_yaml="only: {platform: local, engine: cmd_line}\n")
    assert cli("run", project.root).returncode == 0
    with project.database() as db:  # as if its driver had been killed
        db.execute("update runs set ended_at = null, state = 'RUNNING'")
    refused = [(FCNTL, kernel.F_OFD_SETLK, EINVAL), (FCNTL, kernel.F_OFD_GETLK, EINVAL)]
    for command in (("run", str(project.root)), ("runs", "--project", str(project.root))):
        done = under(refused, "-m", "aiflow_ext", *command, env=cli_env)
        assert done.returncode == 6, (done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
        assert "no locks of open files (F_OFD_SETLK): Invalid argument" in done.stderr
