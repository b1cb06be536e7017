"""Words and signs for people, in a browser and on a terminal: spans of time, states, numbers and sizes of things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from aiflow_ext.model.states import JobState

T = TypeVar("T")
# A state is never told by its colour alone. These characters have no coloured (emoji) form.
SIGNS = {
    JobState.INIT: "\u00b7",  # middle dot
    JobState.SUBMITTING: "\u2191",  # arrow
    JobState.QUEUED: "\u2026",  # ellipsis
    JobState.RUNNING: "\u25b8",  # triangle
    JobState.FINISHED: "\u2713",  # check mark
    JobState.FAILED: "\u2715",  # cross
    JobState.STOPPED: "\u25a0",  # square
    JobState.LOST: "?",
    JobState.SKIPPED: "\u2013",  # dash
}


def state_of(name: str) -> JobState:
    """The state of this name; one that this version does not know counts as waiting."""
    return JobState.__members__.get(name, JobState.INIT)


def word_of(state: JobState) -> str:
    """A state as people read it: a job without an attempt is waiting."""
    return "waiting" if state is JobState.INIT else str(state)


def interest(state: JobState) -> int:
    """The sort key of a job where not all can be shown: running jobs first, then failed ones, successes last."""
    places = {"RUNNING": 0, "SKIPPED": 4, "INIT": 5, "FINISHED": 9}
    return places.get(state, 1 if state.failed else 3 if state.ended else 2)


def of_most_interest(jobs: Sequence[T], most: int, state: Callable[[T], JobState], page: int = 0) -> Sequence[T]:
    """At most ``most`` of these jobs, those of most interest, in the order that they had; on the next ``page``, from 0,
    those that come after them."""
    if len(jobs) <= most and not page:
        return jobs
    chosen = sorted(range(len(jobs)), key=lambda place: interest(state(jobs[place])))[page * most : (page + 1) * most]
    return [jobs[place] for place in sorted(chosen)]


def duration(start: float | None, end: float | None) -> str:
    """The time between two moments (seconds since the epoch), as text for people; empty where one is not known."""
    if start is None or end is None:
        return ""
    seconds = max(0.0, end - start)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def counted(count: int, what: str) -> str:
    """``1 job``, ``2 jobs``, ``10,000 jobs``."""
    return f"{count} {what}" if count == 1 else f"{count:,} {what}s"


def size_text(size: int) -> str:
    """Bytes, rounded, for people: ``212 MiB``, ``1.5 GiB``."""
    value, unit = float(size), "bytes"
    for bigger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            break
        value, unit = value / 1024, bigger
    return f"{value:.0f} {unit}" if value >= 10 or unit == "bytes" else f"{value:.1f} {unit}"


def totals(found: Mapping[JobState, int]) -> str:
    """How many are in each state: ``1 FAILED, 3 FINISHED``; those of most interest first."""
    return ", ".join(f"{found[state]:,} {word_of(state)}" for state in sorted(found, key=interest))


def shortened(words: str, most: int) -> str:
    """At most ``most`` characters of a text; what is left out of its middle is an ellipsis."""
    if len(words) <= most:
        return words
    behind = most // 3
    return f"{words[: most - behind - 1]}\u2026{words[len(words) - behind :]}"


def fitted(words: str, most: int) -> str:
    """As ``shortened``, for a place as wide as ``most`` letters: a Chinese, Japanese or Korean character, or an emoji,
    takes the room of two."""
    if _room(words) <= most:
        return words
    behind = _as_fits(words[::-1], most // 3)[::-1]
    return f"{_as_fits(words, most - 1 - _room(behind))}\u2026{behind}"


def _room(words: str) -> int:
    if words.isascii():
        return len(words)
    from unicodedata import east_asian_width

    return len(words) + sum(east_asian_width(each) in "WF" for each in words)


def _as_fits(words: str, most: int) -> str:
    """The begin of a text, as much as there is room for."""
    rooms = accumulate(_room(each) for each in words[:most])
    return words[: sum(room <= most for room in rooms)]
