"""FlinkConformance: what a platform's flink plugin must show besides, with jobs whose rows are counted.

Its programs are SQL, so that it needs no jar and no PyFlink. A sequence of numbers is written to a folder: what
was lost is not in it, and what was executed twice is in it twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.conformance import Conformance
from aiflow_ext.testing.killing import KillLoop
from aiflow_ext.testing.levels import level
from aiflow_ext.testing.marks import Marks
from aiflow_ext.testing.trial import by_name
from aiflow_ext.testing.works import Work, Works

SAVED = "stopped with the savepoint "  # how the reason of an attempt begins that was stopped so
MANY = 100_000  # numbers of a sequence that does not come to its end; a checkpoint holds all that are left
PER_SECOND = 50
ANCHOR = "flink-jobs"

_SQL = """\
CREATE TABLE numbers (n BIGINT) WITH ('connector'='datagen', 'fields.n.kind'='sequence', 'fields.n.start'='1',
  'fields.n.end'='{last}', {speed});
CREATE TABLE written (n BIGINT) WITH ('connector'='filesystem', 'path'='{to}', 'format'='csv');
INSERT INTO written SELECT {column} FROM numbers;
"""

# One window over all numbers: it fires at the end of time alone, to which a drain brings the watermark.
_WINDOW = """\
CREATE TABLE numbers (n BIGINT, moment AS TO_TIMESTAMP_LTZ(n, 3), WATERMARK FOR moment AS moment) WITH (
  'connector'='datagen', 'fields.n.kind'='sequence', 'fields.n.start'='1', 'fields.n.end'='{last}',
  'rows-per-second'='{speed}');
CREATE TABLE written (n BIGINT) WITH ('connector'='filesystem', 'path'='{to}', 'format'='csv');
CREATE TABLE counted (n BIGINT) WITH ('connector'='filesystem', 'path'='{counted}', 'format'='csv');
EXECUTE STATEMENT SET BEGIN
INSERT INTO written SELECT n FROM numbers;
INSERT INTO counted SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(moment), INTERVAL '1' DAY))
  GROUP BY window_start, window_end;
END;
"""

flink = level("flink", "lookup", "attach", "watch")


class Rows(Marks):
    """Marks that are rows: each execution of a program writes one.

    Args:
        read: the rows that are there.
    """

    def __init__(self, read: Callable[[], list[int]]) -> None:
        self._read, self._before = read, 0

    def count(self, kind: str) -> int:
        return len(self._read()) - self._before

    def clear(self) -> None:
        self._before = len(self._read())


class FlinkWorks(Works):
    """The programs of the tests.

    Args:
        marks: the marks.
        config: keys of each job's config.
        out: the folder that a program writes to, by a name for it.
    """

    def __init__(self, marks: Marks, config: Mapping[str, Any], out: Callable[[str], str]) -> None:
        super().__init__(marks)
        self.config, self.out = config, out

    def writes(self, name: str, last: int, column: str = "n") -> Work:
        """Writes ``column`` of the numbers from 1 to ``last`` and ends."""
        return self._program(name, last, f"'number-of-rows'='{last}'", column)

    def prints_and_exits(self, text: str, code: int, kind: str = "") -> Work:
        return self.writes("marks", 1)

    def streams(self, name: str = "stream") -> Work:
        """Writes numbers until it is stopped."""
        return self._program(name, MANY, f"'rows-per-second'='{PER_SECOND}'", "n").under(exec_mode="STREAM")

    def windows(self) -> Work:
        """Writes numbers until it is stopped, and how many there were once its only window fires."""
        text = _WINDOW.format(last=MANY, speed=PER_SECOND, to=self.out("stream"), counted=self.out("counted"))
        return Work(f"af.flink(sql={text!r})", config=self.config).under(exec_mode="STREAM")

    def _program(self, name: str, last: int, speed: str, column: str) -> Work:
        text = _SQL.format(last=last, speed=speed, to=self.out(name), column=column)
        return Work(f"af.flink(sql={text!r})", config=self.config)


class FlinkConformance(KillLoop, Conformance):
    """The kit for a platform's flink plugin. Subclass it with a name that begins with ``Test``.

    Attributes:
        rounds: how often a STREAM job is stopped with a savepoint and started again.
        follower: keys of the config of a command that runs after a STREAM job.
    """

    engine = "flink"
    patience = 300.0
    kills = 2
    rounds: ClassVar[int] = 2
    follower: ClassVar[Mapping[str, Any]] = {"platform": "local", "engine": "cmd_line"}

    def out(self, name: str) -> str:
        """The path or URL of a folder that the cluster writes to, another one for each test and name."""
        return str(self.root / "rows" / name)

    def rows(self, name: str) -> list[int]:
        """The numbers in the files of that folder that are complete; none where it is not there."""
        return [int(line) for file in Path(self.out(name)).glob("part-*") for line in file.read_text().split()]

    def marks(self, folder: Path) -> Marks:
        return Rows(lambda: self.rows("marks"))

    def works(self, marks: Marks) -> FlinkWorks:
        checkpoints = {"execution.checkpointing.interval": "1 s", **self.config.get("flink", {})}
        config = {"platform": self.platform, "engine": self.engine, **self.config, "flink": checkpoints}
        return FlinkWorks(marks, config, self.out)

    @pytest.fixture(autouse=True)
    def _flink(self, _conformance: None) -> None:
        if hasattr(self, "trial"):
            self.trial.config = {}  # a job that is none of Flink's has other keys

    @property
    def programs(self) -> FlinkWorks:
        """The programs of the tests."""
        assert isinstance(self.jobs, FlinkWorks)
        return self.jobs

    # -- ends --------------------------------------------------------------------------------------------------------

    @flink
    def test_a_program_that_ends_well_is_finished_and_a_failure_has_its_cause(self) -> None:
        """FINISHED, and its rows are there, each once; FAILED, and the reason names the exception of the program."""
        few, none = self.programs.writes("few", 100), self.programs.writes("none", 10, "1 / (n - 3)")
        record = self.trial.write({"well": few, "badly": none}).run(jobs=2)
        self.must_be(record, "FINISHED", "the program wrote its rows and ended", "see the reason", ANCHOR, job="well")
        self.must_be_counted("few", 100)
        self.must_be(record, "FAILED", "the program divides by zero", "tell FAILED", ANCHOR, job="badly")
        reason = str(self.attempt_of(record, "badly")["reason"])
        if "ArithmeticException" not in reason:
            complain(f"{self.name}: the program fails of an ArithmeticException, and the reason is {reason!r}",
                     "give the root cause, which Flink's REST API or its archive tells", ANCHOR)  # fmt: skip

    # -- stops -------------------------------------------------------------------------------------------------------

    @flink
    def test_a_stream_goes_on_from_its_savepoint_with_each_row_once_until_it_is_drained_or_cancelled(self) -> None:
        """A STREAM job is stopped with a savepoint, ``rounds`` times, and started again from that. The job after it
        starts while it runs. The last time it is drained: the window that was open all the time is in its output, once,
        with the numbers of before the savepoint. With ``on_stop: cancel`` a job is STOPPED without a savepoint."""
        path, before = None, 0
        for number in range(self.rounds):
            before = len(self.rows("stream"))
            path = self._saved(path, followed=number == 0, drained=number == self.rounds - 1)
        counted = len(self.rows("stream"))
        self.must_be_drained(self.rows("counted"), counted - before + 1 if before else 1)
        self.notes.append(f"savepoints: {self.rounds} stops, {counted} rows, none lost, none doubled")
        self.trial.write({"job": self.programs.streams("cancelled").under(on_stop="cancel")})
        reason = self._stopped_after(0, "cancelled")
        if reason.startswith(SAVED):
            complain(f"{self.name}: on_stop is cancel, and the job was {reason}", "cancel it", ANCHOR)
        self.must_be_counted("cancelled", len(self.rows("cancelled")))

    def _saved(self, path: str | None, followed: bool, drained: bool) -> str:
        """Run the STREAM job, from the savepoint ``path`` on, until it has written more; stop it; where its savepoint
        is."""
        counted = len(self.rows("stream"))
        how = {"on_stop": "drain" if drained else "savepoint", **({} if path is None else {"restore_from": path})}
        works = {"job": self.programs.windows().under(**how)}
        if followed:
            works["after"] = Work("af.cmd('true')", config=self.follower)
        self.trial.write(works)
        if followed:
            self.trial.order("after", "job")
        reason = self._stopped_after(counted, follower="after" if followed else None)
        if not reason.startswith(SAVED):
            complain(f"{self.name}: a STREAM job was stopped, and its reason is {reason!r}",
                     f"take a savepoint, and let the reason be: {SAVED}PATH", ANCHOR)  # fmt: skip
        self.must_be_counted("stream", len(self.rows("stream")))
        return reason.removeprefix(SAVED)

    def _stopped_after(self, counted: int, written: str = "stream", follower: str | None = None) -> str:
        """Run the written STREAM job until more rows than ``counted`` are ``written``, and ``follower`` has ended; stop
        it; returns its reason."""
        client, look = self.trial.client(), self.trial.client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        deadline = time.monotonic() + self.patience
        while True:
            jobs = {job["name"]: job for job in look("stands", run=self.trial.runs[-1])["jobs"]}
            states = {name: job["state"] for name, job in jobs.items()}
            if states["job"] == "RUNNING" and len(self.rows(written)) > counted \
                    and states.get(str(follower), "FINISHED") == "FINISHED":  # fmt: skip
                break
            if time.monotonic() > deadline or states["job"] in ("FINISHED", "FAILED", "STOPPED", "LOST"):
                complain(f"{self.name}: a STREAM job was to write rows, and a job to follow it; they are {states}: "
                         f"{jobs['job']['reason']}", "tell RUNNING once Flink runs the job", ANCHOR)  # fmt: skip
            time.sleep(0.5)
        client("stop_one", job="job", grace=30.0)
        record = by_name(client("driven"))
        self.must_be(record, "STOPPED", "it was stopped", "tell STOPPED", ANCHOR)
        return str(self.attempt_of(record)["reason"])

    def must_be_counted(self, name: str, last: int) -> None:
        """Fail unless the numbers from 1 to ``last`` are there, each once."""
        found = Counter(self.rows(name))
        lost = sorted(set(range(1, last + 1)) - found.keys())
        doubled = sorted(number for number, count in found.items() if count > 1)
        if lost or doubled or len(found) != last:
            complain(f"{self.name}: of {last} rows {len(lost)} are lost {lost[:5]}, {len(doubled)} doubled "
                     f"{doubled[:5]}", "restore from what restore_from names; start no job twice", ANCHOR)  # fmt: skip

    def must_be_drained(self, windows: list[int], least: int) -> None:
        """Fail unless a job's only window has fired, once: its row is there, and has counted ``least`` numbers."""
        if len(windows) != 1:
            complain(f"{self.name}: on_stop is drain, and the window that was open is {windows}",
                     "pass drain on to Flink's stop", ANCHOR)  # fmt: skip
        if windows[0] < least:
            complain(f"{self.name}: a window has counted {windows[0]} numbers, of at least {least}",
                     "restore the state from what restore_from names", ANCHOR)  # fmt: skip

    # -- the client dies ---------------------------------------------------------------------------------------------

    @flink
    def test_the_counting_of_executions_notices(self) -> None:
        """The kit's proof of itself: it detects a program that is submitted twice, and one that is not."""
        self.counting_notices()

    @flink
    def test_killed_anywhere_it_runs_exactly_once(self) -> None:
        """SIGKILL at a line of the client, then resume: the program's row is there once, and it is FINISHED."""
        self.killed_anywhere()
