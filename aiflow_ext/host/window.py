"""Whether a distribution fits this aiflow-ext and this machine: its version window and its ``aiflow_ext.requires``."""

from __future__ import annotations

import os
import sys

from aiflow_ext.host.records import normalise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

HOST = "aiflow-ext"
NEEDS_EXTRA = "it needs the extra "  # how the reason of an entry point whose extra is not installed begins


def outside_window(requires: Iterable[str], host_version: str) -> str:
    """Why requirements on aiflow-ext exclude ``host_version``, as a sentence; '' where they do not.

    Markers are honoured; requirements of extras are left out. Raises ValueError for one that
    cannot be read.
    """
    for text in requires:
        if not _about_us(text):
            continue
        # Imported here: most scans meet no requirement on aiflow-ext, and listing from the index meets none.
        from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as error:
            raise ValueError(f"its requirement {text!r} cannot be read: {error}".partition("\n")[0]) from error
        if applies and not requirement.specifier.contains(host_version, prereleases=True):
            return f"it requires {HOST}{requirement.specifier}, and this is {HOST} {host_version}"
    return ""


def missing_extra(distribution: str, requires: Iterable[str], extra: str, installed: Collection[str]) -> str:
    """What an extra of a distribution requires and is not installed, as a sentence; '' where nothing is missing.

    Args:
        distribution: the distribution's name.
        requires: its requirements, those of extras among them.
        extra: the extra that an entry point names.
        installed: normalised names of the installed distributions; their versions are pip's to check.
    """
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement

    missing = []
    for text in requires:
        try:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra}):
                continue
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            continue  # one that concerns aiflow-ext makes the whole distribution broken
        if normalise(requirement.name) not in installed:
            missing.append(requirement.name)
    if not missing:
        return ""
    what = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
    return f"{NEEDS_EXTRA}{extra!r}: {what}; pip install '{distribution}[{extra}]'"


def _about_us(requirement: str) -> bool:
    end = next((at for at, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return normalise(requirement[:end]) == HOST


def unmet(requirement: str) -> str:
    """Why this machine does not meet a name in ``aiflow_ext.requires``, as a sentence; '' where it does.

    ``linux``: Linux. ``linux-5.4``: Linux with that kernel or a newer one. Nothing else is known yet, and what is not
    known is not met.
    """
    word, dash, wanted = requirement.partition("-")
    minimum = _numbers(wanted)
    if word != "linux" or (dash and not minimum):
        return f"it requires {requirement!r} of the machine, which this aiflow-ext does not know"
    needs = f"it needs Linux {wanted} or newer" if dash else "it needs Linux"
    system, release, *_ = machine()
    if system != "Linux":
        return f"{needs}, and this is {system}"
    if minimum and _numbers(release) < minimum:
        return f"{needs}, and this is Linux {release}"
    return ""


def machine() -> tuple[str, ...]:
    """System, kernel release, kernel version and processor of this machine."""
    if not hasattr(os, "uname"):  # Windows
        return sys.platform, "", "", ""
    found = os.uname()
    return found.sysname, found.release, found.version, found.machine


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (5, 4, 0) of ``5.4.0-150-generic``."""
    found = []
    for part in version.split("."):
        digits = part[: next((at for at, char in enumerate(part) if not char.isdigit()), len(part))]
        if not digits:
            break
        found.append(int(digits))
        if digits != part:
            break
    return tuple(found)
