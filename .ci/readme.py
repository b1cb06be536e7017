"""Runs the README: its ``sh`` blocks, as printed and in order, in one shell; and compares the files that it quotes.

A block whose first line is ``# examples/...`` quotes that file: the two must be equal, and ``--update`` makes them so.
``make demo`` and ``make test`` are stages of ``.ci/run`` themselves.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTE = re.compile(r"# (examples/\S+)\n")


def quoted(block: re.Match[str]) -> str:
    """The block as it should be: the file as it is where it quotes one."""
    quote = QUOTE.match(block["text"])
    if quote is None:
        return block[0]
    return f"```{block['language']}\n{quote[0]}{(ROOT / quote[1]).read_text(encoding='utf-8').rstrip()}\n```"


def main() -> int:
    text = README.read_text(encoding="utf-8")
    current = BLOCK.sub(quoted, text)
    if "--update" in sys.argv:
        README.write_text(current, encoding="utf-8")
        return 0
    if current != text:
        print("the README quotes files as they no longer are; python .ci/readme.py --update mends it")
        return 1
    script = ["set -eo pipefail"]
    for block in BLOCK.finditer(text):
        if block["language"] == "sh":
            script += [f"printf '\\n$ %s\\n' {shlex.quote(block['text'].rstrip())}", block["text"]]
    return subprocess.run(["bash", "-c", "\n".join(script)], cwd=ROOT, stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
