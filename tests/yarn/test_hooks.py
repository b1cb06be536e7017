"""Every hook takes what it needs from the jobs that it gets: the plugin keeps nothing between two calls but caches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_server import Cluster
from interrupted import ENDS, run_interrupted

from aiflow_ext.testing.caches import forgetting
from aiflow_ext_yarn.plugin import YarnJobPlugin


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.mark.slow
def test_a_run_that_is_left_resumed_and_stopped_needs_nothing_that_is_remembered(
    project: Any, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shared = {"platform": "yarn", "resource_manager": cluster.url, "webhdfs": cluster.url, "user": "ada"}
    with forgetting(YarnJobPlugin, "aiflow_ext_yarn") as called:
        assert run_interrupted(project, shared) == ENDS
    assert len(cluster.submitted) == len(set(cluster.submitted)) == len(ENDS)
    for once in ("/aiflow-am-", "/project-"):  # sent once a run all the same: what is there is found
        assert sum(once in path for path in cluster.created) == 1
    assert cluster.files == {}  # and removed with the run
    assert project.log("two") == b"hello\n"
    wanted = {"check_platform", "allocate_id", "submit_job", "attach", "watch", "cleanup_job", "cleanup_run"}
    assert wanted <= set(called)
