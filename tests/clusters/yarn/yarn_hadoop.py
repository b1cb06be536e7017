"""Hadoop itself: its jars from Maven, once a version, and the Java to run them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

VERSION = "3.4.3"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
# The ResourceManager needs the timeline service's classes without asking for them.
ARTIFACTS = (
    "hadoop-common",
    "hadoop-hdfs",
    "hadoop-hdfs-client",
    "hadoop-yarn-server-resourcemanager",
    "hadoop-yarn-server-nodemanager",
    "hadoop-yarn-client",
    "hadoop-mapreduce-client-hs",
    "hadoop-mapreduce-client-shuffle",
    "hadoop-yarn-server-timelineservice",
)


class BedError(Exception):
    """The bed cannot be what it was asked to be; says what to do."""


def cache() -> Path:
    """Where all beds of this user are, and the jars of every version."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "aiflow-ext-clusters")


def java() -> str:
    """The java command. Raises BedError where there is none."""
    found = os.path.join(os.environ["JAVA_HOME"], "bin/java") if "JAVA_HOME" in os.environ else shutil.which("java")
    if not found or not os.access(found, os.X_OK):
        raise BedError("the Hadoop daemons need Java 8, 11 or 17: install openjdk-17-jre-headless, or set JAVA_HOME")
    return found


def install() -> Path:
    """The folder with Hadoop's jars, fetched through Maven (93 MB) where they are not there yet."""
    home = cache() / f"hadoop-{VERSION}"
    if not (home / "lib").is_dir():
        with _alone():
            if not (home / "lib").is_dir():  # else another bed was faster
                _fetch(home)
    return home


def _fetch(home: Path) -> None:
    if not shutil.which("mvn"):
        raise BedError("Hadoop's jars come through Maven, and there is no mvn on the PATH: install maven")
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        pom = Path(scratch, "pom.xml")
        pom.write_text(_pom())
        call = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(pom),
            COPY,
            f"-DoutputDirectory={scratch}/home/lib",
            "-DincludeScope=runtime",
        ]
        done = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise BedError(f"Maven could not fetch Hadoop {VERSION}:\n{done.stdout.strip()[-2000:]}")
        # NameNode and DataNode look for their web pages on the class path; the jars carry none, empty folders will do.
        for name in ("hdfs", "datanode"):
            Path(scratch, "home/webroot/webapps", name).mkdir(parents=True)
        os.rename(f"{scratch}/home", home)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold off the other beds of this user: Maven's own store is not for two at once."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / ".hadoop.lock", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def extra(coordinates: str) -> Path:
    """One more jar, ``group:artifact:version``, without what it needs; fetched through Maven where it is not there."""
    _, artifact, version = coordinates.split(":")
    jar = install() / f"{artifact}-{version}.jar"
    if jar.exists():
        return jar
    if not shutil.which("mvn"):
        raise BedError(f"{artifact} comes through Maven, and there is no mvn on the PATH: install maven")
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    with _alone(), tempfile.TemporaryDirectory(dir=cache()) as scratch:
        what = [f"-Dartifact={coordinates}", f"-DoutputDirectory={scratch}"]
        done = subprocess.run(["mvn", "-q", "-B", plugin, *what], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)  # fmt: skip
        if done.returncode:
            raise BedError(f"Maven could not fetch {coordinates}:\n{done.stdout.strip()[-2000:]}")
        os.rename(Path(scratch, jar.name), jar)
    return jar


def _pom() -> str:
    dependencies = "".join(
        f"<dependency><groupId>org.apache.hadoop</groupId><artifactId>{name}</artifactId><version>{VERSION}</version>"
        "</dependency>\n"
        for name in ARTIFACTS
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        "<groupId>aiflow-ext</groupId><artifactId>yarn-bed</artifactId><version>1</version><packaging>pom</packaging>\n"
        f"<dependencies>\n{dependencies}</dependencies></project>\n"
    )
