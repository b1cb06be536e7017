"""Installs Flink and PyFlink once for the tests, by name and version, into the cache folder: by pip, and through
Maven the one jar that no wheel has.

``python flink_install.py`` prints the folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

VERSION = "2.3.0"
# What PyFlink needs to submit a job, without what only its connectors and data frames need.
PACKAGES = (
    f"apache-flink-libraries=={VERSION}", f"apache-flink=={VERSION}", "py4j==0.10.9.7", "cloudpickle>=2.2",
    "python-dateutil>=2.8,<3", "six", "pytz", "ruamel.yaml", "typing_extensions",
)  # fmt: skip


_GATEWAY = f"org.apache.flink:flink-sql-gateway:{VERSION}"  # runs SQL scripts


def flink() -> Path:
    """The folder with Flink (``pyflink``) and what PyFlink imports, installed unless it is there already."""

    def complete(made: Path) -> None:
        copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
        subprocess.run(["mvn", "--batch-mode", "--quiet", copy, f"-Dartifact={_GATEWAY}",
                        f"-DoutputDirectory={made / 'pyflink' / 'opt'}"], check=True, cwd=made)  # fmt: skip

    return _installed(f"flink-{VERSION}", ["--no-deps", *PACKAGES], complete)


def whole_pyflink() -> Path:
    """Such a folder with all that PyFlink depends on, so that it executes functions written in Python (0.8 GB)."""
    return _installed(f"pyflink-{VERSION}", [f"apache-flink=={VERSION}"], lambda made: None)


def _installed(name: str, packages: Sequence[str], complete: Callable[[Path], None]) -> Path:
    """The folder of this name in the cache: what pip installs, completed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "aiflow-ext-clusters" / name
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=home.parent))
        try:
            pip = [interpreter(), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
            subprocess.run([*pip, "--target", made, *packages], check=True)
            complete(made)
            made.chmod(0o755)
            try:
                made.rename(home)
            except OSError:
                if not home.is_dir():  # else another process was quicker
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return home


def interpreter() -> str:
    """A Python that PyFlink has wheels for, with pip."""
    found = [sys.executable] if sys.version_info[:2] in ((3, 11), (3, 12)) else []
    for version in ("3.11", "3.12"):
        found += [str(each) for each in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
        found += filter(None, [shutil.which(f"python{version}")])
    if not found:
        sys.exit("no Python 3.11 or 3.12 is here, and PyFlink has no wheels for another one: install one of them")
    return found[0]


if __name__ == "__main__":
    print(flink())
