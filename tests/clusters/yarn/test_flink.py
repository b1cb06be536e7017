"""Flink on YARN, with the real daemons and the real Flink: SQL programs, whose result is read from HDFS."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import ClassVar

import pytest
import yarn_flink
import yarn_hadoop
from yarn_bed import Bed
from yarn_runs import Workflow

from aiflow_ext.testing import FlinkConformance
from aiflow_ext.testing.flink import flink as flink_level
from tests.helpers import flink_example, flink_jvm

PATIENCE = 1200.0  # seconds
STAGING = "/user/root/.aiflow"


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
        self.config = {
            "platform": "yarn", "engine": "flink", "flink_home": str(home), "java_home": str(java),
            "hadoop_classpath": hadoop, "jobmanager": {"memory": "768Mi"}, "taskmanagers": {"memory": "1Gi"},
            "env": flink_jvm.ENV, "flink": {"execution.checkpointing.interval": "1 s", **flink_jvm.PATIENT},
        }  # fmt: skip

    def rows(self, job: str) -> list[int]:
        """What a job has written, in order."""
        found = [name for name in self.names(f"/rows/{job}") if not name.startswith((".", "_"))]
        texts = [self.read(f"/rows/{job}/{name}") for name in found]
        return sorted(int(line) for text in texts for line in text.split())

    def names(self, folder: str) -> list[str]:
        """The names in a folder of HDFS; none where it is not there."""
        try:
            found = self.bed.json(f"{self.bed.webhdfs}{folder}?op=LISTSTATUS&user.name=root")
        except OSError:
            return []
        return [each["pathSuffix"] for each in found["FileStatuses"]["FileStatus"]]

    def read(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.bed.webhdfs}{path}?op=OPEN&user.name=root") as answer:
            return str(answer.read().decode())

    def jars(self) -> dict[str, int]:
        """Flink's own jars on HDFS: when each was written."""
        top = f"{STAGING}/flink/{yarn_flink.VERSION}"
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
    for folder in ("/rows", f"{STAGING}/savepoints"):
        made.bed.json(f"{made.bed.webhdfs}{folder}?op=DELETE&recursive=true&user.name=root", "DELETE")


def test_the_example_has_the_same_result_here(flink: Flink) -> None:
    """Its artifacts go through the cluster's file system, and nothing but them and Flink's libraries is left there."""
    shared = {"platform": "yarn", "python": sys.executable}
    own = {key: value for key, value in flink.config.items() if key not in ("platform", "engine", "taskmanagers")}
    flink.project = flink_example.copied(flink.project.parent, shared, **own)
    (flink.project / "project.yaml").write_text('artifacts: "hdfs:///artifacts"\n')
    record = flink.run(timeout=PATIENCE)
    assert record["exit"] == 0, record["said"]
    attempt = f"/artifacts/{flink.newest_run()}/check/1"
    (folder,) = [each for each in flink.names(attempt) if "report.csv" in flink.names(f"{attempt}/{each}")]
    assert flink.read(f"{attempt}/{folder}/report.csv") == flink_example.REPORT
    assert "SqlDriver" in flink.log(record, "totals", "stderr")
    assert len(flink.jars()) == len({path.rpartition("/")[2] for path in flink.jars()}) > 10
    assert flink.newest_run() not in flink.names(STAGING)


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

    @pytest.fixture(autouse=True)
    def _leaves_nothing(self, request: pytest.FixtureRequest) -> Iterator[None]:
        sent = self.project.jars()
        yield
        if sent:  # by an earlier test: Flink's libraries are sent once
            assert self.project.jars() == sent
        if "counting" not in request.function.__name__:  # that drops a job that was to start
            assert not {*self.trial.runs} & {*self.project.names(STAGING)}

    def out(self, name: str) -> str:
        return f"hdfs:///rows/{self.folder}/{self.root.name}/{name}"

    def rows(self, name: str) -> list[int]:
        return self.project.rows(f"{self.folder}/{self.root.name}/{name}")

    @pytest.mark.thorough
    @flink_level
    def test_the_counting_of_executions_notices(self) -> None:
        """It proves the kit, which it does on this machine in the time that one cluster of Flink takes here."""
        self.counting_notices()
