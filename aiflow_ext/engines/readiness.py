"""Checks whether a job that serves others is ready, on the machine on which it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aiflow_ext.engines.shells import run_by

if TYPE_CHECKING:
    from aiflow_ext.model.config import BaseJobConfig

CHECK_LIMIT = 10.0  # seconds after which a check that has not returned has failed
_MOST_SAID = 300  # bytes of a check's last line that are told


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
    import tempfile

    with tempfile.TemporaryFile() as output:
        try:
            check = subprocess.Popen(argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=output, start_new_session=True)  # fmt: skip
        except OSError as error:
            return f"its check cannot be run: {error}"
        try:
            code = check.wait(CHECK_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(check.pid, signal.SIGKILL)  # before it is reaped: the group is surely its own
            check.wait()
            return f"its check has not returned within {CHECK_LIMIT:g} s"
        if not code:
            return True
        output.seek(max(0, output.seek(0, os.SEEK_END) - _MOST_SAID))
        said = output.read(_MOST_SAID).decode("utf-8", "replace").strip().rpartition("\n")[2]
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    return f"its check ended with {how}{': ' if said else ''}{said}"
