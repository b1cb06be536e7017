"""Configuration folders as operators write them, and what Hadoop's GetConf answers for them."""

from __future__ import annotations

import getpass
from pathlib import Path

VARIABLES = {"NN_HOST": "there", "NN_EMPTY": ""}  # of the environment
_HOSTS = '<configuration><property name="nn" value="there"/></configuration>'
_DEFAULT_FS = "<property><name>fs.defaultFS</name><value>hdfs://${nn}:1</value></property>"
_FALLBACK = '<xi:fallback><property name="nn" value="fallback"/></xi:fallback>'
_XI = 'xmlns:xi="http://www.w3.org/2001/XInclude"'


def _core(body: str) -> dict[str, str]:
    return {"core-site.xml": f"<configuration {_XI}>{body}</configuration>"}


def _set(name: str, value: str, final: str = "") -> str:
    return f"<property><name>{name}</name><value>{value}</value>{final}</property>"


_FINAL = "<final>true</final>"
# What is tried -> files (FOLDER stands for the folder), property, what GetConf answers.
CASES: dict[str, tuple[dict[str, str], str, str]] = {
    "a fallback beside a file that is there": (
        {**_core(f'<xi:include href="hosts.xml">{_FALLBACK}</xi:include>{_DEFAULT_FS}'), "hosts.xml": _HOSTS},
        "fs.defaultFS", "hdfs://there:1",
    ),
    "a fallback for a file that is not there": (
        _core(f'<xi:include href="gone.xml">{_FALLBACK}</xi:include>{_DEFAULT_FS}'), "fs.defaultFS", "hdfs://fallback:1",
    ),
    "an include without a namespace": (
        {**_core(f'<include href="hosts.xml"/>{_DEFAULT_FS}'), "hosts.xml": _HOSTS}, "fs.defaultFS", "hdfs://there:1",
    ),
    "an included file by its URL, one slash": (
        {**_core(f'<xi:include href="file:FOLDER/hosts.xml"/>{_DEFAULT_FS}'), "hosts.xml": _HOSTS},
        "fs.defaultFS", "hdfs://there:1",
    ),
    "an included file by its URL, three slashes": (
        {**_core(f'<xi:include href="file://FOLDER/hosts.xml"/>{_DEFAULT_FS}'), "hosts.xml": _HOSTS},
        "fs.defaultFS", "hdfs://there:1",
    ),
    "a name on the class path before one beside the file": (
        {
            **_core(f'<xi:include href="sub/inner.xml"/>{_DEFAULT_FS}'), "hosts.xml": _HOSTS,
            "sub/inner.xml": f'<configuration {_XI}><xi:include href="hosts.xml"/></configuration>',
            "sub/hosts.xml": _HOSTS.replace("there", "beside"),
        },
        "fs.defaultFS", "hdfs://there:1",
    ),
    "a final property of another file": (
        {
            **_core(_set("fs.defaultFS", "hdfs://first:1", _FINAL)),
            "hdfs-site.xml": f"<configuration>{_set('fs.defaultFS', 'hdfs://second:1')}</configuration>",
        },
        "fs.defaultFS", "hdfs://first:1",
    ),
    "a final property of the same file": (
        _core(_set("fs.defaultFS", "hdfs://first:1", _FINAL) + _set("fs.defaultFS", "hdfs://second:1")),
        "fs.defaultFS", "hdfs://first:1",
    ),
    "a final property by its former name": (
        _core(_set("fs.default.name", "hdfs://first:1", _FINAL) + _set("fs.defaultFS", "hdfs://second:1")),
        "fs.defaultFS", "hdfs://first:1",
    ),
    "the later of two": (
        _core(_set("fs.defaultFS", "hdfs://first:1") + _set("fs.defaultFS", "hdfs://second:1")),
        "fs.defaultFS", "hdfs://second:1",
    ),
    "a former name": (
        {"hdfs-site.xml": f"<configuration>{_set('dfs.http.address', 'old:1')}</configuration>"},
        "dfs.namenode.http-address", "old:1",
    ),
    "a former name after the present one": (
        {"hdfs-site.xml": "<configuration>" + _set("dfs.namenode.http-address", "new:1")
            + _set("dfs.http.address", "old:1") + "</configuration>"},
        "dfs.namenode.http-address", "old:1",
    ),
    "the former name of nameservices": (
        {"hdfs-site.xml": f"<configuration>{_set('dfs.federation.nameservices', 'a,b')}</configuration>"},
        "dfs.nameservices", "a,b",
    ),
    "white space, a comment and CDATA": (
        _core(_set("\n fs.defaultFS\n", "\n hdfs://<!-- of old -->th<![CDATA[ere]]>:1 ")),
        "fs.defaultFS", "hdfs://there:1",
    ),
    "variables": (_core(_set("fs.defaultFS", "hdfs://${env.NN_HOST}:${env.NN_PORT-1}")), "fs.defaultFS", "hdfs://there:1"),
    "an empty variable with a default": (
        _core(_set("fs.defaultFS", "hdfs://${env.NN_EMPTY:-there}${env.NN_EMPTY-no}:1")), "fs.defaultFS", "hdfs://there:1",
    ),
    "a reference to nothing": (
        _core(_set("x", "hdfs://${nowhere}${y}:1") + _set("y", "there")), "x", "hdfs://${nowhere}${y}:1",
    ),
    "a reference within a reference": (
        _core(_set("x", "hdfs://${host.${site}}:1") + _set("site", "a") + _set("host.a", "there")), "x", "hdfs://there:1",
    ),
    "a property of Java's": (_core(_set("x", "/${user.name}/x")), "x", f"/{getpass.getuser()}/x"),
    "an empty property that is referred to": (_core(_set("x", "a${y}b") + _set("y", "")), "x", "a${y}b"),
}  # fmt: skip


def write(folder: Path, files: dict[str, str]) -> None:
    """Write the files of a case into a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("FOLDER", str(folder)))
