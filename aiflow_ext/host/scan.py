"""Scans ``sys.path`` by importlib_metadata, and takes the stamps that show later whether the result is still valid.

The package rather than the standard library's module, so that every Python finds the same.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Collection, Iterable
from typing import Any

import importlib_metadata
from importlib_metadata import Distribution

import aiflow_ext
from aiflow_ext.host.index import Snapshot, begin, only_standard_finders, stamp_at, stamp_of
from aiflow_ext.host.metadata import GROUPS, PREFIX, REQUIRES, Entry, Header, extras_of, read_entries, read_header
from aiflow_ext.host.records import PluginRecord, normalise
from aiflow_ext.host.window import missing_extra, outside_window, unmet
from aiflow_ext.regular_file import LARGEST, open_regular


def scan() -> Snapshot:
    """Read the metadata of every distribution on ``sys.path``; import none of them."""
    # A distribution installed a moment ago, while this process runs, must be seen: folders are cached by a float mtime.
    importlib.invalidate_caches()
    # Everything is stamped before it is read: a change while we read then differs from its stamp.
    # One copy of the path: where another thread changes it, as an import of a workflow does, an entry would be missed.
    searched = list(sys.path)
    snapshot = begin(time.time_ns(), searched)
    records: list[PluginRecord] = []
    indexable = only_standard_finders()
    installed = {name: found[0] for name, found in by_name(searched).items()}
    for distribution in installed.values():
        folder = folder_of(distribution)
        text, stamp, reason = _read(distribution, folder, "entry_points.txt")
        entries = read_entries(text) if PREFIX in text else []
        ours = bool(entries or (reason and PREFIX in text))
        # An egg-info folder is rewritten in place, so it may begin to advertise without any folder changing.
        if folder is not None and (ours or folder.endswith(".egg-info")):
            snapshot.files[os.path.join(folder, "entry_points.txt")] = stamp
        if not ours:
            continue
        header = _header(distribution, folder, snapshot)
        records += _records(entries, header, reason, installed)
        if folder is None:
            indexable = indexable and _in_archive(distribution)
        else:
            snapshot.homes[header.name, header.version] = folder
    snapshot.records = sorted(set(records))
    snapshot.indexable = indexable
    return snapshot


def by_name(searched: list[str] | None = None) -> dict[str, list[Distribution]]:
    """The distributions by normalised name: the one that counts, and those that it hides.

    ``searched`` is where to look; None: in ``sys.path``.

    The first on ``sys.path`` counts, as importlib_metadata has it; except that a folder without METADATA (left by a
    broken removal) never hides a real one behind it (importlib_metadata#534).
    """
    found: dict[str, list[Distribution]] = {}
    every: Iterable[Any] = importlib_metadata.distributions(path=list(sys.path) if searched is None else searched)
    for distribution in every:
        found.setdefault(_name(distribution), []).append(distribution)
    for candidates in found.values():
        if len(candidates) > 1:
            candidates.sort(key=lambda each: not _has_metadata(each))
    return found


def _name(distribution: Distribution) -> str:
    """The normalised name, from the folder's name if it has it, which saves reading METADATA."""
    base = os.path.basename(os.fspath(folder)) if (folder := _path(distribution)) else ""
    stem, dot, suffix = base.rpartition(".")
    if dot and suffix.lower() in ("dist-info", "egg-info"):
        return normalise(stem.partition("-")[0])
    try:
        return normalise(distribution.metadata["Name"] or base or repr(distribution))
    except Exception:
        return base or repr(distribution)


def _path(distribution: Distribution) -> str | None:
    path = getattr(distribution, "_path", None)
    return None if path is None else str(path)


def folder_of(distribution: Distribution) -> str | None:
    """The distribution's metadata folder in the file system; None in an archive or with a finder of another kind."""
    path = getattr(distribution, "_path", None)
    return os.path.abspath(path) if isinstance(path, os.PathLike) else None


def _in_archive(distribution: Distribution) -> bool:
    # What is in an archive on sys.path cannot change without the archive's own stamp.
    return isinstance(distribution, importlib_metadata.PathDistribution) and _path(distribution) is not None


def _has_metadata(distribution: Distribution) -> bool:
    folder = folder_of(distribution)
    if folder is None:
        return True
    if os.path.isfile(folder):  # an egg-info file is its own metadata
        return True
    return any(os.path.exists(os.path.join(folder, name)) for name in ("METADATA", "PKG-INFO"))


def metadata_text(distribution: Distribution, name: str) -> str:
    """What a metadata file says, as far as it can be read; nothing where it is missing."""
    return _read(distribution, folder_of(distribution), name)[0]


def _read(distribution: Distribution, folder: str | None, name: str) -> tuple[str, str, str]:
    """(text, stamp, reason): what a metadata file says, and why it cannot be read where it cannot."""
    try:
        if folder is None:
            return distribution.read_text(name) or "", "", ""
        with open_regular(os.path.join(folder, name)) as file:
            stamp = stamp_of(os.fstat(file.fileno()))
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            return "", stamp, f"its {name} cannot be read: it is larger than {LARGEST >> 20} MiB"
    except (FileNotFoundError, NotADirectoryError):
        return "", "-", ""
    except (OSError, ValueError) as error:
        return "", stamp_at(os.path.join(folder or "", name)), f"its {name} cannot be read: {error}"
    try:
        return content.decode().removeprefix("\ufeff"), stamp, ""
    except UnicodeDecodeError as error:
        return content.decode("utf-8", "replace"), stamp, f"its {name} is not UTF-8: {error}"


def _header(distribution: Distribution, folder: str | None, snapshot: Snapshot) -> Header:
    names = ("METADATA", "PKG-INFO") if folder is None or folder.endswith(".dist-info") else ("PKG-INFO", "METADATA")
    for name in names:
        text, stamp, reason = _read(distribution, folder, name)
        if folder is not None:
            snapshot.files[os.path.join(folder, name)] = stamp
        if text or reason:
            header = read_header(text)
            header.reason = reason or header.reason
            if folder is not None and folder.endswith(".egg-info") and not header.requires:
                # An old setuptools wrote requirements only into requires.txt, which importlib_metadata reads.
                snapshot.files[os.path.join(folder, "requires.txt")] = _read(distribution, folder, "requires.txt")[1]
                header.requires = distribution.requires or []
            break
    else:
        header = Header("", "", [], "it has no METADATA")
    base = os.path.basename(_path(distribution) or "").rpartition(".")[0].split("-")
    header.name = header.name or base[0] or _name(distribution)
    header.version = header.version or "".join(base[1:2]) or "?"
    return header


def _records(entries: list[Entry], header: Header, reason: str, installed: Collection[str]) -> list[PluginRecord]:
    status, reason = ("broken", reason or header.reason) if reason or header.reason else _judged(entries, header)
    wanted = [entry for entry in entries if entry.group in GROUPS]

    def judged(entry: Entry) -> tuple[str, str]:
        if entry.reason:
            return "broken", entry.reason
        for extra in extras_of(entry.value) if status == "available" else ():
            if lacks := missing_extra(header.name, header.requires, extra, installed):
                return "incompatible", lacks
        return status, reason

    if not wanted and status == "broken":
        wanted = [Entry("aiflow_ext.job_plugins", "", "")]
    return [
        PluginRecord.of(
            tuple(
                # A record is a line of the index: what would break the line is not worth keeping.
                field.replace("\t", " ").replace("\n", " ")
                for field in (
                    GROUPS[entry.group], entry.name or header.name, header.name, header.version, entry.value,
                    *judged(entry), "",
                )
            )
        )
        for entry in wanted
    ]  # fmt: skip


def _judged(entries: list[Entry], header: Header) -> tuple[str, str]:
    """The status that window and machine give a whole distribution, and why."""
    try:
        reason = outside_window(header.requires, aiflow_ext.__version__)
    except ValueError as error:
        return "broken", str(error)
    reason = reason or next(filter(None, (unmet(entry.name) for entry in entries if entry.group == REQUIRES)), "")
    return ("incompatible", reason) if reason else ("available", "")
