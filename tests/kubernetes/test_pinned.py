"""A run stays in the cluster in which it began, whatever the kubeconfig says later. Fakes: there can be two of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import Cluster, serving
from interrupted import driven
from patience import PATIENCE

from aiflow_ext.model.errors import PlatformError
from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_run
from aiflow_ext.testing.caches import drop_caches
from aiflow_ext_kubernetes import objects
from aiflow_ext_kubernetes.pinned import of_run
from aiflow_ext_kubernetes.refusals import AnotherClusterError
from aiflow_ext_kubernetes.server import server_of
from aiflow_ext_kubernetes.target import Target


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Cluster]]:
    """Two clusters; KUBECONFIG names both, and the first one is the current one."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with serving() as first, serving() as second:
        first.uids = {"kube-system": "uid-first", "n": "n-first"}
        second.uids = {"kube-system": "uid-second", "n": "n-second"}
        contexts(tmp_path, first=first.url, second=second.url)
        yield first, second


def contexts(folder: Path, token: str = "SECRET-TOKEN", **urls: str) -> None:
    """Write the kubeconfig: contexts with their servers, the first one being the current one."""
    (folder / "kubeconfig").write_text(json.dumps({
        "clusters": [{"name": name, "cluster": {"server": url}} for name, url in urls.items()],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me", "namespace": "n"}} for name in urls],
        "current-context": next(iter(urls)),
    }))  # fmt: skip


def later(folder: Path) -> Target:
    """The run's target, in a process of its own."""
    drop_caches("aiflow_ext_kubernetes")
    return of_run(Target(), str(folder))


def test_the_context_of_a_run_stays_though_another_one_is_used(two: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    first, second = two
    assert server_of(later(tmp_path)).url == first.url
    contexts(tmp_path, second=second.url, first=first.url)
    objects.pods_of(later(tmp_path), "j")
    assert first.asked[-1].startswith("GET /api/v1/namespaces/n/pods")
    assert second.asked == []
    (record,) = tmp_path.glob("kubernetes-*.json")
    assert "SECRET-TOKEN" not in record.read_text()
    assert record.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("readable", [["kube-system", "n"], ["n"], ["kube-system"]])
@pytest.mark.parametrize("how", ["the context leads elsewhere", "the context is gone"])
def test_another_cluster_is_refused_with_both_names(
    two: tuple[Cluster, Cluster], tmp_path: Path, readable: list[str], how: str
) -> None:
    first, second = two
    for each in two:
        each.uids = {name: uid for name, uid in each.uids.items() if name in readable}
    later(tmp_path)
    contexts(tmp_path, **({"first": second.url} if how == "the context leads elsewhere" else {"x": second.url}))
    with pytest.raises(AnotherClusterError) as raised:
        objects.pods_of(later(tmp_path), "j")
    assert first.url in str(raised.value)
    assert second.url in str(raised.value)
    assert not [asked for asked in second.asked if "/pods" in asked]
    contexts(tmp_path, first=first.url)
    assert objects.pods_of(of_run(Target(), str(tmp_path)), "j") == []  # mended, and the same process goes on


@pytest.mark.parametrize("readable", [["kube-system", "n"], ["n"]])
def test_another_address_of_the_same_cluster_is_gone_on_with(
    two: tuple[Cluster, Cluster], tmp_path: Path, readable: list[str]
) -> None:
    first, second = two
    first.uids = {name: uid for name, uid in first.uids.items() if name in readable}
    second.uids = first.uids
    later(tmp_path)
    contexts(tmp_path, first=second.url)
    objects.pods_of(later(tmp_path), "j")
    contexts(tmp_path, named_otherwise=second.url)
    objects.pods_of(later(tmp_path), "j")
    assert len([asked for asked in second.asked if "/pods" in asked]) == 2


def test_where_nothing_tells_clusters_apart_their_address_does(two: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    first, second = two
    first.uids, second.uids = {}, {}
    later(tmp_path)
    objects.pods_of(later(tmp_path), "j")
    contexts(tmp_path, first=second.url)
    with pytest.raises(AnotherClusterError, match=r"cannot be told\n.*the Role needs to get namespaces"):
        objects.pods_of(later(tmp_path), "j")


def test_credentials_that_are_renewed_are_not_used_for_another_cluster(
    two: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    first, second = two
    target = later(tmp_path)
    objects.pods_of(target, "j")
    first.refuses = True
    contexts(tmp_path, second=second.url, first=first.url)  # kubectl config use-context
    with pytest.raises(PlatformError, match="401"):
        objects.pods_of(target, "j")
    assert second.asked == []
    contexts(tmp_path, first=second.url)
    with pytest.raises(AnotherClusterError):
        objects.pods_of(target, "j")
    assert not [asked for asked in second.asked if "/pods" in asked]
    second.uids = first.uids
    objects.pods_of(target, "j")
    assert second.asked[-1].startswith("GET /api/v1/namespaces/n/pods")


def test_a_resume_in_another_cluster_is_refused_with_both_names(
    project: Any, cli: Callable[..., Any], cli_env: dict[str, str], two: tuple[Cluster, Cluster], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, second = two
    run_id = left(project, first, cli_env["XDG_STATE_HOME"], monkeypatch)
    cli_env["KUBECONFIG"] = str(tmp_path / "kubeconfig")
    contexts(tmp_path, first=second.url)
    for options in ([], ["--detach"], ["--failed"]):
        refused = cli("resume", run_id, "--project", str(project.root), *options, env=cli_env)
        assert refused.returncode == 6, refused.stdout + refused.stderr
        assert f"{second.url} (uid-second)" in refused.stderr
        assert f"{first.url} (uid-first)" in refused.stderr
    assert second.created == []
    assert not [asked for asked in second.asked if "/namespaces/n/" in asked]
    contexts(tmp_path, first=first.url)
    stopped = cli("stop", run_id, "--project", str(project.root), env=cli_env)
    assert stopped.returncode == 0, stopped.stderr


def left(project: Any, cluster: Cluster, state: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run whose driver has left its only job running."""
    monkeypatch.setenv("XDG_STATE_HOME", state)
    project.jobs("with af.job('a'):\n    af.cmd('sleep 1000')",
                 json.dumps({"a": {"platform": "kubernetes", "engine": "cmd_line", "image": "x"}}))  # fmt: skip
    drop_caches("aiflow_ext_kubernetes")
    run = prepare_run(project.root)
    driver = driven(run.driver.run)
    with cluster.changed:
        assert cluster.changed.wait_for(lambda: any("/pods/" in path for _, path, _ in cluster.events), 60)
    run.driver.leave()
    driver.join(PATIENCE)
    run.close()
    return str(run.record.run_id)


def test_a_stop_after_another_context_was_chosen_stops_the_runs_own_pod(
    project: Any, cli: Callable[..., Any], cli_env: dict[str, str], two: tuple[Cluster, Cluster], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, second = two
    run_id = left(project, first, cli_env["XDG_STATE_HOME"], monkeypatch)
    cli_env["KUBECONFIG"] = str(tmp_path / "kubeconfig")
    contexts(tmp_path, second=second.url, first=first.url)
    stopped = cli("stop", run_id, "--project", str(project.root), "--json", env=cli_env)
    assert stopped.returncode == 0, stopped.stderr
    assert json.loads(cli("status", run_id, "--project", str(project.root), "--json", env=cli_env).stdout)[
        "jobs"][0]["state"] == JobState.STOPPED.name  # fmt: skip
    assert not [path for path in first.objects if "/pods/" in path]
    assert second.created == []
