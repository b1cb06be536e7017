"""Credentials, proxies and kubeconfigs as kubectl reads them; no request goes out without what the config asks for."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hostile_server import Answer, Asked, HostileServer
from interrupted import until
from patience import PATIENCE

from aiflow_ext.model.errors import PlatformError, UnreachableError
from aiflow_ext_kubernetes import login as login_program
from aiflow_ext_kubernetes import objects
from aiflow_ext_kubernetes import oidc as oidc_tokens
from aiflow_ext_kubernetes.proxies import proxy_of
from aiflow_ext_kubernetes.target import Target

Serve = Callable[..., HostileServer]
Hung = tuple[dict[str, Any], Path, Callable[[], None]]
VERSION = "client.authentication.k8s.io/v1"
EMPTY = b'{"metadata": {}, "items": []}'


def login(path: Path, status: dict[str, Any]) -> dict[str, Any]:
    """A user whose login program gives what is in a file, which the test changes."""
    path.write_text(json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status}))
    return {"exec": {"apiVersion": VERSION, "command": "cat", "args": [str(path)], "interactiveMode": "Never"}}


def accepts(*tokens: str) -> Callable[[Asked], Answer]:
    """A server that takes these tokens, refuses others, and tells who comes without as real ones do."""

    def answer(asked: Asked) -> Answer:
        given = asked.headers.get("authorization")
        if given is None:
            return Answer(403, b'{"reason":"Forbidden","message":"User \\"system:anonymous\\" cannot list pods"}')
        return Answer(200, EMPTY) if given.removeprefix("Bearer ") in tokens else Answer(401)

    return answer


@pytest.mark.parametrize("how", ["exits with 1", "gives nothing", "is no JSON", "is not installed"])
def test_a_login_that_fails_in_the_middle_of_a_run_is_unreachable_and_nothing_is_sent_without_it(
    serve: Serve, target_of: Callable[..., Target], tmp_path: Path, how: str
) -> None:
    said = tmp_path / "said"
    program = tmp_path / "login"
    program.write_text(
        '#!/bin/sh\ncat "$(dirname "$0")/said" 2>/dev/null || { echo the badge has expired >&2; exit 1; }\n'
    )
    program.chmod(0o755)
    user = login(said, {"token": "OLD"})
    user["exec"].update(command=str(program), args=[])
    taken = ["OLD"]
    fake = serve(lambda asked: accepts(*taken)(asked))
    target = target_of(fake.url, user)
    assert objects.pods_of(target, "j") == []
    taken[:] = ["NEW"]
    told = {"exits with 1": "the badge has expired", "gives nothing": "neither a token nor a certificate",
            "is no JSON": "it prints is no JSON", "is not installed": "No such file or directory"}[how]  # fmt: skip
    if how == "exits with 1":
        said.unlink()
    elif how == "gives nothing":
        login(said, {})
    elif how == "is no JSON":
        said.write_text("{")
    else:
        program.rename(tmp_path / "moved")
    for _ in range(3):
        with pytest.raises(UnreachableError, match=rf"the login program '.*login' of the kubeconfig fails: .*{told}"):
            objects.pods_of(target, "j")
    if how == "is not installed":
        (tmp_path / "moved").rename(program)
    login(said, {"token": "NEW"})
    assert objects.pods_of(target, "j") == []
    assert all("authorization" in asked.headers for asked in fake.asked)


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Hung]:
    """A user whose login program says its pid in a file and then hangs; that file; and what lets the program go on."""
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    program, pid = tmp_path / "hangs", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}; read x < {tmp_path / 'gate'}; exit 3\n")
    program.chmod(0o755)
    user = {"exec": {"apiVersion": VERSION, "command": str(program), "interactiveMode": "Never"}}

    def release() -> None:  # also programs that are started later
        os.write(gate, b"\n" * 100)

    yield user, pid, release
    release()
    os.close(gate)


def test_a_login_that_hangs_is_ended(
    serve: Serve, target_of: Callable[..., Target], hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, _, _ = hung
    fake, started, start = serve(Answer(200, EMPTY)), [], subprocess.Popen

    def noted(*args: Any, **options: Any) -> Any:
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    monkeypatch.setattr(login_program, "LIMIT", 0.5)
    with pytest.raises(UnreachableError, match=r"'.*hangs' of the kubeconfig fails: it has not ended within 0.5 s"):
        objects.pods_of(target_of(fake.url, user), "j")
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    assert fake.asked == []


def test_a_login_that_hangs_does_not_hold_up_another_cluster(
    serve: Serve, target_of: Callable[..., Target], hung: Hung, tmp_path: Path
) -> None:
    user, pid, release = hung
    fake = serve(Answer(200, EMPTY))
    mine, other = target_of(fake.url, user), tmp_path / "other"
    other.write_text(Path(str(mine.kubeconfig)).read_text())
    content = json.loads(other.read_text())
    content["users"][0]["user"] = {"token": "TOKEN"}
    other.write_text(json.dumps(content))
    found: list[BaseException] = []
    threads = [threading.Thread(target=lambda: found.append(_raised(mine))) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(pid.exists)
    assert objects.pods_of(mine._replace(kubeconfig=str(other)), "j") == []
    release()
    for thread in threads:
        thread.join(PATIENCE)
    assert ["it ended with 3" in str(error) for error in found] == [True] * 3


def _raised(target: Target) -> BaseException:
    with pytest.raises(UnreachableError) as raised:
        objects.pods_of(target, "j")
    return raised.value


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("yes", "it prints more than 1 MiB"),
        ("echo []", "no ExecCredential with a status"),
        ('echo \'{"apiVersion": "x", "status": {}}\'', "it prints apiVersion 'x', and the kubeconfig names"),
        ("echo no >&2; kill -9 $$", "it ended with -9: no"),
    ],
)
def test_what_a_login_program_prints_is_checked(
    serve: Serve, target_of: Callable[..., Target], says: str, words: str
) -> None:
    user = {"exec": {"apiVersion": VERSION, "command": "sh", "args": ["-c", says], "interactiveMode": "Never"}}
    with pytest.raises(UnreachableError, match=words):
        objects.pods_of(target_of(serve(Answer(200, EMPTY)).url, user), "j")


def test_a_login_program_is_told_what_the_kubeconfig_says(
    serve: Serve, target_of: Callable[..., Target], tmp_path: Path
) -> None:
    script = f"echo $KUBERNETES_EXEC_INFO > {tmp_path}/info; echo $MORE > {tmp_path}/more; cat {tmp_path}/said"
    user = login(tmp_path / "said", {"token": "TOKEN"})
    user["exec"].update(command="sh", args=["-c", script], provideClusterInfo=True,
                        env=[{"name": "MORE", "value": "x"}])  # fmt: skip
    fake = serve(Answer(200, EMPTY))
    objects.pods_of(target_of(fake.url, user), "j")
    assert json.loads((tmp_path / "info").read_text()) == {
        "apiVersion": VERSION, "kind": "ExecCredential", "spec": {"interactive": False, "cluster": {"server": fake.url}}
    }  # fmt: skip
    assert (tmp_path / "more").read_text() == "x\n"


def test_a_login_that_must_ask_needs_a_terminal(
    serve: Serve, target_of: Callable[..., Target], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    user = login(tmp_path / "said", {"token": "TOKEN"})
    user["exec"]["interactiveMode"] = "Always"
    with pytest.raises(UnreachableError, match="must ask at a terminal"):
        objects.pods_of(target_of(serve(Answer(200, EMPTY)).url, user), "j")


def test_a_login_is_repeated_once_it_has_expired(
    serve: Serve, target_of: Callable[..., Target], tmp_path: Path
) -> None:
    fake = serve(Answer(200, EMPTY))
    user = login(tmp_path / "said", {"token": "FIRST", "expirationTimestamp": "2026-01-01T00:00:00.123456789Z"})
    target = target_of(fake.url, user)
    login(tmp_path / "said", {"token": "SECOND"})
    objects.pods_of(target, "j")
    (tmp_path / "said").unlink()  # the second one does not expire
    objects.pods_of(target, "j")
    assert {asked.headers["authorization"] for asked in fake.asked[1:]} == {"Bearer SECOND"}


@pytest.mark.parametrize(
    "user",
    [
        {"tokenFile": "/dev/null"},
        {"auth-provider": {"name": "oidc", "config": {"id-token": "no-jwt"}}},
        {"auth-provider": {"name": "another"}},
        {"username": "me"},
    ],
)
def test_a_kubeconfig_that_asks_for_credentials_and_has_none_sends_nothing(
    serve: Serve, target_of: Callable[..., Target], user: dict[str, Any]
) -> None:
    fake = serve(Answer(200, EMPTY))
    with pytest.raises(PlatformError, match="gives no credentials; nothing is sent without"):
        objects.pods_of(target_of(fake.url, user), "j")
    assert fake.asked == []


def id_token(expires: float) -> str:
    part = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


def oidc(issuer: str, token: str, **more: str) -> dict[str, Any]:
    config = {"idp-issuer-url": issuer, "client-id": "me", "client-secret": "s/+", "id-token": token,
              "refresh-token": "FIRST", **more}  # fmt: skip
    return {"auth-provider": {"name": "oidc", "config": config}}


def test_an_oidc_token_that_has_expired_is_renewed_with_the_refresh_token_that_came_last(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = [id_token(time.time() + 1e6), id_token(time.time() + 5e6)]

    def provide(asked: Asked) -> Answer:
        if asked.path == "/.well-known/openid-configuration":
            return Answer(200, json.dumps({"token_endpoint": f"{provider.url}/token"}).encode())
        count = sum(each.path == "/token" for each in provider.asked)
        return Answer(200, json.dumps({"id_token": new[count - 1], "refresh_token": f"R{count}"}).encode())

    provider = serve(provide)
    fake = serve(accepts(*new))
    target = target_of(fake.url, oidc(provider.url, id_token(1.0)))
    objects.pods_of(target, "j")
    monkeypatch.setattr(oidc_tokens, "EARLY", 2e6)  # the first counts as expired from now on
    fake_2 = serve(accepts(*new))  # the same user at another address
    objects.pods_of(target_of(fake_2.url, oidc(provider.url, id_token(1.0))), "j")
    sent = [parse_qs(each.body.decode()) for each in provider.asked if each.path == "/token"]
    assert [each["refresh_token"] for each in sent] == [["FIRST"], ["R1"]]
    assert {each.headers["authorization"] for each in provider.asked if each.path == "/token"} == {
        f"Basic {base64.b64encode(b'me:s%2F%2B').decode()}"
    }
    assert [each.headers["authorization"] for each in (fake.asked[-1], fake_2.asked[-1])] == [
        f"Bearer {each}" for each in new
    ]


ODD_PROVIDERS = [
    (Answer(200, b"{", {}, b" ", slow=True), "does not answer: it takes longer than the 0.3 s"),
    (Answer(200, b"", {}, b"x" * 65536), "something that is no JSON object"),
    (Answer(307, b"", {"Location": "http://127.0.0.1:1/"}), "answers with status 307"),
    (Answer(400, b'{"error": "invalid_grant"}'), "status 400: invalid_grant"),
    (Answer(200, b"[]"), "something that is no JSON object"),
    (Answer(200, b"{}"), "names no token_endpoint"),
    (Answer(200, b'{"token_endpoint": 7}'), "names no token_endpoint"),
]


@pytest.mark.parametrize(("answer", "told"), ODD_PROVIDERS)
def test_an_oidc_provider_that_is_slow_or_odd_is_reported_and_nothing_is_sent_without_a_token(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch, answer: Answer, told: str
) -> None:
    monkeypatch.setattr(oidc_tokens, "LIMIT", 0.3 if answer.slow else 60.0)
    fake, provider = serve(Answer(200, EMPTY)), serve(answer)
    with pytest.raises(UnreachableError, match=f"the kubeconfig's OIDC token cannot be renewed: .*{told}"):
        objects.pods_of(target_of(fake.url, oidc(provider.url, id_token(2.0))), "j")
    assert fake.asked == []
    assert {each.method for each in provider.asked} <= {"GET"}


def test_an_oidc_provider_is_not_believed_without_a_certificate_that_is_trusted(
    serve: Serve, target_of: Callable[..., Target], tmp_path: Path
) -> None:
    key, certificate, both = tmp_path / "key.pem", tmp_path / "ca.pem", tmp_path / "both.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30",
                    "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)  # fmt: skip
    both.write_text(key.read_text() + certificate.read_text())
    elsewhere = serve(Answer())

    def provide(asked: Asked) -> Answer:
        return Answer(200, json.dumps({"token_endpoint": f"{elsewhere.url}/token"}).encode())

    fake, provider = serve(Answer(200, EMPTY)), serve(provide, both)
    for more, told in (
        ({}, "certificate verify failed"),
        ({"idp-certificate-authority": str(certificate)}, "without TLS: nothing is sent there"),
    ):
        with pytest.raises(UnreachableError, match=told):
            objects.pods_of(target_of(fake.url, oidc(provider.url, id_token(3.0), **more)), "j")
    assert [*fake.asked, *elsewhere.asked] == []


@pytest.mark.parametrize(
    ("content", "more"),
    [("TOKEN\n", {}), ("  TOKEN \r\n", {"token": "OLD"}), (None, {"token": "TOKEN"}), ("", {"token": "TOKEN"})],
)
def test_the_token_of_a_file_is_read_as_kubectl_reads_it(
    serve: Serve, target_of: Callable[..., Target], tmp_path: Path, content: str | None, more: dict[str, Any]
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    fake = serve(Answer(200, EMPTY))
    objects.pods_of(target_of(fake.url, {"tokenFile": str(tmp_path / "token"), **more}), "j")
    assert fake.asked[0].headers["authorization"] == "Bearer TOKEN"


@pytest.mark.parametrize("kind", ["fifo", "endless"])
@pytest.mark.parametrize("key", ["tokenFile", "client-key", "certificate-authority", "idp-certificate-authority"])
def test_a_file_of_the_kubeconfig_that_is_none_is_named_and_not_waited_for(
    serve: Serve, target_of: Callable[..., Target], tmp_path: Path, key: str, kind: str
) -> None:
    path = tmp_path / "odd"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    pair = {"client-certificate": str(path), "client-key": str(path)}
    renewed = oidc("https://x", id_token(0), **{key: str(path)})
    users = {"client-key": pair, "idp-certificate-authority": renewed, "certificate-authority": {"token": "TOKEN"}}
    fake = serve(Answer(200, EMPTY))
    target = target_of(fake.url, users.get(key, {key: str(path)}))
    if key == "certificate-authority":
        content = json.loads(Path(str(target.kubeconfig)).read_text())
        content["clusters"][0]["cluster"][key] = str(path)
        Path(str(target.kubeconfig)).write_text(json.dumps(content))
    with pytest.raises((PlatformError, UnreachableError), match=r"it is a (FIFO|device), not a regular file"):
        objects.pods_of(target, "j")
    assert fake.asked == []


GCP = {"credential": {"access_token": "TOKEN", "token_expiry": "2999-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"access-token": "TOKEN", "expiry": "2999-01-01T00:00:00Z"}, None),
        ({"cmd-path": "echo", "cmd-args": json.dumps(GCP, separators=(",", ":"))}, None),
        ({"cmd-path": "sleep", "cmd-args": "1000"}, "it has not ended within 0.5 s"),
        ({"cmd-path": "yes", "access-token": "OLD", "expiry": "2020-01-01T00:00:00Z"}, "it prints more than 1 MiB"),
        ({"cmd-path": "echo", "cmd-args": "[]"}, "echo: list indices"),
        ({"access-token": "OLD", "expiry": "2020-01-01T00:00:00Z"}, "its token has expired, and it has no cmd-path"),
        ({"access-token": "OLD", "expiry": 10**400}, "gives no token"),
        (None, "its token has expired, and it has no cmd-path"),
    ],
)
def test_the_token_of_a_gcp_provider_is_its_own_or_its_program_s_which_has_a_deadline(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch, config: Any, words: str | None
) -> None:
    monkeypatch.setattr(login_program, "LIMIT", 0.5 if words and "0.5 s" in words else 60.0)
    fake = serve(Answer(200, EMPTY))
    target = target_of(fake.url, {"auth-provider": {"name": "gcp", "config": config}})
    if words is None:
        assert objects.pods_of(target, "j") == []
        assert {asked.headers["authorization"] for asked in fake.asked} == {"Bearer TOKEN"}
        return
    with pytest.raises(UnreachableError, match=words):
        objects.pods_of(target, "j")
    assert fake.asked == []


def test_a_token_counts_before_a_login_program(serve: Serve, target_of: Callable[..., Target], tmp_path: Path) -> None:
    fake = serve(Answer(200, EMPTY))
    objects.pods_of(target_of(fake.url, {**login(tmp_path / "said", {"token": "OTHER"}), "token": "TOKEN"}), "j")
    assert fake.asked[0].headers["authorization"] == "Bearer TOKEN"


def test_a_certificate_without_its_key_is_named(serve: Serve, target_of: Callable[..., Target]) -> None:
    user = {"client-certificate-data": "QQ=="}
    with pytest.raises(PlatformError, match="its user has a client-certificate, and no client-key"):
        objects.pods_of(target_of(serve(Answer(200, EMPTY)).url, user), "j")


def test_a_server_that_is_no_address_is_named(target_of: Callable[..., Target]) -> None:
    with pytest.raises(PlatformError, match=r"server: 'cluster:6443' is no https:// or http:// address"):
        objects.pods_of(target_of("cluster:6443", {"client-certificate-data": "QQ==", "client-key-data": "QQ=="}), "j")


def test_a_certificate_is_no_matter_without_tls(serve: Serve, target_of: Callable[..., Target]) -> None:
    user = {"client-certificate-data": "QQ==", "client-key-data": "QQ=="}
    assert objects.pods_of(target_of(serve(Answer(200, EMPTY)).url, user), "j") == []


def test_a_kubeconfig_that_is_broken_in_the_middle_of_a_run_is_unreachable(
    serve: Serve, target_of: Callable[..., Target]
) -> None:
    taken = ["TOKEN"]
    target = target_of(serve(lambda asked: accepts(*taken)(asked)).url)
    objects.pods_of(target, "j")
    taken.clear()
    Path(str(target.kubeconfig)).write_text("clusters: [")
    with pytest.raises(UnreachableError, match="cannot be renewed: the kubeconfig cannot be used"):
        objects.pods_of(target, "j")


# -- files ------------------------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file_that_names_them_and_the_first_file_decides(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters, users = tmp_path / "clusters", tmp_path / "users"
    for folder in (clusters, users):
        folder.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                    "-keyout", "key", "-out", "ca"], cwd=clusters, check=True, capture_output=True)  # fmt: skip
    pem = clusters / "both"
    pem.write_text((clusters / "key").read_text() + (clusters / "ca").read_text())
    for name in ("ca", "key"):  # the client's own
        (users / f"client-{name}").write_text((clusters / name).read_text())
    (users / "token").write_text("TOKEN")
    fake = serve(Answer(200, EMPTY), pem)
    cluster = {"server": fake.url, "certificate-authority": "ca"}
    user = {"tokenFile": "token", "client-certificate": "client-ca", "client-key": "client-key"}
    contexts = [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}]
    wrong = {"server": "http://127.0.0.1:9"}
    (clusters / "config").write_text(
        json.dumps({"clusters": [{"name": "c", "cluster": cluster}], "contexts": contexts, "current-context": "x"})
    )
    (users / "config").write_text(json.dumps(
        {"clusters": [{"name": "c", "cluster": wrong}], "users": [{"name": "u", "user": user}],
         "current-context": "another"}))  # fmt: skip
    monkeypatch.setenv("KUBECONFIG", f"{clusters}/config:{tmp_path}/missing:{users}/config")
    assert objects.pods_of(Target(), "j") == []
    assert fake.asked[0].headers["authorization"] == "Bearer TOKEN"


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 7)]
)
CONTENT = {"server": "http://127.0.0.1:1", "token": "t", "cluster": "c", "namespace": "n", "current": "x"}


@pytest.mark.parametrize("place", CONTENT)
def test_a_kubeconfig_whose_aliases_repeat_millions_of_values_is_refused_and_never_written_out(
    tmp_path: Path, place: str
) -> None:
    server, token, cluster, namespace, current = (CONTENT | {place: "*a6"}).values()
    text = f"""{BOMB}
clusters: [{{name: c, cluster: {{server: {server}}}}}]
users: [{{name: u, user: {{token: {token}}}}}]
contexts: [{{name: x, context: {{cluster: {cluster}, user: u, namespace: {namespace}}}}}]
current-context: {current}
"""
    (tmp_path / "config").write_text(text)
    with pytest.raises(PlatformError, match="more than 16 MiB, with its aliases written out") as raised:
        objects.pods_of(Target(str(tmp_path / "config")), "j")
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [*a]", "with its aliases written out"),
        ("[" * 100_000, "nest"),
        ("- " * 100_000, "nest"),
        ("a: 2026-99-99", "month must be in"),
        ("a: " + "9" * 5000, "4300.* digits|no current context"),
        ("? [a]\n: b", "unhashable key"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
)
def test_a_kubeconfig_of_hostile_yaml_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(PlatformError, match=words):
        objects.pods_of(Target(str(tmp_path / "config")), "j")


def test_a_relative_kubeconfig_is_relative_to_the_project(
    project: Any, cli: Callable[..., Any], serve: Serve, target_of: Callable[..., Target], tmp_path: Path
) -> None:
    fake = serve(
        Answer(200, b'{"major": "1", "minor": "24", "gitVersion": "v1.24.0-fake", "status": {"allowed": true}}')
    )
    (project.root / "clusters").mkdir()
    Path(str(target_of(fake.url).kubeconfig)).rename(project.root / "clusters" / "config")
    config = {"platform": "kubernetes", "engine": "cmd_line", "image": "x", "kubeconfig": "clusters/config"}
    project.jobs("with af.job('a'):\n    af.cmd('true')", json.dumps({"a": config}))
    assert "the cluster is Kubernetes v1.24.0-fake" in cli("run", project.root, cwd=tmp_path).stderr


# -- another user -----------------------------------------------------------------------------------------------------


def test_impersonation_is_sent_with_each_request(serve: Serve, target_of: Callable[..., Target]) -> None:
    found: list[tuple[str, str]] = []
    fake = serve(Answer(200, EMPTY))
    fake.raw = found.extend
    user = {"token": "TOKEN", "as": "jané", "as-uid": 7, "as-groups": ["one", "two"],
            "as-user-extra": {"Team/A": ["x", "y"]}}  # fmt: skip
    objects.pods_of(target_of(fake.url, user), "j")
    assert [pair for pair in found if pair[0].startswith("Impersonate-")] == [
        ("Impersonate-User", "jané".encode().decode("latin-1")), ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "one"), ("Impersonate-Group", "two"),
        ("Impersonate-Extra-team%2Fa", "x"), ("Impersonate-Extra-team%2Fa", "y"),
    ]  # fmt: skip


@pytest.mark.parametrize("user", [{"as-groups": ["one"]}, {"as-uid": "7"}, {"as": "jane", "as-groups": "one"}])
def test_impersonation_that_is_incomplete_is_refused(
    serve: Serve, target_of: Callable[..., Target], user: dict[str, Any]
) -> None:
    fake = serve(Answer(200, EMPTY))
    with pytest.raises(PlatformError, match="as-groups"):
        objects.pods_of(target_of(fake.url, {"token": "TOKEN", **user}), "j")
    assert fake.asked == []


# -- proxies ----------------------------------------------------------------------------------------------------------

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("url", "exempt", "is_direct"),
    [
        ("https://k8s.example.com:6443", "", False),
        ("https://k8s.example.com:6443", "k8s.example.com", True),
        ("https://k8s.example.com:6443", "K8S.Example.com:6443", True),
        ("https://k8s.example.com:6443", "k8s.example.com:443", False),
        ("https://k8s.example.com", "k8s.example.com:443", True),
        ("https://k8s.example.com:6443", "a.b, example.com", True),
        ("https://k8s.example.com:6443", ".example.com", True),
        ("https://k8s.example.com:6443", "*.example.com", True),
        ("https://example.com:6443", ".example.com", False),
        ("https://badexample.com", "example.com", False),
        ("https://k8s.example.com:6443", "*", True),
        ("https://10.1.2.3:6443", "10.0.0.0/8", True),
        ("https://11.1.2.3:6443", "10.0.0.0/8", False),
        ("https://10.1.2.3:6443", "10.1.2.3", True),
        ("https://10.1.2.3:6443", "10.1.2.3:6443", True),
        ("https://10.1.2.3:6443", "10.1.2.3:443", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://[fd00::1]:6443", "fd00:0::1", True),
        ("https://k8s.example.com", "no/cidr", False),
        ("https://127.0.0.1:6443", "", True),
        ("https://localhost:6443", "", True),
    ],
)
def test_a_host_of_no_proxy_is_reached_directly(url: str, exempt: str, is_direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert proxy_of(url, {"HTTPS_PROXY": PROXY, name: exempt}) == (None if is_direct else PROXY)


def test_the_proxy_of_the_scheme_is_taken() -> None:
    assert proxy_of("https://a", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}) is None
    assert proxy_of("https://a", {"https_proxy": "proxy:3128"}) == PROXY
    assert proxy_of("http://a", {"HTTP_PROXY": PROXY, "HTTPS_PROXY": "http://another"}) == PROXY


def test_a_proxy_that_the_client_of_a_cgi_program_may_have_named_is_refused() -> None:
    cgi = {"REQUEST_METHOD": "GET", "HTTP_PROXY": PROXY}
    with pytest.raises(ValueError, match="HTTP_PROXY is not used where REQUEST_METHOD is set"):
        proxy_of("http://a", cgi)
    assert proxy_of("https://a", {**cgi, "HTTPS_PROXY": PROXY}) == PROXY


def test_requests_go_through_the_proxy_of_the_environment_unless_it_is_exempt(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(Answer(200, EMPTY))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    objects.pods_of(target_of("http://cluster.invalid"), "j")
    assert proxy.asked[0].path.startswith("http://cluster.invalid/api/v1/")
    monkeypatch.setenv("NO_PROXY", ".invalid")
    with pytest.raises(UnreachableError):
        objects.pods_of(target_of("http://cluster.invalid"), "j")
    assert len(proxy.asked) == 1
