"""A shell script that runs a command and records its exit code, for platforms that keep none."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def exit_script(argv: Sequence[str], exit_file: str, env: Mapping[str, str] | None = None) -> str:
    """A ``/bin/sh`` script that runs ``argv`` and then writes its exit code, a decimal number, to ``exit_file``.

    Args:
        argv: the command.
        exit_file: its path. It is written under another name and renamed: it holds the whole number or does not exist.
        env: variables that are exported; none by default.

    A command ended by signal N is recorded as 128 + N, as shells report it. The script exits with the same code. Raises
    ValueError for a variable's name that no shell can export.
    """
    wrong = [name for name in env or {} if not _NAME.fullmatch(name)]
    if wrong:
        raise ValueError(f"not the name of an environment variable: {', '.join(map(repr, wrong))}")
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in (env or {}).items())
    target = shlex.quote(exit_file)
    return (
        f"#!/bin/sh\n{exports}(exec {shlex.join(argv)})\ncode=$?\n"  # exec: the program, never a shell's built-in
        f"echo $code > {target}.part && mv {target}.part {target}\nexit $code\n"
    )
