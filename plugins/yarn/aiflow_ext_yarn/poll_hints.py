"""What this process does itself, for its own watch to look at soon."""

from __future__ import annotations

import threading

_stirred = threading.Event()
_ours: dict[str, bool] = {}  # ids that this process was given -> whether it has submitted them, or found them there


def allocated(native_id: str) -> None:
    """An id was given out, and nothing is there to be asked for yet."""
    _ours[native_id] = False


def submitted(native_id: str) -> None:
    """An application is there."""
    _ours[native_id] = True
    _stirred.set()


def stopped() -> None:
    """An application was stopped."""
    _stirred.set()


def is_there(native_id: str) -> bool | None:
    """Whether an application was submitted; None: by this process it was not."""
    return _ours.get(native_id)


def await_some(seconds: float) -> bool:
    """Wait for any of these, so long at most; False where there was none. Each is told once."""
    found = _stirred.wait(seconds)
    _stirred.clear()
    return found
