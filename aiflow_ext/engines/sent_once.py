"""What is sent once a run, because all its jobs share it: a project's archive, a payload."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SentOnce(Generic[T]):
    """What this process has sent for runs, so that each further job of a run sends nothing.

    A cache: another process does not know of it, and neither does this one after ``forget``. Sending must therefore be
    repeatable, and find what is there already: by a name that is made of the run's id and, where it may differ, of the
    content's digest; and complete or absent, under another name until it is complete.
    """

    def __init__(self) -> None:
        self._sent: dict[tuple[Hashable, str], dict[str, T]] = {}

    def send(self, place: Hashable, run_id: str, name: str, send: Callable[[], T]) -> T:
        """What ``send`` has returned for this, which is called where this process has not sent it. Raises what it
        raises: then it is not sent, and the next job tries again.

        Args:
            place: where it is sent: what tells one cluster or namespace from another.
            run_id: the run whose jobs share it.
            name: which of the run's things it is.
            send: sends it, or finds it there.
        """
        sent = self._sent.setdefault((place, run_id), {})
        if name not in sent:
            sent[name] = send()
        return sent[name]

    def forget(self, place: Hashable, run_id: str) -> None:
        """The run's things are removed from there, or are about to be: for ``cleanup_run``."""
        self._sent.pop((place, run_id), None)

    def cache_clear(self) -> None:
        """Forget everything, as another process knows nothing of it: for the conformance kit."""
        self._sent.clear()
