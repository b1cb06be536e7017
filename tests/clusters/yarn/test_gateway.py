"""A cluster behind a gateway: the client knows the gateway alone, nodes use the services themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yarn_bed import Bed
from yarn_gateway import Gateway
from yarn_runs import Workflow
from yarn_tls import Certificate

PLATFORM = 6
PASSWORD = "a password for the gateway"


@pytest.fixture
def gateway(bed: Bed, tmp_path: Path) -> Iterator[tuple[Gateway, dict[str, Any]]]:
    """It, and the config of jobs behind it."""
    certificate = Certificate(tmp_path / "tls")
    certificate.make()
    with Gateway(bed, certificate, "root", PASSWORD) as made:
        yield (
            made,
            {
                "resource_manager": f"{made.url}/resourcemanager",
                "webhdfs": f"{made.url}/webhdfs/v1",
                "gateway": {"user": "root", "password": {"secret": "env:GATEWAY"}},
                "ca": str(certificate.ca),
                "insecure_nodes": ["127.0.0.1"],  # whose logs are read without it
            },
        )


def test_jobs(workflow: Workflow, bed: Bed, gateway: tuple[Gateway, dict[str, Any]]) -> None:
    server, config = gateway
    workflow.env["GATEWAY"] = PASSWORD
    workflow.write({"well": "echo out", "badly": "exit 3"}, config)
    shown = workflow.call("render", str(workflow.project), "--json")
    record = workflow.run()
    assert record["jobs"]["well"]["state"] == "FINISHED", record["said"]
    assert record["jobs"]["badly"]["attempts"][0]["exit_code"] == 3
    assert workflow.log(record, "well") == "out\n"
    assert any(path.startswith("/gateway/bed/webhdfs/data/v1/") for path in server.paths)  # what DataNodes got
    kept = [path.read_bytes() for path in workflow.project.parent.rglob("*") if path.is_file()]
    said = (record["said"] + shown.stdout + shown.stderr).encode()
    assert shown.returncode == 0
    assert not any(PASSWORD.encode() in each for each in (*kept, said))


def test_artifacts(workflow: Workflow, gateway: tuple[Gateway, dict[str, Any]]) -> None:
    """Nodes read and write them without the gateway."""
    workflow.env["GATEWAY"] = PASSWORD
    record = workflow.write_chain(**gateway[1]).run()
    assert record["exit"] == 0, record["said"]
    assert workflow.log(record, "read") == "499500\n"


def test_a_wrong_password(workflow: Workflow, gateway: tuple[Gateway, dict[str, Any]]) -> None:
    workflow.env["GATEWAY"] = "another one"
    record = workflow.write({"job": "true"}, gateway[1]).run()
    assert record["exit"] == PLATFORM, record["said"]
    assert "does not know who asks (401)" in record["said"]
    assert "gateway:" in record["said"]
    assert gateway[0].paths == []
