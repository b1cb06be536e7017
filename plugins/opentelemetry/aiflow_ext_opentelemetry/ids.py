"""Ids of traces and spans that follow from the run: exporting a span once more makes no second one, and a job is told
the id of its attempt's span before there is one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def trace_id(run_id: str) -> int:
    """The id of a run's trace, where the run has no parent."""
    return _number(16, "trace", run_id)


def span_id(run_id: str, *of: str | int | float) -> int:
    """The id of a span: of the run's end, of a job (name, number of its last attempt), or of an attempt."""
    return _number(8, "span", run_id, *of)


def _number(size: int, *of: str | int | float) -> int:
    digest = hashlib.sha256("\0".join(map(str, of)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:size], "big") or 1  # 0 is no id


class ChosenIds:
    """An id generator of the SDK that returns what it was told."""

    def __init__(self) -> None:
        self._trace_id = self._span_id = 0

    @contextmanager
    def chosen(self, trace: int, span: int) -> Iterator[None]:
        """Give a span that is started in here these ids; for one thread at a time."""
        self._trace_id, self._span_id = trace, span
        yield

    def generate_trace_id(self) -> int:
        """The trace's id, of a span without a parent."""
        return self._trace_id

    def generate_span_id(self) -> int:
        """The span's id."""
        return self._span_id

    def is_trace_id_random(self) -> bool:
        """It is a hash: as good as random for whoever samples by it."""
        return True
