"""Level base: cleaning up, and leftovers of an attempt."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

from aiflow_ext.testing import remains
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import base
from aiflow_ext.testing.stopping import Stopping
from aiflow_ext.testing.support import LONG
from aiflow_ext.testing.zygote import Client

ATTEMPTS = 3  # attempts whose leftovers are compared: a cache is made once, a leak grows with each attempt
CURE = "write below job.job_context.work_folder, and remove in cleanup_job what you put elsewhere"


class Cleaning(Stopping):
    """What every job plugin must do after a job's end, whatever its cause."""

    @base
    def test_cleanup_leaves_nothing(self) -> None:
        """After the end there is no process of the job, and no file but below the run's folder."""
        self.trial.write({"job": self.jobs.prints_and_exits("hello", 0)})
        before, elsewhere = self.trial.files(), remains.entries()
        record = self.trial.run()
        self.nothing_left(f"the job is {record['jobs']['job']['state']} and cleaned up")
        self.no_file_left("the job has ended and been cleaned up", before, elsewhere)
        folder = Path(self.attempt_of(record)["folder"])
        gone = [name for name in ("stdout", "stderr") if not (folder / name).exists()]
        if gone and not self.zygote.facts["durable"]:  # a durable plugin's are looked at in test_logs_stay
            complain(
                f"{self.name}: the job has ended and been cleaned up, and its attempt's {' and '.join(gone)} with it",
                "remove in cleanup_job only what the plugin has made: what is below job.job_context.work_folder may "
                "stay, and the logs there must", "stopping-and-cleaning-up",
            )  # fmt: skip

    @base
    def test_cleanup_leaves_nothing_of_other_ends(self) -> None:
        """The same after a job that has failed, and after one that was stopped."""
        self.trial.write({"job": self.jobs.prints_and_exits("hello", 3)})
        before, elsewhere = self.trial.files(), remains.entries()
        self.trial.run()
        self.nothing_left("the job has failed and been cleaned up")
        self.no_file_left("the job has failed and been cleaned up", before, elsewhere)
        self.trial.marks.clear()
        self.stopped_run(self.jobs.sleeps(LONG), 1.0)
        self.no_file_left("the job was stopped and cleaned up", before, elsewhere)

    @base
    def test_no_attempt_leaves_more(self) -> None:
        """Repeated attempts leave no files, and in a client that starts many, no open sockets and threads."""
        durable = bool(self.zygote.facts["durable"])
        run, work = self.trial.new_run(), self.jobs.prints_and_exits("hello", 0)
        client = self.trial.write({"job": work}).client()
        found: list[dict[str, Any]] = []
        for number in range(1, ATTEMPTS + 1):
            if not durable and number > 1:  # an object of a nine-methods plugin serves one attempt
                client = self.trial.client()
            client("open", run=run, number=number)
            client("heed_files")
            client("enter")
            self.bare_call(client, "generate_job_resource", "raises")
            client("bare_submit")
            self.begun(client, "end", number)
            client("bare_submitted", seconds=self.patience / 2)
            if durable:
                client("attach")
                self.ended(client)
            self.bare_call(client, "cleanup_job", "raises")
            found.append(client("left"))
        new = [sorted(set(each["files"]) - set(found[0]["files"])) for each in found[1:]]
        if found[0]["files"] and all(new):
            self._left("each attempt that has ended and been cleaned up", new[0])
        words = {"descriptors": "open files or sockets", "threads": "threads"}
        for what, name in words.items() if durable else ():
            if not self._grows(found, what) or not self._stays(client, found, what):
                continue
            complain(f"{self.name}: a client that submits one job after the other has {name} left of each: "
                     f"{', '.join(str(each[what]) for each in found)} after {ATTEMPTS} attempts",
                     "close in cleanup_job, or before, what was opened for an attempt; a handler is data",
                     "stopping-and-cleaning-up")  # fmt: skip

    def _grows(self, found: list[dict[str, Any]], what: str) -> bool:
        return all(one[what] < other[what] for one, other in itertools.pairwise(found))

    def _stays(self, client: Client, found: list[dict[str, Any]], what: str) -> bool:
        """Whether leftovers are still there after a moment: processes do not end at once."""
        deadline = time.monotonic() + 5.0
        while client("left")[what] > found[0][what]:
            if time.monotonic() > deadline:
                return True
            time.sleep(0.1)
        return False

    def no_file_left(self, when: str, before: set[str], elsewhere: set[str]) -> None:
        named = [*self.trial.runs, str(self.trial.root)]
        new = sorted(self.trial.files() - before) or remains.named(
            remains.entries() - elsewhere, named, self.trial.root
        )
        if new:
            self._left(when, new)

    def _left(self, when: str, paths: list[str]) -> None:
        complain(f"{self.name}: {when}, and these files are left: {', '.join(paths[:10])}", CURE,
                 "stopping-and-cleaning-up")  # fmt: skip

    @base
    def test_cleanup_comes_twice(self) -> None:
        """cleanup_job is called at least once: again after a kill, and by gc; and for a job that never started."""
        client = self.bare(self.jobs.sleeps(LONG))
        self.bare_call(client, "cleanup_job", "raises for a job that was never submitted")
        client = self.ended_bare()
        self.bare_call(client, "cleanup_job", "raises")
        self.bare_call(client, "cleanup_job", "raises when it comes a second time")
