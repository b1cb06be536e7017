"""Calls to the cluster that wait hold up no others, and end. A fake: its nodes give logs late, or never."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from typing import Any

import pytest
from fake_cluster import Cluster

from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_run
from aiflow_ext_kubernetes.logs import nodes

CONFIG = {"platform": "kubernetes", "engine": "cmd_line", "image": "x", "namespace": "n"}
REFUSED = "dial tcp 10.0.0.1:10250: connect: connection refused"


def test_jobs_are_submitted_while_a_node_gives_no_log(project: Any, cluster: Cluster) -> None:
    names = ["first", "second", "third", "fourth"]
    body = "".join(f"with af.job({name!r}): af.cmd('true')\n" for name in names)
    after = "".join(f"af.run_after({name!r}, {before!r})\n" for before, name in pairwise(names))
    project.jobs(body + after, json.dumps({"*": CONFIG, **{name: {} for name in names}}))
    submitted: list[bool] = []

    def all_have_pods() -> bool:
        return sum("-pod" in path for path in cluster.created) == len(names)

    def before_log(pod: str) -> None:
        if "first" in pod:
            with cluster.changed:
                submitted.append(cluster.changed.wait_for(all_have_pods, 25))  # less than a log is waited for

    cluster.before_log = before_log
    record = prepare_run(project.root, jobs=8).driver.run()
    assert {job.state for job in record.jobs.values()} == {JobState.FINISHED}
    assert submitted == [True]
    assert project.log("first") == b"said\n"


def test_a_run_ends_though_a_node_never_gives_its_logs_and_says_so(
    project: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(nodes, "PATIENCE", 0.0)
    cluster.before_log = lambda pod: REFUSED if "-a-" in pod else None
    body = "with af.job('a'): af.cmd('true')\nwith af.job('b'): af.cmd('true')"
    project.jobs(body, json.dumps({"*": CONFIG, "a": {}, "b": {}}))
    record = prepare_run(project.root).driver.run()
    assert {job.state for job in record.jobs.values()} == {JobState.FINISHED}
    assert all(job.attempts[0].cleaned for job in record.jobs.values())
    words = "node node did not answer when the log was to be kept; lines may be missing"
    assert (project.log("a"), project.log("a", stream="stderr")) == (b"", f"[aiflow-ext: {words}]\n".encode())
    assert project.log("b") == b"said\n"
    assert any(words in message for message in caplog.messages)
    assert cluster.objects == {}


def test_logs_are_fetched_by_no_more_than_half_of_the_calls(project: Any, cluster: Cluster) -> None:
    names = [f"j{number}" for number in range(60)]
    body = "".join(f"with af.job({name!r}): af.cmd('true')\n" for name in names)
    project.jobs(body, json.dumps({"*": CONFIG, **{name: {} for name in names}}))
    lock, at_once, most = threading.Lock(), [0], [0]

    def before_log(pod: str) -> None:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        threading.Event().wait(0.02)
        with lock:
            at_once[0] -= 1

    cluster.before_log = before_log
    record = prepare_run(project.root, jobs=60).driver.run()
    assert {job.state for job in record.jobs.values()} == {JobState.FINISHED}
    assert most[0] <= 8
    created = [path.rpartition("/")[2] for path in cluster.created if "/jobs/" in path]
    assert len(created) == len(set(created)) == 60
