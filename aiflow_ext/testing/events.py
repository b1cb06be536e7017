"""Level durable: the events of a run's attempts, and what is reported of one that is gone."""

from __future__ import annotations

import contextlib
import time

from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import durable
from aiflow_ext.testing.support import LONG, Support, unlike
from aiflow_ext.testing.zygote import NO_ANSWER, Raised

WATCHED = 1.5  # seconds for which the cost of waiting is measured and a watch is read
BUSY = 0.8  # share of the time that waiting may use a processor: even frequent polling uses less


class Events(Support):
    """A watch reports the events of all attempts, truthfully."""

    @durable("watch")
    def test_a_watch_tells_what_was_missed(self) -> None:
        """A driver that starts late gets the end, from the beginning and from any cursor."""
        client, native_id = self.started(self.jobs.prints_and_exits("hello", 5))
        self.ended(client)
        got = self.trial.other(native_id)("events", seconds=self.patience / 4)
        if not got or got[-1]["state"] != "FAILED":
            complain(f"{self.name}: the job has failed; a watch that begins now tells {got or 'nothing'}",
                     "begin with what is so already, then tell what changes", "durable-plugins")  # fmt: skip
        cursors = [event["cursor"] for event in got[:-1] if event["cursor"] is not None]
        for cursor in cursors:
            again = self.trial.other(native_id)("events", seconds=self.patience / 4, cursor=cursor)
            if not again or again[-1]["state"] != "FAILED":
                complain(f"{self.name}: a watch since cursor {cursor!r} does not tell the end that came after it",
                         "a cursor belongs to the event that carries it", "durable-plugins")  # fmt: skip

    @durable("watch")
    def test_a_watch_tells_that_a_job_runs(self) -> None:
        """RUNNING is reported while the job runs: timeouts count from it, and other jobs may wait for it."""
        _, native_id = self.started(self.jobs.counts(10), "half")
        got = self.trial.other(native_id)("events", seconds=self.patience / 4, until="RUNNING")
        if not got or got[-1]["state"] != "RUNNING":
            complain(f"{self.name}: the job runs; a watch that begins now tells {got or 'nothing'}",
                     "tell RUNNING once the job has begun", "durable-plugins")  # fmt: skip
        got = self.trial.other(native_id)("events", seconds=WATCHED)
        if any(event["state"] != "RUNNING" for event in got[-1:]):
            complain(f"{self.name}: the job runs, and a watch tells {got}", "tell an end once the job has come to it, "
                     "and not before", "durable-plugins")  # fmt: skip
        self.trial.marks.put("go")

    @durable()
    def test_waiting_costs_nothing(self) -> None:
        """While a job runs, the handler's wait and the watch leave the processor to others."""
        client, native_id = self.started(self.jobs.counts(10), "half")
        other = self.trial.other(native_id)
        waits = {"the handler's wait": (client, "wait")}
        if "watch" in self.zygote.facts["offers"]:
            waits["the watch"] = (other, "events")
        for what, (who, call) in waits.items():
            who(call, seconds=0.1)  # imports and connections are done by now
            who(call, seconds=WATCHED)
            used, passed = who("occupied")
            if used > BUSY * passed:
                got = f"{what} kept a processor busy for {used:.1f} of {passed:.1f} s"
                complain(f"{self.name}: the job runs, and {got}",
                         "block until the platform has something to tell; where it must be asked, wait in between",
                         "what-a-run-waits-for")  # fmt: skip
        self.trial.marks.put("go")

    @durable("watch")
    def test_a_watch_follows_all_attempts(self) -> None:
        """Events of one attempt are reported while earlier and later ones go on."""
        texts = ("before", "after")[: self.at_once - 1]  # with one job at a time there is no other to report
        works = {text: self.jobs.keeps_a_file(text) for text in texts}
        short = self.jobs.prints_and_exits("hello", 0, "short")
        names = dict.fromkeys([*texts[:1], "between", *texts[1:]])
        client = self.trial.write({name: works.get(name, short) for name in names}).client()
        self.trial.runs.append(client("prepare_run", jobs=3)["run"])
        client("drive_aside")
        self.begun(client, "kept", len(texts))
        self.begun(client, "endshort")
        wanted = {**dict.fromkeys(texts, "RUNNING"), "between": "FINISHED"}
        look, deadline = self.trial.client(), time.monotonic() + self.patience / 2
        while (states := self.states(look)) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        self.trial.marks.put("go")
        if states != wanted:
            complain(f"{self.name}: of {len(wanted)} jobs at once {' and '.join(texts)} run and 'between' has ended; "
                     f"they are recorded as {states}",
                     "let watch tell of each of its jobs, however many there are, as soon as there is something "
                     "to tell. A platform that runs fewer jobs at the same time: set at_once",
                     "what-a-run-waits-for")  # fmt: skip
        client("driven")

    # -- gone -------------------------------------------------------------------------------------------------------

    @durable("watch")
    def test_what_is_not_known_is_not_finished(self) -> None:
        """For an id that the platform does not know, no end of a job is reported."""
        _, native_id = self.trial.write({"job": self.jobs.sleeps(LONG)}).ready()
        other = self.trial.other(unlike(native_id), number=7)
        got = [event["state"] for event in other("events", seconds=0.5)]
        with contextlib.suppress(Raised):  # that it is not there
            other("attach")
            got.append(other("state"))
        self._not_finished(got, f"of {unlike(native_id)!r}, an id that was never allocated, it tells {got}")

    @durable()
    def test_asking_starts_nothing(self) -> None:
        """Looking up, attaching to, watching and polling an attempt that was not submitted does not start it."""
        _, native_id = self.trial.write({"job": self.jobs.sleeps(LONG)}).ready()
        other = self.trial.other(native_id)
        for call, arguments in (("lookup", {}), ("attach", {}), ("state", {}), ("wait", {"seconds": 0.1}), ("logs", {}),
                                ("events", {"seconds": 0.5})):  # fmt: skip
            if call != "events" or "watch" in self.zygote.facts["offers"]:
                with contextlib.suppress(Raised):  # that it is not there
                    other(call, **arguments)
        if self.trial.marks.count("start") or (said := self.trial.other(native_id)("lookup")) == "FOUND":
            got = "it has begun" if self.trial.marks.count("start") else f"lookup says {said}"
            complain(f"{self.name}: an attempt was not submitted, and was asked for by lookup, attach, its handler and "
                     f"watch; afterwards {got}", "start the job in submit_job, and nowhere else",
                     "submitted-once")  # fmt: skip

    @durable("watch")
    def test_what_is_lost_is_not_finished(self) -> None:
        """A job that is gone, with everything that could have recorded its end, is reported as LOST or FAILED."""
        client = self.trial.write({"job": self.jobs.ignores_sigterm(LONG)}).client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        self.begun(client)
        self.until(lambda: all(self.trial.marks.contents("start")), "the job wrote nothing")
        native_id = client("native_id_of", job="job")
        if not self.lose(native_id):
            client("stop_run", grace=1.0)
            return
        words = "the job was killed, together with what has started it, so that nobody could note its end"
        try:
            client("driven")
        except Raised as raised:
            if raised.kind != NO_ANSWER:
                raise
            complain(f"{self.name}: {words}; after {self.patience:g} s it is recorded as "
                     f"{self.states(self.trial.client())['job']}",
                     "where a job was started, is not there, and has left no end, tell LOST", "true-ends")  # fmt: skip
        other = self.trial.other(native_id)
        other("attach")
        got = [self.states(self.trial.client())["job"], self.ended(other)]
        self._not_finished(got, f"{words}; the run records {got[0]}, and another process's handler says {got[1]}")

    def lose(self, native_id: str) -> bool:
        """Make the running attempt vanish, so that its end cannot be recorded; False if that cannot be done.

        By default: SIGKILL for the job's process and for those that have started it since the test began.
        """
        return self.trial.lose(self.trial.marks.contents("start")[0])

    def _not_finished(self, got: list[str], words: str) -> None:
        if {"FINISHED", "STOPPED"} & set(got):
            complain(f"{self.name}: {words}", "tell FINISHED only where exit code 0, or the platform, says so: what is "
                     "not there any more and has left no end is LOST", "true-ends")  # fmt: skip
