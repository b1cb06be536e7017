"""Which shell runs a command that is a string, and where a list holds a shell's script. Runs inside jobs, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# With the script as $0. Which shells there are is found out where the job runs. Not every sh has pipefail; that of
# busybox has.
_STRICT = (
    'if command -v bash > /dev/null 2>&1; then exec bash -euo pipefail -c -- "$0"; fi; '
    'if sh -o pipefail -c : 2> /dev/null; then exec sh -euo pipefail -c -- "$0"; fi; exec sh -eu -c -- "$0"'
)
_RUN_BY = {"sh": ("/bin/sh", "-c"), "strict": ("/bin/sh", "-c", _STRICT)}
_SHELLS = frozenset(("sh", "ash", "bash", "dash", "ksh", "mksh", "zsh"))
_STARTERS = frozenset(("busybox", "env", "nice", "nohup", "setsid", "stdbuf", "time", "timeout"))
_WITH_VALUE = ("--init-file", "--rcfile")  # bash's long options whose value is the next word


def run_by(shell: str | Sequence[str]) -> Sequence[str]:
    """The words that a string is put after.

    Args:
        shell: as a job's config has it: ``strict``, ``sh``, another shell's name or path, or the words themselves.
    """
    return _RUN_BY.get(shell, (shell, "-c")) if isinstance(shell, str) else shell


def script_of(argv: Sequence[str]) -> int | None:
    """Where in an argument vector the script of a shell's ``-c`` is; None where there is none.

    The shell comes first, or after a program that starts another one, such as ``env`` or ``timeout``.
    """
    names = [part.rpartition("/")[2] for part in argv]
    shell = 0
    if names and names[0] in _STARTERS:
        shell = next((place for place, name in enumerate(names) if name in _SHELLS), 0)
    if shell >= len(argv) or names[shell] not in _SHELLS:
        return None
    return _operand(argv, iter(range(shell + 1, len(argv))))


def _operand(argv: Sequence[str], places: Iterator[int]) -> int | None:
    """The place of a shell's first word that is no option, where ``-c`` is among those before it."""
    has_c = False
    for place in places:
        part = argv[place]
        if part in _WITH_VALUE:
            next(places, None)
        elif part == "--":
            return next(places, None) if has_c else None
        elif not part.startswith(("-", "+")) or len(part) == 1:
            return place if has_c else None
        elif not part.startswith("--"):
            has_c = has_c or (part[0] == "-" and "c" in part)
            if part.endswith(("o", "O")):  # -o pipefail
                next(places, None)
    return None
