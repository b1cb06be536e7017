"""How an attempt ended: as text and data in YARN's diagnostics, and parsed from there."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXIT, SIGNAL, REFUSED, NOT_STARTED, BROKEN = "exit", "signal", "refused", "not-started", "broken"
KINDS = (EXIT, SIGNAL, REFUSED, NOT_STARTED, BROKEN)
LABEL = "aiflow-outcome: "
_MOST = 1 << 31  # of an exit code or a signal
_MOST_USED = 1e18  # of bytes and seconds
LONGEST_REASON = 2000  # characters; YARN keeps 64 KB of diagnostics an attempt


class Outcome:
    """How an attempt ended.

    Args:
        kind: ``exit``: the child ended with ``exit_code``, 126 or 127 where it could not be executed. ``signal``: it
            was ended by ``signal``. ``refused``: the attempt had been started before. ``not-started``: what it takes to
            start was not there. ``broken``: how the child ended is not known.
        stopped: whether it was asked to stop before.
        reason: in words, where there is more to say; at most 2,000 characters.
        left: what could not be ended, in words.
        usage: ``peak_memory`` (bytes) of the largest of the child and the processes that it has waited for, and
            ``cpu_seconds`` of all of them; empty where that is not known.
        ran_with: whether the file in which the runner has written what it ran with is among the container's logs.
    """

    def __init__(
        self,
        kind: str,
        *,
        exit_code: int | None = None,
        signal: int | None = None,
        stopped: bool = False,
        reason: str | None = None,
        left: list[str] | None = None,
        usage: dict[str, float] | None = None,
        ran_with: bool = False,
    ) -> None:
        self.kind, self.exit_code, self.signal, self.stopped = kind, exit_code, signal, stopped
        self.reason = reason[:LONGEST_REASON] if reason else None
        self.left = list(left or [])[:20]
        self.usage, self.ran_with = usage or {}, ran_with

    def to_json(self) -> str:
        """One line of ASCII."""
        return json.dumps(
            {
                "kind": self.kind,
                "exit_code": self.exit_code,
                "signal": self.signal,
                "stopped": self.stopped,
                "reason": self.reason,
                "left": self.left,
                "usage": self.usage,
                "ran_with": self.ran_with,
            }
        )

    def sentence(self) -> str:
        """For people, in one line."""
        words = {
            EXIT: f"The command ended with exit code {self.exit_code}",
            SIGNAL: f"The command was ended by signal {self.signal}",
            REFUSED: "Not started: this attempt has been started before",
            NOT_STARTED: "Not started",
            BROKEN: "The command's end is not known",
        }[self.kind]
        if self.stopped:
            words += " (it was told to stop)"
        return f"{words}: {self.reason}" if self.reason else words

    def diagnostics(self) -> str:
        """What YARN keeps of it: the sentence, then the data."""
        return f"{self.sentence()}\n{LABEL}{self.to_json()}"


def parse(diagnostics: str) -> Outcome | None:
    """The outcome in an application's diagnostics, whatever else YARN has put there; None: there is none."""
    # At the beginning of a line: in the data itself, which may hold a job's own text, there is no new line.
    _, label, text = ("\n" + diagnostics).rpartition("\n" + LABEL)
    return from_json(text.partition("\n")[0]) if label else None


def _numbers(given: Any) -> dict[str, float]:
    """What could be an amount in what may be an object."""
    items = given.items() if isinstance(given, dict) else ()
    return {name: value for name, value in items if type(value) in (int, float) and 0 <= value <= _MOST_USED}


def from_json(text: str | bytes) -> Outcome | None:
    """The outcome that ``to_json`` wrote; None where it did not."""
    try:
        data: dict[str, Any] = json.loads(text)
        if data["kind"] not in KINDS:
            return None
        numbers = (data["exit_code"], data["signal"])
        if not all(number is None or (type(number) is int and abs(number) <= _MOST) for number in numbers):
            return None
        return Outcome(
            data["kind"],
            exit_code=numbers[0],
            signal=numbers[1],
            stopped=bool(data["stopped"]),
            reason=str(data["reason"]) if data["reason"] else None,
            left=[str(item) for item in data["left"]],
            usage=_numbers(data.get("usage")),
            ran_with=bool(data.get("ran_with")),
        )
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
