"""What a ResourceManager's answers hold, as far as it is used: an application's report, the largest container."""

from __future__ import annotations

from typing import Any

from aiflow_ext.plugin import PlatformError
from aiflow_ext_yarn.answers import Fields
from aiflow_ext_yarn.master import outcome

Json = dict[str, Any]
LIVE = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"
UNSAVED = ("NEW", "NEW_SAVING")  # not in the state store yet: a restart forgets them
ENDED = ("FINISHED", "FAILED", "KILLED")
_STATES = {*LIVE.split(","), *ENDED}  # org.apache.hadoop.yarn.api.records.YarnApplicationState
_FINAL = ("UNDEFINED", "SUCCEEDED", "FAILED", "KILLED", "ENDED")  # and FinalApplicationStatus
_LATEST = 1e14  # ms since the epoch: the year 5138
_MOST_RESERVED = 1e15  # MiB times seconds
# Characters of diagnostics, of a line in them, and of the line in which an application master says how the job ended.
_MOST_WORDS, _LONGEST_LINE, _LONGEST_OUTCOME = 128 << 10, 1000, 16 << 10


def application_report(found: Fields) -> Json:
    """What is used of an application's report: text, milliseconds since the epoch, ``progress`` in percent,
    ``memorySeconds`` (of MiB) and ``vcoreSeconds`` that it was given, and as ``expiry`` when it will have exceeded its
    lifetime."""
    told: Json = {key: found.text(key, "") for key in ("id", "finalStatus", "amContainerLogs", "amRPCAddress")}
    told.update({key: found.number(key, 0, _LATEST) for key in ("startedTime", "launchTime", "finishedTime")})
    told.update({key: found.number(key, 0, _MOST_RESERVED) for key in ("memorySeconds", "vcoreSeconds")})
    told["progress"] = found.number("progress", 100)
    told["state"], told["diagnostics"] = found.text("state"), _shortened(found.text("diagnostics", ""))
    expiry = {each.text("type", ""): each.text("expiryTime", "UNLIMITED")
              for each in found.object("timeouts").objects("timeout")}  # fmt: skip
    told["expiry"] = expiry.get("LIFETIME", "UNLIMITED")
    if told["state"] not in _STATES or (told["state"] in ENDED and told["finalStatus"] not in _FINAL):
        said = f"{told['state'][:100]!r}, with the final status {told['finalStatus'][:100]!r}"
        raise PlatformError(f"the ResourceManager reports an application in a state that there is not: {said}")
    return told


def largest_container(found: Fields) -> Json:
    """The largest container: ``memory`` in MiB and ``vCores``, 0 where it is not told; ``others``: the cluster's other
    resources by name, None before Hadoop 3.1, which does not tell them."""
    told: Json = {key: found.number(key, 0) for key in ("memory", "vCores")}
    others = found.object("resourceInformations")
    told["others"] = None
    if "resourceInformation" in others:
        each = {one.text("name"): one.number("value", 0, 1e19) for one in others.objects("resourceInformation")}
        told["others"] = {name: most for name, most in each.items() if name not in ("memory-mb", "vcores")}
    return told


def _shortened(words: str) -> str:
    """Diagnostics that can be searched in little time: some patterns take the square of a line's length.

    YARN keeps 64 KB of them.
    """
    if len(words) > _MOST_WORDS:
        words = words[: _MOST_WORDS // 2] + "\n" + words[-_MOST_WORDS // 2 :]
    lines = words.split("\n")
    return "\n".join(line[: _LONGEST_OUTCOME if line.startswith(outcome.LABEL) else _LONGEST_LINE] for line in lines)
