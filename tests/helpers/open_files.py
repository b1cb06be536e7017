"""Which files processes have open. A process may close them, or end, while it is looked at."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def open_files(pid: int) -> set[Path]:
    """The files and folders that a process has open; none if it has ended."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(Path(os.readlink(f"/proc/{pid}/fd/{descriptor}")))
    return found


def is_open(folder: Path) -> bool:
    """Whether a process has the folder, or a file in it, open."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return any(path.is_relative_to(folder) for pid in pids for path in open_files(pid))
