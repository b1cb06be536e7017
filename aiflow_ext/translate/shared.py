"""What all threads of a process share and a plan needs for itself: the import path, loaded modules, stdout."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

# Held while a project's modules take the place of others: one project at a time, in all threads.
importing = threading.RLock()

_counting = threading.Lock()
_inside = 0
_before: Any = None
_instead: Any = None


@contextlib.contextmanager
def prints_on_stderr() -> Iterator[None]:
    """What is printed meanwhile goes to stderr: stdout is for what was asked of the command, which may be JSON.

    Several threads may be in here at once: stdout is back once the last one has left.
    """
    global _inside, _before, _instead
    with _counting:
        if not _inside:
            _before, _instead = sys.stdout, sys.stderr
            sys.stdout = _instead
        _inside += 1
    try:
        yield
    finally:
        with _counting:
            _inside -= 1
            if not _inside:
                if sys.stdout is _instead:
                    sys.stdout = _before
                _before = _instead = None
