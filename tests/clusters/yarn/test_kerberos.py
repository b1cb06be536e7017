"""A cluster secured with Kerberos, as operators have them: SPNEGO, delegation tokens, their renewal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from yarn_bed import Bed
from yarn_runs import Workflow

pytestmark = pytest.mark.thorough
pytest.importorskip("krb5", reason="pip install 'aiflow-ext-yarn[kerberos]', which builds against libkrb5-dev")

PLATFORM = 6


@pytest.fixture(scope="module")
def secure(no_cluster) -> Iterator[Bed]:  # type: ignore[no-untyped-def]
    """A bed with a realm of its own, and this process with a ticket of ada's."""
    from yarn_hadoop import BedError

    kept = {name: os.environ.get(name) for name in ("KRB5_CONFIG", "KRB5CCNAME")}
    bed = Bed("kerberos", 28400, kerberos=True)
    there = any(bed.status().values())
    try:
        bed.up()
        yield bed
    except BedError as error:
        no_cluster(f"the secured YARN bed does not come up: {error}")
    finally:
        if not there:
            bed.down()
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.fixture
def workflow(secure: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project of ada's on it."""
    made = Workflow(tmp_path, secure)
    del made.env["HADOOP_USER_NAME"]
    made.env["USER"] = made.env["LOGNAME"] = "ada"
    yield made
    made.close()


def test_jobs(workflow: Workflow, secure: Bed) -> None:
    """Files by SPNEGO, the start marker by a delegation token, which the ResourceManager has renewed as itself."""
    workflow.write({"well": "id -un", "badly": "exit 3"})
    record = workflow.run()
    assert record["jobs"]["well"]["state"] == "FINISHED", record["said"]
    assert record["jobs"]["badly"]["attempts"][0]["exit_code"] == 3
    assert workflow.each("start") == workflow.each("end") == {"well": 1, "badly": 1}
    apps = secure.json(f"{secure.rm}/ws/v1/cluster/apps")["apps"]["app"]
    assert {app["user"] for app in apps} == {"ada"}
    assert "Renewed delegation-token" in secure.log("rm")
    # This bed's NodeManager cannot read logs (yarn_settings.secured), which is told, and no harm to the run.
    assert "cannot be had" in record["said"]


def test_no_ticket(workflow: Workflow) -> None:
    workflow.env["KRB5CCNAME"] = "FILE:/nonexistent/tickets"
    record = workflow.write({"job": "true"}).run()
    assert record["exit"] == PLATFORM, record["said"]
    assert "no Kerberos ticket" in record["said"]
    assert "kinit" in record["said"]


def test_simple_authentication_is_not_enough(workflow: Workflow) -> None:
    record = workflow.write({"job": "true"}, {"authentication": "simple"}).run()
    assert record["exit"] == PLATFORM, record["said"]
    assert "asks for Kerberos: give authentication: kerberos" in record["said"]
