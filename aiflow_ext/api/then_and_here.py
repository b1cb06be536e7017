"""What is not on this machine as it was where an attempt has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext import __version__
from aiflow_ext.model.ran_with import RanWith
from aiflow_ext.run.operations.past_attempt import PastAttempt
from aiflow_ext.run.store.ran_with import ran_with_of

MOST = 12  # distributions that are listed
LOCAL = "local"  # the platform of this machine
_COMPARED = ("python", "implementation", "system", "machine", "libc")
_INSTALLERS = ("pip", "setuptools", "wheel")


class Difference(NamedTuple):
    """Something that differs: what it is, what it was then, and what it is here."""

    what: str
    then: str
    here: str


def differences(past: PastAttempt, here: RanWith, more: Sequence[Difference]) -> list[Difference]:
    """What differs between an attempt and its reproduction.

    Args:
        past: the attempt.
        here: what the interpreter on this machine runs with.
        more: differences that were found while it was prepared.
    """
    platform, config = past.platform, past.planned.config
    found = []
    if platform not in (LOCAL, None):
        image = getattr(config, "image", None)
        found.append(Difference("platform", f"{platform}, image {image}" if image else str(platform), "this machine"))
        if config.memory is not None:
            found.append(Difference("memory", f"at most {config.memory} bytes", "not limited"))
    then = _ran_with(past)
    if then.python is None and past.planned.resolved.engine == "python":
        found.append(Difference("python", "not recorded", str(here.python)))
    for name in _COMPARED:
        before, now = getattr(then, name), getattr(here, name)
        if None not in (before, now) and before != now:
            found.append(Difference(name, _short(before), _short(now)))
    found += _distributions(then.distributions or {}, here.distributions)
    version = _versions(past).get("aiflow-ext", __version__)
    if version != __version__:
        found.append(Difference("aiflow-ext", _short(version), __version__))
    if past.code is None:
        found.append(Difference("code", "its sha256 was not recorded", "as the run keeps it"))
    return [*found, *more]


def _ran_with(past: PastAttempt) -> RanWith:
    """What the attempt ran with. Where it has not recorded that, a job of this machine had its client's Python."""
    found = ran_with_of(past.record.folder)
    if found is None and past.platform == LOCAL and past.planned.config.python is None:
        found = RanWith(python=_versions(past).get("python"))
    return found or RanWith()


def _versions(past: PastAttempt) -> Mapping[str, Any]:
    versions = past.run.provenance.get("versions")
    return versions if isinstance(versions, Mapping) else {}


def _distributions(then: Mapping[str, str], here: Mapping[str, str] | None) -> list[Difference]:
    """Those that are missing here, or of another version, without ours and those that only install others."""
    if here is None:
        return []
    found = [
        Difference(_short(name), _short(version), _short(here.get(name, "not installed")))
        for name, version in sorted(then.items())
        if here.get(name) != version and name not in _INSTALLERS and not name.startswith("aiflow-ext")
    ]
    if len(found) > MOST:
        found[MOST:] = [Difference(f"and {len(found) - MOST} more", "...", "...")]
    return found


def _short(text: Any) -> str:
    return str(text)[:80]
