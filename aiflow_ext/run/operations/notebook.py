"""A live table of a run in a notebook, where this process is the kernel of one; nothing anywhere else.

IPython is asked only where the process has it already: it is no dependency.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.supervise.clock import Clock

INTERVAL = 1.0  # seconds between two looks
PARTING = 5.0  # seconds that the end of a run waits for the table at most


@contextlib.contextmanager
def shown_live(record: Callable[[], RunRecord]) -> Iterator[None]:
    """Show a run until the block ends, by a thread; then how it stands.

    Args:
        record: returns the run's record, which others may change meanwhile.
    """
    end = _begun(record) if is_notebook() else None
    try:
        yield
    finally:
        if end is not None:
            end()


def is_notebook() -> bool:
    """Whether this process runs the code of a notebook: IPython is there, and not on a terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and type(shell).__name__ != "TerminalInteractiveShell"


def _begun(record: Callable[[], RunRecord]) -> Callable[[], None] | None:
    """Show the run from now on; returns what ends that. None: the notebook is not there any more."""
    ended = threading.Event()
    try:
        shown = importlib.import_module("IPython.display").display(_bundle(record()), raw=True, display_id=True)
    except Exception:  # whatever it is, it is no reason to end a run
        return None

    def update() -> None:
        with contextlib.suppress(Exception):  # likewise
            shown.update(_bundle(record()), raw=True)

    def go_on() -> None:
        while not ended.wait(INTERVAL):
            update()

    def end() -> None:
        ended.set()
        thread.join(PARTING)
        update()

    thread = threading.Thread(target=go_on, daemon=True, name="aiflow-notebook")
    thread.start()
    return end


def _bundle(record: RunRecord) -> dict[str, str]:
    """The table as a notebook takes it: all jobs while the run goes on, as far as there is room; then those that have
    failed, because the record itself shows all."""
    from aiflow_ext.view.notebook import MOST_ROWS, live_html
    from aiflow_ext.view.words import interest

    jobs = list(record.jobs.values())
    counts = Counter(job.state for job in jobs)
    if record.ended_at is not None:
        jobs = [job for job in jobs if job.state.failed]
    if len(jobs) > MOST_ROWS:
        jobs = sorted(jobs, key=lambda job: interest(job.state))[:MOST_ROWS]
    run = {"run": record.run_id, "state": str(record.state), "started_at": record.started_at,
           "ended_at": record.ended_at, "jobs": [job.summary() for job in jobs]}  # fmt: skip
    now = record.ended_at or Clock(record.folder).now()
    return {"text/html": live_html(run, counts, now=now), "text/plain": repr(record)}
