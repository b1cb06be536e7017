"""The credentials for a cluster: a context of a kubeconfig, or the service account of the pod that the client runs
in."""

from __future__ import annotations

import base64
import os
import re
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import read_whole
from aiflow_ext_kubernetes import oidc
from aiflow_ext_kubernetes.fields import label_name_problem
from aiflow_ext_kubernetes.kubefiles import Context, paths_of, read_context
from aiflow_ext_kubernetes.login import gcp_token, run_login
from aiflow_ext_kubernetes.proxies import proxy_of

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Keys of a user that are credentials: one of them means that no request goes out without.
_CREDENTIALS = ("exec", "auth-provider", "token", "tokenFile", "username", "client-certificate",
                "client-certificate-data")  # fmt: skip
LARGEST_TOKEN = 1 << 20  # bytes of a token's file that are read
LOGIN = "log in again, as for kubectl; what runs goes on meanwhile"


class Credentials(NamedTuple):
    """How a cluster is reached.

    Args:
        configuration: the official client's, with ``made_context``, the TLS context.
        namespace: the context's.
        certificate_expires: when the client certificate expires, in seconds since the epoch; None: unknown.
        renew_at: when a login program has to be run again, likewise; None: it does not say.
        headers: sent with each request, besides the credentials.
        proxy: its URL; None: the server is reached directly.
        context: the context's name; None in a pod.
    """

    configuration: Any
    namespace: str
    certificate_expires: float | None = None
    renew_at: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
    proxy: str | None = None
    context: str | None = None


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for the key files that the client writes: in memory if there is a tmpfs, and removed at once."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="aiflow-", dir=memory) as folder:
        yield folder


def read_credentials(kubeconfig: str | None, context: str | None) -> Credentials:
    """The credentials of a context.

    Args:
        kubeconfig: its path, or several, as in KUBECONFIG; by default that variable, ``~/.kube/config``, or the account
            that a pod has.
        context: the kubeconfig's context; by default its current one.

    Raises PlatformError where the kubeconfig cannot be used; UnreachableError where its login program fails, or there
    are none of the credentials that it names.
    """
    from kubernetes import client

    configuration = client.Configuration()
    named = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = paths_of(named)
    if kubeconfig is None and context is None and not any(map(os.path.exists, paths)) and ACCOUNT.is_dir():
        return _of_account(configuration)
    where = os.pathsep.join(paths)
    if not any(map(os.path.exists, paths)):
        raise PlatformError(
            f"there is no kubeconfig at {where}",
            hint="log in to a cluster as for kubectl, set KUBECONFIG, or name one: kubeconfig: in workflow.yaml",
        )
    try:
        chosen = read_context(paths, context)
        user, renew_at = _with_token(chosen.user), None
        headers = _impersonation(user)
        if user.get("exec") and not user.get("token"):  # kubectl takes the token, too
            user, renew_at = _logged_in(user, chosen.cluster)
        elif _is_oidc(user):
            user, renew_at = _with_id_token(user)
        elif _provider(user) == "gcp":
            user, renew_at = _with_gcp_token(user)
        _check_files(chosen.cluster, user)
        with _private_folder() as folder:
            expires = _load(configuration, chosen, user, folder)
        namespace = chosen.namespace or "default"
        _check(configuration, namespace)
        _check_given(configuration, chosen.user)
        proxy = chosen.cluster.get("proxy-url") or proxy_of(configuration.host, os.environ)
    except PlatformError:
        raise
    except Exception as error:
        raise PlatformError(
            f"the kubeconfig cannot be used: {error}", where=where, hint="kubectl config view shows what is in it"
        ) from error
    return Credentials(configuration, namespace, expires, renew_at, headers, proxy, chosen.name)


def _of_account(configuration: Any) -> Credentials:
    from kubernetes.config import incluster_config

    account: Any = incluster_config  # parts of it have no types
    account.load_incluster_config(client_configuration=configuration)
    configuration.made_context = _tls(configuration)
    configuration.host = configuration.host.rstrip("/")
    namespace = (ACCOUNT / "namespace").read_text().strip() or "default"
    return Credentials(configuration, namespace, proxy=proxy_of(configuration.host, os.environ))


def _load(configuration: Any, chosen: Context, user: Mapping[str, Any], folder: str) -> float | None:
    """Fill in the client's configuration; returns when the client certificate expires."""
    from kubernetes.config import kube_config

    read: Any = kube_config
    content = {
        "clusters": [{"name": "cluster", "cluster": dict(chosen.cluster)}],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }
    try:
        read.load_kube_config_from_dict(content, "context", configuration, False, folder)
        configuration.made_context = _tls(configuration)
        return _expiry(configuration.cert_file)
    finally:
        getattr(read, "_cleanup_temp_files", lambda: None)()  # the client caches files by their content


def _with_token(user: Mapping[str, Any]) -> dict[str, Any]:
    """The user with the token of its file, without the white space around it; ``token`` where the file cannot be read.

    Raises OSError and ValueError.
    """
    found = dict(user)
    path = found.pop("tokenFile", None)
    if path:
        try:
            token = read_whole(path, LARGEST_TOKEN).decode().strip()
        except OSError:
            if not found.get("token"):
                raise
            token = ""
        found |= {"token": token} if token else {}
    for kind in ("client-certificate", "client-key"):
        other = "client-key" if kind == "client-certificate" else "client-certificate"
        if (found.get(kind) or found.get(f"{kind}-data")) and not (found.get(other) or found.get(f"{other}-data")):
            raise ValueError(f"its user has a {kind}, and no {other}")
    return found


def _logged_in(user: Mapping[str, Any], cluster: Mapping[str, Any]) -> tuple[dict[str, Any], float | None]:
    """The user with what its login program gives in the program's place, and when that expires.

    The official client logs an error of the program, goes on without credentials, and waits for ever.
    """
    from kubernetes.config import dateutil

    program = user["exec"]
    command = program.get("command") if isinstance(program, Mapping) else program
    try:
        given = run_login(program, cluster)
        token, certificate, key = (given.get(name) for name in ("token", "clientCertificateData", "clientKeyData"))
        if not token and not (certificate and key):
            raise ValueError("it gives neither a token nor a certificate with its key")
        expires = given.get("expirationTimestamp")
        parse: Any = dateutil.parse_rfc3339
        renew_at = parse(expires).timestamp() if expires else None
    except Exception as error:
        hint = program.get("installHint") if isinstance(error, OSError) and isinstance(program, Mapping) else None
        raise UnreachableError(f"the login program {command!r} of the kubeconfig fails: {error}",
                               hint=str(hint) if hint else LOGIN) from error  # fmt: skip
    found = {key: value for key, value in user.items() if key != "exec"}
    if token:
        found["token"] = token
    if certificate and key:
        found |= {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        found.pop("client-certificate", None)
        found.pop("client-key", None)
    return found, renew_at


def _check_files(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    """Raise OSError where a certificate or key is a FIFO, a device or larger than any: OpenSSL would read for ever."""
    for path in (cluster.get("certificate-authority"), user.get("client-certificate"), user.get("client-key")):
        if path:
            with suppress(FileNotFoundError):  # the official client names it
                read_whole(str(path))


def _provider(user: Mapping[str, Any]) -> Any:
    """The name of the user's ``auth-provider``; None: it has none."""
    provider = user.get("auth-provider")
    return provider.get("name") if isinstance(provider, Mapping) else None


def _is_oidc(user: Mapping[str, Any]) -> bool:
    return _provider(user) == "oidc" and bool(user["auth-provider"].get("config"))


def _with_gcp_token(user: Mapping[str, Any]) -> tuple[dict[str, Any], float | None]:
    """The user with the token of ``auth-provider: gcp`` in the provider's place, and when that must be renewed."""
    try:
        token, renew_at = gcp_token(user["auth-provider"].get("config"))
    except Exception as error:
        raise UnreachableError(f"the kubeconfig's auth-provider gcp gives no token: {error}", hint=LOGIN) from error
    return {**{key: value for key, value in user.items() if key != "auth-provider"}, "token": token}, renew_at


def _with_id_token(user: Mapping[str, Any]) -> tuple[dict[str, Any], float | None]:
    """The user with an OIDC provider's token in the provider's place, and when that must be renewed."""
    given = {key: value for key, value in user.items() if key not in ("auth-provider", "token", "tokenFile")}
    try:
        found = oidc.id_token(user["auth-provider"]["config"])
    except Exception as error:
        raise UnreachableError(f"the kubeconfig's OIDC token cannot be renewed: {error}", hint=LOGIN) from error
    if found is None:
        return given, None
    token, expires = found
    return {**given, "token": token}, None if expires is None else max(expires - oidc.EARLY, time.time() + 1.0)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _check_given(configuration: Any, user: Mapping[str, Any]) -> None:
    """Check that there are credentials where the user has any. Raises UnreachableError."""
    asked = [key for key in _CREDENTIALS if user.get(key)]
    if configuration.host.startswith("http://"):  # where no certificate is ever used
        asked = [key for key in asked if not key.startswith("client-certificate")]
    if asked and not (configuration.api_key or configuration.cert_file or configuration.username):
        raise UnreachableError(f"the kubeconfig's {asked[0]} gives no credentials; nothing is sent without", hint=LOGIN)


def _impersonation(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The headers that ask for another user's rights. Raises ValueError."""
    name, uid, groups, extra = (user.get(key) for key in ("as", "as-uid", "as-groups", "as-user-extra"))
    if not name:
        if uid or groups or extra:
            raise ValueError("as-uid, as-groups and as-user-extra need as: the name of a user")
        return ()
    if not isinstance(groups or [], list) or not isinstance(extra or {}, Mapping):
        raise ValueError("as-groups is a list, and as-user-extra a mapping of lists")
    found = [("Impersonate-User", name), *([("Impersonate-Uid", uid)] if uid else [])]
    found += [("Impersonate-Group", group) for group in groups or ()]
    found += [(f"Impersonate-Extra-{quote(str(key).lower(), safe='')}", value)
              for key, values in (extra or {}).items() for value in values]  # fmt: skip
    return tuple((header, str(value).encode().decode("latin-1")) for header, value in found)


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
