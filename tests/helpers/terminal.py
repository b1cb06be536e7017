"""A command on a terminal, whose user is the test."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from patience import PATIENCE


class Terminal:
    """A command in a session of its own, on a terminal."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.command = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.seen = b""

    def until(self, words: bytes) -> str:
        """What it has written since the last call, up to and with these words."""
        while words not in self.seen:
            if not self._read():
                raise AssertionError(f"{words!r} was not written, but {self.seen.decode()}")
        before, found, self.seen = self.seen.partition(words)
        return (before + found).decode()

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def rest(self) -> str:
        """What it writes until it ends."""
        while self._read():
            pass
        return self.seen.decode()

    def _read(self) -> bool:
        """Wait for what it writes next; returns whether there is any: else it has ended."""
        there, _, _ = select.select([self._master], [], [], PATIENCE)
        assert there, f"it writes nothing, and does not end; it has written {self.seen.decode()!r}"
        try:
            self.seen += os.read(self._master, 65536)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.command.kill()
        self.command.wait(PATIENCE)
        os.close(self._master)


class Debugged(NamedTuple):
    """What ``reproduce --pdb`` has shown: before its prompt, as the answer to a question, after it was left; and how it
    has ended."""

    before: str
    answer: str
    rest: str
    code: int


def debugged(run: str, job: str, question: str, env: Mapping[str, str]) -> Debugged:
    """Reproduce a failed job under the debugger, ask one question where it has raised, and leave it."""
    argv = [sys.executable, "-m", "aiflow_ext", "reproduce", run, job, "--pdb"]
    shown = Terminal(argv, {**env, "TERM": "dumb"})
    try:
        before = shown.until(b"(Pdb) ")
        shown.type(question)
        answer = shown.until(b"(Pdb) ")
        shown.type("q")
        return Debugged(before, answer, shown.rest(), shown.command.wait(PATIENCE))
    finally:
        shown.close()
