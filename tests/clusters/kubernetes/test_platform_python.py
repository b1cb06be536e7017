"""Python jobs on a real cluster: what the image must have, how the project gets there, what is said where it cannot.

All but one are jobs of one run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES
from kubernetes_bed.waiting import until
from terminal import debugged

from aiflow_ext.run import prepare_run
from aiflow_ext.run.store.ran_with import ran_with_of
from aiflow_ext.run.store.records import AttemptRecord, RunRecord

STEPS = """\
import os
import time
from pathlib import Path

def hello(name):
    print("hello", name, Path(os.environ["AIFLOW_PROJECT_FOLDER"], "data.txt").read_text())
    return name * 2

def fail(name):
    eaten = bytearray(200 << 20)
    while time.process_time() < 1: pass
    raise ValueError("no more data")
"""
WORKFLOW = """\
import aiflow_ext as af
from steps import fail, hello

@af.workflow
def images():
    with af.job("a"):
        x = af.python(hello, "you")
    with af.job("b"):
        af.python(hello, x)
    with af.job("plain"):
        af.python(hello, "you")
    with af.job("raises"):
        af.python(fail, x)
    with af.job("shell"):
        af.cmd("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
    with af.job("no_python"):
        af.python(hello, "you")
    with af.job("no_package"):
        y = af.python(hello, "you")
    with af.job("after_no_package"):
        af.python(hello, y)
    with af.job("later"):
        af.python(hello, "you")
    with af.job("later_pickle"):
        af.python(lambda: 1)
    with af.job("no_server"):
        z = af.python(hello, "you")
    with af.job("after_no_server"):
        af.python(hello, z)
"""
KEYS: dict[str, dict[str, Any]] = {
    "a": {}, "b": {}, "raises": {}, "after_no_package": {}, "after_no_server": {},
    "plain": {"image": NAMES["python"]},
    "shell": {"engine": "cmd_line", "image": NAMES["busybox"], "cpu": 0.5, "memory": "64Mi"},
    "no_python": {"image": NAMES["busybox"]},
    "no_package": {"image": NAMES["python"]},
    "later": {"image": NAMES["python_later"]},
    "later_pickle": {"image": NAMES["python_later"]},
    # What only the pod can find out: here the URL is good, and there its server is not.
    "no_server": {"env": {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}},
}  # fmt: skip
BIG = WORKFLOW[: WORKFLOW.index('    with af.job("b")')]


class Ran:
    """A run in a namespace, whose project names an artifacts URL."""

    def __init__(self, bed: Bed, namespace: str, root: Path, workflow: str, keys: dict[str, Any]) -> None:
        self.bed, self.namespace = bed, namespace
        credentials = {"metadata": {"name": "s3"}, "stringData": bed.s3_environment}
        bed.api.create(f"/api/v1/namespaces/{namespace}/secrets", credentials)
        shared = {"platform": "kubernetes", "engine": "python", "image": NAMES["python_s3"], "namespace": namespace,
                  "env_from": [{"secret": "s3"}]}  # fmt: skip
        (root / "steps.py").write_text(STEPS)
        (root / "workflow.py").write_text(workflow)
        (root / "workflow.yaml").write_text(json.dumps({"*": shared, **keys}))
        (root / "project.yaml").write_text(f"artifacts: {bed.artifacts}/{namespace}\n")
        (root / "data.txt").write_text("data")
        self.record: RunRecord = prepare_run(root, jobs=len(keys)).driver.run()

    def __getitem__(self, job: str) -> AttemptRecord:
        last = self.record.jobs[job].last
        assert last is not None
        return last

    def log(self, job: str, stream: str = "stdout") -> str:
        return Path(self[job].folder, stream).read_text()


@pytest.fixture(scope="module")
def place(bed_session: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for projects, with the environment of a driver."""
    root = tmp_path_factory.mktemp("python")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bed_session.s3_environment.items():
            patch.setenv(name, value)
        patch.setenv("KUBECONFIG", str(bed_session.kubeconfig))
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        yield root


@pytest.fixture(scope="module")
def ran(bed_session: Bed, place: Path) -> Iterator[Ran]:
    (place / "images").mkdir()
    with bed_session.namespace() as namespace:
        yield Ran(bed_session, namespace, place / "images", WORKFLOW, KEYS)
        shutil.rmtree(bed_session.s3_folder / namespace, ignore_errors=True)


def test_the_project_and_values_travel(ran: Ran) -> None:
    assert [str(ran[job].state) for job in "ab"] == ["FINISHED"] * 2, (ran["a"].reason, ran["b"].reason)
    assert (ran.log("a"), ran.log("b")) == ("hello you data\n", "hello youyou data\n")
    secrets = f"/api/v1/namespaces/{ran.namespace}/secrets"
    assert until(lambda: [each["metadata"]["name"] for each in ran.bed.api.get(secrets)["items"]] == ["s3"], 30)


def test_a_project_that_no_secret_holds_goes_by_the_url(bed: Bed, namespace: str, place: Path) -> None:
    root = place / "big"
    root.mkdir()
    (root / "big.bin").write_bytes(os.urandom(3 << 20))
    ran = Ran(bed, namespace, root, BIG, {"a": {}})
    assert ran.log("a") == "hello you data\n", ran.log("a", "stderr")
    assert not list((bed.s3_folder / namespace).rglob("project.tar.gz"))  # it was removed at the end


def test_a_plain_image_is_enough(ran: Ran) -> None:
    assert ran.log("plain") == "hello you data\n"


def test_what_a_function_raises_is_the_reason(ran: Ran) -> None:
    assert (ran["raises"].exit_code, ran["raises"].reason) == (1, "ValueError: no more data")
    assert "raise ValueError" in ran.log("raises", "stderr")


def test_what_has_failed_in_a_pod_fails_again_here_on_the_same_input_under_a_debugger(ran: Ran) -> None:
    (kept,) = (ran.bed.s3_folder / ran.namespace).glob("*/a/1/hello.json")
    shown = debugged(ran.record.run_id, "raises", "p name, len(eaten)", os.environ)
    assert f"sha256 {json.loads(kept.read_bytes())['sha256']}\r\n" in shown.before
    assert re.search(rf"platform +then kubernetes, image {NAMES['python_s3']} +here this machine", shown.before)
    assert "not recorded" not in shown.before
    assert "ValueError: no more data" in shown.before
    assert "('youyou', 209715200)" in shown.answer
    assert "as it did in the run, with exit code 1: ValueError: no more data" in shown.rest
    assert shown.code == 1


def test_what_a_container_has_used_and_run_with_is_known_also_of_a_job_that_has_failed(ran: Ran) -> None:
    failed, shell = ran["raises"], ran["shell"]
    assert (failed.usage_source, shell.usage_source) == ("container", "container")
    assert 200 << 20 < (failed.peak_memory or 0) < 400 << 20
    assert 1.0 <= (failed.cpu_seconds or 0) < 5
    assert 0.05 < (shell.cpu_seconds or 0) < 5
    assert 0 < (shell.peak_memory or 0) < 64 << 20
    assert (shell.cpu_asked, shell.memory_asked) == (0.5, 64 << 20)
    assert ran_with_of(shell.folder) is None  # nothing of ours runs in it
    found, finished, later = (ran_with_of(ran[job].folder) for job in ("raises", "a", "later"))
    assert found is not None
    assert finished == found
    assert "s3fs" in (found.distributions or ())
    assert later is not None
    assert later.python != found.python


def test_an_image_without_a_python_is_reported(ran: Ran) -> None:
    assert ran["no_python"].exit_code == 127
    assert "no such program" in str(ran["no_python"].reason)


def test_an_image_without_the_urls_package_is_reported(ran: Ran) -> None:
    assert "needs the package fsspec in the job's python" in str(ran["no_package"].reason)


def test_an_image_with_another_python_is_reported(ran: Ran) -> None:
    assert "was pickled by Python" in str(ran["later_pickle"].reason)
    assert ran.log("later") == "hello you data\n"  # what is imported by name needs no pickle


def test_artifacts_that_pods_do_not_reach_are_reported(ran: Ran) -> None:
    assert str(ran["no_server"].state) == "FAILED"
    assert "cannot be written: EndpointConnectionError" in str(ran["no_server"].reason)
    assert "http://127.0.0.1:9" in str(ran["no_server"].reason)
