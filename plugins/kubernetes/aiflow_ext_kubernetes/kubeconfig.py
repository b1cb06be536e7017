"""The credentials for a cluster: a context of a kubeconfig, or the service account of the pod that the client runs
in."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiflow_ext.plugin import PlatformError
from aiflow_ext_kubernetes.fields import label_name_problem

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for the key files that the client writes: in memory if there is a tmpfs, and removed at once."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="aiflow-", dir=memory) as folder:
        yield folder


def read_configuration(kubeconfig: str | None, context: str | None) -> tuple[Any, str, float | None]:
    """The official client's configuration, the namespace, and when the client certificate expires.

    Args:
        kubeconfig: its path, or several, as in KUBECONFIG; by default that variable, ``~/.kube/config``, or the account
            that a pod has.
        context: the kubeconfig's context; by default its current one.

    The TLS context is made: ``made_context``. The expiry is in seconds since the epoch; None: unknown. Raises
    PlatformError where the kubeconfig cannot be used.
    """
    from kubernetes import client
    from kubernetes.config import incluster_config, kube_config

    read: Any = kube_config  # parts of it have no types

    configuration = client.Configuration()
    named = kubeconfig or os.environ.get("KUBECONFIG")
    path = os.path.expanduser(named or "~/.kube/config")
    files = [each for each in path.split(os.pathsep) if each]
    if kubeconfig is None and context is None and not any(map(os.path.exists, files)) and ACCOUNT.is_dir():
        account: Any = incluster_config
        account.load_incluster_config(client_configuration=configuration)
        configuration.made_context = _tls(configuration)
        configuration.host = configuration.host.rstrip("/")
        return configuration, (ACCOUNT / "namespace").read_text().strip() or "default", None
    if not any(map(os.path.exists, files)):
        raise PlatformError(
            f"there is no kubeconfig at {path}",
            hint="log in to a cluster as for kubectl, set KUBECONFIG, or name one: kubeconfig: in workflow.yaml",
        )
    try:
        contexts, active = read.list_kube_config_contexts(config_file=path)
        known = {each["name"]: each for each in contexts}
        chosen = known.get(context) if context is not None else active
        if chosen is None:
            raise PlatformError(
                f"the kubeconfig has no context {context!r}", where=path,
                hint=f"its contexts are {', '.join(known) or 'none'}; context: in workflow.yaml chooses one",
            )  # fmt: skip
        with _private_folder() as folder:
            try:
                read.load_kube_config(path, chosen["name"], configuration, False, folder)
                configuration.made_context = _tls(configuration)
                expires = _expiry(configuration.cert_file)
            finally:
                getattr(read, "_cleanup_temp_files", lambda: None)()  # the client caches files by their content
        namespace = (chosen.get("context") or {}).get("namespace") or "default"
        _check(configuration, namespace)
    except PlatformError:
        raise
    except Exception as error:
        raise PlatformError(
            f"the kubeconfig cannot be used: {error}", where=path, hint="kubectl config view shows what is in it"
        ) from error
    return configuration, namespace, expires


def _check(configuration: Any, namespace: Any) -> None:
    """Check that address and namespace are valid. Raises ValueError."""
    host = configuration.host
    if not isinstance(host, str) or not re.fullmatch(r"https?://[^\s/@\x00-\x20\x7f]+(/[^\s\x00-\x20\x7f]*)?", host):
        raise ValueError(f"server: {str(host)[:100]!r} is no https:// or http:// address")
    configuration.host = host.rstrip("/")
    for problem in label_name_problem("namespace:", namespace):
        raise ValueError(problem)


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if hasattr(ssl, "VERIFY_X509_STRICT"):  # clusters' own authorities often lack an extension that it asks for
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    return context


def _expiry(certificate: str | None) -> float | None:
    """When a client certificate expires, where this Python can tell."""
    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if certificate is None or decode is None:
        return None
    try:
        return ssl.cert_time_to_seconds(decode(certificate)["notAfter"])
    except Exception:
        return None
