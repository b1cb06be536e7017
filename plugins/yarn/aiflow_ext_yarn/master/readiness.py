"""Whether a job that serves others is ready: checked beside it, in its container."""

from __future__ import annotations

import socket
import subprocess
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from aiflow_ext_yarn.master.spec import Child

CHECK_LIMIT = 10.0  # seconds after which a check that has not returned has failed
# What YARN shows as progress is how the client learns of it: it is not 0, which is a job that has not begun, nor 1. The
# ResourceManager reports it in percent.
NOT_READY, READY = 0.01, 0.5


class Readiness:
    """Checks until the job is ready, in a thread of its own.

    Args:
        spec: ``port`` or ``argv``, and ``every``: seconds between two checks.
        child: the job, in whose environment and folder the check runs.
        log: called with what a check says that fails.
    """

    def __init__(self, spec: Mapping[str, Any], child: Child, log: Callable[[str], None]) -> None:
        self._port, self._argv = spec.get("port"), [str(part) for part in spec.get("argv", ())]
        self._every, self._child, self._log = float(spec.get("every", 1.0)), child, log
        self._is_ready, self._over = False, threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def progress(self) -> float:
        """What YARN is told."""
        return READY if self._is_ready else NOT_READY

    def end(self) -> None:
        """Check no more: the job has ended, or is being stopped."""
        self._over.set()

    def _run(self) -> None:
        said = None
        while not self._over.is_set():
            try:
                words = self._check()
            except (OSError, ValueError) as error:
                words = str(error)
            if words is None:
                self._is_ready = True
                return
            if words != said:
                said = words
                self._log("not ready yet: " + words)
            self._over.wait(self._every)

    def _check(self) -> str | None:
        """None if it is ready, else what is missing. Raises OSError."""
        if self._port is not None:
            socket.create_connection(("localhost", int(self._port)), timeout=CHECK_LIMIT).close()
            return None
        check = subprocess.Popen(self._argv, env=self._child.env, cwd=self._child.cwd, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL)  # fmt: skip
        try:
            code = check.wait(CHECK_LIMIT)
        except subprocess.TimeoutExpired:
            check.kill()
            check.wait()
            return f"its check has not returned within {CHECK_LIMIT:g} s"
        return None if code == 0 else f"its check ended with exit code {code}"
