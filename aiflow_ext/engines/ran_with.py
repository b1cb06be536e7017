"""Finds out what this process runs with. Runs inside jobs, too, at their start: it must cost next to nothing.

So what is installed is read from the names of the metadata folders on ``sys.path``: one listing for each path entry, no
file. ``importlib.metadata`` would take twenty milliseconds to import alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

from aiflow_ext.model.ran_with import RanWith

VARIABLE = "AIFLOW_RAN_WITH_FILE"
_STANDARD = os.path.dirname(os.__file__)
_LIBRARY = (_STANDARD, f"{_STANDARD}/lib-dynload")  # three hundred names, and none of use
_LINE = 4000  # characters: it may travel in a log
_METADATA = (".dist-info", ".egg-info")


def ran_with(*, python: bool = True) -> RanWith:
    """What this process runs with; ``python``: whether with the installed distributions."""
    system, _, release, _, machine = os.uname()
    return RanWith(
        ".".join(map(str, sys.version_info[:3])), sys.implementation.name, sys.executable or None, system, release,
        machine, _libc(), installed(sys.path) if python else None,
    )  # fmt: skip


def record(*, python: bool) -> None:
    """Write it into the file that the platform has named, if it has; a job never fails for that."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    text = "\n".join(_lines(json.dumps(ran_with(python=python)._asdict(), separators=(",\n", ":"))))
    try:
        # An earlier attempt may have left a FIFO or a link there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o666), "wb") as file:
            file.write(f"{text}\n".encode())
    except OSError:
        pass


def _lines(text: str) -> Iterator[str]:
    """Text as fewer lines, each so short that no log breaks it."""
    line = ""
    for each in text.split("\n"):
        if len(line) + len(each) > _LINE:
            yield line
            line = ""
        line += each
    yield line


def installed(paths: list[str]) -> dict[str, str]:
    """The distributions in these folders, version by name; of several with a name the one that is imported."""
    found: dict[str, str] = {}
    for name, version in _listed(paths):
        found.setdefault(name.lower().replace("_", "-").replace(".", "-"), version)
    return dict(sorted(found.items()))


def _listed(paths: list[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path in _LIBRARY:
            continue
        try:
            names = os.listdir(path or ".")
        except OSError:  # an archive, or not there
            continue
        for name in names:
            if name.endswith(_METADATA):  # NAME-VERSION.dist-info, NAME-VERSION-py3.11.egg-info; no hyphen in a name
                distribution, hyphen, version = name.rpartition(".")[0].partition("-")
                if hyphen:
                    yield distribution, version.partition("-py")[0]


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return "musl" if "musl" in getattr(sys.implementation, "_multiarch", "") else None
