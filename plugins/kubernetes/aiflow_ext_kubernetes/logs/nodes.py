"""Nodes that give no logs, while the API server answers: since when, as far as this process has seen."""

from __future__ import annotations

import time

from aiflow_ext.plugin import UnreachableError
from aiflow_ext_kubernetes.target import Target

PATIENCE = 60.0  # seconds for which a node is asked again; then what there is of its logs is kept
AGAIN = 5.0  # seconds in which a node that has been silent for longer must begin to answer

_silent: dict[tuple[Target, str], tuple[float, float]] = {}  # the times of the first and of the last missing answer


class NodeSilentError(UnreachableError):
    """A node gives no log, and the API server answers other requests.

    Attributes:
        node: its name.
        seconds: for how long it has given none.
    """

    def __init__(self, node: str, seconds: float, message: str) -> None:
        super().__init__(message, hint="it is asked again for a minute; then its logs are kept as far as they are here")
        self.node, self.seconds = node, seconds


def note_silence(target: Target, node: str) -> float:
    """Note that a node gave no answer; returns for how many seconds it has given none."""
    now = time.monotonic()
    since, last = _silent.get((target, node), (now, now))
    if now - last > PATIENCE:  # nobody has asked it for so long
        since = now
    _silent[target, node] = since, now
    return now - since


def note_answer(target: Target, node: str | None) -> None:
    """Note that a node has answered; None: it is not known which."""
    if node is not None:
        _silent.pop((target, node), None)


def is_given_up(target: Target, node: str | None) -> bool:
    """Whether a node has given no answer for ``PATIENCE`` seconds; None: it is not known which."""
    if node is None or (target, node) not in _silent:
        return False
    since, last = _silent[target, node]
    return last - since >= PATIENCE >= time.monotonic() - last


def any_silent(target: Target) -> bool:
    """Whether any node of a target's cluster gave no answer the last time."""
    return any(each == target for each, _ in list(_silent))
