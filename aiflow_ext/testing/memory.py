"""Level durable: a plugin keeps only caches between two calls, and each hook gets everything that it needs in its
job."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from aiflow_ext.testing import remains
from aiflow_ext.testing.cleaning import Cleaning
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import durable
from aiflow_ext.testing.report import NOT_TESTED
from aiflow_ext.testing.zygote import Client, Raised

FRESH = "in a process in which the plugin has generated nothing"
CURE = ("take what the hook needs from the job that it is given and from the platform; what generate, or another hook, "
        "leaves in a module, a class, the plugin's object or the job is not there in another process")  # fmt: skip


class Memory(Cleaning):
    """Each hook may be called in another process than the one before it."""

    @durable()
    def test_hooks_need_no_earlier_call(self) -> None:
        """One attempt, each of whose hooks is called in a fresh process, which gets the job and has generated none."""
        offers = self.zygote.facts["offers"]
        client = self.trial.write({"job": self.jobs.counts(10)}).attempt()
        before, elsewhere = self.trial.files(), remains.entries()
        unnamed = self._packed(client)  # as for cleanup_run and check_platform
        client("take_id", native_id=client("allocate_id"))
        job = self._packed(client)
        if "render" in offers and self._call(job, "render") != client("render"):
            self._remembers("render gives another request")
        if "check_platform" in offers and (found := self._call(unnamed, "check_platform")):
            self._remembers(f"check_platform finds problems, and jobs can be run: {'; '.join(found)}")
        self._call(job, "generate_job_resource")
        self._call(job, "submit_job")
        self.begun(client, "half")
        if (said := self._call(job, "lookup")) != "FOUND":
            self._remembers(f"lookup says {said} of a job that runs, instead of FOUND")
        deadline = time.monotonic() + self.patience / 4  # a cluster may report the start later than the job's own mark
        while (said := self._attached(job, "state")) != "RUNNING":
            if said != "QUEUED" or time.monotonic() > deadline:
                self._remembers(f"the handler of attach says {said} of a job that runs")
            time.sleep(0.2)
        if "watch" in offers:
            got = self._call(job, "events", seconds=self.patience / 4, until="RUNNING")
            if not got or got[-1]["state"] != "RUNNING":
                self._remembers(f"watch tells {got or 'nothing'} of a job that runs")
        self._call(job, "stop_attempt", "stop_job", grace=1.0)
        said = self._attached(job, "wait", seconds=self.patience / 2)
        if said not in ("FAILED", "STOPPED", "LOST"):
            self._remembers(f"stop_job was called while the job ran, and the handler of attach says {said} afterwards")
        self._call(job, "cleanup_attempt", "cleanup_job")
        if "cleanup_run" in offers:
            self._call(unnamed, "cleanup_run_of_job", "cleanup_run", run=self.trial.runs[-1])
        self.no_file_left(f"the job has ended, and cleanup_job was called {FRESH}", before, elsewhere)

    def _packed(self, client: Client) -> str:
        """The job of ``client``, for other processes."""
        try:
            return base64.b64encode(client("pack")).decode()
        except Raised as raised:
            if raised.call != "pack":
                raise
            words = f"{raised.kind}: {raised.words}"
        pytest.skip(f"{NOT_TESTED}: the job that generate makes cannot be given to another process: {words}")

    def _given(self, job: str) -> Client:
        client = self.trial.client()
        client("take_job", platform=self.platform, engine=self.engine, packed=job)
        return client

    def _call(self, job: str, call: str, hook: str | None = None, **arguments: Any) -> Any:
        hook = hook or {"events": "watch"}.get(call, call)
        client = self._given(job)
        return self.raises(f"{hook}, called {FRESH},", "raises", CURE, "between-two-calls",
                           lambda: client(call, **arguments))  # fmt: skip

    def _attached(self, job: str, call: str, **arguments: Any) -> Any:
        """The answers of the handler that ``attach`` returns."""
        client = self._given(job)
        got = f"attach, called {FRESH},"
        self.raises(got, "raises", CURE, "between-two-calls", lambda: client("attach"))
        return self.raises(f"the handler of {got}", "raises", CURE, "between-two-calls",
                           lambda: client(call, **arguments))  # fmt: skip

    def _remembers(self, words: str) -> None:
        complain(f"{self.name}: {FRESH}, {words}", CURE, "between-two-calls")
