"""What a stop of many jobs asks the API server. A fake server, which answers a list when the test lets it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_plus

from fake_cluster import Cluster
from interrupted import driven, until
from patience import PATIENCE

from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_run

JOBS = 40


def test_pods_of_jobs_that_are_stopped_at_once_are_listed_together(project: Any, cluster: Cluster) -> None:
    names = [f"j{number}" for number in range(JOBS)]
    body = "".join(f"with af.job({name!r}): af.cmd('sleep 1000')\n" for name in names)
    config = {"platform": "kubernetes", "engine": "cmd_line", "image": "x", "namespace": "n"}
    project.jobs(body, json.dumps({"*": config, **{name: {} for name in names}}))
    run = prepare_run(project.root, jobs=JOBS)
    driver = driven(run.driver.run)
    until(lambda: {str(job.state) for job in run.record.jobs.values()} == {"RUNNING"})
    before = len(cluster.asked)

    def asked(what: str) -> list[str]:
        return [each for each in map(unquote_plus, cluster.asked[before:]) if each.startswith(what)]

    def looked_for() -> int:
        return len(set(asked("GET /apis/batch/v1/namespaces/n/jobs/")))

    def before_list(path: str) -> None:
        if "/pods?" in path:  # each stop asks for its Job, then for its pods
            until(lambda: looked_for() == JOBS)

    cluster.before_list = before_list
    run.driver.stop(1.0)
    driver.join(PATIENCE)
    assert not driver.is_alive()
    assert {job.state for job in run.record.jobs.values()} == {JobState.STOPPED}
    assert cluster.objects == {}
    lists = [each for each in asked("GET /api/v1/namespaces/n/pods?") if "watch=" not in each]
    assert len(lists) < JOBS, lists
