"""Ask an advisory service after what is installed, and after the oldest versions that our requirements let in.

Needs the network, pip-audit beside this interpreter, and Python 3.11. Exit code 1: findings, or the service does not
know a package: what was not looked at is not clean. Exit code 3: no service answers, as an old package with known
vulnerabilities shows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]
VULNERABLE = "jinja2==2.10"  # CVE-2019-10906 and others
PATIENCE = 30.0  # seconds until the service has to answer for one package
NO_SERVICE = 3


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


def ask(lines: list[str], *options: str, patience: float | None = None) -> subprocess.CompletedProcess[str]:
    """Ask after requirements. Raises TimeoutExpired after ``patience`` seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--strict", "--no-deps", "--disable-pip", "-r", file.name]
        return subprocess.run([*command, *options], check=False, text=True, capture_output=True, timeout=patience)


def service_answers() -> bool:
    """Whether there is a service that knows vulnerabilities."""
    try:
        return "CVE-" in ask([VULNERABLE], "--aliases=on", patience=PATIENCE).stdout
    except subprocess.TimeoutExpired:
        return False


def main() -> None:
    """``audit.py PYTHON``: that of the environment to look at."""
    if not service_answers():
        print(f"no advisory service: nothing was told of {VULNERABLE} within {PATIENCE:g} s; nothing was looked at")
        sys.exit(NO_SERVICE)
    failed = False
    for what, lines in (("what is installed", installed(sys.argv[1])), ("the oldest versions that may be", lowest())):
        print(f"== {what}: {len(lines)} packages", flush=True)
        asked = ask(lines)
        print(asked.stdout, asked.stderr, sep="", flush=True)
        failed |= asked.returncode != 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
