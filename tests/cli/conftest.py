"""A terminal for the command line's tests."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
from patience import PATIENCE


@pytest.fixture
def raw_terminal(cli_env, tmp_path):
    """Runs a command on a terminal with so many columns; returns its exit code and all bytes that it wrote there."""
    env = {**cli_env, "TERM": "xterm", "XDG_STATE_HOME": str(tmp_path / "state")}
    env.pop("COLUMNS", None)

    def call(width, *args):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        argv = [sys.executable, "-m", "aiflow_ext", *map(str, args)]
        command = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
        os.close(slave)
        seen = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        os.close(master)
        return command.wait(PATIENCE), seen

    call.env = env
    return call
