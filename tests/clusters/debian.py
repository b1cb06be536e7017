"""Debian's packages, installed where they are missing."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping

LOCK = "/run/lock/aiflow-ext-packages"


class PackagesMissing(Exception):
    """Packages cannot be installed; says why, and what to do."""


def missing(packages: Mapping[str, str]) -> list[str]:
    """Those of the packages whose file is not there; arguments as of :func:`install`."""
    return [package for file, package in packages.items() if not os.path.exists(file)]


def install(packages: Mapping[str, str]) -> None:
    """Install packages by apt-get where they are missing; those that others install at the same time are waited for.

    Args:
        packages: their names, by a file of each.

    Raises:
        PackagesMissing: there is no apt-get, this is not root, or it fails.
    """
    wanted = missing(packages)
    if not wanted:
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise PackagesMissing(f"install what Debian calls {' '.join(wanted)}, at Debian's paths, and try again")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # an update waits for no other one by itself
        if not (wanted := missing(packages)):
            return
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *wanted]):
            argv = ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300", *words]
            done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                raise PackagesMissing(f"apt-get {' '.join(words)} fails: {done.stderr[-500:]}")
