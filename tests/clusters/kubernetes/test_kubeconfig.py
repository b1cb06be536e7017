"""A run and the kubeconfig that leads to its cluster, on real clusters: a login that fails in the middle of the run,
another cluster under the same name, and files as kubectl reads them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gated_run import Run
from kubernetes_bed import Bed

from aiflow_ext_kubernetes.access import OPTIONAL, RULES

Cli = Callable[..., subprocess.CompletedProcess[str]]
VERSION = "client.authentication.k8s.io/v1"
ROLE = [{"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)}
        for rule in (*RULES, *OPTIONAL)]  # fmt: skip


@pytest.fixture(scope="module")
def other_bed(bed_session: Bed) -> Iterator[Bed]:
    """A second cluster."""
    bed = Bed(f"{bed_session.name}2")
    ours = bed.up()
    yield bed
    if ours:
        bed.down()


def contexts(folder: Path, **beds: Bed) -> Path:
    """Write a kubeconfig whose contexts lead to these clusters; the first one is the current one."""
    made: dict[str, Any] = {"clusters": [], "users": [], "contexts": [], "current-context": next(iter(beds))}
    for name, bed in beds.items():
        content = json.loads(bed.kubeconfig.read_text())
        made["clusters"].append({**content["clusters"][0], "name": name})
        made["users"].append({**content["users"][0], "name": name})
        made["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    (folder / "new").write_text(json.dumps(made))
    return (folder / "new").rename(folder / "kubeconfig")


def asked(bed: Bed, since: int, namespace: str) -> list[dict[str, Any]]:
    """What aiflow-ext has asked a cluster, about a namespace and what is in it."""
    return bed.audit_log(since, agent="aiflow-ext", namespace=namespace)


# -- another cluster --------------------------------------------------------------------------------------------------


def test_another_current_context_is_no_matter_to_a_run(bed: Bed, other_bed: Bed, run: Run, tmp_path: Path) -> None:
    mark = other_bed.audit_mark()
    run.begin(contexts(tmp_path, one=bed, two=other_bed), 3, at_once=1)
    run.up(1)
    contexts(tmp_path, two=other_bed, one=bed)  # kubectl config use-context two
    run.resume()
    run.ran_once(run.finish())
    assert other_bed.audit_log(mark, agent="aiflow-ext") == []


def test_a_context_that_leads_to_another_cluster_is_refused_with_both_names(
    bed: Bed, other_bed: Bed, run: Run, cli: Cli, tmp_path: Path
) -> None:
    run.begin(contexts(tmp_path, one=bed), 1)
    run.up(1)
    assert run.driver is not None
    run.driver.kill()
    run.driver.wait()
    mark = other_bed.audit_mark()
    contexts(tmp_path, one=other_bed)
    here = ["latest", "--project", str(run.project.root)]
    for command in (["resume"], ["resume", "--failed"], ["resume", "--detach"], ["stop"]):
        done = cli(*command, *here, env=run.env)
        assert done.returncode == 6, done.stdout + done.stderr
        for each in (bed, other_bed):
            uid = each.api.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
            assert f"{each.layout.server} ({uid})" in done.stderr
    attempt = run.status()["j0"]["attempts"][-1]
    assert (attempt["unreachable"], other_bed.layout.server in attempt["reason"]) == (True, True)
    assert {record["objectRef"]["resource"] for record in asked(other_bed, mark, run.namespace)} == {"namespaces"}
    contexts(tmp_path, one=bed)
    done = cli("stop", "--grace", "1", *here, env=run.env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert run.status()["j0"]["state"] == "STOPPED"
    assert bed.api.get(f"/api/v1/namespaces/{run.namespace}/pods")["items"] == []
    assert (run.count("start"), run.count("end")) == ({("j0", 1): 1}, {})


# -- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fails", "is not installed"])
def test_a_login_that_fails_in_the_middle_of_a_run_costs_nothing(
    bed: Bed, run: Run, allowed: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    """What it gives has always expired, so that each request needs a new login."""
    kubeconfig = allowed(ROLE)
    content = json.loads(kubeconfig.read_text())
    status = {**content["users"][0]["user"], "expirationTimestamp": "2026-01-01T00:00:00Z"}
    said, program = tmp_path / "said", tmp_path / "login"
    said.write_text(json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status}))
    program.write_text(f"#!/bin/sh\ncat {said} 2>/dev/null || {{ echo the badge has expired >&2; exit 1; }}\n")
    program.chmod(0o755)
    content["users"][0]["user"] = {"exec": {"apiVersion": VERSION, "command": "./login", "interactiveMode": "Never"}}
    kubeconfig.write_text(json.dumps(content))
    mark = bed.audit_mark()
    run.begin(kubeconfig, 3, at_once=2)
    run.up(2)
    missing, words = (said, "the badge has expired") if how == "fails" else (program, "No such file or directory")
    missing.rename(tmp_path / "away")
    run.release()  # jobs end while nobody can see it
    run.says(lambda attempt: attempt["unreachable"] and words in attempt["reason"], 180)
    (tmp_path / "away").rename(missing)
    run.ran_once(run.finish())
    users = {record["user"]["username"] for record in bed.audit_log(mark, agent="aiflow-ext")}
    assert users == {f"system:serviceaccount:{run.namespace}:tester"}


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["KUBECONFIG", "kubeconfig:"])
def test_files_proxies_and_another_user_are_read_as_kubectl_reads_them(
    bed: Bed, project: Any, cli: Cli, cli_env: dict[str, str], allowed: Callable[..., Path], namespace: str, how: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Several files, the context in the last one, relative certificates; a proxy that is dead and a network that is
    reached without it; an administrator who acts as somebody else."""
    allowed(ROLE)
    tester = f"system:serviceaccount:{namespace}:tester"
    clusters, users = project.root / "clusters", project.root / "users"
    for folder, names in ((clusters, ["ca.crt"]), (users, ["admin.crt", "admin.key"])):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes((bed.layout.pki / name).read_bytes())
    cluster = {"server": bed.layout.server, "certificate-authority": "ca.crt"}
    user = {"client-certificate": "admin.crt", "client-key": "admin.key", "as": tester}
    wrong = {"server": "https://127.0.0.1:9"}
    (clusters / "config").write_text(json.dumps({"clusters": [{"name": "c", "cluster": cluster}]}))
    (users / "config").write_text(json.dumps({
        "clusters": [{"name": "c", "cluster": wrong}], "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "current-context": "x",
    }))  # fmt: skip
    env = {**cli_env, "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": f"example.com,{bed.layout.network}"}
    names = ["clusters/config", "missing", "users/config"]
    config = {"platform": "kubernetes", "engine": "cmd_line", "image": "localhost/busybox:1"}
    if how == "kubeconfig:":
        config["kubeconfig"] = os.pathsep.join(names)
        env["KUBECONFIG"] = str(tmp_path / "nothing")
    else:
        env["KUBECONFIG"] = os.pathsep.join(str(project.root / name) for name in names)
        kubectl = [bed.environment()["kubectl"], "get", "jobs"]
        assert subprocess.run(kubectl, env=env, capture_output=True).returncode == 0
    project.jobs("with af.job('job'):\n    af.cmd('true')", json.dumps({"job": config}))
    mark = bed.audit_mark()
    done = cli("run", project.root, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = asked(bed, mark, namespace)
    assert {record["impersonatedUser"]["username"] for record in records} == {tester}
