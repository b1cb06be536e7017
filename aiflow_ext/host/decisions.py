"""The decisions by which a name leads to one job plugin, in their order, each with what has decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiflow_ext.host.policy import ALLOW, DENY, PINS, Policy
from aiflow_ext.host.records import PluginRecord, normalise, provider


class Decision(NamedTuple):
    """One decision.

    Attributes:
        about: ``platform``, ``engine``, ``advertised``, ``metadata``, ``policy``, ``conflict``, ``proof``,
            ``import`` or ``job``.
        words: what was decided, and what decided it: a sentence.
    """

    about: str
    words: str


def decisions(
    advertised: Sequence[PluginRecord],
    settled: Sequence[PluginRecord],
    policy: Policy,
    pin: str | None,
    pin_place: str,
    homes: Mapping[tuple[str, str], str],
) -> list[Decision]:
    """The decisions that metadata, policy and pins make of the job plugins of one name.

    Args:
        advertised: their records as metadata alone gives them.
        settled: the same, with the statuses that policy, pins and conflicts give them.
        policy: what may be used.
        pin: the distribution that is to provide the name; None where nothing says so.
        pin_place: where the pin is configured.
        homes: the metadata folders by distribution and version.
    """
    if not advertised:
        return [Decision("advertised", "no installed distribution advertises it")]
    made = [Decision("advertised", f"by {_listed([_advertiser(each, homes) for each in advertised])}")]
    for each in advertised:
        fits = "it can be read, and its requirements include this aiflow-ext and this machine"
        words = fits if each.status == "available" else f"{each.status}: {each.reason}"
        made.append(Decision("metadata", f"of {provider(each) or each.distribution}: {words}"))
    for each in advertised:
        made.append(Decision("policy", f"on {each.distribution}: {policy.refusal(each) or _allowed(policy)}"))
    rivals = [each for each in advertised if each.status == "available" and policy.refusal(each) is None]
    if rivals:
        made.append(Decision("conflict", _conflict(rivals, settled, pin, pin_place)))
    return made


def _advertiser(record: PluginRecord, homes: Mapping[tuple[str, str], str]) -> str:
    home = homes.get((record.distribution, record.version))
    return f"{provider(record)} as {record.entry_point}{f' ({home})' if home else ''}"


def _allowed(policy: Policy) -> str:
    if policy.allow:
        return f"it is allowed by {policy.named('allow')}"
    return f"nothing denies it: {policy.named('deny')} does not name it" if policy.deny else _NO_POLICY


_NO_POLICY = f"nothing denies it: neither {ALLOW}, nor {DENY}, nor a project's plugins: says anything"


def _conflict(rivals: Sequence[PluginRecord], settled: Sequence[PluginRecord], pin: str | None, place: str) -> str:
    names = _listed(list(dict.fromkeys(each.distribution for each in rivals)))
    if pin is not None:
        pinned = any(normalise(each.distribution) == normalise(pin) for each in rivals)
        chosen = f"chooses {pin}" if pinned else f"asks for {pin}, which does not provide it here"
        return f"the pin {rivals[0].name}={pin} ({place}) {chosen} of {names}"
    if len({each.entry_point for each in rivals}) == 1:
        return f"{names} alone is left" if len(rivals) == 1 else f"none: {names} advertise the same object"
    reason = next((each.reason for each in settled if each.status == "conflicted"), None)
    return reason or f"{names} both provide it; {PINS} settles it"


def _listed(items: list[str]) -> str:
    return " and ".join(items)
