"""Debian's packages, installed where they are missing."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence

LOCK = "/run/lock/aiflow-ext-packages"


class PackagesMissing(Exception):
    """Packages cannot be installed; says why, and what to do."""


def install(packages: Sequence[str]) -> None:
    """Install packages by apt-get; those that others install at the same time are waited for.

    Raises:
        PackagesMissing: there is no apt-get, this is not root, or it fails.
    """
    if os.geteuid() or not shutil.which("apt-get"):
        raise PackagesMissing(f"install what Debian calls {' '.join(packages)}, at Debian's paths, and try again")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # an update waits for no other one by itself
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            argv = ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300", *words]
            done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                raise PackagesMissing(f"apt-get {' '.join(words)} fails: {done.stderr[-500:]}")
