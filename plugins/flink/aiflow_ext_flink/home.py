"""Where Flink's libraries and Java are on a machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from aiflow_ext.plugin import PlatformError
from aiflow_ext.plugin.engines import find_program

VERSION = "2.3.0"  # of Flink: the one that is tested
_INSTALL = (
    f"pip install apache-flink-libraries=={VERSION} into one of these places, or set FLINK_HOME to a Flink {VERSION}"
)
_INSTALL_JAVA = "install Java 11 or 17, such as openjdk-17-jre-headless, or set JAVA_HOME"


def flink_home(environment: Mapping[str, str], python: str) -> Path:
    """The folder that has Flink's ``lib``. Raises PlatformError that names all the places that were looked at.

    Args:
        environment: the job's variables: FLINK_HOME, PYTHONPATH and PATH are read.
        python: path of the job's interpreter, among whose packages apache-flink-libraries may be.
    """
    looked: list[str] = []
    for what, folder in _places(environment, python):
        looked.append(f"{what} ({folder})" if folder else what)
        if folder and any(Path(folder, "lib").glob("flink-dist-*.jar")):
            return Path(folder)
    raise PlatformError(f"Flink is not on this machine: looked at {', '.join(looked)}", hint=_INSTALL)


def _places(environment: Mapping[str, str], python: str) -> Iterator[tuple[str, str]]:
    if said := environment.get("FLINK_HOME"):
        yield "FLINK_HOME", said
    else:
        yield "FLINK_HOME, which is not set", ""
    for entry in filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)):
        yield "PYTHONPATH", os.path.join(entry, "pyflink")
    # Not resolved: a virtual environment's interpreter is a link to one outside of it.
    for packages in sorted(Path(python).parent.parent.glob("lib/python3*/site-packages")):
        yield f"the packages of {python}", str(packages / "pyflink")
    command = find_program("flink", environment.get("PATH"))
    yield "the command flink", str(Path(os.path.realpath(command)).parent.parent) if command else ""


def java(environment: Mapping[str, str]) -> str:
    """The java command. Raises PlatformError that names the places that were looked at.

    Args:
        environment: the job's variables: JAVA_HOME and PATH are read.
    """
    home = environment.get("JAVA_HOME")
    found = find_program(os.path.join(home, "bin", "java") if home else "java", environment.get("PATH"))
    if found is None:
        looked = f"JAVA_HOME ({home})" if home else "JAVA_HOME, which is not set, and PATH"
        raise PlatformError(f"Java is not on this machine: looked at {looked}", hint=_INSTALL_JAVA)
    return found


def version_of(home: Path) -> str:
    """The version of the Flink in a folder: ``2.3.0``; '' where its jar's name does not tell."""
    dist = jar_of(home, "flink-dist", "lib")
    found = None if dist is None else re.fullmatch(r"flink-dist-(\d+\.\d+(?:\.\d+)?).*\.jar", dist.name)
    return found[1] if found else ""


def minor(version: str) -> str:
    """Of a version the part that must be the same for what belongs together: ``2.3``."""
    return ".".join(version.split(".")[:2])


def jar_of(home: Path, stem: str, folder: str = "opt") -> Path | None:
    """One of Flink's own jars, such as ``flink-python``; None where it is not there."""
    return next(iter(sorted(Path(home, folder).glob(f"{stem}-*.jar"))), None)
