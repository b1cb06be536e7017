"""Level durable, the kill loop: the client is killed at enumerated lines, and the job is executed exactly once."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import durable
from aiflow_ext.testing.places import Place
from aiflow_ext.testing.support import Support
from aiflow_ext.testing.trial import by_name
from aiflow_ext.testing.zygote import ENDED, NO_ANSWER, Raised

BEFORE, AFTER = 100, 100  # lines before the intent and after the acknowledgement from which lines are drawn, too
ENOUGH = 500  # with --aiflow-kills=all: every line, or a sample of so many if there are more
SEED = 1
QUICK = 1.0  # seconds: if a kill takes less, all of the plugin's own lines from submit on are taken
WRONG_ENOUGH = 5  # failures after which the loop ends, as each may take the whole time limit


def verdict(starts: int, ends: int, state: str) -> str | None:
    """What is wrong with a job that was executed so often and has this recorded state; None: nothing."""
    if (starts, ends, state) == (1, 1, "FINISHED"):
        return None
    return f"the job has begun {starts} times, has come to its end {ends} times, and is recorded as {state}"


def chosen(lines: int, intent: int, acknowledged: int, wanted: int | None, seed: int) -> list[int]:
    """The lines at which to kill, drawn from those between intent and acknowledgement, and around; None: all, or
    ENOUGH."""
    inside = range(max(1, intent - BEFORE), min(lines, acknowledged + AFTER) + 1)
    if wanted is None and len(inside) <= ENOUGH:
        return list(inside)
    draw = random.Random(seed)
    count = max(ENOUGH, len(inside) // 4) if wanted is None else min(wanted, len(inside))
    return sorted(draw.sample(inside, min(count, len(inside))))


def lines_of(executed: list[tuple[Place, int]], time: int = 1) -> list[Place]:
    """Each line at its first execution, and at its second one, so that the lines of a poll do not count for each
    round."""
    found: dict[tuple[str, int], list[Place]] = {}
    for place, _ in executed:
        found.setdefault((place.file, place.line), []).append(place)
    return [places[time - 1] for places in found.values() if len(places) >= time]


def _where(line: int | Place, trail: list[str]) -> str:
    return str(line) if isinstance(line, Place) else f"line {line} (about {trail[line - 1]})"


class KillLoop(Support):
    """The tests in which the client dies."""

    @durable()
    def test_the_counting_of_executions_notices(self) -> None:
        """The kit's proof of itself: it detects a plugin that submits twice, and one that does not submit."""
        self.counting_notices()

    def counting_notices(self) -> None:
        """The proof, also for a plugin in an attempt host."""
        self.trial.write({"job": self.jobs.prints_and_exits("x", 0)})
        for how, wanted in (("double", 2), ("drop", 0)):
            self.trial.marks.clear()
            client = self.trial.client()
            client("sabotage", how=how)
            self.trial.runs.append(client("prepare_run")["run"])
            if how == "double":
                client("drive")
            else:
                client("drive_aside")
                client("dropped")
                client.kill()  # it would wait for a job that was never started
            starts, ends = self.trial.marks.count("start"), self.trial.marks.count("end")
            if starts != wanted or verdict(starts, ends, "FINISHED") is None:
                complain(
                    f"{self.name}: the plugin was made to {how} what it submits; {wanted} executions were expected, "
                    f"{starts} were counted",
                    "the marks do not tell executions apart: let each execution create a file with a fresh name, and "
                    "let marks().count count them",
                    "killed-at-any-line",
                )

    @durable()
    def test_killed_anywhere_it_runs_exactly_once(self) -> None:
        """SIGKILL at a line of run, host, supervise or the plugin, then resume: one start, one end, FINISHED."""
        self.killed_anywhere()

    def killed_anywhere(self) -> None:
        """The loop, also for a plugin in an attempt host."""
        self.trial.write({"job": self.jobs.prints_and_exits("x", 0)})
        files = self.zygote.facts["files"]
        client = self.trial.client()
        self.trial.runs.append(client("prepare_run")["run"])
        counted = client("drive_traced", at=None, files=files)
        lines, more, kind = self.points(counted, self._wanted())
        if self.pytest_config.getoption("--aiflow-kills", default=None) is not None:
            more = []
        began, done, killed, wrong = time.monotonic(), 0, 0, []
        for line in [*lines, *more]:
            if done >= len(lines) and time.monotonic() - began > QUICK * done:
                break
            died, words = self._killed_at(line, files)
            done, killed = done + 1, killed + died
            if words is not None:
                wrong.append(f"killed at {_where(line, counted['trail'])}: {words}" if died else f"not killed: {words}")
            if len(wrong) == WRONG_ENOUGH:
                break
        seconds = time.monotonic() - began
        own = {(place.file, place.line) for place in [*lines, *more][:done] if isinstance(place, Place)}
        known = {(file, line) for file, line, *_ in counted["own"]}
        if known:
            kind += f", {len(own & known)} of the plugin's own {len(known)}"
        cut = f", given up after {len(wrong)} that went wrong" if len(wrong) == WRONG_ENOUGH else ""
        summary = (
            f"{killed} kills at {done} of {counted['lines']} lines{kind} (intent at {counted['intent']}, "
            f"acknowledged at {counted['acknowledged']}), seed {self._seed()}, {seconds:.0f} s{cut}"
        )
        self.notes.append(f"kill loop: {summary}")
        self.kill_loop.update(kills=killed, seed=self._seed())
        if wrong:
            complain(
                f"{self.name}: {summary}: {len(wrong)} went wrong\n    " + "\n    ".join(wrong),
                "begun twice: submit_job must take what it finds under its native id for its own, and lookup must not "
                "say NEVER_STARTED for it; not begun or LOST: lookup must not say FOUND or UNKNOWN before the start",
                "killed-at-any-line",
            )

    def points(self, counted: dict[str, Any], wanted: int | None) -> tuple[list[int | Place], list[int | Place], str]:
        """Where to kill, so often as ``wanted`` (None: at all that must be); where else, as long as that is quick; and
        words on how that was chosen.

        Half of them are lines of the plugin: a few among hundreds, and the ones that its author has written. Those from
        submit on come first, in which a job may be started twice; and of these the ones next to I/O: what comes
        between two of them.
        """
        first, last = counted["intent"], counted["acknowledged"] + 1
        executed = [(Place(*place), number) for *place, number in counted["own"] if first <= number <= last]
        beside = {Place(*place) for *place, _ in counted["beside"]}
        started = [(place, number) for place, number in executed if number >= counted["submit"]]
        own = lines_of(started)
        known = {(place.file, place.line) for place in own}
        before = [place for place in lines_of(executed) if (place.file, place.line) not in known]
        draw = random.Random(self._seed())
        for places in (own, before):
            draw.shuffle(places)
            places.sort(key=lambda place: place not in beside)
        own += [place for place in lines_of(started, 2) if place in beside]  # of what writes two files, for example
        count = len(own) + len(before) if wanted is None else min(len(own) + len(before), wanted // 2)
        drawn = chosen(counted["lines"], counted["intent"], counted["acknowledged"],
                       None if wanted is None else wanted - count, self._seed())  # fmt: skip
        return [*[*own, *before][:count], *drawn], [*own[count:]], ""

    def _killed_at(self, line: int | Place, files: list[str]) -> tuple[bool, str | None]:
        """Whether the client was killed at ``line``, and what is wrong after the run was resumed."""
        self.trial.marks.clear()
        client = self.trial.client()
        run = client("prepare_run")["run"]
        self.trial.runs.append(run)
        client.send("drive_traced", at=line, files=files)
        died, late = False, ""
        try:
            record: dict[str, Any] = client.answer("drive_traced")["record"]
        except Raised as raised:
            if raised.kind != ENDED or client.wait() != -signal.SIGKILL:  # it lives, and has raised the error itself
                return False, f"{raised}"
            died = True
            again = self.trial.client()
            try:
                again("take_up", run=run)
                record = again("drive")
            except Raised as raised_later:
                if raised_later.kind != NO_ANSWER:
                    return True, f"resume {raised_later}"
                record = self.trial.client()("stands", run=run)
                late = f"; the resumed run has not ended within {self.patience:g} s"
            finally:
                again.kill()
        finally:
            client.kill()
        job = by_name(record)["jobs"]["job"]
        words = verdict(self.trial.marks.count("start"), self.trial.marks.count("end"), job["state"])
        reason = f" ({job['reason']})" if words and job["reason"] else ""
        return died, words and words + reason + late

    def _wanted(self) -> int | None:
        said = self.pytest_config.getoption("--aiflow-kills", default=None)
        return None if said == "all" else int(said) if said is not None else self.kills

    def _seed(self) -> int:
        said = self.pytest_config.getoption("--aiflow-seed", default=None)
        return SEED if said is None else int(said)
