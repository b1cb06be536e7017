"""The record of a process says how it really began and ended."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from typing import Any

import pytest

from aiflow_ext.supervise import boot_id, process_alive, start_time


@pytest.mark.parametrize("code", [0, 3, 255])
def test_exit_code_is_recorded(kit: Any, code: int) -> None:
    before = time.time()
    record = kit.run("job", "/bin/sh", "-c", f"exit {code}")
    assert (record.state, record.exit_code, record.signal) == ("ended", code, None)
    assert before - 1 <= record.started_at <= record.ended_at <= time.time() + 1
    assert set(record.rusage) == {"user", "system", "max_rss_kb"}
    assert kit.supervisor.record("job") == record


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_signal_is_recorded_and_is_no_exit_code(kit: Any, number: int) -> None:
    record = kit.run("job", "/bin/sh", "-c", f"kill -{int(number)} $$")
    assert (record.state, record.exit_code, record.signal) == ("ended", None, number)
    assert not record.stop_requested


def test_running_record_names_the_very_process(kit: Any) -> None:
    pipe = kit.pipe()
    record = kit.sh("job", f"echo $$ > {pipe.path}; exec sleep 100")
    assert record.pid == pipe.pid()
    assert (record.state, record.start_time, record.boot_id) == ("running", start_time(record.pid), boot_id())
    assert process_alive(record.pid, record.start_time, record.boot_id)
    assert not process_alive(record.pid, record.start_time + 1, record.boot_id)
    assert not process_alive(record.pid, record.start_time, "another boot")


def test_what_cannot_be_started_is_a_record_with_the_kernels_words_and_the_path(kit: Any) -> None:
    plain = kit.folder / "plain.txt"
    plain.write_text("no program")
    garbage = kit.folder / "garbage"
    garbage.write_bytes(b"\x00\x01\x02\x03")
    garbage.chmod(0o755)
    script = kit.folder / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    here = str(kit.folder)
    attempts = {
        "no-file": (kit.spec("no-file", "/no/such/program"), errno.ENOENT, "/no/such/program"),
        "not-on-path": (kit.spec("not-on-path", "no-such", env={"PATH": "/usr/bin:/bin"}), errno.ENOENT, "no-such"),
        "not-executable": (kit.spec("not-executable", str(plain)), errno.EACCES, str(plain)),
        "no-format": (kit.spec("no-format", str(garbage)), errno.ENOEXEC, str(garbage)),
        "no-interpreter": (kit.spec("no-interpreter", str(script)), errno.ENOENT, str(script)),
        "too-long": (kit.spec("too-long", "/bin/true", "x" * 200_000), errno.E2BIG, "/bin/true"),
        "no-cwd": (kit.spec("no-cwd", "/bin/true", cwd=here + "/gone"), errno.ENOENT, here + "/gone"),
        "no-out": (kit.spec("no-out", "/bin/true", stdout=here + "/gone/out"), errno.ENOENT, here + "/gone/out"),
    }
    for id, (spec, number, path) in attempts.items():
        record = kit.supervisor.start(spec)
        assert record.state == "not_started", id
        assert os.strerror(number) in record.error, id
        assert path in record.error, id
        assert record.ended
        assert kit.supervisor.record(id) == record
    nul = kit.start("nul", "/bin/echo", "a\0b")
    assert (nul.state, "null byte" in nul.error) == ("not_started", True)
    assert kit.supervisor.start(kit.spec("nothing")).state == "not_started"
    assert kit.run("fine", "/bin/true").exit_code == 0


def test_job_gets_exactly_its_arguments_environment_and_folder(kit: Any) -> None:
    arguments = ["a b", "", "$HOME `x` \"'", "line\nline", "é😀", "\udcff", "x" * 100_000]
    code = "import json,os,sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"
    work = kit.folder / "work"
    work.mkdir()
    spec = kit.spec("job", sys.executable, "-I", "-S", "-X", "utf8", "-c", code, *arguments, env={"X": "a b\nc\udcfe$"})
    spec = kit.spec("job", *spec.argv, env={"X": "a b\nc\udcfe$"}, cwd=str(work))
    kit.supervisor.start(spec)
    assert kit.end("job").exit_code == 0
    seen_arguments, seen_env, cwd = json.loads(kit.out("job"))
    assert seen_arguments == arguments
    assert {key: value for key, value in seen_env.items() if key != "LC_CTYPE"} == spec.env
    assert cwd == str(work)


def test_job_begins_with_a_clean_slate(kit: Any) -> None:
    # Whoever starts the supervisor ignores and blocks signals, has files open and an umask of its own.
    code = f"""
import os, signal, sys
sys.path.insert(0, {os.getcwd()!r})
from aiflow_ext.supervise import ProcessSpec, Supervisor
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])
os.umask(0o027)
for _ in range(5):
    os.set_inheritable(os.open("/dev/zero", os.O_RDONLY), True)
here = {str(kit.folder)!r}
argv = ["/bin/sh", "-c", "umask; ls /proc/self/fd; readlink /proc/$$/fd/0; cut -d' ' -f6 /proc/$$/stat; echo $$; "
        "exec grep -E '^Sig(Blk|Ign)' /proc/self/status"]
env = {{"PATH": os.environ["PATH"]}}
Supervisor(here).start(ProcessSpec("first", ["/bin/true"], env, here, here + "/first.out", here + "/first.out", ""))
os.umask(0o026)
supervisor = Supervisor(here)
supervisor.start(ProcessSpec("job", argv, env, here, here + "/job.out", here + "/job.err", ""))
supervisor.wait("job")
"""
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0
    lines = kit.out("job").splitlines()
    assert lines[0] == "0026"
    # ls itself holds one more, the folder that it lists.
    assert lines[1:5] == ["0", "1", "2", "3"]
    assert lines[5] == "/dev/null"
    session, pid = lines[6:8]
    assert session == pid
    # Signals 32 and 33 are glibc's own; make leaves them ignored in what it starts, and nobody can reset them.
    ours = ~(0b11 << 31)
    assert [(line.split()[0], int(line.split()[1], 16) & ours) for line in lines[8:]] == [
        ("SigBlk:", 0),
        ("SigIgn:", 0),
    ]
    assert (kit.folder / "job.out").stat().st_mode & 0o777 == 0o600


def test_endless_output_costs_the_supervisor_nothing(kit: Any) -> None:
    kit.run("first", "/bin/true")

    def own() -> int:
        with open(f"/proc/{kit.daemon()}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

    before = own()
    record = kit.run("job", "/bin/sh", "-c", "head -c 200000000 /dev/zero; echo end >&2; exit 4")
    assert record.exit_code == 4
    assert (kit.folder / "job.out").stat().st_size == 200_000_000
    assert (kit.folder / "job.err").read_text() == "end\n"
    assert own() < before + 1024
    assert own() < kit.bare_interpreter() + 7 * 1024
    os.unlink(kit.folder / "job.out")


def test_logs_are_appended_to(kit: Any) -> None:
    (kit.folder / "job.out").write_text("before\n")
    kit.run("job", "/bin/echo", "after")
    assert kit.out("job") == "before\nafter\n"
