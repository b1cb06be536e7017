"""Reads the files of a Hadoop configuration folder as Hadoop's own Configuration does.

That is: included files and their fallbacks, final properties, properties under their former names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from aiflow_ext.plugin import ConfigError
from aiflow_ext.plugin.engines import read_whole

FILES = ("core-site.xml", "hdfs-site.xml", "yarn-site.xml", "mapred-site.xml")  # in the order in which they are loaded
DEEPEST = 10  # files that include each other
# As in Configuration and HdfsConfiguration: a property's former name sets the present one.
FORMER = {
    "fs.default.name": "fs.defaultFS",
    "dfs.http.address": "dfs.namenode.http-address",
    "dfs.https.address": "dfs.namenode.https-address",
    "dfs.federation.nameservices": "dfs.nameservices",
}


class Item(NamedTuple):
    """A property as it is written in a file.

    Attributes:
        name: its present name.
        value: None where it has none, which says nothing.
        final: whether what is loaded later does not change it.
    """

    name: str
    value: str | None
    final: bool


def properties(folders: Sequence[str]) -> dict[str, str]:
    """The properties of these folders; of a file that several have, the first folder's counts, as on a class path.

    Raises ConfigError for a file that is not XML, and for an included one that is not there and has no fallback.
    """
    values: dict[str, str] = {}
    finals: set[str] = set()
    for name in FILES:
        for item in _first(folders, name):
            if item.value is not None and item.name not in finals:
                values[item.name] = item.value
            if item.final:
                finals.add(item.name)
    return values


def _first(folders: Sequence[str], name: str) -> Sequence[Item]:
    for folder in folders:
        path = Path(folder, name)
        try:
            stat = path.stat()
        except OSError:
            continue
        return _read(str(path), tuple(folders), stat.st_mtime_ns, stat.st_size)
    return ()


@lru_cache(maxsize=64)
def _read(path: str, folders: tuple[str, ...], mtime: int, size: int) -> Sequence[Item]:
    return list(_items(path, folders, 0))


def _items(path: str, folders: Sequence[str], depth: int) -> Iterator[Item]:
    """The properties of a file and of those that it includes, in document order."""
    try:
        root = ElementTree.fromstring(read_whole(path))
    except (ElementTree.ParseError, OSError) as error:
        raise ConfigError(f"a Hadoop configuration file cannot be read: {error}", where=path,
                          hint="mend it, or let HADOOP_CONF_DIR name another folder") from error  # fmt: skip
    yield from _items_in(root, path, folders, depth)


def _items_in(parent: ElementTree.Element, path: str, folders: Sequence[str], depth: int) -> Iterator[Item]:
    for each in parent:
        kind = _kind(each)
        if kind == "property":
            yield from _property(each)
        elif kind == "include" and depth < DEEPEST:
            href = str(each.get("href") or "")
            included = _included(href, path, folders)
            fallback = next((inner for inner in each if _kind(inner) == "fallback"), None)
            if included is not None:
                yield from _items(included, folders, depth + 1)
            elif fallback is not None:
                yield from _items_in(fallback, path, folders, depth)
            else:
                raise ConfigError(f"a Hadoop configuration file includes {href!r}, which is not there", where=path,
                                  hint="mend it, or give the xi:include an xi:fallback")  # fmt: skip
        elif kind == "configuration":
            yield from _items_in(each, path, folders, depth)


def _kind(element: ElementTree.Element) -> str:
    """An element's name without its namespace, as Hadoop compares it."""
    return str(element.tag).rpartition("}")[2]


def _property(element: ElementTree.Element) -> Iterator[Item]:
    """A property, of attributes or of elements; the latter count."""
    found = {key: element.get(key) for key in ("name", "value", "final")}
    for inner in element:
        if _kind(inner) in found:
            found[_kind(inner)] = "".join(inner.itertext())
    name = (found["name"] or "").strip()
    if name:
        yield Item(FORMER.get(name, name), found["value"], found["final"] == "true")


def _included(href: str, path: str, folders: Sequence[str]) -> str | None:
    """The file that an include names: a URL, else a name on the class path, else one beside the including file."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", href):
        parts = urlsplit(href)
        candidates = [Path(unquote(parts.path))] if parts.scheme == "file" and parts.path else []
    else:
        candidates = [Path(each, href) for each in (*folders, str(Path(path).parent))] if href else []
    return next((str(each) for each in candidates if each.is_file()), None)
