"""Ordinary users with names and groups of their own, who exist for the commands that a test starts and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patience import PATIENCE

GROUP = "mlteam", 61010
USERS = {"alice": 61001, "bob": 61002}

# In a mount namespace of its own: the users' names, and open folders in place of closed ones on the way to Python.
_ENTER = """
set -e
mount --make-rprivate /
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
exec 9<"$1/needed"
n=0
while IFS='|' read -r closed needed <&9; do
    n=$((n + 1))
    mkdir "$1/kept$n"
    mount --bind "$needed" "$1/kept$n"
done
exec 9<"$1/needed"
n=0
covered=
while IFS='|' read -r closed needed <&9; do
    n=$((n + 1))
    case "$covered" in
        *"|$closed|"*) ;;
        *) mount -t tmpfs -o mode=755 tmpfs "$closed"; covered="$covered|$closed|" ;;
    esac
    mkdir -p "$needed"
    mount --bind "$1/kept$n" "$needed"
done
umask "$3"
user=$2
shift 3
exec setpriv --reuid "$user" --regid "$user" --init-groups "$@"
"""


class OtherUsers:
    """Two ordinary users, ``alice`` and ``bob``, who have the group ``mlteam`` in common.

    Attributes:
        home: a folder that all may enter, with a home folder of each user.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._made = home / ".made"
        self._made.mkdir(mode=0o755)
        for name, number in USERS.items():
            own = home / name
            own.mkdir(mode=0o700)
            os.chown(own, number, number)
        users = "".join(f"{name}:x:{number}:{number}::{home / name}:/bin/sh\n" for name, number in USERS.items())
        groups = "".join(f"{name}:x:{number}:\n" for name, number in USERS.items())
        members = ",".join(USERS)
        for file, more in (("passwd", users), ("group", f"{groups}{GROUP[0]}:x:{GROUP[1]}:{members}\n")):
            (self._made / file).write_text(Path("/etc", file).read_text() + more)
        needed = {sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])}
        lines = [f"{closed}|{each}\n" for each in sorted(needed) if (closed := _closed(each))]
        (self._made / "needed").write_text("".join(lines))

    def run(
        self, user: str, *words: str | Path, umask: str = "022", env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """``aiflow-ext WORDS`` as that user. ``env``: more of its environment."""
        argv = [sys.executable, "-m", "aiflow_ext", *(os.fspath(each) for each in words)]
        return subprocess.run(self._command(user, argv, umask), env=self._env(user, env), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=PATIENCE, **{"cwd": "/", **options})  # fmt: skip

    def _command(self, user: str, argv: Sequence[str], umask: str) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", _ENTER, "enter", str(self._stage()), str(USERS[user]), umask, *argv]

    def _stage(self) -> Path:
        stage = Path(tempfile.mkdtemp(dir=self._made))
        for name in ("passwd", "group", "needed"):
            (stage / name).write_bytes((self._made / name).read_bytes())
            (stage / name).chmod(0o644)
        return stage

    def _env(self, user: str, more: Mapping[str, str] | None) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home / user),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(more or {}),
        }


def _closed(path: str) -> str | None:
    """The uppermost folder on the way to ``path`` that an ordinary user cannot enter."""
    for folder in reversed([Path(path), *Path(path).parents]):
        if not folder.stat().st_mode & 0o001:
            return str(folder)
    return None


@contextmanager
def other_users() -> Iterator[OtherUsers]:
    """Needs root."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        yield OtherUsers(Path(folder))
