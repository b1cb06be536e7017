"""A client's direct calls of the nine methods, in a process like the one in which a driver calls them."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

from aiflow_ext.run.platforms import supervised
from aiflow_ext.run.platforms.hosted_adapter import HostedAdapter
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.testing.client_attempt import AttemptCalls
from aiflow_ext.testing.watching import Made


class BareCalls(AttemptCalls):
    """The nine methods, called directly, and their leftovers in this process."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._thread: threading.Thread | None = None
        self._raised: BaseException | None = None
        self._made: Made | None = None

    def do_enter(self) -> None:
        """Make this process an attempt host, if the plugin needs one."""
        native_id = self.context.native_id = self.adapter.allocate(self.job)
        if isinstance(self.adapter, HostedAdapter):
            supervised.prepare_folder(native_id)
            os.environ.update(self.adapter.process(self.job).env)
            os.chdir(Path(native_id, "work"))

    def do_bare(self, method: str) -> None:
        """Call one of the nine that take a job."""
        getattr(self.planned.resolved.hook, method)(job=self.job)

    def do_bare_submit(self) -> None:
        """Call ``submit_job`` in a thread: it may block until the job has ended."""

        def submit() -> None:
            try:
                self.planned.resolved.hook.submit_job(job=self.job)
            except BaseException as error:
                self._raised = error

        self._thread = threading.Thread(target=submit, daemon=True)
        self._thread.start()

    def do_bare_submitted(self, seconds: float) -> str | None:
        """Wait for ``submit_job`` to return; returns what it raised, or None."""
        assert self._thread is not None
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"submit_job has not returned within {seconds:g} s")
        return None if self._raised is None else f"{type(self._raised).__name__}: {self._raised}"

    def do_heed_files(self) -> None:
        """Record from now on which files this process makes."""
        if self._made is None:
            self._made = Made()

    def do_left(self) -> dict[str, Any]:
        """The existing files that it has made outside of the runs' folders; and its open descriptors and threads."""
        assert self._made is not None
        gc.collect()
        runs = f"{state_folder(self.project)}{os.sep}"
        made = sorted(path for path in self._made.paths if not path.startswith(runs) and os.path.lexists(path))
        descriptors = len(os.listdir("/proc/self/fd"))
        return {"files": made, "descriptors": descriptors, "threads": threading.active_count()}
