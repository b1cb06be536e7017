"""Level durable: a platform that does not answer is reported as unreachable, and not as the end of its jobs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest

from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import durable
from aiflow_ext.testing.report import NOT_TESTED
from aiflow_ext.testing.support import Support
from aiflow_ext.testing.zygote import NO_ANSWER, Client, Raised

SILENT = "UnreachableError"
CURE = "raise af.UnreachableError where the platform gives no answer: it says nothing of the job, and it is asked again"

ENDS = ("FINISHED", "FAILED", "STOPPED", "LOST")
WRONG = {"lookup": ("NEVER_STARTED", "UNKNOWN"), "the handler's state": ENDS, "watch": ENDS}


class Outages(Support):
    """Calls while the platform does not answer."""

    def away(self) -> AbstractContextManager[Any] | None:
        """A context manager: inside it the platform answers no client, and jobs go on. Override it if the platform can
        be made unreachable; with None, the default, outages are not tested."""
        return None

    @durable()
    def test_an_outage_is_no_end(self) -> None:
        """While the platform does not answer, a running and an ended job are looked up, polled, stopped and cleaned
        up."""
        outage = self.away()
        if outage is None:
            pytest.skip(f"{NOT_TESTED}: away() of {type(self).__name__} gives no context manager")
        self.trial.write({"ended": self.jobs.prints_and_exits("x", 0, "short"), "runs": self.jobs.counts(10)})
        self.trial.new_run()
        ended, runs = self._submitted("ended", "endshort"), self._submitted("runs", "half")
        asked = {what: self._other("runs", runs) for what in ("lookup", "the handler's state", "its stop", "stop_job")}
        for what in ("the handler's state", "its stop"):
            asked[what]("attach")
        asked["cleanup_job"] = self._other("ended", ended)
        calls: dict[str, Callable[[Client], Any]] = {
            "lookup": lambda client: client("lookup"),
            "the handler's state": lambda client: client("state"),
            **dict.fromkeys(("its stop", "stop_job"), lambda client: client("stop_attempt", grace=1.0)),
            "cleanup_job": lambda client: client("cleanup_attempt"),
        }
        if "watch" in self.zygote.facts["offers"]:
            asked["watch"] = self._other("runs", runs)
            calls["watch"] = lambda client: _ends(client("events", seconds=self.patience / 4))
        with outage, ThreadPoolExecutor(len(calls)) as pool:  # each may take its time
            said = dict(zip(calls, pool.map(lambda what: _said(calls[what], asked[what]), calls), strict=True))
        self._compare(said)
        self._afterwards(self._other("runs", runs), self._other("ended", ended))

    def _compare(self, said: dict[str, Any]) -> None:
        """Fail for what was ``said`` although it cannot be known."""
        for what, answer in said.items():
            raised = answer if isinstance(answer, Raised) else None
            result = f"raises {raised.kind}: {raised.words}" if raised else f"says {answer or 'that all is done'}"
            if raised is not None and raised.kind == NO_ANSWER:
                self._misleads(what, f"has not returned within {self.patience:g} s", "give a request a time-out, and "
                            + CURE)  # fmt: skip
            if what in ("its stop", "stop_job", "cleanup_job"):
                done = answer is None and what == "cleanup_job"  # there may have been nothing to do on the platform
                if not done and (raised is None or raised.kind != SILENT):
                    self._misleads(what, result, CURE)
            elif raised is None and answer in WRONG[what]:
                self._misleads(what, result, CURE)

    def _afterwards(self, runs: Client, ended: Client) -> None:
        """Stop and clean up again, which now works."""
        runs("stop_attempt", grace=1.0)
        runs("attach")
        if self.ended(runs) == "FINISHED":
            self._misleads("stop_job", "comes again afterwards, and the handler says FINISHED",
                           "let the handler tell the job's true end")  # fmt: skip
        for client in (runs, ended):
            client("cleanup_attempt")

    def _submitted(self, job: str, mark: str) -> str:
        client, native_id = self.trial.ready(run=self.trial.runs[-1], job=job)
        client("submit_job")
        self.begun(client, mark)
        if job == "ended":
            self.finished(client, "the job exits with 0")
        return native_id

    def _other(self, job: str, native_id: str) -> Client:
        return self.trial.other(native_id, job=job)

    def _misleads(self, what: str, result: str, cure: str) -> None:
        complain(f"{self.name}: the platform is away, one job runs and another one has ended; {what} {result}", cure,
                 "an-outage")  # fmt: skip


def _said(call: Callable[[Client], Any], client: Client) -> Any:
    try:
        return call(client)
    except Raised as raised:
        return raised


def _ends(events: list[dict[str, Any]]) -> str | None:
    """The end that was told, if one was."""
    return next((event["state"] for event in events if event["state"] in ENDS), None)
