"""Level base: jobs of exec mode STREAM, and what jobs print while they run."""

from __future__ import annotations

import time
from pathlib import Path

from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import base
from aiflow_ext.testing.stopping import Stopping
from aiflow_ext.testing.trial import by_name

ENDS = ("FINISHED", "FAILED", "STOPPED", "LOST", "SKIPPED")
LINES = 40


class Streams(Stopping):
    """A job that does not end by itself, and output that is read while its job goes on."""

    @base
    def test_a_stream_job_runs_until_it_is_stopped(self) -> None:
        """The job after one of ``exec_mode: STREAM`` starts while that runs; a stop makes the STREAM job STOPPED."""
        works = {"stream": self.jobs.streams().under(exec_mode="STREAM")}
        if self.at_once > 1:
            works["after"] = self.jobs.prints_and_exits("hello", 0, "after")
        self.trial.write(works)
        if "after" in works:
            self.trial.order("after", "stream")
        client = self.trial.client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        self._stands(works.keys() - {"stream"})
        client("stop_one", job="stream", grace=1.0)
        record = by_name(client("driven"))
        state = record["jobs"]["stream"]["state"]
        if state != "STOPPED" or self.trial.marks.count("end"):
            complain(f"{self.name}: a job of exec mode STREAM was stopped, and is recorded as {state}: "
                     f"{record['jobs']['stream']['reason']}", "let stop_job, or the handler's stop, end the job",
                     "stream-jobs")  # fmt: skip
        self.nothing_left("a job of exec mode STREAM was stopped")

    def _stands(self, followers: set[str]) -> None:
        """Wait until the STREAM job runs and ``followers`` have ended; fail if it does not go on running."""
        look, deadline = self.trial.client(), time.monotonic() + self.patience
        while True:
            states = self.states(look)
            if states["stream"] in ENDS:
                complain(f"{self.name}: a job of exec mode STREAM runs and was not stopped, and is recorded as "
                         f"{states['stream']}", "tell an end once the job's process has come to it; that it was "
                         "started is RUNNING, whatever its exec mode", "stream-jobs")  # fmt: skip
            has_begun = states["stream"] == "RUNNING" and self.trial.marks.count("start")
            if has_begun and all(states[name] == "FINISHED" for name in followers):
                return
            if time.monotonic() > deadline:
                words = "has left no mark" if not self.trial.marks.count("start") else "runs"
                complain(f"{self.name}: a job of exec mode STREAM {words}, and a job that follows it; after "
                         f"{self.patience:g} s they are recorded as {states}",
                         "tell RUNNING once the job runs: what follows a STREAM job starts then. A platform that runs "
                         "one job at a time: at_once = 1", "stream-jobs")  # fmt: skip
            time.sleep(0.05)

    @base
    def test_a_job_that_serves_is_ready_when_its_check_has_passed(self) -> None:
        """Of a plugin with ``is_ready``: the check is made where the job runs until it passes, and not taken for passed
        before. What waits for the job starts then, and the job has FINISHED with the last that does."""
        if "is_ready" not in self.zygote.facts["offers"] or self.at_once < 3:
            return
        second = "test -e checked || { : > checked; false; }"  # passes in the second call in the same folder
        works = {
            "serves": self.jobs.streams().under(exec_mode="STREAM", ready={"command": second}),
            "never": self.jobs.streams().under(exec_mode="STREAM", ready={"command": "false", "within": 3.0}),
            "after": self.jobs.prints_and_exits("hello", 0, "after"),
            "skipped": self.jobs.prints_and_exits("hello", 0, "skipped"),
        }
        self.trial.write(works)
        self.trial.order("after", "serves")
        self.trial.order("skipped", "never")
        record = self.trial.run()
        states = {name: record["jobs"][name]["state"] for name in works}
        if states != {"serves": "FINISHED", "never": "FAILED", "after": "FINISHED", "skipped": "SKIPPED"}:
            reasons = {name: record["jobs"][name]["reason"] for name in works}
            complain(f"{self.name}: the check of job 'serves' passes in its second call, that of 'never' never, and "
                     f"'after' waits for 'serves' and 'skipped' for 'never'; they are {states}: {reasons}",
                     "let is_ready run the command of ready in the job's environment and folder, and return True once "
                     "it has ended with 0", "stream-jobs")  # fmt: skip
        self.nothing_left("jobs that serve others have ended")

    @base
    def test_each_line_is_there_once(self) -> None:
        """Output that is read while a job runs is in the attempt's files, each line once and in order."""
        client = self.trial.write({"job": self.jobs.counts(LINES)}).client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        self.begun(client, "half")
        folder = client("folder_of", job="job")
        # An attempt host copies a handler's logs while the job runs; a durable plugin may copy them in its cleanup.
        deadline = time.monotonic() + (0.0 if self.zygote.facts["durable"] else self.patience / 2)
        while not _lines(folder, "stdout", "line") and time.monotonic() < deadline:
            time.sleep(0.05)
        self.trial.marks.put("go")
        record = by_name(client("driven"))
        self.must_be(record, "FINISHED", "the job prints lines and exits with 0", "see the reason", "logs")
        for stream, word in (("stdout", "line"), ("stderr", "error")):
            found, wanted = _lines(folder, stream, word), [f"{word} {number}" for number in range(1, LINES + 1)]
            if found and found != wanted:
                often = {line: found.count(line) for line in wanted if found.count(line) != 1}
                words = "; ".join(f"{line!r} is there {count} times" for line, count in list(often.items())[:3])
                complain(f"{self.name}: the job has printed {len(wanted)} lines on {stream}, and {len(found)} are in "
                         f"its attempt's file: {words or 'they are in another order'}",
                         "let a handler's logs(stream, offset) return the bytes from that offset on and no others, "
                         "b'' where there are none yet", "logs")  # fmt: skip


def _lines(folder: str, stream: str, word: str) -> list[str]:
    """The lines of the job itself, without those that a plugin prints."""
    try:
        text = Path(folder, stream).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.startswith(f"{word} ")]
