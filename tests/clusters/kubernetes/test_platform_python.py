"""Python jobs on a real cluster: what the image must have, how the project gets there, what is said where it cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES

from aiflow_ext.run import prepare_run
from aiflow_ext.run.records import AttemptRecord, RunRecord

STEPS = """\
import os
from pathlib import Path

def hello(name):
    print("hello", name, Path(os.environ["AIFLOW_PROJECT_FOLDER"], "data.txt").read_text())
    return name * 2

def fail():
    raise ValueError("no more data")

def add(path):
    with open(os.path.join(os.environ["AIFLOW_WORK_FOLDER"], "x"), "w") as file:
        file.write("x")
    print(path)
"""

Ran = Callable[..., RunRecord]


@pytest.fixture
def ran(project: Any, bed: Bed, namespace: str, artifacts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """``ran(body, **keys)``: a run of these jobs, whose project names an artifacts URL."""
    monkeypatch.setenv("KUBECONFIG", str(bed.kubeconfig))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    credentials = {"metadata": {"name": "s3"}, "stringData": bed.s3_environment}
    bed.api.create(f"/api/v1/namespaces/{namespace}/secrets", credentials)

    def run(body: str, **keys: Any) -> RunRecord:
        config: dict[str, Any] = {name: {} for name in ("a", "b") if f"af.job('{name}')" in body}
        config["*"] = {"platform": "kubernetes", "engine": "python", "image": NAMES["python_s3"],
                       "namespace": namespace, "env_from": [{"secret": "s3"}], **keys}  # fmt: skip
        project.jobs(body, json.dumps(config), STEPS)
        project.write(project_yaml=f"artifacts: {artifacts}\n", data_txt="data")
        return prepare_run(project.root).driver.run()

    return run


def last(record: RunRecord, job: str = "a") -> AttemptRecord:
    found = record.jobs[job].last
    assert found is not None
    return found


def log(record: RunRecord, job: str = "a", stream: str = "stdout") -> str:
    return Path(last(record, job).folder, stream).read_text()


HELLO = "with af.job('a'):\n    x = af.python(hello, 'you')\nwith af.job('b'):\n    af.python(hello, x)"


def test_the_project_and_values_travel(ran: Ran, bed: Bed, namespace: str) -> None:
    record = ran(HELLO)
    assert str(record.state) == "FINISHED", [job.reason for job in record.jobs.values()]
    assert (log(record), log(record, "b")) == ("hello you data\n", "hello youyou data\n")
    left = bed.api.get(f"/api/v1/namespaces/{namespace}/secrets")["items"]
    assert [each["metadata"]["name"] for each in left if each["metadata"]["name"] != "s3"] == []


def test_a_project_that_no_secret_holds_goes_by_the_url(
    ran: Ran, project: Any, bed: Bed, artifacts: str, namespace: str
) -> None:
    (project.root / "big.bin").write_bytes(os.urandom(3 << 20))
    record = ran("with af.job('a'):\n    af.python(hello, 'you')")
    assert log(record) == "hello you data\n", log(record, stream="stderr")
    assert not list((bed.s3_folder / namespace).rglob("project.tar.gz"))  # it was removed at the end


def test_a_plain_image_is_enough(ran: Ran) -> None:
    assert log(ran("with af.job('a'):\n    af.python(hello, 'you')", image=NAMES["python"])) == "hello you data\n"


def test_what_a_function_raises_is_the_reason(ran: Ran) -> None:
    record = ran("with af.job('a'):\n    af.python(fail)")
    assert (last(record).exit_code, last(record).reason) == (1, "ValueError: no more data")
    assert "raise ValueError" in log(record, stream="stderr")


def test_an_image_without_a_python_is_told(ran: Ran) -> None:
    attempt = last(ran("with af.job('a'):\n    af.python(hello, 'you')", image=NAMES["busybox"]))
    assert attempt.exit_code == 127
    assert "no such program" in str(attempt.reason)


def test_an_image_without_the_urls_package_is_told(ran: Ran) -> None:
    record = ran(HELLO, image=NAMES["python"])
    assert "needs the package fsspec in the job's python" in str(last(record).reason)


def test_an_image_with_another_python_is_told(ran: Ran) -> None:
    record = ran("with af.job('a'):\n    af.python(lambda: 1)", image=NAMES["python_later"])
    assert "was pickled by Python" in str(last(record).reason)
    plain = ran("with af.job('a'):\n    af.python(hello, 'you')", image=NAMES["python_later"])
    assert log(plain) == "hello you data\n"  # what is imported by name needs no pickle


def test_artifacts_that_pods_do_not_reach_are_told(ran: Ran) -> None:
    """What only the pod can find out: here the URL is good, and there its server is not."""
    record = ran(HELLO, env={"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"})
    assert str(last(record).state) == "FAILED"
    assert "cannot be written: EndpointConnectionError" in str(last(record).reason)
    assert "http://127.0.0.1:9" in str(last(record).reason)
