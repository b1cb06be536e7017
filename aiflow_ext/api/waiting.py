"""Waits, for callers that block and for callers that await.

What takes time is written once, as an iterator of batches: whatever is new, or an empty batch where the caller is to
wait before it asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
INTERVAL = 0.2  # seconds between two looks


def each(batches: Iterator[Sequence[T]]) -> Iterator[T]:
    """Each item of the batches; this thread waits where there is nothing new."""
    for batch in batches:
        yield from batch
        if not batch:
            time.sleep(INTERVAL)


async def each_async(batches: Iterator[Sequence[T]]) -> AsyncIterator[T]:
    """Each item of the batches, which are made in other threads, one after the other: no event loop is blocked."""
    try:
        while (batch := await finished(asyncio.to_thread(next, batches, None))) is not None:
            for item in batch:
                yield item
            if not batch:
                await asyncio.sleep(INTERVAL)
    finally:
        await asyncio.to_thread(_close, batches)


def within(batches: Iterator[Sequence[T]], timeout: float | None, what: str) -> Iterator[Sequence[T]]:
    """The batches. Raises TimeoutError that names ``what`` where they have not ended after ``timeout`` seconds."""
    until = None if timeout is None else time.monotonic() + timeout
    for batch in batches:
        yield batch
        if until is not None and time.monotonic() >= until:
            raise TimeoutError(f"{what} within {timeout:g} s")


async def finished(call: Coroutine[Any, Any, T]) -> T:
    """Await a call that is made in a thread. Where this is cancelled, the call is let finish first."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise


def _close(batches: Iterator[Sequence[T]]) -> None:
    if isinstance(batches, Generator):
        batches.close()
