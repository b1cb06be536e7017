"""Ask an advisory service after what is installed, and after the oldest versions that our requirements let in.

Needs the network, pip-audit beside this interpreter, and Python 3.11. Fails on findings, and where the service does not
know a package or cannot be reached: what was not looked at is not clean.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]


def installed(python: str) -> list[str]:
    """What an environment has, but for our own distributions."""
    frozen = subprocess.run(
        [python, "-m", "pip", "freeze", "--exclude-editable"], capture_output=True, text=True, check=True
    )
    return [line for line in frozen.stdout.splitlines() if "==" in line]


def lowest() -> list[str]:
    """The lower bounds of all requirements in our pyproject.toml files."""
    found = set()
    for file in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        project = data["project"]
        optional = project.get("optional-dependencies", {}).values()
        for each in (
            *data["build-system"]["requires"],
            *project["dependencies"],
            *(one for many in optional for one in many),
        ):
            name, bound, rest = each.partition(">=")
            if bound and not name.startswith("aiflow-ext"):
                found.add(f"{name.partition('[')[0]}=={rest.partition(',')[0]}")
    return sorted(found)


def main() -> None:
    """``audit.py PYTHON``: that of the environment to look at."""
    failed = False
    for what, lines in (("what is installed", installed(sys.argv[1])), ("the oldest versions that may be", lowest())):
        print(f"== {what}: {len(lines)} packages", flush=True)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(lines))
            file.flush()
            command = [sys.executable, "-m", "pip_audit", "--strict", "--no-deps", "--disable-pip", "-r", file.name]
            failed |= subprocess.run(command, check=False).returncode != 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
