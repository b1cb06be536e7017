"""What a job ran with: its Python, the system below it, and the distributions that were installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

RAN_WITH = "ran-with.json"  # in the attempt's folder on the client's machine


class RanWith(NamedTuple):
    """What a job ran with, as its own process has found it. None: not known.

    Attributes:
        python: the version, as ``3.12.4``.
        implementation: ``cpython``, ``pypy``.
        executable: path of the interpreter.
        system, release, machine: as ``uname`` has them: ``Linux``, the kernel's version, ``x86_64``.
        libc: its name and version, as ``glibc 2.36``.
        distributions: version by name of what is installed, the names in lower case with hyphens; None in a job without
            an ``af.python``.
    """

    python: str | None = None
    implementation: str | None = None
    executable: str | None = None
    system: str | None = None
    release: str | None = None
    machine: str | None = None
    libc: str | None = None
    distributions: Mapping[str, str] | None = None

    @classmethod
    def from_data(cls, data: Any) -> RanWith:
        """What ``_asdict`` gives, read from JSON that a job may have written. Raises ValueError for anything else."""
        if not isinstance(data, dict):
            raise ValueError("not an object")
        found = {name: data.get(name) for name in cls._fields}
        installed = found.pop("distributions")
        if any(value is not None and not isinstance(value, str) for value in found.values()):
            raise ValueError("a value is not text")
        if installed is not None and not _is_text_by_text(installed):
            raise ValueError("distributions are not text by text")
        return cls(**found, distributions=installed)

    def in_words(self) -> str:
        """In a line: Python, system, machine, libc, and how many distributions, as far as they are known."""
        parts = [f"Python {self.python}" if self.python else None, self.system, self.machine, self.libc]
        if self.distributions is not None:
            parts.append(f"{len(self.distributions)} distributions")
        return ", ".join(each for each in parts if each)


def _is_text_by_text(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for pair in value.items() for each in pair)
