"""Talks to process 1 of a bed (see ``init``)."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
from pathlib import Path
from typing import Any

from aiflow_ext.supervise import kernel
from kubernetes_bed.errors import BedError


def is_up(folder: Path) -> bool:
    """Whether the bed's process 1 lives: it holds a lock for as long as it does."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def init_pid(folder: Path) -> int:
    """Process 1 of the bed, as this machine counts."""
    return int((folder / "pid").read_text())


def kill_all(folder: Path) -> None:
    """Kill process 1, and with it every process of the bed; returns once all are dead. The bed must be up."""
    init = init_pid(folder)
    # Its parent, unshare, waits for it.
    descriptors = [kernel.pidfd_open(pid) for pid in (init, _parent(init))]
    try:
        # Its lock is gone at the beginning of its end, and its descriptor ready at the end: after all others have died.
        if is_up(folder):  # so that the descriptor is still its own
            kernel.pidfd_send_signal(descriptors[0], signal.SIGKILL)
        for descriptor in descriptors:
            select.select([descriptor], [], [])
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ask(folder: Path, **request: Any) -> Any:
    """Send one request and return its answer.

    Raises:
        BedError: it was refused, or the bed is down.
    """
    try:
        directory = os.open(folder, os.O_PATH)
    except FileNotFoundError:
        raise BedError(f"there is no bed called {folder.name}: bring it up first") from None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(30)
            client.connect(f"/proc/self/fd/{directory}/control")  # the path itself may be too long for a socket
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile() as stream:
                answer = json.loads(stream.readline())
    except (FileNotFoundError, ConnectionRefusedError):
        raise BedError(f"the bed {folder.name} has died: take it down, or up again") from None
    finally:
        os.close(directory)
    if "error" in answer:
        raise BedError(answer["error"])
    return answer
