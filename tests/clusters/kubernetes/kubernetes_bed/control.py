"""Talks to process 1 of a bed (see ``init``)."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

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


def wait_until_down(folder: Path) -> None:
    """Return once process 1 is dead, and with it every process of the bed."""
    with open(folder / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def init_pid(folder: Path) -> int:
    """Process 1 of the bed, as this machine counts."""
    return int((folder / "pid").read_text())


def kill_all(folder: Path) -> None:
    """Kill process 1, and with it every process of the bed. It must be up."""
    os.kill(init_pid(folder), signal.SIGKILL)
    wait_until_down(folder)


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
