"""Checks whether a job that serves others is ready, on the machine on which it runs."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aiflow_ext.engines.shells import run_by

if TYPE_CHECKING:
    from aiflow_ext.model.config import BaseJobConfig

CHECK_LIMIT = 10.0  # seconds after which a check that has not returned has failed
_MOST_SAID = 300  # bytes of a check's last line that are told
_PIPE = 1 << 20  # bytes; a pipe holds less, so that one call reads all that is left in it
_LOOK = 0.05  # seconds between two looks whether a check that prints nothing has ended


def ready_command(config: BaseJobConfig) -> list[str] | None:
    """The argument vector of the check that ``ready`` names, by the job's own shell; None where it names a port."""
    ready = config.ready
    if ready is None or ready.command is None:
        return None
    if isinstance(ready.command, str):
        return [*run_by(config.shell), ready.command]
    return list(ready.command)


def is_ready_here(config: BaseJobConfig, env: Mapping[str, str], cwd: str) -> bool | str:
    """Whether a job of this machine is ready: what the hook ``is_ready`` returns.

    Args:
        config: the job's, with ``ready``.
        env: its whole environment.
        cwd: its folder.
    """
    assert config.ready is not None
    argv = ready_command(config)
    return _connects(int(config.ready.port or 0)) if argv is None else _succeeds(argv, env, cwd)


def _connects(port: int) -> bool | str:
    import socket

    try:
        socket.create_connection(("localhost", port), timeout=CHECK_LIMIT).close()
    except OSError as error:
        return f"port {port}: {error.strerror or error}"
    return True


def _succeeds(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> bool | str:
    import subprocess

    try:
        check = subprocess.Popen(argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    except OSError as error:
        return f"its check cannot be run: {error}"
    assert check.stdout is not None
    with check.stdout as output:
        try:
            said = _listen(check.pid, output.fileno(), time.monotonic() + CHECK_LIMIT)
        finally:  # also what it has left in the background; before it is reaped the group is surely its own
            os.killpg(check.pid, signal.SIGKILL)
            code = check.wait()
    if said is None:
        return f"its check has not returned within {CHECK_LIMIT:g} s"
    if not code:
        return True
    last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    return f"its check ended with {how}{': ' if last else ''}{last}"


def _listen(pid: int, output: int, deadline: float) -> bytes | None:
    """Read what a check prints until it has ended, and return the end of it; None: it has not ended by then.

    A pipe, of which no more than that is kept, and no file: a check may print without end.
    """
    said = b""
    poll = select.poll()
    poll.register(output, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        ended = _has_ended(pid)
        # What it has left in the background may hold the pipe open: that it has ended is looked for, too.
        readable = poll.poll(0 if ended else min(left, _LOOK) * 1000)
        chunk = os.read(output, _PIPE) if readable else b""
        said = (said + chunk)[-_MOST_SAID:]
        if ended:
            return said
        if readable and not chunk:  # it has closed its output
            poll.unregister(output)
    return None


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it is not reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
