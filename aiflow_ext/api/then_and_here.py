"""What is not on this machine as it was where an attempt has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext import __version__
from aiflow_ext.run.operations.past_attempt import PastAttempt


class Difference(NamedTuple):
    """Something that differs: what it is, what it was then, and what it is here."""

    what: str
    then: str
    here: str


def differences(past: PastAttempt, facts: Mapping[str, Any], more: Sequence[Difference]) -> list[Difference]:
    """What differs between an attempt and its reproduction.

    Args:
        past: the attempt.
        facts: of the interpreter here.
        more: differences that were found while it was prepared.
    """
    versions = past.run.provenance.get("versions")
    then = versions if isinstance(versions, Mapping) else {}
    platform, config = past.planned.resolved.platform, past.planned.config
    found = []
    if platform != "local":
        image = getattr(config, "image", None)
        found.append(Difference("platform", f"{platform}, image {image}" if image else platform, "this machine"))
        if config.memory is not None:
            found.append(Difference("memory", f"at most {config.memory} bytes", "not limited"))
    known = {"python": facts["python"], "aiflow-ext": __version__}
    found += [Difference(name, str(then[name]), here) for name, here in known.items() if then.get(name, here) != here]
    if past.code is None:
        found.append(Difference("code", "its sha256 was not recorded", "as the run keeps it"))
    return [*found, *more]
