"""Flink's own libraries on the cluster's file system: sent once for each version and content, and used by later runs.

Their folder is below the user's staging folder, not below a run's, and no run removes it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import struct
import sys
from pathlib import Path

from aiflow_ext.plugin import ConfigError
from aiflow_ext_flink.home import VERSION
from aiflow_ext_yarn.request import Staged

DIST = re.compile(r"flink-dist-(\d[\w.-]*)\.jar")
_GET = (
    f"pip install --no-deps apache-flink-libraries=={VERSION}, or give the folder of a Flink {VERSION}: "
    "flink_home: /opt/flink"
)
_END, _END_SIZE = b"PK\x05\x06", 22  # of a zip file's central directory: signature, and bytes without its comment
_MOST_COMMENT = 1 << 16
_ZIP64 = 0xFFFFFFFF  # the real number is elsewhere


class Libraries:
    """Flink's libraries on this machine.

    Args:
        folder: with Flink's ``lib`` and ``opt``.
        version: Flink's.
        jars: those of ``lib``, in the order of the class path: flink-dist is the last one.

    Attributes:
        dist: the name of flink-dist in the container's folder.
    """

    def __init__(self, folder: Path, version: str, jars: list[Path]) -> None:
        self.folder, self.version, self.jars = folder, version, jars
        self.dist = f"lib/{jars[-1].name}"

    def staged(self, top: str, options: list[str]) -> list[Staged]:
        """Its files as they are sent.

        Args:
            top: the staging folder.
            options: names of the jars of ``opt`` that the job needs, without version: ``flink-python``.

        Raises ConfigError for a jar of ``opt`` that is not there.
        """
        paths = {f"lib/{jar.name}": jar for jar in self.jars}
        for option in options:
            jar = self.folder / "opt" / f"{option}-{self.version}.jar"
            if not jar.is_file():
                raise ConfigError(
                    f"this job needs {option}-{self.version}.jar, and {jar.parent} has no such file",
                    hint=f"get it from Maven, org.apache.flink:{option}:{self.version}, and put it there",
                )
            paths[f"opt/{jar.name}"] = jar
        own = f"{top}/flink/{self.version}"
        return [
            Staged(name, f"{own}/{digest(jar)}/{jar.name}", once=True, source=jar, shown=f"Flink's own {name}")
            for name, jar in paths.items()
        ]


def home(given: str | None, root: str) -> tuple[Path, str]:
    """The folder of this machine with Flink's ``lib`` and ``opt``, and what names it. Raises ConfigError where nothing
    does.

    Args:
        given: what the job's config says, relative to ``root``; None: FLINK_HOME, or the package
            apache-flink-libraries of this Python.
        root: the project's folder.
    """
    if given is not None:
        return Path(root, os.path.expanduser(given)), "flink_home"
    if said := os.environ.get("FLINK_HOME"):
        return Path(said), "FLINK_HOME"
    found = importlib.util.find_spec("pyflink")
    for place in found.submodule_search_locations or [] if found is not None else []:
        if Path(place, "lib").is_dir():
            return Path(place), f"the Python {sys.executable}"
    raise ConfigError(
        f"no Flink is found on this machine: flink_home is not given, FLINK_HOME is not set, and the Python "
        f"{sys.executable} has no apache-flink-libraries",
        hint=_GET,
    )


def libraries(folder: Path, named_by: str) -> Libraries:
    """The libraries in a folder. Raises ConfigError where they are not those of one version, or not of Flink 2.

    Args:
        folder: with Flink's ``lib``.
        named_by: what names it, for the message.
    """
    jars = sorted((folder / "lib").glob("*.jar"))
    found = [(jar, match[1]) for jar in jars if (match := DIST.fullmatch(jar.name)) is not None]
    if len(found) != 1:
        have = "none" if not found else " and ".join(jar.name for jar, _ in found)
        raise ConfigError(
            f"{folder / 'lib'}, which {named_by} leads to, is not the lib folder of a Flink: of "
            f"flink-dist-VERSION.jar it has {have}",
            hint=_GET,
        )
    ((dist, version),) = found
    if version.partition(".")[0] != VERSION.partition(".")[0]:
        raise ConfigError(
            f"{folder}, which {named_by} leads to, is Flink {version}, and jobs on YARN run with Flink 2 alone",
            hint=_GET,
        )
    return Libraries(folder, version, [*(jar for jar in jars if jar != dist), dist])


def digest(jar: Path) -> str:
    """A digest of a jar's content: of its central directory, which has the name, the size and the CRC of each entry."""
    stat = jar.stat()
    return _digest(str(jar), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(1024)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    found = hashlib.sha256(f"{Path(path).name}\0{size}\0".encode("utf-8", "surrogateescape"))
    with open(path, "rb") as file:
        file.seek(max(0, size - _END_SIZE - _MOST_COMMENT))
        tail = file.read()
        end = tail.rfind(_END)
        begin = struct.unpack_from("<I", tail, end + 16)[0] if 0 <= end <= len(tail) - _END_SIZE else _ZIP64
        file.seek(0 if begin == _ZIP64 else min(begin, size))
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()[:16]
