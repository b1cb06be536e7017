"""Checks of the installed distributions that advertise plugins, from metadata: what hides what, and what is missing."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from importlib_metadata import Distribution

from aiflow_ext.host import index
from aiflow_ext.host.index import Snapshot
from aiflow_ext.host.metadata import read_header, split_value
from aiflow_ext.host.records import IN_PROCESS, PluginRecord, normalise
from aiflow_ext.host.scan import by_name, folder_of, metadata_text
from aiflow_ext.model.errors import Problem
from aiflow_ext.regular_file import read_whole

_SUFFIXES = (".py", ".so", ".pyc")
ENTRY_POINTS = "entry_points.txt"
_LISTED = f".dist-info/{ENTRY_POINTS},"  # in its line of RECORD, before the digest


def check_site(records: Sequence[PluginRecord]) -> list[Problem]:
    """What is remarkable about the distributions that advertise ``records``: copies and modules that are hidden by
    others, and requirements that are not met; and whose entry_points.txt is not the installed one, so that they may
    advertise more. It need not keep a plugin from being used."""
    installed = by_name()
    ours = sorted({normalise(record.distribution) for record in records} & installed.keys())
    found = [problem for name in ours for problem in _hidden(installed[name])]
    found += _hidden_modules(records, installed)
    for name in ours:
        found += _unmet(installed[name][0], installed)
    for copies in installed.values():
        found += _altered(copies[0])
    return found


def check_index(before: Snapshot | None, now: Snapshot) -> list[Problem]:
    """What is wrong with the discovery index.

    Args:
        before: the index as commands would have trusted it; None where there was none to trust.
        now: a scan.
    """
    index.save(now)
    where = index.path_of(now)
    if before is not None and before.records != now.records:
        words = "the index said something else than the metadata do; it has been written again"
        return [Problem(words, where, "nothing remains to be done; report it with what has changed since yesterday")]
    if now.settled() and index.load() is None:
        words = "the index of plugins cannot be kept, so that each command reads all metadata again"
        return [Problem(words, where, "make its folder writable, or set XDG_CACHE_HOME to one that is")]
    return []


def _hidden(copies: Sequence[Distribution]) -> Iterator[Problem]:
    """The copies of a distribution that the first one hides, and that say something else than it does."""
    first, *others = copies
    name, version = _known_as(first)
    for each in others:
        # An editable installation has its metadata in two places.
        if (_known_as(each)[1], metadata_text(each, ENTRY_POINTS)) != (version, metadata_text(first, ENTRY_POINTS)):
            words = f"{name} {_known_as(each)[1]} is hidden by {name} {version} in {folder_of(first)}"
            hint = f"remove the one that is not meant: pip uninstall {name} removes the first"
            yield Problem(words, folder_of(each), hint)


def _known_as(distribution: Distribution) -> tuple[str, str]:
    """Its name and version, also where its METADATA is damaged: then those in the name of its folder."""
    header = read_header(metadata_text(distribution, "METADATA") or metadata_text(distribution, "PKG-INFO"))
    stem = os.path.basename(folder_of(distribution) or "").rpartition(".")[0].split("-")
    return header.name or stem[0] or "a distribution without a name", header.version or "".join(stem[1:2]) or "?"


def _altered(distribution: Distribution) -> Iterator[Problem]:
    """Whether a distribution for aiflow-ext has an entry_points.txt that is not the one that was installed."""
    recorded = next((line for line in metadata_text(distribution, "RECORD").splitlines() if _LISTED in line), "")
    algorithm, _, digest = recorded.rpartition(_LISTED)[2].partition(",")[0].partition("=")
    if algorithm != "sha256":
        return
    header = read_header(metadata_text(distribution, "METADATA"))
    if header.name != "aiflow-ext" and not any(normalise(text).startswith("aiflow-ext") for text in header.requires):
        return
    folder = folder_of(distribution) or ""
    try:
        content = read_whole(os.path.join(folder, ENTRY_POINTS))
    except (OSError, ValueError):
        content = b""
    if base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=") != digest:
        words = (
            f"the {ENTRY_POINTS} of {header.name} {header.version} is not the one that was installed, so that plugins "
            "of it may be missing here"
        )
        yield Problem(words, folder, f"pip install --force-reinstall {header.name}")


def _hidden_modules(
    records: Iterable[PluginRecord], installed: Mapping[str, Sequence[Distribution]]
) -> Iterator[Problem]:
    """Modules of plugins that another module of that name, earlier on ``sys.path``, hides."""
    listed: dict[str, set[str]] = {}
    tops = {
        (normalise(record.distribution), split_value(record.entry_point)[0].partition(".")[0]): record
        for record in records
        if record.distribution != IN_PROCESS and record.entry_point
    }
    for (name, top), record in tops.items():
        folder = folder_of(installed[name][0]) if name in installed else None
        site = None if folder is None else os.path.realpath(os.path.dirname(folder))
        if site is None or not _holds(site, top, listed):  # in an archive, or an editable installation
            continue
        first = next((entry for entry in sys.path if _holds(entry or ".", top, listed)), site)
        if os.path.realpath(first) != site:
            words = f"the module {top!r} of {record.distribution} is hidden by the one in {os.path.abspath(first)}"
            hint = "rename or remove that one, or take its folder off PYTHONPATH"
            yield Problem(words, os.path.join(site, top), hint)


def _holds(folder: str, top: str, listed: dict[str, set[str]]) -> bool:
    """Whether ``folder`` has a module of this name, and no mere part of a namespace."""
    if folder not in listed:
        try:
            listed[folder] = set(os.listdir(folder))
        except OSError:
            listed[folder] = set()
    names = listed[folder]
    if top in names:
        return os.path.exists(os.path.join(folder, top, "__init__.py"))
    return any(f"{top}{suffix}" in names for suffix in _SUFFIXES) or (
        any(name.startswith(f"{top}.") and name.endswith(".so") for name in names)
    )


def _unmet(distribution: Distribution, installed: Mapping[str, Sequence[Distribution]]) -> Iterator[Problem]:
    """The requirements of a distribution, without those of extras and that on aiflow-ext, which are not met."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    name = _known_as(distribution)[0]
    try:
        requires = distribution.requires or []
    except Exception:  # its METADATA is damaged, which its plugins' records say
        requires = []
    for text in requires:
        try:
            wanted = Requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            continue  # one on aiflow-ext makes the whole distribution broken
        there = installed.get(normalise(wanted.name))
        if normalise(wanted.name) == "aiflow-ext":
            continue
        hint = f"pip install '{wanted.name}{wanted.specifier}'"
        if there is None:
            yield Problem(f"{name} requires {wanted.name}{wanted.specifier}, which is not installed", None, hint)
            continue
        version = _known_as(there[0])[1]
        try:
            fits = wanted.specifier.contains(version, prereleases=True)
        except InvalidVersion:
            fits = False
        if not fits:
            words = f"{name} requires {wanted.name}{wanted.specifier}, and {version} is installed"
            yield Problem(words, None, hint)
