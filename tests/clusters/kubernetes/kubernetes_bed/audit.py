"""The API server's audit log: every request of a client, with who sent it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def mark(path: Path) -> int:
    """Where the log ends now."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read(path: Path, since: int, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """The requests since a mark, one record each, by their answers' order (see ``Bed.audit_log``)."""
    found: dict[str, dict[str, Any]] = {}
    with open(path, "rb") as file:
        file.seek(since)
        for line in file:
            if line.endswith(b"\n"):
                record = json.loads(line)
                if _fits(record, wanted):
                    found[record["auditID"]] = record
    return list(found.values())


def _fits(record: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    target = record.get("objectRef", {})
    values = {
        "user": record["user"].get("username", ""),
        "namespace": target.get("namespace", ""),
        "resource": target.get("resource", ""),
        "verb": record["verb"],
    }
    for key, value in wanted.items():
        if key == "agent":
            if value not in record.get("userAgent", ""):
                return False
        elif values[key] != value:
            return False
    return True
