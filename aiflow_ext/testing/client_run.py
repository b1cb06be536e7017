"""A client's calls for a whole run: drive it, also in a thread, stop it, read its records."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from aiflow_ext.model.states import ATTEMPT_ENDS
from aiflow_ext.run.operations.resume import take_up
from aiflow_ext.run.operations.start import Run, prepare
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store
from aiflow_ext.testing import crash
from aiflow_ext.testing.adding import Adding
from aiflow_ext.testing.client_attempt import word
from aiflow_ext.testing.client_bare import BareCalls
from aiflow_ext.testing.places import Place


class RunCalls(BareCalls):
    """A whole run, driven as by the command line."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._run: Run | None = None

    def do_prepare_run(self, jobs: int | None = None) -> dict[str, Any]:
        """Prepare a run."""
        self._run = prepare(self.project, jobs=jobs)
        return {"run": self._run.record.run_id, "folder": self._run.record.folder}

    def do_add_variables(self) -> None:
        """Have each attempt of the run get the variable ADDED, as from an installed job environment."""
        assert self._run is not None
        self._run.plan.host.job_environments = lambda: {"the kit": Adding()}  # type: ignore[method-assign]

    def do_take_up(self, run: str) -> None:
        """Prepare to resume a run that an earlier client has left."""
        self._run = take_up(run, project=str(self.project))

    def do_drive(self) -> dict[str, Any]:
        """Drive the run to its end; its record."""
        assert self._run is not None
        return self._run.driver.run().summary()

    def do_drive_traced(self, at: int | list[Any] | None, files: list[str]) -> dict[str, Any]:
        """Drive the run, and end with SIGKILL at the line with the number ``at``, or at that place; None: count
        lines."""
        assert self._run is not None
        return crash.drive(self._run, Place(*at) if isinstance(at, list) else at, files)

    def do_sabotage(self, how: str) -> None:
        """Submit each attempt twice from now on, or not at all, to prove that the counting would detect it."""
        crash.sabotage(how)

    def do_dropped(self) -> None:
        """Wait until something was submitted and dropped."""
        crash.dropped.wait()

    def do_drive_aside(self) -> None:
        """Drive the run in a thread."""
        run = self._run
        assert run is not None

        def drive() -> None:
            try:
                run.driver.run()
            except BaseException as error:
                self._raised = error

        self._thread = threading.Thread(target=drive, daemon=True)
        self._thread.start()

    def do_stands(self, run: str) -> dict[str, Any]:
        """The record, from the store, of a run that another client drives or has driven."""
        state = state_folder(self.project)
        return Store(state).run(run).summary()

    def do_driven(self) -> dict[str, Any]:
        """Wait for the end of the run that is driven in a thread; its record."""
        assert self._run is not None
        assert self._thread is not None
        self._thread.join()
        if self._raised is not None:
            raise self._raised
        return self._run.record.summary()

    def do_native_id_of(self, job: str) -> str | None:
        """The native id of the last attempt of a job of the run."""
        assert self._run is not None
        last = self._run.record.jobs[job].last
        return None if last is None else last.native_id

    def do_folder_of(self, job: str) -> str:
        """The folder of the last attempt of a job of the run."""
        assert self._run is not None
        last = self._run.record.jobs[job].last
        assert last is not None
        return str(last.folder)

    def do_stop_one(self, job: str, grace: float) -> None:
        """Stop one job of the run that is driven in a thread; returns at once."""
        assert self._run is not None
        Store(state_folder(self.project)).requests.add(self._run.record.run_id, "stop", job, grace)
        self._run.driver.look_at_requests()

    def do_stop_run(self, grace: float) -> dict[str, Any]:
        """Stop the run that is driven in a thread, and wait for its end."""
        assert self._run is not None
        assert self._thread is not None
        self._run.driver.stop(grace)
        self._thread.join()
        if self._raised is not None:
            raise self._raised
        return self._run.record.summary()

    def do_over(self) -> str | None:
        """The end of the job that was submitted last, in words; None if it has not ended, as far as is known."""
        if self._thread is not None:
            if self._thread.is_alive():
                return None
            if self._raised is not None:
                return f"{type(self._raised).__name__}: {self._raised}"
            if self._run is None:  # submit_job has returned, and its job may go on
                return None
            ends = self._run.record.summary()["jobs"]
            ends_shown = [f"job {job['name']!r} is {job['state']}: {job['reason']}" for job in ends]
            folders = [job["attempts"][-1]["folder"] for job in ends if job["attempts"]]
            texts = [_end_of(Path(folder, "stderr").read_bytes()) for folder in folders
                     if Path(folder, "stderr").is_file()]  # fmt: skip
            return "; ".join(ends_shown) + "".join(texts)
        if self.handler is None:
            return None
        state = word(self.handler.state())
        if state not in ATTEMPT_ENDS:
            return None
        return f"the handler says {state}{_end_of(self.handler.logs('stderr', 0))}"


def _end_of(stderr: Any) -> str:
    """The end of what a job wrote on standard error, for a message."""
    text = stderr.decode("utf-8", "replace").strip()[-1500:] if isinstance(stderr, bytes) else ""
    return "".join(f"\n    stderr: {line}" for line in text.splitlines())
