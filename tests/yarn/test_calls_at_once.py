"""Calls to the cluster at once: what waits holds up no submission, and what is sent once a run is sent once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from cluster_server import Cluster

from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_run
from aiflow_ext_yarn import logs


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


def config(cluster: Cluster, names: list[str], **keys: Any) -> str:
    shared = {"platform": "yarn", "user": "ada", "resource_manager": cluster.url, "webhdfs": cluster.url, **keys}
    return json.dumps({"*": shared, **{name: {} for name in names}})


def test_jobs_are_submitted_while_a_node_gives_no_log(
    project: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "SILENT", 120.0)  # seconds for which an answer is waited for
    names = ["first", "second", "third", "fourth"]
    body = "".join(f"with af.job({name!r}): af.cmd('true')\n" for name in names)
    after = "".join(f"af.run_after({name!r}, {before!r})\n" for before, name in pairwise(names))
    project.jobs(body + after, config(cluster, names, engine="cmd_line"))
    all_submitted, waited = threading.Event(), list[bool]()

    def before(path: str) -> None:
        if "/logs/" in path and cluster.submitted[0].removeprefix("application") in path:
            waited.append(all_submitted.wait(100))
        elif path.startswith("/ws/v1/cluster/apps") and len(set(cluster.submitted)) == len(names):
            all_submitted.set()

    cluster.before = before
    record = prepare_run(project.root, jobs=8).driver.run()
    assert {job.state for job in record.jobs.values()} == {JobState.FINISHED}
    assert set(waited) == {True}
    assert project.log("first") == b"hello\n"


def test_jobs_that_are_submitted_at_once_send_their_project_once(project: Any, cluster: Cluster) -> None:
    names = [f"j{number}" for number in range(24)]
    body = "".join(f"with af.job({name!r}): af.python(one)\n" for name in names)
    project.jobs(body, config(cluster, names, engine="python"), "def one():\n    pass\n")
    record = prepare_run(project.root, jobs=24).driver.run()
    assert {job.state for job in record.jobs.values()} == {JobState.FINISHED}
    assert len(cluster.submitted) == len(set(cluster.submitted)) == 24
    shared = [path for path in cluster.created if "/application_" not in path]
    assert shared
    assert len(shared) == len(set(shared))
