"""Runs the README: every ```sh block as printed, in order, in one copy of the repository; and compares what it quotes.

A block whose first line is ``# examples/...`` quotes that file and must be equal to it. ``make demo`` and ``make test``
are stages of their own and are left out here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = {"make demo", "make test"}


def main() -> int:
    failures = 0
    for language, text in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        first, _, rest = text.partition("\n")
        quoted = re.fullmatch(r"# (examples/\S+)", first)
        if quoted:
            same = (ROOT / quoted[1]).read_text(encoding="utf-8").strip() == rest.strip()
            failures += not same
            print(f"{'same' if same else 'DIFFERS'}: {quoted[1]}", flush=True)
        elif language == "sh":
            lines = [line for line in text.splitlines() if line.partition("#")[0].strip() not in ELSEWHERE]
            if any(line.strip() for line in lines):
                print("".join(f"$ {line}\n" for line in lines), end="", flush=True)
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=ROOT, stdin=subprocess.DEVNULL
                )
                failures += done.returncode != 0
                if done.returncode:
                    print(f"FAILED with exit code {done.returncode}", flush=True)
    print(f"README: {failures} failed", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
