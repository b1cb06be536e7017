"""What does not fit its place in a file: the mistakes, and the words for values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Place = tuple[Any, ...]


class Misfit(Exception):
    """What does not fit, all of it: for each mistake its path, its message, and what to do."""

    def __init__(
        self, message: str = "", hint: str | None = None, *, path: Place = (), items: Iterable[Item] = ()
    ) -> None:
        self.items: list[Item] = [*items] or [(path, message, hint)]
        super().__init__("; ".join(message for _, message, _ in self.items))

    def under(self, step: Any) -> list[Item]:
        """The mistakes as seen from one level further out."""
        return [((step, *path), message, hint) for path, message, hint in self.items]


Item = tuple[Place, str, str | None]


def given(value: Any) -> str:
    """The value, short, in the same words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 60 else f"the text {value[:60]!r}..."
    if isinstance(value, (int, float)):
        huge = isinstance(value, int) and value.bit_length() > 200
        return "a huge number" if huge else f"the number {value!r}"
    return "a list" if isinstance(value, (list, tuple)) else "a mapping" if isinstance(value, Mapping) else repr(value)
