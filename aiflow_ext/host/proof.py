"""Proof: the conformance kit's certificate that a distribution ships, and whether its files are those that were tested.

It is no signature: who can change the files can write another certificate. It tells a release that passed the kit from
one that did not, and from one that was edited where it is installed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import aiflow_ext
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.regular_file import open_regular, read_whole

CERTIFICATE = "aiflow-certificate.json"
FORMAT = "aiflow-ext certificate 1"
LEVELS = ("base", "durable", "cluster", "flink")  # of the kit
ENTRY_POINTS = "entry_points.txt"


class Proof(NamedTuple):
    """What a certificate says of one plugin.

    Attributes:
        level: the kit's level that it has reached; None where the certificate does not hold.
        words: ``proven durable``, or why it is not.
        details: when, with which versions, how many kills.
    """

    level: str | None
    words: str
    details: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The proof as JSON types."""
        return self._asdict()


class UnprovableError(Exception):
    """The files of a distribution cannot be told; the text says why."""


def proofs(records: Iterable[PluginRecord], homes: Mapping[tuple[str, str], str]) -> dict[tuple[str, ...], Proof]:
    """The proofs of those plugins whose distributions ship a certificate, by the records' first five fields.

    Every file of such a distribution is read; nothing is imported.

    Args:
        records: of the plugins.
        homes: the metadata folders by distribution and version.
    """
    ours: dict[str, list[PluginRecord]] = {}
    for record in records:
        home = homes.get((record.distribution, record.version))
        if home is not None and record.kind == "job_plugin":
            ours.setdefault(home, []).append(record)
    found: dict[tuple[str, ...], Proof] = {}
    for home, plugins in ours.items():
        judged = _judge(home, [each.name for each in plugins])
        found |= {each[:5]: judged[each.name] for each in plugins if each.name in judged}
    return found


def _judge(home: str, names: Iterable[str]) -> Mapping[str, Proof]:
    """The proof of each job plugin that the certificate in a distribution names; of all ``names`` if it is none."""
    try:
        listed = _listed(home)
    except (OSError, ValueError):  # no RECORD: nothing says what belongs to it
        return {}
    own = next((name for name in sorted(listed) if os.path.basename(name) == CERTIFICATE), None)
    if own is None:
        return {}
    try:
        certificate = _parse(read_whole(os.path.join(os.path.dirname(home), own)))
    except (OSError, ValueError) as error:
        return dict.fromkeys(names, Proof(None, f"not proven: its certificate cannot be read: {error}"))
    try:
        wrong = list(_differences(certificate["files"], digests(home)))
    except (OSError, UnprovableError) as error:
        wrong = [str(error)]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        said = f"not proven: {', '.join(wrong[:3])}{more}; its certificate is about other files"
        return {name: Proof(None, said) for name in certificate["plugins"]}
    return {name: _held(certificate, plugin) for name, plugin in certificate["plugins"].items()}


def _held(certificate: Mapping[str, Any], plugin: Mapping[str, Any]) -> Proof:
    level, version = plugin["level"], certificate["aiflow_ext"]
    other = "" if version == aiflow_ext.__version__ else f" with aiflow-ext {version}"
    kills = f", {plugin['kills']} kills (seed {plugin['seed']})" if plugin.get("kills") else ""
    left = plugin.get("left_out")
    without = f", without {', '.join(map(str, left))}" if isinstance(left, list) and left else ""
    details = f"on {certificate['date']} with aiflow-ext {version} and Python {certificate['python']}{kills}{without}"
    return Proof(level, f"proven {level}{other}", details)


def _parse(content: bytes) -> dict[str, Any]:
    """A certificate. Raises ValueError where it is none."""
    try:
        data = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"it is not of the format {FORMAT!r}")
    files, plugins = data.get("files"), data.get("plugins")
    texts = [data.get(key) for key in ("aiflow_ext", "python", "date")]
    if not isinstance(files, dict) or not isinstance(plugins, dict) or not all(isinstance(each, str) for each in texts):
        raise ValueError("it lacks files, plugins, versions or a date")
    if not all(isinstance(each, dict) and each.get("level") in LEVELS for each in plugins.values()):
        raise ValueError(f"a plugin in it has none of the levels {', '.join(LEVELS)}")
    return data


def _differences(proven: Mapping[str, str], present: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*proven, *present}):
        if name not in present:
            yield f"{name} is missing"
        elif name not in proven:
            yield f"{name} was added"
        elif proven[name] != present[name]:
            yield f"{name} was changed"


def digests(home: str) -> dict[str, str]:
    """The sha256 of each file that an installed distribution consists of, by its path in site-packages.

    These are the files that RECORD lists, and others that lie in its own folders, or that hide one of its modules;
    bytecode in ``__pycache__``, scripts, the certificate and metadata are left out, but for entry_points.txt.

    Args:
        home: its ``.dist-info`` folder.

    Raises UnprovableError where it is installed editable or without a RECORD, OSError where a file cannot be read.
    """
    site, info = os.path.split(home)
    try:
        listed = _listed(home)
    except (OSError, ValueError) as error:
        raise UnprovableError(f"its RECORD cannot be read: {error}") from error
    if any(name.endswith(".pth") for name in listed):
        raise UnprovableError("it is installed editable: its files are elsewhere, and nothing lists them")
    # What is listed and is gone differs from any certificate by its absence.
    names = {name for name in listed if os.path.lexists(os.path.join(site, name)) and name.split("/")[0] != info}
    names |= set(_unlisted(site, listed - {f"{info}/{each}" for each in os.listdir(home)}, info))
    found = {name: _sha256(os.path.join(site, name)) for name in names if os.path.basename(name) != CERTIFICATE}
    if os.path.exists(os.path.join(home, ENTRY_POINTS)):
        found[ENTRY_POINTS] = _sha256(os.path.join(home, ENTRY_POINTS))
    return found


def _listed(home: str) -> set[str]:
    """The files in RECORD that are in site-packages, without bytecode."""
    lines = read_whole(os.path.join(home, "RECORD")).decode("utf-8").splitlines()
    names = {os.path.normpath(row[0]) for row in csv.reader(lines) if row}
    return {name for name in names if name[0] not in "./" and "__pycache__" not in name.split("/")}


def _unlisted(site: str, listed: set[str], info: str) -> Iterator[str]:
    """Files that were added: in the folders of the distribution, or beside its top-level modules in their place."""
    folders = {os.path.dirname(name) for name in listed if "/" in name and name.split("/")[0] != info}
    outermost = {each for each in folders if not any(each.startswith(f"{other}/") for other in folders)}
    for root in outermost:
        for folder, inner, files in os.walk(os.path.join(site, root)):
            inner[:] = [each for each in inner if each != "__pycache__"]
            links = [each for each in inner if os.path.islink(os.path.join(folder, each))]
            for name in (*files, *links):
                yield os.path.relpath(os.path.join(folder, name), site)
    modules = {name.partition(".")[0] for name in listed if "/" not in name}
    for name in os.listdir(site) if modules else ():
        if name.partition(".")[0] in modules:  # a package goes before a module of the same name
            path = os.path.join(site, name)
            if not os.path.isdir(path):
                yield name
            else:
                yield from (f"{name}/{each}" for each in os.listdir(path) if os.path.isfile(os.path.join(path, each)))


def _sha256(path: str) -> str:
    if os.path.isdir(path):  # a link to a folder
        return "a folder"
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
