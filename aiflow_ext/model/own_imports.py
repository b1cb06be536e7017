"""What we import ourselves while a project's folders are first on the path: never a file of the project.

A project may have a ``logging.py`` that it does not even use; what we need must not find that one.

``sys.path`` becomes another list each time: a thread that goes through a list, for an import or for what is installed,
misses an entry where that list changes meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_project: set[str] = set()


def put_first(paths: Iterable[str]) -> None:
    """Put a project's folders first on ``sys.path``."""
    paths = list(paths)
    sys.path = [*paths, *sys.path]
    _project.update(paths)


@contextmanager
def without_project() -> Iterator[None]:
    """Meanwhile imports do not look into a project's folders."""
    before = sys.path
    sys.path = [path for path in before if path not in _project]
    try:
        yield
    finally:
        sys.path = before
