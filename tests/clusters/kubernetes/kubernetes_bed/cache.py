"""What takes long to make is made once and kept, by version, in the user's cache folder."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from kubernetes_bed.errors import BedError

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@functools.lru_cache(maxsize=1)
def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/aiflow-ext-clusters``, or the same in ``~/.cache``; as it was when first asked for."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "aiflow-ext-clusters").absolute()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; it ends with the process at the latest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fingerprint(*parts: str | bytes) -> str:
    """Twelve hexadecimal digits that change when one of the parts does."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def made(name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache; ``make(folder)`` fills it if it is not there yet.

    Half a folder is never seen: it is filled under another name. Whoever asks meanwhile waits for it.
    """
    done = cache_folder() / name
    if done.exists():
        return done
    with locked(cache_folder() / f".{name}.lock"):
        if done.exists():
            return done
        partial = done.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        say(f"making {name}")
        start = time.monotonic()
        make(partial)
        partial.rename(done)
        say(f"made {name} in {time.monotonic() - start:.0f} s")
    return done


def say(line: str) -> None:
    """A line for whoever waits, on stderr."""
    print(line, file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command prints on stdout; ``env`` is added to the environment.

    Raises:
        BedError: it failed; with the end of what it said.
    """
    argv = [str(part) for part in command]
    search = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"  # a user's may lack the folders of what root uses
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {}), "PATH": search},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise BedError(f"{argv[0]} cannot be run: {error}") from None
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise BedError(f"{' '.join(argv[:6])} exited with {done.returncode}:\n{said}")
    return done.stdout
