"""Helpers for the tests of all levels."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from aiflow_ext.model.states import ATTEMPT_ENDS
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.trial import Trial
from aiflow_ext.testing.zygote import Client, Raised, Zygote

if TYPE_CHECKING:
    import pytest

    from aiflow_ext.testing.works import Works

LONG = 600.0  # seconds that a job sleeps which is always ended earlier


class Support:
    """The attributes that ``JobPluginConformance`` sets, and helpers."""

    platform: ClassVar[str]
    engine: ClassVar[str]
    env: ClassVar[Mapping[str, str]]
    patience: ClassVar[float]
    at_once: ClassVar[int]
    kills: ClassVar[int]
    root: Path
    zygote: Zygote
    trial: Trial
    jobs: Works
    pytest_config: pytest.Config
    notes: list[str]  # additional remarks for the summary
    kill_loop: dict[str, int]  # how often the kill loop has killed the client, and with which seed

    @property
    def name(self) -> str:
        return f"{self.platform}.{self.engine}"

    def started(self, work: Any, mark: str = "start") -> tuple[Client, str]:
        """Start an attempt of a job that does ``work``; returns its client and its native id."""
        client, native_id = self.trial.write({"job": work}).ready()
        client("submit_job")
        self.begun(client, mark)
        return client, native_id

    def begun(self, client: Client, mark: str = "start", count: int = 1) -> None:
        """Wait until the job that ``client`` has submitted has left its mark; fails if it does not, or has ended."""
        marks, asked = self.trial.marks, time.monotonic()
        deadline = asked + self.patience
        while marks.count(mark) < count:
            now = time.monotonic()
            if now > deadline:
                marks.wait(mark, 0.0, count)  # complains
                return
            if now > asked + 1.0:
                asked, over = now, client("over")
                if over is not None and marks.count(mark) < count:
                    complain(
                        f"{self.name}: the job was submitted, and has ended without what it was to do first: the mark "
                        f"{mark!r} is not there; {over}",
                        "see what it wrote on stderr, and what submit_job makes of it. Where your jobs cannot see the "
                        "client's folders, override marks()", "jobs-and-marks",
                    )  # fmt: skip
            time.sleep(0.01)

    def ended(self, client: Client) -> str:
        """Wait for an attempt's end; returns its state."""
        state: str | None = client("wait", seconds=self.patience / 2)
        return self.ends(lambda: state if state is not None else client("state"))

    def ends(self, state: Callable[[], str | None]) -> str:
        """Poll until there is a state that is an end."""
        deadline = time.monotonic() + self.patience
        while (found := state()) not in ATTEMPT_ENDS:
            if time.monotonic() > deadline:
                complain(
                    f"{self.name}: the job has ended, and the handler says {found} for {self.patience:g} s",
                    "let state() ask the platform and return FINISHED, FAILED, STOPPED or LOST at the end, and wait() "
                    "return it",
                    "handlers-are-data",
                )
            time.sleep(0.02)
        return str(found)

    def attempt_of(self, record: dict[str, Any], job: str = "job") -> dict[str, Any]:
        """The last attempt of a job of a run; fails if it has none."""
        found = record["jobs"][job]
        if not found["attempts"]:
            complain(f"{self.name}: the job {job!r} had no attempt: {found['reason']}", "see the reason")
        attempt: dict[str, Any] = found["attempts"][-1]
        return attempt

    def must_be(self, record: dict[str, Any], state: str, why: str, cure: str, anchor: str, job: str = "job") -> None:
        """Fail unless the job ended in ``state``."""
        attempt = self.attempt_of(record, job)
        if attempt["state"] != state:
            complain(
                f"{self.name}: {why}, and is recorded as {attempt['state']}"
                + (f": {attempt['reason']}" if attempt["reason"] else "") + self.output(attempt["folder"]),
                cure, anchor,
            )  # fmt: skip

    def output(self, folder: str) -> str:
        """The end of what an attempt wrote on stderr, for a message."""
        try:
            text = Path(folder, "stderr").read_text(encoding="utf-8", errors="replace").strip()[-1500:]
        except OSError:
            return ""
        return "".join(f"\n    stderr: {line}" for line in text.splitlines()) if text else ""

    def states(self, look: Client) -> dict[str, str]:
        """The recorded states of the latest run's jobs, read by another client."""
        return {job["name"]: job["state"] for job in look("stands", run=self.trial.runs[-1])["jobs"]}

    def raises(self, call: str, words: str, cure: str, anchor: str, function: Callable[[], Any]) -> Any:
        """The result of ``function``; fails with ``words`` if it raises."""
        try:
            return function()
        except Raised as raised:
            failed = raised
        trace = "".join(f"\n    {line}" for line in failed.trace.strip().splitlines())
        complain(f"{self.name}: {call} {words}: {failed.kind}: {failed.words}{trace}", cure, anchor)

    def finished(self, client: Client, what: str) -> None:
        """Wait for the end of a job that succeeds; fails if its handler reports anything else."""
        state = self.ended(client)
        if state != "FINISHED":
            complain(f"{self.name}: {what}; it has ended well, and its handler says {state}",
                     "let the handler tell the job's true end", "handlers-are-data")  # fmt: skip

    def until(self, there: Callable[[], bool], words: str) -> None:
        """Wait until ``there`` returns True; fails with ``words`` if it does not in time."""
        deadline = time.monotonic() + self.patience
        while not there():
            if time.monotonic() > deadline:
                complain(f"{self.name}: {words} within {self.patience:g} s", "see what the job printed", "logs")
            time.sleep(0.02)


def unlike(native_id: str) -> str:
    """An id of the same form that was never allocated."""
    return re.sub(r"\d+$", "7", native_id) if re.search(r"\d$", native_id) else f"{native_id}7"
