"""Flink jobs in a real session cluster, which is somebody else's, on a real cluster: nothing of a job is left in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES
from kubernetes_bed.waiting import until

from aiflow_ext.testing import FlinkConformance
from aiflow_ext_flink.configuration import JVM
from aiflow_ext_kubernetes.access import RULES, SESSION_RULES
from tests.helpers import flink_jvm

PATIENCE = 600.0  # seconds for what takes ten, on a machine that does much else
NAME = "session"
START = """\
mkdir /tmp/conf && cp /opt/flink/conf/log4j* /tmp/conf && printf '%s' "$1" >/tmp/conf/config.yaml &&
FLINK_CONF_DIR=/tmp/conf exec "$0" start-foreground
"""
FREQUENT = {"flink": {"execution.checkpointing.interval": "1 s"}}
NUMBERS = """\
CREATE TABLE n (id BIGINT) WITH ('connector'='datagen', 'fields.id.kind'='sequence', 'fields.id.start'='1', {});
CREATE TABLE o (id BIGINT) WITH ('connector'='filesystem', 'path'='{{to}}', 'format'='csv');
INSERT INTO o SELECT {} FROM n;
"""
FEW = NUMBERS.format("'fields.id.end'='10', 'number-of-rows'='10'", "id")
DIVIDES = NUMBERS.format("'fields.id.end'='10', 'number-of-rows'='10'", "1 / (id - 3)")
MANY = NUMBERS.format("'fields.id.end'='50000', 'rows-per-second'='50'", "id")
SCRIPT = """\
import sys
from pyflink.table import EnvironmentSettings, TableEnvironment
tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
for statement in open(sys.argv[2]).read().replace("{to}", sys.argv[4]).split(";")[:-1]:
    tables.execute_sql(statement).wait()
print("the script has ended")
"""


class Session:
    """A session cluster of one pod, behind a Service, and an account that may submit to it.

    Attributes:
        folder: a folder that its pod, the jobs' pods and this machine see.
    """

    def __init__(self, bed: Bed, namespace: str, folder: Path, project: Path) -> None:
        self.bed, self.namespace, self.folder = bed, namespace, folder
        self.path = f"/api/v1/namespaces/{namespace}"
        ports = [{"name": name, "port": port} for name, port in (("rpc", 6123), ("blob", 6124), ("rest", 8081))]
        bed.api.create(f"{self.path}/services", {"metadata": {"name": NAME}, "spec": {
            "selector": {"app": NAME}, "ports": ports, "publishNotReadyAddresses": True}})  # fmt: skip
        self.address = bed.api.get(f"{self.path}/services/{NAME}")["spec"]["clusterIP"]
        keys = {
            "jobmanager.rpc.address": "localhost", "rest.bind-address": "0.0.0.0", "taskmanager.host": "localhost",
            "jobmanager.memory.process.size": "768m", "taskmanager.memory.process.size": "1024m",
            "cluster.registration.error-delay": "300 ms", "restart-strategy.type": "none",
            "env.java.opts.all": " ".join(JVM), **flink_jvm.PATIENT,
        }  # fmt: skip
        bed.api.create(f"{self.path}/pods", {"metadata": {"name": NAME, "labels": {"app": NAME}}, "spec": {
            "containers": [self._container(name, json.dumps(keys)) for name in ("jobmanager", "taskmanager")],
            "enableServiceLinks": False, "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "shared", "hostPath": {"path": str(folder)}}]}})  # fmt: skip
        rules = [{"apiGroups": [each.group], "resources": [each.resource], "verbs": list(each.verbs)}
                 for each in (*RULES, *SESSION_RULES)]  # fmt: skip
        self.kubeconfig = bed.service_account(namespace, rules, project)

    def _container(self, name: str, config: str) -> dict[str, Any]:
        env = {**flink_jvm.ENV, "FLINK_LOG_DIR": "/tmp", "FLINK_PID_DIR": "/tmp"}
        return {
            "name": name, "image": NAMES["flink"], "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-c", START, f"/opt/flink/bin/{name}.sh", config],
            "env": [{"name": key, "value": value} for key, value in env.items()],
            "securityContext": {"runAsUser": 1000},
            "volumeMounts": [{"name": "shared", "mountPath": str(self.folder)}],
        }  # fmt: skip

    def keys(self) -> dict[str, Any]:
        """The keys of a job that is submitted to it."""
        return {
            "platform": "kubernetes", "engine": "flink", "image": NAMES["flink"], "pull_policy": "IfNotPresent",
            "kubeconfig": str(self.kubeconfig), "namespace": self.namespace, "jobmanager": f"{NAME}:8081",
            "env": flink_jvm.ENV, "grace": 5, "python": "python3",
            # The bed has no DNS.
            "pod_template": {"spec": {"hostAliases": [{"ip": self.address, "hostnames": [NAME]}]}},
            "volumes": [{"mount": str(self.folder), "host_path": str(self.folder)}],
        }  # fmt: skip

    def states(self) -> dict[str, str]:
        """The state of each of its jobs, by id."""
        found = self.bed.api.get(f"{self.path}/services/{NAME}:8081/proxy/jobs/overview")
        return {each["jid"]: each["state"] for each in found["jobs"]}

    def is_up(self) -> bool:
        """Whether it has a TaskManager."""
        try:
            return bool(self.bed.api.get(f"{self.path}/services/{NAME}:8081/proxy/overview")["taskmanagers"])
        except Exception:
            return False

    def left(self) -> list[str]:
        """Objects of runs that are there, and jobs that go on."""
        found = []
        for kind in ("pods", "configmaps", "secrets"):
            found += [f"{kind}/{each['metadata']['name']}" for each in self.bed.api.get(f"{self.path}/{kind}")["items"]
                      if "aiflow-ext/run" in each["metadata"].get("labels", {})]  # fmt: skip
        return found + [job for job, state in self.states().items() if state not in ("FINISHED", "FAILED", "CANCELED")]


@pytest.fixture(scope="module")
def session(bed_session: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = Path(tempfile.mkdtemp(prefix="aiflow-flink-", dir="/var/tmp"))  # pods run as another user
    folder.chmod(0o777)
    with bed_session.namespace() as name:
        try:
            made = Session(bed_session, name, folder, tmp_path_factory.mktemp("flink"))
            assert until(made.is_up, PATIENCE)
            yield made
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def jobs(project: Any, session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Writes a project of jobs in the session cluster, each with its call of af.flink."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def write(programs: dict[str, str], own: dict[str, Any] | None = None, **more: Any) -> None:
        keys = {**session.keys(), **more}
        body = "\n".join(f'with af.job("{name}"): {program}' for name, program in programs.items())
        project.jobs(body, json.dumps({"*": keys, **(own or {})}))
        (project.root / "project.yaml").write_text(f"artifacts: {session.folder}/artifacts\n")
        project.write(few_sql=FEW, divides_sql=DIVIDES, many_sql=MANY)
        (project.root / "job.py").write_text(SCRIPT)

    return write


def begun(project: Any, cli: Any) -> str:
    """Starts a project's run, and returns its id."""
    runs = project.root / ".aiflow" / "runs"
    before = {*runs.glob("*")}
    assert cli("run", project.root, "--detach").returncode == 0
    (made,) = {*runs.glob("*")} - before
    return made.name


@pytest.fixture
def job(project: Any, cli: Any) -> Callable[[str], dict[str, Any]]:
    """The first job of a run, by its JSON."""

    def read(run: str) -> dict[str, Any]:
        found = json.loads(cli("status", run, "--project", project.root, "--json").stdout)["jobs"][0]
        assert found["state"] not in ("FAILED", "LOST"), found
        return dict(found)

    return read


def job_named(project: Any, cli: Any, run: str, name: str) -> dict[str, Any]:
    """A job of a run, by its JSON."""
    found = json.loads(cli("status", run, "--project", project.root, "--json").stdout)["jobs"]
    return {each["name"]: each for each in found}[name]


def rows(folder: Path) -> list[int]:
    return [int(row) for file in folder.glob("part-*") for row in file.read_text().split()]


def test_sql_and_a_script_run_there_with_artifacts_and_what_fails_is_named_by_its_cause(
    jobs: Any, session: Session, project: Any, run_json: Any, cli: Any, tmp_path: Path
) -> None:
    at = session.folder
    jobs({
        "sql": 'af.flink(sql="few.sql", to=af.output("rows"))',
        "script": f'af.flink(python="job.py", args=["-s", "/aiflow/flink/few.sql", "-p", "{at}/script"], '
                  'py_files=["few.sql"])',
        "divides": f'af.flink(sql="divides.sql", to="{at}/none")',
        "wrong": 'af.flink(sql="SELECT * FROM sales;")',
    })  # fmt: skip
    record = run_json(project, "--jobs", "2")
    found = record["jobs"]
    assert {name: job["state"] for name, job in found.items()} == {
        "sql": "FINISHED", "script": "FINISHED", "divides": "FAILED", "wrong": "FAILED",
    }, {name: job["reason"] for name, job in found.items()}  # fmt: skip
    fetched = cli("artifacts", record["run"], "sql", "--fetch", tmp_path / "kept", "--project", project.root)
    assert fetched.returncode == 0, fetched.stderr
    (kept,) = {each.parent for each in (tmp_path / "kept").rglob("part-*")}
    assert sorted(rows(kept)) == sorted(rows(at / "script")) == [*range(1, 11)]
    assert not [*(at / "artifacts").glob("*/.flink")]
    assert found["divides"]["reason"] == "ArithmeticException: / by zero"
    assert "Object 'sales' not found" in found["wrong"]["reason"]
    assert "the script has ended" in project.log("script").decode()
    assert until(lambda: not session.left(), PATIENCE), session.left()


def test_a_stream_outlives_a_killed_pod_and_a_stop_with_each_row_once_while_others_wait_for_its_slot(
    jobs: Any, session: Session, project: Any, cli: Any, job: Any
) -> None:
    """The job of a pod that is killed is cancelled, and its retry goes on from its checkpoint. The next run goes on
    from the savepoint of a stop; another job is QUEUED meanwhile, and a third one's time is over."""
    at = session.folder
    own = {"numbers": {"savepoints": f"{at}/sp", "checkpoints": f"{at}/cp", "restore_from": "latest", "retries": 1,
                       "on_stop": "savepoint"}}  # fmt: skip
    numbers = f'af.flink(sql="many.sql", to="{at}/numbers")'
    keys = {"exec_mode": "STREAM", "on_stop": "cancel", **FREQUENT}

    def until_it_writes(run: str) -> None:
        known = len(rows(at / "numbers"))
        assert until(lambda: job(run) and len(rows(at / "numbers")) > known, PATIENCE)

    def stop(run: str, name: str, grace: int) -> str:
        assert cli("stop", run, name, "--grace", str(grace), "--project", project.root).returncode == 0
        assert until(lambda: job_named(project, cli, run, name)["state"] == "STOPPED", PATIENCE)
        return str(job_named(project, cli, run, name)["reason"])

    jobs({"numbers": numbers}, own, **keys)
    before, run = set(session.states()), begun(project, cli)
    until_it_writes(run)
    (first,) = set(session.states()) - before
    for folder in Path("/proc").glob("[0-9]*"):  # the script and what began it; the job goes on
        with contextlib.suppress(OSError):
            if f"\0{first}\0".encode() in (folder / "cmdline").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
    assert until(lambda: len(job(run)["attempts"]) == 2 and job(run)["state"] == "RUNNING", PATIENCE)
    until_it_writes(run)
    assert session.states()[first] == "CANCELED"
    assert stop(run, "numbers", 30).startswith("stopped with the savepoint file:")

    others = {name: f'af.flink(sql="many.sql", to="{at}/{name}")\naf.run_after("{name}", "numbers")'
              for name in ("waits", "expires")}  # fmt: skip
    jobs({"numbers": numbers, **others}, {**own, "expires": {"start_within": 5}}, **keys)
    run = begun(project, cli)

    def found(name: str) -> tuple[str, str]:
        shown = job_named(project, cli, run, name)
        return shown["state"], str(shown["reason"])

    until_it_writes(run)
    assert job(run)["attempts"][-1]["instance"].startswith(f"http://{NAME}:8081/#/job/running/")
    words = "it waits for slots: of the 1 slots of 1 TaskManagers 0 are free"
    assert until(lambda: found("waits") == ("QUEUED", words), PATIENCE)
    assert until(lambda: found("expires")[0] == "FAILED", PATIENCE)
    assert found("expires")[1].startswith("it has not started within 5 s")
    assert found("waits")[0] == "QUEUED"
    assert not stop(run, "numbers", 0).startswith("stopped with the savepoint")
    assert until(lambda: found("waits")[0] == "RUNNING", PATIENCE)
    stop(run, "waits", 0)
    counted = Counter(rows(at / "numbers"))
    assert counted == Counter(range(1, len(counted) + 1))
    assert until(lambda: not session.left(), PATIENCE), session.left()


@pytest.mark.thorough
class TestKubernetesFlinkInASessionThoroughly(FlinkConformance):
    platform, patience, rounds, kills = "kubernetes", PATIENCE, 10, 20
    session: ClassVar[Session]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _place(cls, session: Session) -> None:
        cls.session, cls.config = session, {**session.keys(), "savepoints": f"{session.folder}/kit"}

    @pytest.fixture(autouse=True)
    def _leaves_nothing(self, request: pytest.FixtureRequest) -> Iterator[None]:
        yield
        if "counting" not in request.function.__name__:  # that drops a job that was to start
            assert until(lambda: not self.session.left(), PATIENCE), self.session.left()

    def out(self, name: str) -> str:
        return str(self.session.folder / self.root.name / name)
