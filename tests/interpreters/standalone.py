#!/usr/bin/env python3
"""Prints the path of a standalone Python (python-build-standalone): what uv, mise, rye and hatch install.

    standalone.py 3.14          fetched once with ``go mod download``, then kept in the user's cache folder

It comes from a Go module that embeds it, so that it needs no access but that to a Go module proxy. Standard library
only.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

MODULE = "github.com/kluctl/go-embed-python"
# Version of the module, and the sum of its content as in a go.sum.
KNOWN = {
    "3.11": ("v0.0.0-3.11.11-20241219-1", "h1:yVXFTxa6cvhLC6TwkDEHmNaiWlDyaFEGiXd1DQdoeOU="),
    "3.14": ("v0.0.0-3.14.6-20260610-1", "h1:oGUS7++Wm3LgxUfD6AmJgKbKQD2wdQFO9PzyJv6T+E4="),
}
MACHINES = {"x86_64": "linux-amd64", "aarch64": "linux-arm64"}


def main() -> str | None:
    """Print the path; returns what is wrong where there is none."""
    if len(sys.argv) != 2 or sys.argv[1] not in KNOWN:
        return f"usage: standalone.py {'|'.join(KNOWN)}"
    if platform.machine() not in MACHINES:
        return f"there is a standalone Python for {' and '.join(MACHINES)}, and this is {platform.machine()}"
    version, sum_ = KNOWN[sys.argv[1]]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "aiflow-ext-ci").absolute()
    home = cache / f"standalone-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f".standalone-{version}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            # Filled under another name, so that half of it is never taken for the whole.
            partial = home.with_name(f".{home.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                _make(partial / "home", _download(partial / "go", version, sum_))
                (partial / "home").rename(home)
            except (OSError, ValueError) as error:
                return f"the standalone Python {sys.argv[1]} cannot be had: {error}"
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    print(home / "bin" / "python3")
    return None


def _download(folder: Path, version: str, sum_: str) -> Path:
    """The module's folder. ValueError: it cannot be had, or is not what it was."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise ValueError("there is no go on the PATH to download it with")
    env = {**os.environ, "GOMODCACHE": str(folder), "GOFLAGS": "-modcacherw"}
    folder.mkdir(parents=True)
    command = [go, "mod", "download", "-json", f"{MODULE}@{version}"]
    done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise ValueError(f"go mod download: {done.stderr.strip() or f'exit code {done.returncode}'}") from None
    if "Error" in said or done.returncode:
        raise ValueError(f"go mod download: {said.get('Error') or done.stderr.strip()}")
    if said["Sum"] != sum_:
        raise ValueError(f"{MODULE}@{version} has the sum {said['Sum']}, and it should be {sum_}")
    return Path(said["Dir"])


def _make(home: Path, module: Path) -> None:
    """Unpack the interpreter for this machine."""
    source = module / "python" / "internal" / "data" / MACHINES[platform.machine()]
    home.mkdir()
    for item in json.loads((source / "files.json").read_text())["files"]:
        target = home / item["name"]
        if "symlink" in item:
            target.symlink_to(item["symlink"])
        elif (source / item["name"]).is_dir():
            target.mkdir()
        elif item.get("compressed"):
            with gzip.open(source / f"{item['name']}.gz") as packed, open(target, "wb") as file:
                shutil.copyfileobj(packed, file)
        else:
            shutil.copyfile(source / item["name"], target)
        if "symlink" not in item:
            target.chmod(0o755 if target.is_dir() else item["perm"] & 0o777)


if __name__ == "__main__":
    sys.exit(main())
