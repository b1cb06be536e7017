"""The record of an artifact, ``<url>.json``: written last by its producer, parsed into types by its readers."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

LONGEST = 1 << 20  # bytes of a record; ours have some hundred


class ArtifactRecord(NamedTuple):
    """What an artifact is.

    Args:
        form: ``path`` (a file), ``folder`` (a tar), ``str``, ``bytes``, ``bytearray`` or ``pickle``; any other is a
            later version's.
        file: the name of its file in the folder that is the artifact's URL.
        size: of the file, in bytes.
        sha256: of the file, in hexadecimal.
        name: of a folder: what it is called in its tar.
        python, cloudpickle: the versions that wrote a pickle.
        files: how many files a pickled value holds; each is an artifact of its own, ``<url>/files/<number>``.
    """

    form: str
    file: str
    size: int
    sha256: str
    name: str = ""
    python: str = ""
    cloudpickle: str = ""
    files: int = 0

    def to_bytes(self) -> bytes:
        """The record as it is stored: JSON, without what is empty."""
        kept = {key: value for key, value in self._asdict().items() if key == "size" or value not in ("", 0)}
        return json.dumps(kept).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ArtifactRecord:
        """Raises ValueError, in words, for what is no record."""
        if len(data) > LONGEST:
            raise ValueError(f"it is longer than {LONGEST} bytes")
        try:
            found = json.loads(data)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(found, dict):
            raise ValueError(f"it is a JSON {type(found).__name__}, not an object")
        record = cls(
            form=_of(found, "form", str),
            file=_name(found, "file"),
            size=_of(found, "size", int),
            sha256=_of(found, "sha256", str),
            name=_name(found, "name") if found.get("form") == "folder" else "",
            python=_of(found, "python", str, ""),
            cloudpickle=_of(found, "cloudpickle", str, ""),
            files=_of(found, "files", int, 0),
        )
        if record.size < 0 or record.files < 0:
            raise ValueError("it has a negative number")
        return record


def _of(found: dict[str, Any], key: str, kind: type, default: Any = None) -> Any:
    value = found.get(key, default)
    if type(value) is not kind:
        raise ValueError(f"its {key!r} is {'missing' if value is None else f'no {kind.__name__}'}")
    return value


def _name(found: dict[str, Any], key: str) -> str:
    """A name within a folder: a path could lead out of it."""
    name: str = _of(found, key, str)
    if name in ("", os.curdir, os.pardir) or os.sep in name or "\0" in name:
        raise ValueError(f"its {key!r} is {name!r}, which is no plain file name")
    return name
