"""The logs of running attempts, followed while they grow."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection

from aiflow_ext.plugin.engines import Backoff
from aiflow_ext_kubernetes.logs.keep import keep
from aiflow_ext_kubernetes.logs.reader import Reader, reader_of
from aiflow_ext_kubernetes.target import Target

FOLLOWED = 100  # logs that one process follows at a time: each is a connection, a thread and two files
BACK_OFF = (1.0, 60.0)  # seconds between two tries to follow a log: the first, and the longest


class Follower:
    """Follows logs until they end, each in a thread; at most ``FOLLOWED`` at a time."""

    def __init__(self) -> None:
        self._active: dict[str, Reader] = {}
        self._closed = threading.Event()

    def follow(self, target: Target, native_id: str, pod: str, folder: str) -> bool:
        """Start to follow a log; False if ``FOLLOWED`` logs are followed already."""
        if native_id in self._active:
            return True
        if len(self._active) >= FOLLOWED:
            return False
        reader = self._active[native_id] = reader_of(target, native_id, pod, folder)
        threading.Thread(
            target=self._run, args=(target, native_id, reader, folder), daemon=True, name="aiflow-log"
        ).start()
        return True

    def release(self, native_id: str) -> None:
        """Stop following a log once its answer ends: another thread reads it."""
        self._active.pop(native_id, None)

    def release_all_but(self, native_ids: Collection[str]) -> None:
        """Release all logs but these: the others' attempts have ended."""
        for native_id in [each for each in self._active if each not in native_ids]:
            self._active.pop(native_id, None)

    def close(self) -> None:
        """Stop following all logs."""
        self._closed.set()
        for reader in self._active.values():
            reader.break_off()

    def _run(self, target: Target, native_id: str, reader: Reader, folder: str) -> None:
        # Until it is released: the API ends the answer in the same way where the container has ended and where the
        # node's kubelet has.
        backoff = Backoff(*BACK_OFF)
        while native_id in self._active and not self._closed.is_set():
            began = time.monotonic()
            with contextlib.suppress(Exception):  # no answer, a connection that broke: the log is still there
                reader.follow()
            if reader.is_complete:
                with contextlib.suppress(Exception):  # cleaning up tries again
                    keep(target, native_id, folder, reader.pod)
                break
            if time.monotonic() - began > BACK_OFF[1]:  # it had been followed for long
                backoff.reset()
            self._closed.wait(backoff.next())
