"""The certificate: which level the plugins of a distribution have reached, with which of its files."""

from __future__ import annotations

import datetime
import json
import platform
from pathlib import Path
from typing import Any

import aiflow_ext
from aiflow_ext.host.proof import FORMAT, UnprovableError, digests
from aiflow_ext.host.records import normalise
from aiflow_ext.host.scan import by_name, folder_of
from aiflow_ext.testing.report import LEFT_OUT, LEVELS, NOT_TESTED, Report, Tested


def write_certificate(report: Report, path: Path) -> None:
    """Write the certificate of the one distribution whose plugins a session has tested.

    Raises UnprovableError, with the reason, where there is nothing to certify; an earlier file is left as it is.
    """
    tested = list(report.tested.values())
    homes = {str(each.facts.get("distribution")) for each in tested}
    if len(homes) != 1:
        raise UnprovableError(f"a certificate is about one distribution, and {len(homes)} were tested")
    for each in tested:
        if each.reached() == "none":
            raise UnprovableError(f"{each.facts['plugin']} has not reached a level: {each.level()}")
    name, _, version = homes.pop().partition(" ")
    distribution = next(iter(by_name().get(normalise(name), ())), None)
    folder = None if distribution is None else folder_of(distribution)
    if folder is None:
        raise UnprovableError(f"{name} is not installed in a folder")
    plugins: dict[str, Any] = {}
    for each in tested:  # of several classes for one plugin, the lowest level counts
        made, before = _plugin(each), plugins.get(each.facts["plugin"])
        if before is None or LEVELS.index(made["level"]) < LEVELS.index(before["level"]):
            plugins[each.facts["plugin"]] = made
    data = {
        "format": FORMAT,
        "distribution": name,
        "version": version,
        "plugins": plugins,
        "aiflow_ext": aiflow_ext.__version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "files": dict(sorted(digests(folder).items())),
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _plugin(tested: Tested) -> dict[str, Any]:
    return {"level": tested.reached(), "kills": tested.kills.get("kills"), "seed": tested.kills.get("seed"),
            "left_out": tested.ended(LEFT_OUT), "not_tested": tested.ended(NOT_TESTED)}  # fmt: skip
