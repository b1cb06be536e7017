"""What is wrong with a cluster, or with who asks it, is a sentence and an exit code before anything is sent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_bed import Api, ApiError, Bed
from kubernetes_bed.waiting import until

from aiflow_ext_kubernetes.access import RULES

Refused = Callable[..., str]


def role(leave_out: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The rules of our Role, without some verbs."""
    rules = []
    for rule in RULES:
        verbs = [verb for verb in rule.verbs if (leave_out or {}).get(rule.resource) != verb]
        if verbs:
            rules.append({"apiGroups": [rule.group], "resources": [rule.resource], "verbs": verbs})
    return rules


@pytest.fixture
def refused(project: Any, cli_env: dict[str, str], namespace: str, kubeconfig: Path, tmp_path: Path) -> Refused:
    """``refused(kubeconfig=None, **keys)``: what ``aiflow-ext run`` says; it ends with 6, and nothing was submitted."""

    def run(use: Path | str = kubeconfig, **keys: Any) -> str:
        config = {"platform": "kubernetes", "engine": "cmd_line", "image": "localhost/busybox:1",
                  "namespace": namespace, **keys}  # fmt: skip
        project.jobs("with af.job('job'):\n    af.cmd('true')", json.dumps({"job": config}))
        env = {**cli_env, "KUBECONFIG": str(use), "XDG_STATE_HOME": str(tmp_path / "state")}
        done = subprocess.run([sys.executable, "-m", "aiflow_ext", "run", str(project.root)], env=env,
                              capture_output=True, text=True, timeout=120)  # fmt: skip
        assert done.returncode == 6, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    return run


def changed(kubeconfig: Path, folder: Path, kind: str, **values: Any) -> Path:
    """A kubeconfig with other values of its ``cluster`` or ``user``."""
    content = yaml.safe_load(kubeconfig.read_text())
    thing = content[f"{kind}s"][0][kind]
    thing.update({key.replace("_", "-"): value for key, value in values.items()})
    path = folder / f"{kind}.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


def accepted(bed: Bed, kubeconfig: Path) -> bool:
    """Whether the API server takes the token of a kubeconfig."""
    config = json.loads(kubeconfig.read_text())
    api = Api(bed.layout.server, bed.layout.pki / "ca.crt", token=config["users"][0]["user"]["token"])
    try:
        api.get(f"/api/v1/namespaces/{config['contexts'][0]['context']['namespace']}/pods")
    except ApiError as error:
        return error.code != 401
    return True


def test_no_kubeconfig(refused: Refused, tmp_path: Path) -> None:
    said = refused(tmp_path / "none")
    assert f"there is no kubeconfig at {tmp_path / 'none'}" in said
    assert "KUBECONFIG" in said


def test_a_broken_kubeconfig(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("clusters: [")
    assert "the kubeconfig cannot be used" in refused(tmp_path / "broken")


def test_an_unknown_context(refused: Refused) -> None:
    said = refused(context="nowhere")
    assert "no context 'nowhere'" in said
    assert "its contexts are" in said


def test_a_server_that_does_not_answer(refused: Refused, kubeconfig: Path, tmp_path: Path) -> None:
    said = refused(changed(kubeconfig, tmp_path, "cluster", server="https://127.0.0.1:9"))
    assert "https://127.0.0.1:9 does not answer: [Errno 111] Connection refused" in said


def test_a_name_that_does_not_exist(refused: Refused, kubeconfig: Path, tmp_path: Path) -> None:
    assert "does not answer" in refused(changed(kubeconfig, tmp_path, "cluster", server="https://no-such.invalid:6443"))


def test_a_server_that_is_not_trusted(refused: Refused, kubeconfig: Path, bed: Bed, tmp_path: Path) -> None:
    content = yaml.safe_load(kubeconfig.read_text())
    content["clusters"][0]["cluster"].pop("certificate-authority-data", None)
    content["clusters"][0]["cluster"].pop("certificate-authority", None)
    path = tmp_path / "untrusted"
    path.write_text(yaml.safe_dump(content))
    said = refused(path)
    assert "is not trusted" in said
    assert "certificate-authority" in said


def test_a_server_of_another_name(refused: Refused, kubeconfig: Path, tmp_path: Path) -> None:
    said = refused(changed(kubeconfig, tmp_path, "cluster", tls_server_name="other.example"))
    assert "is not trusted: hostname 'other.example' doesn't match" in said
    assert "tls-server-name" in said


def test_what_is_no_api_server(refused: Refused, kubeconfig: Path, tmp_path: Path, bed: Bed) -> None:
    plain = bed.layout.server.replace("https://", "http://")
    said = refused(changed(kubeconfig, tmp_path, "cluster", server=plain))
    assert "Client sent an HTTP request to an HTTPS server" in said
    assert "see that the kubeconfig's address is right" in said


def test_a_context_without_credentials(refused: Refused, kubeconfig: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"][0]["user"] = {}
    path = tmp_path / "anonymous"
    path.write_text(yaml.safe_dump(content))
    said = refused(path)
    assert "names no credentials" in said
    assert "log in" in said


def test_a_credential_that_is_refused(refused: Refused, kubeconfig: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"][0]["user"] = {"token": "nobody"}
    path = tmp_path / "nobody"
    path.write_text(yaml.safe_dump(content))
    assert "does not accept the credentials (401)" in refused(path)


def test_a_login_program_that_fails(refused: Refused, kubeconfig: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(kubeconfig.read_text())
    exec_ = {"apiVersion": "client.authentication.k8s.io/v1", "command": "false", "interactiveMode": "Never"}
    content["users"][0]["user"] = {"exec": exec_}
    path = tmp_path / "exec"
    path.write_text(yaml.safe_dump(content))
    said = refused(path)
    assert "the login program 'false' of the kubeconfig fails: it ended with 1" in said


def test_a_missing_namespace(refused: Refused) -> None:
    said = refused(namespace="no-such-place")
    assert 'namespaces "no-such-place" not found' in said
    assert "namespace:" in said


@pytest.mark.parametrize(
    ("resource", "verb"),
    [("jobs", "patch"), ("pods/log", "get"), ("secrets", "create"), ("events", "list"), ("resourcequotas", "list")],
)
def test_a_missing_permission(refused: Refused, allowed: Callable[..., Path], resource: str, verb: str) -> None:
    said = refused(allowed(role({resource: verb})))
    assert f"no permission to {verb} {resource}" in said
    assert f'resources: ["{resource}"]' in said
    assert "render --rbac" in said


def test_the_role_is_enough_to_see_that_a_secret_is_missing(refused: Refused, allowed: Callable[..., Path]) -> None:
    said = refused(
        allowed(role()), pull_secrets=["regcred"], env_from=[{"secret": "settings"}, {"secret": "x", "optional": True}],
        volumes=[{"mount": "/mnt/db", "secret": "db"}], env={"TOKEN": {"secret": "kubernetes:hub/token"}},
    )  # fmt: skip
    for name, key in (("regcred", "pull_secrets"), ("settings", "env_from"), ("db", "volumes"), ("hub", "env")):
        assert f"the Secret {name!r}, which {key} names, is not in namespace" in said
    assert "create secret docker-registry regcred" in said
    assert "'x'" not in said


def test_what_no_quota_will_ever_let_in(
    refused: Refused, bed: Bed, namespace: str, allowed: Callable[..., Path]
) -> None:
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "500m", "limits.memory": "1Gi"}}}
    bed.api.create(f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    said = refused(allowed(role()), cpu=2, memory="2Gi")
    assert "more than the quota 'small'" in said
    assert "requests.cpu 2 of 0.5 (500m)" in said
    assert "limits.memory" in said


def test_a_token_that_has_run_out(refused: Refused, allowed: Callable[..., Path], bed: Bed) -> None:
    kubeconfig = allowed(role(), seconds=1)
    assert until(lambda: not accepted(bed, kubeconfig), 60)
    assert "does not accept the credentials (401): Unauthorized; the token expired at 20" in refused(kubeconfig)


def test_a_certificate_that_has_run_out(refused: Refused, kubeconfig: Path, bed: Bed, tmp_path: Path) -> None:
    key, request, certificate = (tmp_path / name for name in ("key", "request", "certificate"))
    made = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request,
            "-subj", "/O=system:masters/CN=late"]  # fmt: skip
    signed = ["x509", "-req", "-in", request, "-out", certificate, "-days", "0", "-CAcreateserial",
              "-CAserial", tmp_path / "serial", "-CA", bed.layout.pki / "ca.crt",
              "-CAkey", bed.layout.pki / "ca.key"]  # fmt: skip
    for arguments in (made, signed):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"][0]["user"] = {"client-certificate": str(certificate), "client-key": str(key)}
    late = tmp_path / "late"
    late.write_text(yaml.safe_dump(content))
    assert until(lambda: "the client certificate expired at 20" in refused(late), 10)


def test_a_field_that_the_cluster_does_not_know(refused: Refused) -> None:
    said = refused(pod_template={"spec": {"teleport": True}})
    assert "unknown field" in said
    assert "the pod template says something that the cluster does not take" in said


def test_what_the_cluster_does_not_take(refused: Refused) -> None:
    said = refused(tolerations=[{"key": "a", "operator": "Perhaps"}])
    assert "Perhaps" in said


def test_nothing_was_sent(refused: Refused, bed: Bed, namespace: str, allowed: Callable[..., Path]) -> None:
    refused(allowed(role({"jobs": "patch"})))
    assert bed.api.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"] == []
