"""The shell that keeps stderr apart, run by the shells that images have; and the streams taken apart again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from patience import PATIENCE

from aiflow_ext.model.current import UNFINISHED
from aiflow_ext.plugin import Usage
from aiflow_ext_kubernetes import usage
from aiflow_ext_kubernetes.shell import tag_of, wrapped
from aiflow_ext_kubernetes.streams import Splitter, split

SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]
ID = "run-job-1"


PYTHONS = {"with python": sys.executable, "without": "/no/python"}


class Image(NamedTuple):
    """What an image has: a shell, and perhaps a python; and where its control groups are."""

    shell: Image
    python: str
    groups: str = "/no/groups"

    def command(self, *argv: str) -> list[str]:
        """The container's command for a job."""
        command = [word.replace("/sys/fs/cgroup", self.groups) for word in wrapped(list(argv), ID, self.python)]
        return [*self.shell, *command[1:]]


@pytest.fixture(params=[pytest.param(Image(shell, PYTHONS[python]), id=f"{shell[0]} {python}")
                        for shell in SHELLS for python in PYTHONS])  # fmt: skip
def shell(request: pytest.FixtureRequest) -> Image:
    found: Image = request.param
    return found


def ran(shell: Image, *argv: str) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of a job, as they come out of a container's log."""
    done = subprocess.run(shell.command(*argv), capture_output=True, start_new_session=True, timeout=PATIENCE)
    tag = tag_of(ID).encode()
    assert done.stdout.startswith(tag + b"+\n")
    assert done.stdout.endswith(tag + b".\n")
    assert done.stderr.endswith(tag + b";\n")
    rest, err, _ = split(done.stderr, tag_of(ID))
    assert rest == b""
    return done.returncode, done.stdout.removeprefix(tag + b"+\n").removesuffix(tag + b".\n"), err


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_exit_codes_are_the_jobs(shell: Image, code: int) -> None:
    assert ran(shell, "/bin/sh", "-c", f"exit {code}") == (code, b"", b"")


@pytest.mark.parametrize(("code", "told", "kept"), [(0, 1, UNFINISHED), (3, 3, ""), (137, 137, "")])
def test_an_end_before_the_runners_own_is_no_success(
    shell: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: int, kept: str
) -> None:
    reason = tmp_path / "reason"
    reason.write_text(UNFINISHED)
    monkeypatch.setenv("AIFLOW_REASON_FILE", str(reason))
    assert ran(shell, "/bin/sh", "-c", f"exit {code}") == (told, b"", b"")
    assert reason.read_text() == kept
    reason.write_text("the job's own words")
    assert ran(shell, "/bin/sh", "-c", f"exit {code}") == (code, b"", b"")
    assert reason.read_text() == "the job's own words"
    reason.unlink()
    assert ran(shell, "/bin/sh", "-c", f"exit {code}") == (code, b"", b"")


V2 = {
    "memory.current": "5",
    "memory.peak": "209715200\n",
    "cpu.stat": "nr_periods 3\nusage_usec 1500000\nuser_usec 9\n",
}
V1 = {"memory/memory.max_usage_in_bytes": "1048576\n", "cpuacct/cpuacct.usage": "2500000999\n"}


@pytest.mark.parametrize(
    ("groups", "used"),
    [
        (V2, Usage(209715200, 1.5, "container")),
        ({**V2, "memory.peak": None}, Usage(None, 1.5, "container")),
        ({**V2, "memory.current": None}, None),  # the root, which is the machine
        (V1, Usage(1048576, 2.5, "container")),
        ({**V1, "cpuacct/cpuacct.usage": None}, Usage(1048576, None, "container")),
        ({}, None),
    ],
    ids=["version 2", "without a peak", "the root of version 2", "version 1", "without processors", "none"],
)
@pytest.mark.parametrize("words", ["ValueError: no", "", UNFINISHED])
def test_what_the_container_has_used_is_added_to_its_last_message(
    shell: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: dict[str, Any], used: Any, words: str
) -> None:
    for name, text in groups.items():
        if text is not None:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
    message = tmp_path / "message"
    message.write_text(words)
    monkeypatch.setenv("AIFLOW_REASON_FILE", str(message))
    assert ran(shell._replace(groups=str(tmp_path)), "/bin/sh", "-c", "exit 0")[1:] == (b"", b"")
    assert usage.split(message.read_text()) == (words, used)


@pytest.mark.parametrize("message", [
    "aiflow-usage: 1 2\nmore", "aiflow-usage: 1", "aiflow-usage: -1 2", "aiflow-usage: 1 99999999999999999999",
])  # fmt: skip
def test_what_is_not_the_shells_line_stays_in_the_message(message: str) -> None:
    assert usage.split(f"{message}\n") == (message, None)


def test_what_a_job_ran_with_comes_with_the_log_and_is_no_part_of_its_streams(
    shell: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran_with = tmp_path / "ran-with.json"
    ran_with.write_text('{"python":\n"3.12.4"}\n')
    monkeypatch.setenv("AIFLOW_RAN_WITH_FILE", str(ran_with))
    command = shell.command("/bin/sh", "-c", "printf 'out'; echo err >&2")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE)
    splitter = Splitter(tag_of(ID))
    parts = [splitter.line(line) for line in done.stdout.splitlines(keepends=True)]
    assert [b"".join(each) for each in zip(*parts, strict=True)] == [b"out", b"err\n"]
    assert splitter.ran_with == b'{"python":\n"3.12.4"}\n'
    assert splitter.is_complete
    ran_with.unlink()
    os.mkfifo(ran_with)
    assert ran(shell, "/bin/sh", "-c", "exit 3") == (3, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_signals_are_reported_as_by_a_shell(shell: Image, number: signal.Signals) -> None:
    code, out, _ = ran(shell, "/bin/sh", "-c", f"kill -{int(number)} $$")
    assert (code, out) == (128 + number, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("shell", [Image(shell, "false") for shell in SHELLS if shell[0] != "busybox"], ids=str)
def test_no_signal_is_ignored_from_the_start(shell: Image, number: signal.Signals) -> None:
    """dash has coreutils do it. Busybox has no way: the docs say so."""
    code, out, _ = ran(shell, "/bin/sh", "-c", f"kill -{int(number)} $$; echo ignored")
    assert (code, out) == (128 + number, b"")


def test_streams_are_apart(shell: Image) -> None:
    script = "echo out; echo err >&2; echo out 2; printf '%s\\n' ' e  \\n' >&2"
    assert ran(shell, "/bin/sh", "-c", script) == (0, b"out\nout 2\n", b"err\n e  \\n\n")


def test_lines_without_an_end_stay_so(shell: Image) -> None:
    assert ran(shell, "/bin/sh", "-c", "printf out; printf 'a\\nb' >&2") == (0, b"out", b"a\nb")


def test_what_cannot_be_executed_is_127(shell: Image) -> None:
    code, _, err = ran(shell, "/no/such/program")
    assert code == 127
    assert b"/no/such/program" in err


def test_a_child_that_goes_on_does_not_delay_the_end(shell: Image) -> None:
    began = time.monotonic()
    assert ran(shell, "/bin/sh", "-c", "setsid sleep 60 >/dev/null & echo x >&2; exit 3") == (3, b"", b"x\n")
    assert time.monotonic() - began < 30


def test_a_job_that_ends_at_once_has_its_exit_code(shell: Image) -> None:
    """Many at a time, so that some have ended before the shell looks."""
    command = shell.command("/bin/sh", "-c", "exit 3")
    for _ in range(8):
        started = [subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) for _ in range(24)]
        assert [process.wait(timeout=PATIENCE) for process in started] == [3] * 24


def test_sigterm_reaches_the_job_and_its_answer_counts(shell: Image) -> None:
    script = "trap 'echo told; echo words >&2; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    command = shell.command("/bin/sh", "-c", script)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{tag_of(ID)}+\n".encode()
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    out, log = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (5, f"told\n{tag_of(ID)}.\n".encode())
    assert b"words\n" in split(log, tag_of(ID))[1]


AWKWARD = [
    b"a\0b\n\0\0\n\n\xff\xfe\n",
    b"\n" * 100_000 + b"x" * 300_000 + b"\ny" + b"\0" * 70_000,
    b"\r" * 300_000 + b"10%",
    b"\r" * 20_000 + b"\n" + b"x" * 20_000 + b"\r\n" + b"y\n" * 10 + b"z" * 15_990 + b"\r" * 40 + b"z\n",
    bytes(range(256)) * 1000,
]


@pytest.mark.parametrize("data", AWKWARD, ids=range(len(AWKWARD)))
@pytest.mark.parametrize("pieces", [1, 50])
def test_with_a_python_stderr_has_every_byte(tmp_path: Path, data: bytes, pieces: int) -> None:
    """Also through a runtime that drops a carriage return before a newline, where the job has written none there."""
    (tmp_path / "data").write_bytes(data)
    size = len(data) // pieces + 1
    write = f"dd if={tmp_path / 'data'} bs={size} status=none >&2"
    code, _, err = ran(Image(SHELLS[0], sys.executable), "/bin/sh", "-c", write)
    assert (code, err == data) == (0, True)
    done = subprocess.run(Image(SHELLS[0], sys.executable).command("/bin/sh", "-c", write), capture_output=True)
    assert split(done.stderr.replace(b"\r\n", b"\n"), tag_of(ID))[1] == data.replace(b"\r\n", b"\n")


def test_with_a_python_no_line_of_stderr_is_longer_than_a_runtime_keeps_in_one_piece(tmp_path: Path) -> None:
    """containerd has pieces of 16 KiB, and puts lines of stdout between them: the end of stdout, for example."""
    (tmp_path / "data").write_bytes(b"x" * 300_000 + b"\n" + b"y\n" * 30_000 + b"z" * 40_000)
    command = Image(SHELLS[0], sys.executable).command("/bin/sh", "-c", f"cat {tmp_path / 'data'} >&2")
    done = subprocess.run(command, capture_output=True)
    assert max(map(len, done.stderr.split(b"\n"))) <= 16 << 10


def test_a_python_that_does_not_work_is_done_without() -> None:
    for shell in SHELLS:
        assert ran(Image(shell, "false"), "/bin/sh", "-c", "echo x >&2; exit 3") == (3, b"", b"x\n")


TAG = "stderr.0123456789ab"


@pytest.mark.parametrize(
    ("log", "out", "err"),
    [
        (f"{TAG}+\na\n{TAG}:b\nc\n", "a\nc\n", "b\n"),
        (f"{TAG}+\na{TAG}:b\nc\n", "ac\n", "b\n"),  # stdout had not come to the end of its line
        (f"{TAG}+\n{TAG}-b\na", "a", "b"),  # stderr ended without a newline
        (f"{TAG}+\na\rb\n\n{TAG}:\n", "a\rb\n\n", "\n"),
        (f"{TAG}+\n", "", ""),
        (f"{TAG}+\na{TAG}.\n{TAG}:b\n{TAG};\n", "a", "b\n"),  # whose streams have ended
        (f"{TAG}+\na\n{TAG}:b{TAG}.\nc\n{TAG}:d\n{TAG};\n", "a\n", "bc\nd\n"),  # stdout amid a long line of stderr
        (f"{TAG}+\n{TAG}-b{TAG}.\nc\n{TAG}:d\n{TAG};\n", "", "bcd\n"),
    ],
)
def test_a_log_is_taken_apart(log: str, out: str, err: str) -> None:
    assert split(log.encode(), TAG) == (out.encode(), err.encode(), True)


def test_a_log_without_its_beginning_is_known() -> None:
    assert split(b"line 7\n", TAG) == (b"line 7\n", b"", False)
