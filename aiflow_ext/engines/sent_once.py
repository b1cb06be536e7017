"""What is sent once a run, because all its jobs share it: a project's archive, a payload."""

from __future__ import annotations

import threading
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
        self._sending: dict[tuple[Hashable, str, str], threading.Lock] = {}

    def send(self, place: Hashable, run_id: str, name: str, send: Callable[[], T]) -> T:
        """Call ``send`` unless this process has sent the same before; returns its result. Safe from any thread: others
        that send the same wait for the first.

        Args:
            place: where it is sent: identifies a cluster or namespace.
            run_id: the run whose jobs share it.
            name: what is sent, among the things of the run.
            send: sends it, or finds that it exists.

        Raises what ``send`` raises: then it counts as not sent, and the next job calls ``send`` again.
        """
        sent = self._sent.setdefault((place, run_id), {})
        if name not in sent:
            with self._sending.setdefault((place, run_id, name), threading.Lock()):
                if name not in sent:
                    sent[name] = send()
        return sent[name]

    def forget(self, place: Hashable, run_id: str) -> None:
        """Forget what was sent for a run, because it is being removed: for ``cleanup_run``.

        Args:
            place: as in :meth:`send`.
            run_id: the run's id.
        """
        self._sent.pop((place, run_id), None)
        for key in [each for each in list(self._sending) if each[:2] == (place, run_id)]:
            self._sending.pop(key, None)

    def cache_clear(self) -> None:
        """Forget everything, as another process knows nothing of it: for the conformance kit."""
        self._sent.clear()
