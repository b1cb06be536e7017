"""The command line: what a person types, and what is printed for people and for programs.

Others may use: ``main``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from aiflow_ext.model.errors import INTERRUPTED


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code (docs/exit-codes.md)."""
    try:
        from aiflow_ext.cli.commands import program
        from aiflow_ext.cli.failures import run_guarded
        from aiflow_ext.cli.output import stdout

        code = run_guarded(program, list(sys.argv[1:] if argv is None else argv))
        stdout().flush()
    except KeyboardInterrupt:  # while it was still being loaded, or just at the end
        print("aiflow-ext: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout().fileno())
    sys.exit(code)
