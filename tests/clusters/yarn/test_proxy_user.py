"""A user who acts for another one, as far as the daemons accept it: files and applications belong to that one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yarn_settings as settings
from yarn_bed import Bed
from yarn_runs import Workflow

PLATFORM = 6


@pytest.fixture(scope="module")
def proxied(session_bed: Bed) -> Bed:
    """The bed with web services that accept doAs; root may act for everybody."""
    session_bed.just(sites=settings.proxied())
    for path, options in (("/user", "permission=755"), ("/user/grace", "permission=700")):
        session_bed.json(f"{session_bed.webhdfs}{path}?op=MKDIRS&{options}&user.name=root", "PUT")
    session_bed.json(f"{session_bed.webhdfs}/user/grace?op=SETOWNER&owner=grace&user.name=root", "PUT")
    return session_bed


@pytest.fixture
def acting(proxied: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on it."""
    made = Workflow(tmp_path, proxied)
    yield made
    made.close()


@pytest.mark.thorough
def test_files_and_applications_belong_to_the_user_acted_for(acting: Workflow, proxied: Bed) -> None:
    run = acting.write({"job": f"{acting.until('go')}; echo done"}, {"proxy_user": "grace"}).begin()
    acting.wait(lambda: run.poll() is not None or acting.count("start") == 1)
    assert run.poll() is None, run.communicate()
    app = acting.newest()
    staging = f"{proxied.webhdfs}/user/grace/.aiflow?op=LISTSTATUS&user.name=root"
    folders: list[dict[str, Any]] = proxied.json(staging)["FileStatuses"]["FileStatus"]
    acting.put("go")
    record = acting.finish(run)
    assert record["jobs"]["job"]["state"] == "FINISHED", record
    assert app["user"] == "grace"
    assert [(each["pathSuffix"], each["owner"]) for each in folders] == [(record["run"], "grace")]
    assert acting.log(record, "job") == "done\n"


@pytest.mark.thorough
def test_whoever_may_not_act_for_another_user_is_told_before_the_run(acting: Workflow) -> None:
    acting.env["HADOOP_USER_NAME"] = "eve"
    record = acting.write({"job": "true"}, {"proxy_user": "grace"}).run()
    assert record["exit"] == PLATFORM, record["said"]
    assert "does not let 'eve' act for 'grace' (proxy_user)" in record["said"]
    assert "hadoop.proxyuser.eve.hosts" in record["said"]
    assert acting.count("start") == 0


def test_a_resourcemanager_that_ignores_for_whom_is_told_before_the_run(workflow: Workflow) -> None:
    record = workflow.write({"job": "true"}, {"proxy_user": "root", "user": "grace", "staging": "/tmp/root"}).run()
    assert record["exit"] == PLATFORM, record["said"]
    assert (
        "'grace' cannot act for 'root' (proxy_user): the ResourceManager takes the requests for 'grace'"
        in (record["said"])
    )
    assert workflow.count("start") == 0
