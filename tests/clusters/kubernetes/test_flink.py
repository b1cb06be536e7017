"""Flink jobs on a real cluster: what they compute, why they fail, what a savepoint keeps. Nothing is left of them."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES
from kubernetes_bed.waiting import until

from aiflow_ext.run import prepare_run
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext_kubernetes import status
from aiflow_ext_kubernetes.access import FLINK_RULES, RULES
from tests.helpers import flink_example

PATIENCE = 600.0  # seconds that a cluster may take to start and to end beside others
# Flink's own patience, for a machine that is busy with other tests.
PATIENT = dict.fromkeys(("pekko.ask.timeout", "pekko.startup-timeout", "heartbeat.timeout"), "5 min")
SMALL = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
NUMBERS = """
CREATE TABLE numbers (n BIGINT) WITH ('connector'='datagen','fields.n.kind'='sequence','fields.n.start'='1',
  'fields.n.end'='{last}','rows-per-second'='50'%s);
CREATE TABLE found (n BIGINT%s) WITH ('connector'='filesystem','path'='{to}','format'='csv');
"""
SUM = NUMBERS % (",'number-of-rows'='10'", ",s BIGINT") + "INSERT INTO found SELECT COUNT(*), SUM(n) FROM numbers;"
FAILS = NUMBERS % (",'number-of-rows'='10'", "") + "INSERT INTO found SELECT 1 / (n - n) FROM numbers;"
ENDLESS = NUMBERS % ("", "") + "INSERT INTO found SELECT n FROM numbers;"


class Place:
    """A namespace that takes restricted pods alone, a volume in it, and an account that may do what is needed."""

    def __init__(self, bed: Bed, namespace: str, folder: Path, project: Path) -> None:
        self.bed, self.namespace, self.folder, self.project = bed, namespace, folder, project
        name = f"flink-{namespace}"
        size = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name}
        volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "hostPath": {"path": str(folder)},
                  "persistentVolumeReclaimPolicy": "Retain"}  # fmt: skip
        bed.api.create("/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": volume})
        claim = {"metadata": {"name": "shared"}, "spec": {**size, "resources": {"requests": {"storage": "1Gi"}}}}
        bed.api.create(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim)
        rules = [{"apiGroups": [each.group], "resources": [each.resource], "verbs": list(each.verbs)}
                 for each in (*RULES, *FLINK_RULES)]  # fmt: skip
        self.kubeconfig = bed.service_account(namespace, rules, project)

    def prepare(self, sql: dict[str, str], **keys: Any) -> Any:
        """A run of a job for each script."""
        shared = {**self.keys(), **keys}
        body = "".join(
            f"    with af.job({name!r}):\n        af.flink(sql={text!r}, last=50000, to={self.at(name)!r})\n"
            for name, text in sql.items()
        )
        (self.project / "workflow.py").write_text(f"import aiflow_ext as af\n\n@af.workflow\ndef tested():\n{body}")
        (self.project / "workflow.yaml").write_text(json.dumps({"*": shared}))
        return prepare_run(self.project, jobs=len(sql))

    def keys(self) -> dict[str, Any]:
        """The keys of a Flink job here."""
        return {
            "platform": "kubernetes", "engine": "flink", "image": NAMES["flink"], "pull_policy": "IfNotPresent",
            "kubeconfig": str(self.kubeconfig), "namespace": self.namespace, "grace": 5, "cpu": 0.4,
            "volumes": [{"mount": str(self.folder), "claim": "shared"}],
            "flink": {"env.java.opts.jobmanager": SMALL, "env.java.opts.taskmanager": SMALL, "table.dml-sync": True,
                      "execution.checkpointing.interval": "1 s", **PATIENT},
        }  # fmt: skip

    def at(self, name: str) -> str:
        return str(self.folder / name)

    def rows(self, name: str) -> list[str]:
        """What a job has written and committed."""
        files = [path for path in Path(self.at(name)).glob("**/*") if path.is_file() and ".inprogress" not in path.name]
        return [row for path in files for row in path.read_text().split()]

    def left(self) -> list[str]:
        """Objects of runs that are there."""
        found = []
        for kind in ("pods", "services", "configmaps", "secrets"):
            items = self.bed.api.get(f"/api/v1/namespaces/{self.namespace}/{kind}")["items"]
            found += [f"{kind}/{each['metadata']['name']}" for each in items
                      if "aiflow-ext/run" in each["metadata"].get("labels", {})]  # fmt: skip
        return found


@pytest.fixture(scope="module")
def place(bed_session: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="aiflow-flink-", dir="/var/tmp"))  # pods run as another user
    folder.chmod(0o777)
    project = tmp_path_factory.mktemp("flink")
    with (
        pytest.MonkeyPatch.context() as patch,
        bed_session.namespace({"pod-security.kubernetes.io/enforce": "restricted"}) as name,
    ):
        patch.setenv("XDG_STATE_HOME", str(project / "state"))
        try:
            yield Place(bed_session, name, folder, project)
        finally:
            bed_session.api.delete(f"/api/v1/persistentvolumes/flink-{name}")
            shutil.rmtree(folder, ignore_errors=True)


def last(record: RunRecord, job: str) -> AttemptRecord:
    found = record.jobs[job].last
    assert found is not None
    return found


def test_a_job_computes_or_fails_with_the_root_cause_and_leaves_nothing(place: Place) -> None:
    record = place.prepare({"sums": SUM, "fails": FAILS}).driver.run()
    assert (str(last(record, "sums").state), last(record, "sums").reason) == ("FINISHED", None)
    assert place.rows("sums") == ["10,55"]
    assert str(last(record, "fails").state) == "FAILED"
    assert last(record, "fails").exit_code == 163
    assert last(record, "fails").reason == "ArithmeticException: / by zero"
    assert "StandaloneApplicationClusterEntryPoint" in Path(last(record, "fails").folder, "stdout").read_text()
    assert until(lambda: not place.left(), PATIENCE), place.left()


def test_the_example_has_the_same_result_here(place: Place, tmp_path: Path) -> None:
    keys = place.keys()
    shared = {name: value for name, value in keys.items() if name not in ("engine", "flink")}
    project = flink_example.copied(tmp_path, shared, flink=keys["flink"])
    (project / "project.yaml").write_text(f"artifacts: {place.at('artifacts')}\n")
    record = prepare_run(project).driver.run()
    assert record.state == "FINISHED", {name: last(record, name).reason for name in record.jobs}
    (report,) = Path(place.at("artifacts")).glob("*/check/1/*/report.csv")
    assert report.read_text() == flink_example.REPORT
    assert not list(Path(place.at("artifacts")).glob("*/.flink"))
    assert until(lambda: not place.left(), PATIENCE), place.left()


def saved(place: Place, **keys: Any) -> str:
    """Where the savepoint is of a job that has counted on, and was stopped then."""
    before, folder = len(place.rows("counts")), f"file://{place.folder}"
    run = place.prepare({"counts": ENDLESS}, exec_mode="STREAM", savepoints=f"{folder}/savepoints",
                        checkpoints=f"{folder}/checkpoints", **keys)  # fmt: skip
    driver = threading.Thread(target=run.driver.run, daemon=True)
    driver.start()
    assert until(lambda: len(place.rows("counts")) > before or not driver.is_alive(), PATIENCE)
    run.driver.stop(1.0)
    driver.join(PATIENCE)
    attempt = last(run.record, "counts")
    assert str(attempt.state) == "STOPPED", attempt.reason
    assert str(attempt.reason).startswith(status.SAVED)
    assert len(place.rows("counts")) > before
    return str(attempt.reason).removeprefix(status.SAVED)


def test_a_stream_job_goes_on_after_its_savepoint_without_a_number_lost_or_doubled(place: Place) -> None:
    path = saved(place)
    assert Path(path.removeprefix("file:")).is_relative_to(place.folder / "savepoints")
    saved(place, restore_from=path)
    numbers = sorted(map(int, place.rows("counts")))
    assert numbers == list(range(1, len(numbers) + 1))
    assert until(lambda: not place.left(), PATIENCE), place.left()
