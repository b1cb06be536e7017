"""Pods that a real cluster's admission never lets in: they are reported before the run by credentials that may create
pods; by others the attempt fails, with the API server's words.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES

from aiflow_ext.run import prepare_run
from aiflow_ext_kubernetes import watch
from aiflow_ext_kubernetes.access import RULES

ROLE = [{"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)} for rule in RULES]
MAY_CREATE = [*ROLE, {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]
LIMITS = {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
WORDS = {
    "root": 'violates PodSecurity "restricted:latest": runAsNonRoot != true',
    "large": "maximum memory usage per Container is 64Mi, but limit is 128Mi",
    "vague": "failed quota: strict: must specify limits.cpu for: job",
    "nobody": 'error looking up service account {namespace}/nobody: serviceaccount "nobody" not found',
    "urgent": "no PriorityClass with name urgent was found",
}


@pytest.fixture
def jobs(bed: Bed, tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """``jobs(rules)``: jobs' configs, each with credentials that may do what these rules of a Role allow."""
    with ExitStack() as stack:
        spaces = {job: stack.enter_context(bed.namespace(RESTRICTED if job == "root" else None))
                  for job in ("root", "large", "vague", "nobody")}  # fmt: skip
        spaces["urgent"] = spaces["nobody"]
        core = "/api/v1/namespaces"
        bed.api.create(f"{core}/{spaces['large']}/limitranges", {"metadata": {"name": "small"}, "spec": LIMITS})
        quota = {"metadata": {"name": "strict"}, "spec": {"hard": {"limits.cpu": "8"}}}
        bed.api.create(f"{core}/{spaces['vague']}/resourcequotas", quota)
        own: dict[str, dict[str, Any]] = {
            "root": {"user": 0},
            "large": {"memory": "128Mi"},
            "vague": {},
            "nobody": {"service_account": "nobody"},
            "urgent": {"pod_template": {"spec": {"priorityClassName": "urgent"}}},
        }

        def make(rules: list[dict[str, Any]]) -> dict[str, Any]:
            access = {space: bed.service_account(space, rules, tmp_path, f"of-{space}") for space in {*spaces.values()}}
            return {job: {"platform": "kubernetes", "engine": "cmd_line", "image": NAMES["busybox"],
                          "namespace": space, "kubeconfig": str(access[space]), **own[job]}
                    for job, space in spaces.items()}  # fmt: skip

        yield make


def fill(project: Any, configs: dict[str, Any]) -> None:
    body = "\n".join(f"with af.job({job!r}): af.cmd('true')" for job in configs)
    project.jobs(body, json.dumps(configs))


def test_what_admission_never_lets_in_is_reported_before_the_run(
    jobs: Callable[..., dict[str, Any]], project: Any, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    configs = jobs(MAY_CREATE)
    fill(project, configs)
    done = cli("run", project.root)
    assert done.returncode == 6, done.stdout + done.stderr
    for job, words in WORDS.items():
        assert words.format(**configs[job]) in done.stderr
    assert done.stderr.count("no pod of the job would be admitted: ") == len(WORDS)


def test_what_admission_never_lets_in_fails_with_its_words(
    jobs: Callable[..., dict[str, Any]], project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "REFUSED", 1.0)
    configs = jobs(ROLE)
    fill(project, configs)
    record = prepare_run(project.root, jobs=len(configs)).driver.run()
    for job, words in WORDS.items():
        last = record.jobs[job].last
        assert last is not None
        assert str(last.state) == "FAILED", record.summary()
        assert words.format(**configs[job]) in str(last.reason)
