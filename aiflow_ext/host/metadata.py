"""Reads the metadata files of one distribution: entry_points.txt, and the few header fields that matter."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiflow_ext.host.records import PluginRecord

GROUPS = {
    "aiflow_ext.platforms": "platform",
    "aiflow_ext.engines": "engine",
    "aiflow_ext.job_plugins": "job_plugin",
    "aiflow_ext.extensions": "extension",
    "aiflow_ext.job_environments": "job_environment",
    "aiflow_ext.secret_sources": "secret_source",
    "aiflow_ext.authoring": "authoring",
}
REQUIRES = "aiflow_ext.requires"
PREFIX = "aiflow_ext."


class Entry:
    """One line of entry_points.txt in one of our groups. ``reason`` says what is wrong with it, or is ''."""

    __slots__ = ("group", "name", "reason", "value")

    def __init__(self, group: str, name: str, value: str, reason: str = "") -> None:
        self.group, self.name, self.value, self.reason = group, name, value, reason


class Header:
    """Name, version and requirements of a distribution. ``reason`` says what is wrong with them, or is ''."""

    __slots__ = ("name", "reason", "requires", "version")

    def __init__(self, name: str, version: str, requires: list[str], reason: str = "") -> None:
        self.name, self.version, self.requires, self.reason = name, version, requires, reason


def read_entries(text: str) -> list[Entry]:
    """What ``text`` (an entry_points.txt) has in our groups, in the file's order, the malformed included."""
    found: list[Entry] = []
    seen: dict[tuple[str, str], Entry] = {}
    for group, line in _lines_of_ours(text):
        name, equals, value = (part.strip() for part in line.partition("="))
        entry = Entry(group, name, value, _wrong_with(group, name, equals, value) if group else "")
        if not group:
            entry = Entry(_nearest(line), "", "", f"entry_points.txt: {line!r} is not a group that can be read")
        former = seen.setdefault((entry.group, entry.name), entry)
        if former is entry:
            found.append(entry)
        elif former.value != entry.value:
            former.reason = f"entry_points.txt advertises it twice, as {former.value!r} and as {entry.value!r}"
    return found


def _lines_of_ours(text: str) -> Iterator[tuple[str, str]]:
    """(group, line) for each entry in aiflow-ext's groups; ('', line) for a line of them that cannot be parsed."""
    group = ""
    for raw in text.split("\n"):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            group = line[1:-1].strip()
            if group.startswith(PREFIX) and group not in GROUPS and group != REQUIRES and _misspelled(group):
                yield "", line
        elif line[0] == "[" or ("=" not in line and line.lstrip("[").startswith(PREFIX)):
            group = ""
            if PREFIX in line:
                yield "", line
        elif group in GROUPS or group == REQUIRES:
            yield group, line


def _misspelled(group: str) -> bool:
    """Whether ``group`` is a misspelled one of aiflow-ext; a name that is not similar may be of a later version."""
    from difflib import get_close_matches

    return bool(get_close_matches(group, GROUPS, 1, 0.8))


def _nearest(line: str) -> str:
    from difflib import get_close_matches

    return (get_close_matches(line.strip("[] "), GROUPS, 1, 0.0) or ["aiflow_ext.job_plugins"])[0]


def _wrong_with(group: str, name: str, equals: str, value: str) -> str:
    if not equals or not name or not value:
        return f"entry_points.txt: {name or value!r} is not NAME = MODULE:ATTRIBUTE"
    if group == REQUIRES:
        return ""
    module, attribute = split_value(value)
    parts = [*module.split("."), *(attribute.split(".") if ":" in value.partition("[")[0] else ())]
    if not all(part.isidentifier() for part in parts):
        return f"entry_points.txt: {value!r} is not MODULE:ATTRIBUTE"
    if group == "aiflow_ext.job_plugins" and not all(name.partition(".")[::2]):
        return f"a job plugin's name is <platform>.<engine>, and {name!r} is not"
    return ""


def split_value(value: str) -> tuple[str, str]:
    """``module`` and ``attribute`` of an entry point's value; extras after them are dropped, as importlib does."""
    module, _, attribute = value.partition("[")[0].strip().partition(":")
    return module.strip(), attribute.strip()


def extras_of(value: str) -> list[str]:
    """The extras of its distribution that an entry point needs: ``flink`` of ``module:attribute [flink]``."""
    return [extra.strip() for extra in value.partition("[")[2].rpartition("]")[0].split(",") if extra.strip()]


def read_header(text: str) -> Header:
    """The header of a METADATA or PKG-INFO, up to the first empty line.

    Not the email parser: it costs twenty times as much, and three fields are wanted.
    """
    fields: dict[str, list[str]] = {"name": [], "version": [], "requires-dist": []}
    last: list[str] | None = None
    for line in text.split("\n"):
        line = line.rstrip("\r")
        if not line:
            break
        if line[0] in " \t":
            if last:
                last[-1] += " " + line.strip()
            continue
        key, colon, value = line.partition(":")
        last = fields.get(key.lower()) if colon else None
        if last is not None:
            last.append(value.strip())
    name, version = "".join(fields["name"][:1]), "".join(fields["version"][:1])
    missing = [field for field, value in (("Name", name), ("Version", version)) if not value]
    reason = f"its METADATA has no {' and no '.join(missing)}" if missing else ""
    return Header(name, version, fields["requires-dist"], reason)


def still_says(home: str, record: PluginRecord) -> bool:
    """Whether the metadata folder ``home``, read now, still advertises what ``record`` says, at its version."""
    import os

    from aiflow_ext.regular_file import read_whole

    try:
        entries = read_entries(read_whole(os.path.join(home, "entry_points.txt")).decode("utf-8-sig"))
        name = "METADATA" if os.path.exists(os.path.join(home, "METADATA")) else "PKG-INFO"
        header = read_header(read_whole(os.path.join(home, name)).decode("utf-8-sig"))
    except (OSError, ValueError):
        return False
    return (header.name, header.version) == (record.distribution, record.version) and any(
        (GROUPS.get(entry.group), entry.name, entry.value) == record[0:2] + record[4:5] for entry in entries
    )
