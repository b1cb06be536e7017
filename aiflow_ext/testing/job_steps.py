"""The functions of the kit's python jobs; sent with them as kit_steps.py, beside kit_marks.py."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from kit_marks import mark, wait_for  # type: ignore[import-not-found]


def prints_and_exits(text: str, code: int, kind: str) -> None:
    mark(f"start{kind}")
    print(text)
    mark(f"end{kind}")
    if code:
        sys.exit(code)


def kills_itself(number: int) -> None:
    mark("start")
    os.kill(os.getpid(), number)
    time.sleep(600)


def sleeps(seconds: float) -> None:
    mark("start")
    time.sleep(seconds)
    mark("end")


def ignores_sigterm(seconds: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark("start", Path("/proc/self/stat").read_bytes())
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(deadline - time.monotonic())


def ends_on_sigterm(seconds: float) -> None:
    def asked(*_: object) -> None:
        mark("asked")
        sys.exit()

    signal.signal(signal.SIGTERM, asked)
    mark("start")
    time.sleep(seconds)


def forks(seconds: float) -> None:
    code = f"""if True:
        import sys, time
        sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})
        from kit_marks import mark
        mark("child", open("/proc/self/stat", "rb").read())
        time.sleep({seconds})
    """
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    mark("start")
    time.sleep(seconds)


def counts(lines: int) -> None:
    for number in range(1, lines + 1):
        print(f"line {number}", flush=True)
        print(f"error {number}", file=sys.stderr, flush=True)
        if number == lines // 2:
            mark("half")
            wait_for("go")


def prints_oddly(out: bytes, error: bytes) -> None:
    sys.stdout.flush()
    os.write(1, out[:100])
    os.write(2, error)
    sys.stdout.buffer.write(out[100:])
    sys.stdout.flush()
    mark("end")


def keeps_a_file(text: str) -> None:
    Path("kit.txt").write_text(text)
    mark("kept")
    wait_for("go")
    mark(f"told{text}", Path("kit.txt").read_bytes())


def tells_arguments(arguments: list[str]) -> None:
    mark("told", b"".join(os.fsencode(argument) + b"\0" for argument in arguments))


def tells_variables(names: list[str]) -> None:
    mark("told", b"".join(os.environb.get(name.encode(), b"(unset)") + b"\0" for name in names))


def fails_telling(names: list[str]) -> None:
    there, here = os.path.realpath(os.environ.get("AIFLOW_WORK_FOLDER", "")), os.path.realpath(os.getcwd())
    left = Path("kit.left")
    values = [*(os.environ.get(name, "(unset)") for name in names), there, here, "old" if left.exists() else "new"]
    left.touch()
    mark("told", b"".join(os.fsencode(value) + b"\0" for value in values))
    sys.exit(1)


def tells_properties(names: list[str]) -> None:
    import aiflow_ext as af

    properties = af.current_job().properties
    mark("told", b"".join(str(properties[name]).encode() + b"\0" for name in names))


def tells_itself() -> None:
    mark("cmdline", Path("/proc/self/cmdline").read_bytes())
    mark("environ", Path("/proc/self/environ").read_bytes())
    mark("cwd", os.fsencode(os.getcwd()))


def makes(size: int, kind: str) -> bytes:
    data = os.urandom(size)
    mark(f"made{kind}", hashlib.sha256(data).hexdigest().encode())
    return data


def reads(data: bytes, kind: str) -> None:
    mark(f"read{kind}", hashlib.sha256(data).hexdigest().encode())
