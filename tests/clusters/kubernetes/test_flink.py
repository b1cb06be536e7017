"""Flink jobs on a real cluster: the example, and the kit. Nothing is left of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES
from kubernetes_bed.waiting import until

from aiflow_ext.run import prepare_run
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext.testing import FlinkConformance
from aiflow_ext.testing.flink import flink
from aiflow_ext_kubernetes.access import FLINK_RULES, RULES
from tests.helpers import flink_example, flink_jvm

PATIENCE = 600.0  # seconds that a cluster may take to start and to end beside others


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

    def keys(self) -> dict[str, Any]:
        """The keys of a Flink job here."""
        return {
            "platform": "kubernetes", "engine": "flink", "image": NAMES["flink"], "pull_policy": "IfNotPresent",
            "kubeconfig": str(self.kubeconfig), "namespace": self.namespace, "grace": 5, "cpu": 0.4,
            "volumes": [{"mount": str(self.folder), "claim": "shared"}],
            "env": flink_jvm.ENV,
            "flink": {"table.dml-sync": True, "execution.checkpointing.interval": "1 s", **flink_jvm.PATIENT},
        }  # fmt: skip

    def at(self, name: str) -> str:
        return str(self.folder / name)

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


def test_the_example_has_the_same_result_here(place: Place, tmp_path: Path) -> None:
    keys = place.keys()
    shared = {name: value for name, value in keys.items() if name not in ("engine", "flink", "env")}
    project = flink_example.copied(tmp_path, shared, flink=keys["flink"], env=keys["env"])
    (project / "project.yaml").write_text(f"artifacts: {place.at('artifacts')}\n")
    record = prepare_run(project).driver.run()
    assert record.state == "FINISHED", {name: last(record, name).reason for name in record.jobs}
    (report,) = Path(place.at("artifacts")).glob("*/check/1/*/report.csv")
    assert report.read_text() == flink_example.REPORT
    assert "StandaloneApplicationClusterEntryPoint" in Path(last(record, "totals").folder, "stdout").read_text()
    assert not list(Path(place.at("artifacts")).glob("*/.flink"))
    assert until(lambda: not place.left(), PATIENCE), place.left()


class TestKubernetesFlink(FlinkConformance):
    platform = "kubernetes"
    patience = PATIENCE
    place: ClassVar[Place]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _place(cls, place: Place) -> None:
        state = {key: place.at(key) for key in ("checkpoints", "savepoints")}
        cls.place, cls.config = place, {**place.keys(), **state}

    @pytest.fixture(autouse=True)
    def _leaves_nothing(self, request: pytest.FixtureRequest) -> Iterator[None]:
        before = set(self.place.left())
        yield
        if "counting" not in request.function.__name__:  # that drops a job that was to start
            assert until(lambda: set(self.place.left()) <= before, PATIENCE), self.place.left()

    def out(self, name: str) -> str:
        return self.place.at(f"{self.root.name}/{name}")

    @pytest.mark.thorough
    @flink
    def test_the_counting_of_executions_notices(self) -> None:
        """It proves the kit, which it does on this machine in the time that one cluster of Flink takes here."""
        self.counting_notices()


@pytest.mark.thorough
class TestKubernetesFlinkThoroughly(TestKubernetesFlink):
    rounds, kills = 10, 20
