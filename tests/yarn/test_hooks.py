"""Every hook takes what it needs from the jobs that it gets: the plugin keeps nothing between two calls but caches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_server import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


def test_a_run_whose_caches_are_dropped_before_every_hook(
    project, run_json, cli_env, cluster: Cluster, tmp_path: Path
) -> None:
    called = tmp_path / "called"
    cli_env |= {"PYTHONPATH": str(Path(__file__).parent), "HOOKS_CALLED": str(called)}
    shared = {"platform": "yarn", "resource_manager": cluster.url, "webhdfs": cluster.url, "user": "ada"}
    config = {"*": shared, "one": {"engine": "cmd_line"}, "two": {"engine": "python"}}
    body = (
        "with af.job('one'):\n    af.cmd('true')\nwith af.job('two'):\n    af.python(two)\naf.run_after('two', 'one')"
    )
    project.jobs(body, json.dumps(config), "import forgetful\n\n\ndef two():\n    pass\n")

    record = run_json(project)

    assert {name: job["state"] for name, job in record["jobs"].items()} == {"one": "FINISHED", "two": "FINISHED"}
    assert len(cluster.submitted) == len(set(cluster.submitted)) == 2
    for once in ("/aiflow-am-", "/project-"):  # sent once a run all the same: what is there is found
        assert sum(once in path for path in cluster.created) == 1
    assert cluster.files == {}  # and removed with the run
    assert project.log("two") == b"hello\n"
    hooks = called.read_text().split()
    assert {"check_platform", "allocate_id", "submit_job", "watch", "cleanup_job", "cleanup_run"} <= set(hooks)
