"""Flink's own jars for the tests: through pip once a version, and through Maven the one that its package lacks."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from yarn_hadoop import cache, extra

VERSION = "2.3.0"


def flink(folder: Path) -> Path:
    """``folder``, made what Flink's own is: ``lib``, and ``opt`` with the jar for SQL programs. They are links."""
    installed = _installed()
    (folder / "lib").symlink_to(installed / "lib")
    (folder / "opt").mkdir()
    gateway = extra(f"org.apache.flink:flink-sql-gateway:{VERSION}")
    for name, jar in {jar.name: jar for jar in (*(installed / "opt").glob("*.jar"), gateway)}.items():
        (folder / "opt" / name).symlink_to(jar)
    return folder


def _installed() -> Path:
    """Where the package apache-flink-libraries has Flink."""
    home = cache() / f"flink-libraries-{VERSION}"
    if not home.is_dir():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=cache()) as scratch:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
            target = Path(scratch, "home")
            subprocess.run([*pip, "--target", str(target), f"apache-flink-libraries=={VERSION}"], check=True)
            try:
                target.rename(home)
            except OSError:
                if not home.is_dir():  # else another session was quicker
                    raise
    return home / "pyflink"
