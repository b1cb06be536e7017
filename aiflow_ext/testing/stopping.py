"""Level base: stopping."""

from __future__ import annotations

import time

from aiflow_ext.model.states import ATTEMPT_ENDS
from aiflow_ext.testing import remains
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import base
from aiflow_ext.testing.support import LONG, Support
from aiflow_ext.testing.works import Work
from aiflow_ext.testing.zygote import Client

BEGINS = 5.0  # seconds that a job may take from RUNNING to its first act
STANDS = 1.0  # seconds after the stop of a job in which no other job may be stopped


class Stopping(Support):
    """What every job plugin must do when a job is stopped."""

    # -- stop -------------------------------------------------------------------------------------------------------

    @base
    def test_a_running_job_can_be_stopped(self) -> None:
        """A run that is stopped ends its job, and the record says STOPPED."""
        self.stopped_run(self.jobs.sleeps(LONG), 10.0)

    @base
    def test_a_job_that_ignores_the_signal_is_ended(self) -> None:
        """After the grace period, remaining processes are killed."""
        self.stopped_run(self.jobs.ignores_sigterm(LONG), 0.3)
        self._gone("start", "ignores SIGTERM, and goes on after it was stopped", "after the grace period send SIGKILL")

    @base
    def test_what_a_job_has_started_ends_with_it(self) -> None:
        """A stop ends all processes of a job, also those that have left its session."""
        self.stopped_run(self.jobs.forks(LONG), 1.0, "child")
        self._gone("child", "has started a process in a session of its own, which goes on after the run was stopped",
                   "end the job's cgroup or pod, or every process whose environment carries its AIFLOW_MARK; and let "
                   "the job have that variable")  # fmt: skip

    @base
    def test_a_job_may_put_its_things_in_order(self) -> None:
        """A run that is stopped sends its job SIGTERM, and gives it time to clean up."""
        self.stopped_run(self.jobs.ends_on_sigterm(LONG), self.patience / 4)
        if not self.trial.marks.count("asked"):
            complain(f"{self.name}: the run was stopped, and its job has received no SIGTERM that it could act upon",
                     "let stop_job send SIGTERM to the job's own process, and leave SIGKILL to the end of the grace "
                     "period", "stopping-and-cleaning-up")  # fmt: skip

    def _gone(self, mark: str, words: str, cure: str) -> None:
        """Fail if a process that has left its stat in a mark is still alive."""
        for stat in self.trial.marks.contents(mark):
            if not remains.gone_within(stat, 5.0):
                remains.kill_stat(stat)
                complain(f"{self.name}: the job {words}", cure, "stopping-and-cleaning-up")

    def stopped_run(self, work: Work, grace: float, mark: str = "start") -> None:
        client = self.trial.write({"job": work}).client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        self.begun(client, mark)
        record = client("stop_run", grace=grace)
        state = record["jobs"][0]["state"]
        if state != "STOPPED":
            complain(
                f"{self.name}: the run was stopped while its job ran; the job is recorded as {state}: "
                f"{record['jobs'][0]['reason']}",
                "let stop_job, or the handler's stop, end the job", "stopping-and-cleaning-up",
            )  # fmt: skip
        if self.trial.marks.count("end"):
            complain(f"{self.name}: the job was stopped, and ran to its end", "let stop_job end the job",
                     "stopping-and-cleaning-up")  # fmt: skip
        self.nothing_left("the job was stopped")

    @base
    def test_a_stop_is_one_job_s(self) -> None:
        """A stop of one job of a run does not affect the others."""
        texts = [f"side{number}" for number in range(min(2, self.at_once))]
        client = self.trial.write({text: self.jobs.keeps_a_file(text) for text in texts}).client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        self.begun(client, "kept", len(texts))
        client("stop_one", job=texts[0], grace=1.0)
        look, deadline = self.trial.client(), time.monotonic() + self.patience
        while (states := self.states(look))[texts[0]] != "STOPPED" and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(STANDS)  # no synchronisation: the time for which the others must go on
        self.trial.marks.put("go")
        client("driven")
        states = self.states(look)
        wanted = {texts[0]: "STOPPED", **dict.fromkeys(texts[1:], "FINISHED")}
        if states != wanted:
            complain(f"{self.name}: of two jobs that run, the first one was stopped; they are recorded as {states}",
                     "let stop_job, or the handler's stop, end the one job that it is asked for",
                     "stopping-and-cleaning-up")  # fmt: skip
        for text in texts[1:]:
            found = self.trial.marks.contents(f"told{text}")
            if found != [text.encode()]:
                complain(f"{self.name}: of two jobs that run, the first one was stopped and cleaned up; the other had "
                         f"written {text!r} into a file of its folder, and found {found[0] if found else None!r} there",
                         "remove in cleanup_job only what is the attempt's own",
                         "stopping-and-cleaning-up")  # fmt: skip

    @base
    def test_a_job_that_waits_can_be_stopped(self) -> None:
        """A job that is stopped as soon as it is submitted, maybe in a queue, is not executed later.

        One is stopped at once; others, while none has begun, a little later, because an attempt host has to start.
        """
        texts = [f"side{number}" for number in range(max(2, self.at_once))]
        client = self.trial.write({text: self.jobs.keeps_a_file(text) for text in texts}).client()
        self.trial.runs.append(client("prepare_run", jobs=len(texts))["run"])
        client("drive_aside")
        look, began, pause = self.trial.client(), time.monotonic(), 0.5
        self._recorded(look, texts[-1:], ("QUEUED", "RUNNING"), f"{len(texts)} jobs were to be submitted at once")
        stopped = texts[:0]
        while not stopped or (not self.trial.marks.count("kept") and len(stopped) < len(texts) - 1):
            stopped.append(texts[-1 - len(stopped)])
            client("stop_one", job=stopped[-1], grace=1.0)
            deadline, pause = time.monotonic() + pause, pause * 2
            while not self.trial.marks.count("kept") and time.monotonic() < deadline:
                time.sleep(0.01)
        words = f"of {len(texts)} jobs {', '.join(stopped)} were stopped as soon as they had been submitted"
        self._recorded(look, stopped, ("STOPPED",), words)
        self.begun(client, "kept")
        # no synchronisation: the time for which no stopped job may begin
        time.sleep(min(self.patience, max(STANDS, 2 * (time.monotonic() - began))))
        if "watch" in self.zygote.facts["offers"]:
            self._running_have_begun(look)
        self.trial.marks.put("go")
        client("driven")
        time.sleep(STANDS)
        states = {job: state for job, state in self.states(look).items() if job in stopped}
        if any(self.trial.marks.count(f"told{job}") for job in stopped) or set(states.values()) != {"STOPPED"}:
            complain(f"{self.name}: {words}, and one was executed later all the same; they are recorded as {states}",
                     "let stop_job, and the handler's stop, take a job that waits out of the platform's queue",
                     "stopping-and-cleaning-up")  # fmt: skip

    def _running_have_begun(self, look: Client) -> None:
        deadline = time.monotonic() + BEGINS
        while True:
            states, begun = self.states(look), self.trial.marks.count("kept")
            running = sum(state == "RUNNING" for state in states.values())
            if running <= begun:
                return
            if time.monotonic() > deadline:
                complain(f"{self.name}: of {len(states)} jobs {begun} have begun, {running} are recorded as RUNNING: "
                         f"{states}", "tell RUNNING when the job itself runs, and until then QUEUED, or nothing",
                         "true-ends")  # fmt: skip
            time.sleep(0.1)

    def _recorded(self, look: Client, jobs: list[str], wanted: tuple[str, ...], words: str) -> None:
        deadline = time.monotonic() + self.patience
        while {(states := self.states(look))[job] for job in jobs} - set(wanted):
            if time.monotonic() > deadline:
                complain(f"{self.name}: {words}; after {self.patience:g} s the record says {states}",
                         "let submit_job return, or start its job, while others run; and let stop_job, or the "
                         "handler's stop, end also a job that has not begun, and watch tell that it has ended",
                         "stopping-and-cleaning-up")  # fmt: skip
            time.sleep(0.05)

    @base
    def test_stop_comes_twice(self) -> None:
        """The second stop_job finds the job ended, or ending."""
        client = self.bare(self.jobs.sleeps(LONG))
        client("bare_submit")
        self.begun(client)
        self.bare_call(client, "stop_job", "raises while the job runs")
        self.bare_call(client, "stop_job", "raises when it comes a second time")
        client("bare_submitted", seconds=self.patience / 2)
        if "attach" in self.zygote.facts["offers"]:
            client("attach")
            state = client("wait", seconds=self.patience / 2)
            if state not in ATTEMPT_ENDS - {"FINISHED"}:
                complain(f"{self.name}: stop_job was called while the job ran, and its handler says {state} afterwards",
                         "let stop_job end the job by the native id, as the handler's stop does: it comes where a "
                         "client has no handler", "stopping-and-cleaning-up")  # fmt: skip

    @base
    def test_stop_comes_before_the_start(self) -> None:
        """A stop of a job that was not started, with or without its resources, does no harm."""
        client = self.bare(self.jobs.sleeps(LONG), resources=False)
        self.bare_call(client, "stop_job", "raises before generate_job_resource")
        client = self.bare(self.jobs.sleeps(LONG))
        self.bare_call(client, "stop_job", "raises between generate_job_resource and submit_job")

    @base
    def test_stop_comes_after_the_end(self) -> None:
        """A stop may arrive after the job has ended."""
        client = self.ended_bare()
        self.bare_call(client, "stop_job", "raises when the job has ended")
        self.bare_call(client, "cleanup_job", "raises after a stop that came too late")
        self.bare_call(client, "stop_job", "raises when the job has been cleaned up")

    def bare(self, work: Work, *, resources: bool = True) -> Client:
        """A client that calls the nine methods themselves."""
        client = self.trial.write({"job": work}).attempt()
        client("enter")
        if resources:
            self.bare_call(client, "generate_job_resource", "raises")
            self.bare_call(client, "generate_job_resource", "raises when it comes a second time, as after a crash")
        return client

    def ended_bare(self) -> Client:
        client = self.bare(self.jobs.prints_and_exits("hello", 0))
        client("bare_submit")
        self.begun(client, "end")
        raised = client("bare_submitted", seconds=self.patience / 2)
        if raised is not None:
            complain(f"{self.name}: submit_job raises for a job that exits with 0: {raised}",
                     "raise for a job that failed, and for nothing else", "the-nine-methods")  # fmt: skip
        if (starts := self.trial.marks.count("start")) != 1:
            complain(
                f"{self.name}: generate_job_resource came twice, as after a crash, and submit_job once; the job was "
                f"executed {starts} times",
                "start the job in submit_job and nowhere else",
                "the-nine-methods",
            )
        if "attach" in self.zygote.facts["offers"]:
            client("attach")
            self.ended(client)
        return client

    def bare_call(self, client: Client, method: str, words: str) -> None:
        anchor = "the-nine-methods" if method == "generate_job_resource" else "stopping-and-cleaning-up"
        self.raises(method, words, f"let {method} do nothing where there is nothing to do", anchor,
                    lambda: client("bare", method=method))  # fmt: skip

    def nothing_left(self, when: str) -> None:
        left = self.trial.marked(5.0)  # a killed process is not gone at once
        if left:
            shown = ", ".join(f"{pid} ({command.strip()[:60]})" for pid, command in left.items())
            complain(f"{self.name}: {when}, and these processes of it are left: {shown}",
                     "end everything that the job started: its process group, its session, and what carries its "
                     "AIFLOW_MARK", "stopping-and-cleaning-up")  # fmt: skip
