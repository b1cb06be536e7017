"""Runs driven in another thread, for callers that await their end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiflow_ext.api.waiting import finished
from aiflow_ext.run.operations.notebook import shown_live

if TYPE_CHECKING:
    from aiflow_ext.run.operations.start import Run
    from aiflow_ext.run.store.records import RunRecord


async def drive_async(prepare: Callable[[], Run]) -> RunRecord:
    """Prepare and drive a run in other threads; leave it where this is cancelled."""
    preparing = asyncio.ensure_future(asyncio.to_thread(prepare))
    try:
        run = await asyncio.shield(preparing)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            run = await preparing
            await asyncio.to_thread(_give_up, run)
        raise
    driving = asyncio.ensure_future(asyncio.to_thread(run.drive))
    try:
        with shown_live(lambda: run.record):
            return await asyncio.shield(driving)
    except asyncio.CancelledError:
        run.driver.leave()
        with contextlib.suppress(Exception):
            await driving
        raise
    finally:
        await finished(asyncio.to_thread(run.close))


def _give_up(run: Run) -> None:
    """Leave a run that was prepared and not driven; a new one is removed."""
    from aiflow_ext.run.operations.start import remove

    run.close()
    if run.is_new:
        remove(run.record, run.plan.desc.artifacts)
