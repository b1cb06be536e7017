"""Runs the login program (``exec``) of a kubeconfig's user, with a deadline, as client-go does."""

from __future__ import annotations

import base64
import errno
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from aiflow_ext.plugin.engines import find_program, read_whole
from aiflow_ext_kubernetes.times import seconds_since_epoch

LIMIT = 60.0  # seconds that a login program may take
ASKING_LIMIT = 300.0  # seconds if it may ask somebody at a terminal
MOST = 1 << 20  # bytes of its output that are read
_CONFIG = "client.authentication.k8s.io/exec"  # the cluster's extension that is for the program
_SHOWN = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url",
          "disable-compression")  # fmt: skip


def run_login(program: Mapping[str, Any], cluster: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``status`` of the ExecCredential that a login program prints.

    Args:
        program: ``exec`` of the kubeconfig's user; a path in its ``command`` is absolute.
        cluster: the context's cluster, likewise.

    Raises OSError if the program cannot be started, and ValueError if it fails, does not end in time, or prints
    something else.
    """
    version = _text(program, "apiVersion")
    argv = [_text(program, "command"), *map(str, program.get("args") or ())]
    asks = _may_ask(program)
    spec: dict[str, Any] = {"interactive": asks}
    if program.get("provideClusterInfo"):
        spec["cluster"] = _shown(cluster)
    env = {**os.environ, **{_text(each, "name"): _text(each, "value") for each in program.get("env") or ()}}
    env["KUBERNETES_EXEC_INFO"] = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": spec})
    said = _output(argv, env, asks)
    try:
        found = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"what it prints is no JSON: {error}") from error
    if not isinstance(found, Mapping) or not isinstance(found.get("status"), Mapping):
        raise ValueError("what it prints is no ExecCredential with a status")
    if found.get("apiVersion") != version:
        raise ValueError(f"it prints apiVersion {found.get('apiVersion')!r}, and the kubeconfig names {version!r}")
    status: Mapping[str, Any] = found["status"]
    return status


def gcp_token(config: Any) -> tuple[str, float | None]:
    """The access token of ``auth-provider: gcp``, and when it expires in seconds since the epoch; None: unknown.

    Args:
        config: of the provider. A token that is missing there or has expired comes from its ``cmd-path``.

    Raises ValueError and OSError. kubectl has no such provider since 1.26; google-auth is not asked, because its calls
    have no deadline.
    """
    config = config if isinstance(config, Mapping) else {}
    token, expires = config.get("access-token"), config.get("expiry")
    renew_at = moment(expires) if expires else None
    if not token or (renew_at is not None and renew_at <= time.time()):
        argv = str(config.get("cmd-path") or "").split()
        if not argv:
            raise ValueError("its token has expired, and it has no cmd-path; gke-gcloud-auth-plugin is its successor")
        if config.get("cmd-args"):
            argv = [str(config["cmd-path"]), *str(config["cmd-args"]).split()]
        try:
            found = json.loads(_output(argv, os.environ, False))["credential"]
            token, renew_at = found["access_token"], moment(found["token_expiry"])
        except (ValueError, RecursionError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"{argv[0]}: {error}") from error
    if not isinstance(token, str):
        raise ValueError("its access-token is no text")
    return token, renew_at


def moment(given: Any) -> float:
    """A time of RFC 3339, or the one that YAML has made of it, in seconds since the epoch. Raises ValueError."""
    if isinstance(given, datetime):
        return (given if given.tzinfo else given.replace(tzinfo=timezone.utc)).timestamp()
    return seconds_since_epoch(str(given))


def _text(thing: Any, key: str) -> str:
    found = thing.get(key) if isinstance(thing, Mapping) else None
    if not isinstance(found, str):
        raise ValueError(f"exec: of the kubeconfig has no {key}")
    return found


def _may_ask(program: Mapping[str, Any]) -> bool:
    """Whether the program has a terminal to ask at. Raises ValueError if it must have one, and there is none."""
    mode = program.get("interactiveMode") or "IfAvailable"
    if mode == "Never":
        return False
    try:
        there = sys.stdin is not None and os.isatty(sys.stdin.fileno())
    except (OSError, ValueError):  # closed, or no file
        there = False
    if mode == "Always" and not there:
        raise ValueError("it must ask at a terminal (interactiveMode: Always), and there is none")
    return there


def _shown(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """A cluster as ``spec.cluster`` of an ExecCredential."""
    found = {key: cluster[key] for key in _SHOWN if cluster.get(key)}
    if authority := cluster.get("certificate-authority"):
        found["certificate-authority-data"] = base64.b64encode(read_whole(authority)).decode()
    for each in cluster.get("extensions") or ():
        if isinstance(each, Mapping) and each.get("name") == _CONFIG:
            found["config"] = each.get("extension")
    return found


def _output(argv: list[str], env: Mapping[str, str], asks: bool) -> bytes:
    """The program's stdout."""
    limit = ASKING_LIMIT if asks else LIMIT
    program = find_program(argv[0], env.get("PATH"))
    if program is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    process = subprocess.Popen(
        [program, *argv[1:]], env=env, stdin=None if asks else subprocess.DEVNULL, stdout=subprocess.PIPE,
        # At a terminal it stays in the terminal's session: it can ask, and a Ctrl-C ends it, too.
        stderr=None if asks else subprocess.PIPE, start_new_session=not asks,
    )  # fmt: skip
    try:
        out, err = _read(process, time.monotonic() + limit)
    except TimeoutError:
        raise ValueError(f"it has not ended within {limit:g} s") from None
    finally:
        _end(process, alone=asks)
    if process.returncode:
        words = err.decode("utf-8", "replace").strip()[-2000:]
        raise ValueError(f"it ended with {process.returncode}{': ' if words else ''}{words}")
    return out


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """All of stdout and the end of stderr of a process, which has ended then. Raises TimeoutError, and ValueError for
    an output that is too large."""
    out = err = b""
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(_left(deadline)):
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    err = (err + piece)[-MOST:]
                else:
                    out += piece
                if len(out) > MOST:
                    raise ValueError(f"it prints more than {MOST >> 20} MiB")
    try:
        process.wait(_left(deadline))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return out, err


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _end(process: subprocess.Popen[bytes], *, alone: bool) -> None:
    """End the process, if it has not ended, and unless it is ``alone`` all of its session's first group."""
    if process.poll() is None:
        if alone:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
