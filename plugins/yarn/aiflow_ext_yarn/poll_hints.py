"""What this process's own calls tell its poll: which applications it has submitted, and when to poll sooner.

A cache: without it the poll finds the same, later.
"""

from __future__ import annotations

import threading

_wake = threading.Event()
_submitted: dict[str, bool] = {}  # ids that this process allocated or took up -> whether the application exists


def absent(native_id: str) -> None:
    """There is no application of this id to ask for, before it is submitted (again)."""
    _submitted[native_id] = False


def submitted(native_id: str) -> None:
    """The application exists."""
    _submitted[native_id] = True
    _wake.set()


def stopped() -> None:
    """An application was stopped."""
    _wake.set()


def was_submitted(native_id: str) -> bool | None:
    """Whether the application exists, as far as this process's calls show; None: they do not."""
    return _submitted.get(native_id)


def forget(native_id: str) -> None:
    """The attempt is not watched any more, or is over."""
    _submitted.pop(native_id, None)


def wait(seconds: float) -> bool:
    """Wait at most ``seconds`` for a submission or a stop; False where there was none. Clears what it returns."""
    found = _wake.wait(seconds)
    _wake.clear()
    return found
