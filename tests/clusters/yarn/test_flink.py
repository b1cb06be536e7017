"""Flink on YARN, with the real daemons and the real Flink: SQL programs, whose result is read from HDFS."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

import pytest
import yarn_flink
import yarn_hadoop
from yarn_bed import Bed
from yarn_runs import Workflow

from aiflow_ext.testing import FlinkConformance

ROWS = """CREATE TABLE rows_in (n BIGINT) WITH ('connector'='datagen', 'fields.n.kind'='sequence', 'fields.n.start'='1',
  'fields.n.end'='{end}', 'number-of-rows'='{end}', 'rows-per-second'='{rate}');
CREATE TABLE rows_out (n BIGINT) WITH ('connector'='filesystem', 'path'='{out}', 'format'='csv');
INSERT INTO rows_out SELECT {column} FROM rows_in;
"""
READS = """import aiflow_ext as af
SQL = '''CREATE TABLE rows_in (n BIGINT) WITH ('connector'='filesystem', 'path'='{made}', 'format'='csv');
CREATE TABLE rows_out (n BIGINT) WITH ('connector'='filesystem', 'path'='hdfs:///rows/rows', 'format'='csv');
INSERT INTO rows_out SELECT n FROM rows_in;'''
@af.workflow
def tested():
    with af.job("made"):
        made = af.cmd("echo 7 > {out}; echo 8 >> {out}", out=af.output("numbers.csv"))
    with af.job("rows"):
        af.flink(sql=SQL, made=made)
"""
# Flink's own patience, for a machine that is busy with other tests.
PATIENT = dict.fromkeys(("pekko.ask.timeout", "pekko.startup-timeout", "heartbeat.timeout"), "5 min")
PATIENCE = 1200.0  # seconds
SAVEPOINTS = "/user/root/.aiflow/savepoints"


@pytest.fixture(scope="module")
def flink_bed(session_bed: Bed) -> Bed:
    """The bed, with time for a node to get Flink's libraries before YARN gives its application master up."""
    session_bed.just(sites={"yarn": {"yarn.am.liveness-monitor.expiry-interval-ms": 300_000}})
    return session_bed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flink's folder."""
    return yarn_flink.flink(tmp_path_factory.mktemp("flink"))


class Flink(Workflow):
    """A project of SQL programs on a bed.

    Args:
        folder: of the test's own.
        bed: where they run.
        home: Flink's folder.
    """

    def __init__(self, folder: Path, bed: Bed, home: Path) -> None:
        super().__init__(folder, bed)
        java = Path(yarn_hadoop.java()).resolve().parents[1]
        hadoop = f"{bed.conf}:{yarn_hadoop.install()}/lib/*"
        quick = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
        self.config = {
            "platform": "yarn", "engine": "flink", "flink_home": str(home), "java_home": str(java),
            "hadoop_classpath": hadoop, "jobmanager": {"memory": "768Mi"}, "taskmanagers": {"memory": "1Gi"},
            "flink": {"env.java.opts.taskmanager": quick, "execution.checkpointing.interval": "1 s", **PATIENT},
        }  # fmt: skip

    def programs(self, jobs: dict[str, dict[str, Any]], **config: Any) -> Flink:
        """Jobs by name: what is put into ``ROWS``; the rows go to ``/rows/NAME``."""
        lines = ["import aiflow_ext as af", f"ROWS = {ROWS!r}", "@af.workflow", "def tested():"]
        for name, words in jobs.items():
            filled = {"end": "100", "rate": "100000", "column": "n", "out": f"hdfs:///rows/{name}", **words}
            given = ", ".join(f"{key}={value!r}" for key, value in filled.items())
            lines += [f"    with af.job({name!r}):", f"        af.flink(sql=ROWS, {given})"]
        (self.project / "workflow.py").write_text("\n".join(lines) + "\n")
        (self.project / "workflow.yaml").write_text(json.dumps({"*": {**self.config, **config}}))
        return self

    def rows(self, job: str) -> list[int]:
        """What a job has written, in order."""
        found = [name for name in self.names(f"/rows/{job}") if not name.startswith((".", "_"))]
        texts = [self._read(f"/rows/{job}/{name}") for name in found]
        return sorted(int(line) for text in texts for line in text.split())

    def names(self, folder: str) -> list[str]:
        """The names in a folder of HDFS; none where it is not there."""
        try:
            found = self.bed.json(f"{self.bed.webhdfs}{folder}?op=LISTSTATUS&user.name=root")
        except OSError:
            return []
        return [each["pathSuffix"] for each in found["FileStatuses"]["FileStatus"]]

    def _read(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.bed.webhdfs}{path}?op=OPEN&user.name=root") as answer:
            return str(answer.read().decode())

    def jars(self) -> dict[str, int]:
        """Flink's own jars on HDFS: when each was written."""
        top = f"/user/root/.aiflow/flink/{yarn_flink.VERSION}"
        found = {}
        for digest in self.names(top):
            listed = self.bed.json(f"{self.bed.webhdfs}{top}/{digest}?op=LISTSTATUS&user.name=root")
            for each in listed["FileStatuses"]["FileStatus"]:
                found[f"{digest}/{each['pathSuffix']}"] = each["modificationTime"]
        return found


@pytest.fixture
def flink(flink_bed: Bed, home: Path, tmp_path: Path) -> Iterator[Flink]:
    """A project on the bed, whose folders on HDFS are its own."""
    made = Flink(tmp_path, flink_bed, home)
    yield made
    made.close()
    for folder in ("/rows", SAVEPOINTS):
        made.bed.json(f"{made.bed.webhdfs}{folder}?op=DELETE&recursive=true&user.name=root", "DELETE")


def test_a_result_and_a_cause(flink: Flink) -> None:
    """One program writes its rows; the reason of the other one is the exception; both leave Flink's libraries alone."""
    record = flink.programs({"well": {}, "badly": {"column": "n / (n - 7)"}}).run(timeout=PATIENCE)
    attempts = {name: job["attempts"] for name, job in record["jobs"].items()}
    ((well,), (badly,)) = attempts["well"], attempts["badly"]
    assert (well["state"], well["exit_code"]) == ("FINISHED", 0), record["said"]
    assert flink.rows("well") == list(range(1, 101))
    assert badly["state"] == "FAILED", record["said"]
    assert "ArithmeticException" in badly["reason"], badly["reason"]
    assert "SqlDriver" in flink.log(record, "well", "stderr")
    assert well["native_id"] != badly["native_id"]
    assert len(flink.jars()) == len({path.rpartition("/")[2] for path in flink.jars()}) > 10
    assert flink.newest_run() not in flink.names("/user/root/.aiflow")


def test_a_program_reads_the_file_that_another_job_has_made(flink: Flink) -> None:
    (flink.project / "project.yaml").write_text('artifacts: "hdfs:///artifacts"\n')
    (flink.project / "workflow.py").write_text(READS)
    made = {"platform": "yarn", "engine": "cmd_line", "memory": "256Mi", "python": sys.executable}
    (flink.project / "workflow.yaml").write_text(json.dumps({"made": made, "rows": flink.config}))
    record = flink.run(timeout=PATIENCE)
    assert record["exit"] == 0, record["said"]
    assert flink.rows("rows") == [7, 8]


def test_a_stream_is_stopped_with_a_savepoint_and_goes_on_from_it(flink: Flink) -> None:
    """Every row is there once; and the second run sends none of Flink's libraries again."""
    stream = {"rows": {"end": "100000", "rate": "50"}}
    begun = flink.programs(stream, exec_mode="STREAM").begin()
    flink.wait(lambda: bool(flink.rows("rows")), PATIENCE)
    sent = flink.jars()
    words = "stopped with the savepoint "
    reason = _stopped(flink, begun)["reason"]
    assert reason.startswith(words), reason
    first = flink.rows("rows")
    again = flink.programs(stream, exec_mode="STREAM", restore_from=reason.removeprefix(words)).begin()
    flink.wait(lambda: len(flink.rows("rows")) > len(first), PATIENCE)
    _stopped(flink, again)
    found = flink.rows("rows")
    assert found == list(range(1, len(found) + 1))
    assert flink.jars() == sent
    assert flink.newest_run() not in flink.names("/user/root/.aiflow")


def _stopped(flink: Flink, process: Any) -> dict[str, Any]:
    """The last attempt of the only job, after ``aiflow-ext stop``."""
    said = flink.call("stop", flink.newest_run(), "--project", str(flink.project))
    record = flink.finish(process)
    (attempt,) = record["jobs"]["rows"]["attempts"]
    assert attempt["state"] == "STOPPED", (said.stdout, said.stderr, record["said"])
    return dict(attempt)


class TestYarnFlink(FlinkConformance):
    platform = "yarn"
    patience = PATIENCE
    project: ClassVar[Flink]
    folder: ClassVar[str]  # another one for each session: what a bed that stays up holds is counted, too

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _place(cls, flink_bed: Bed, home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.project = Flink(tmp_path_factory.mktemp("kit"), flink_bed, home)
        cls.config, cls.folder = cls.project.config, f"kit-{token_hex(4)}"
        cls.env = {"HADOOP_CONF_DIR": str(flink_bed.conf), "HADOOP_USER_NAME": "root"}

    def out(self, name: str) -> str:
        return f"hdfs:///rows/{self.folder}/{self.root.name}/{name}"

    def rows(self, name: str) -> list[int]:
        return self.project.rows(f"{self.folder}/{self.root.name}/{name}")
