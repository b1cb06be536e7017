"""The credentials for a cluster: a context of a kubeconfig, or the service account of the pod that the client runs
in."""

from __future__ import annotations

import base64
import os
import re
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import quote

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import read_whole
from aiflow_ext_kubernetes import oidc, service_account
from aiflow_ext_kubernetes.fields import label_name_problem
from aiflow_ext_kubernetes.kubefiles import paths_of, read_context
from aiflow_ext_kubernetes.login import gcp_token, moment, run_login
from aiflow_ext_kubernetes.proxies import proxy_of

# Keys of a user that are credentials: one of them means that no request goes out without.
_CREDENTIALS = ("exec", "auth-provider", "token", "tokenFile", "username", "client-certificate",
                "client-certificate-data")  # fmt: skip
LOGIN = "log in again, as for kubectl; what runs goes on meanwhile"


class Credentials(NamedTuple):
    """How a cluster is reached.

    Args:
        url: the server's, without a slash at its end.
        namespace: the context's.
        authorization: the header of that name; None: there is none. Raises OSError and ValueError.
        tls: None: the server speaks plain HTTP.
        server_name: that its certificate must have; None: the URL's.
        certificate_expires: when the client certificate expires, in seconds since the epoch; None: unknown.
        renew_at: when a login program has to be run again, likewise; None: it does not say.
        headers: sent with each request, besides the credentials.
        proxy: its URL; None: the server is reached directly.
        context: the context's name; None in a pod.
    """

    url: str
    namespace: str
    authorization: Callable[[], str | None] = lambda: None
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    certificate_expires: float | None = None
    renew_at: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
    proxy: str | None = None
    context: str | None = None


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for the keys that OpenSSL reads from files alone: in memory if there is a tmpfs, and removed at once."""
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
    named = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = paths_of(named)
    if kubeconfig is None and context is None and not any(map(os.path.exists, paths)) and service_account.is_there():
        return _of_account()
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
        namespace = chosen.namespace or "default"
        url = _url(chosen.cluster.get("server"), namespace)
        tls, expires, has_certificate = None, None, False
        if url.startswith("https://"):
            with _private_folder() as folder:
                tls, expires, has_certificate = _tls(chosen.cluster, user, folder)
        authorization = _authorization(user)
        if authorization is None and not has_certificate:
            _check_anonymous(chosen.user, url)
        proxy = chosen.cluster.get("proxy-url") or proxy_of(url, os.environ)
    except PlatformError:
        raise
    except Exception as error:
        raise PlatformError(
            f"the kubeconfig cannot be used: {error}", where=where, hint="kubectl config view shows what is in it"
        ) from error
    server_name = chosen.cluster.get("tls-server-name") or None
    return Credentials(url, namespace, lambda: authorization, tls, server_name, expires, renew_at, headers, proxy,
                       chosen.name)  # fmt: skip


def _of_account() -> Credentials:
    try:
        found = service_account.read()
        tls = _context(service_account.AUTHORITY)
    except (OSError, ValueError) as error:
        raise PlatformError(
            f"the pod's service account cannot be used: {error}",
            hint="see automountServiceAccountToken of the pod, or name a kubeconfig: kubeconfig: in workflow.yaml",
        ) from error
    return Credentials(found.url, found.namespace, found.authorization, tls, proxy=proxy_of(found.url, os.environ))


def _with_token(user: Mapping[str, Any]) -> dict[str, Any]:
    """The user with the token of its file, without the white space around it; ``token`` where the file cannot be read.

    Raises OSError and ValueError.
    """
    found = dict(user)
    path = found.pop("tokenFile", None)
    if path:
        try:
            token = read_whole(path, service_account.LARGEST_TOKEN).decode().strip()
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
    """The user with what its login program gives in the program's place, and when that expires."""
    program = user["exec"]
    command = program.get("command") if isinstance(program, Mapping) else program
    try:
        given = run_login(program, cluster)
        token, certificate, key = (given.get(name) for name in ("token", "clientCertificateData", "clientKeyData"))
        if not token and not (certificate and key):
            raise ValueError("it gives neither a token nor a certificate with its key")
        expires = given.get("expirationTimestamp")
        renew_at = moment(expires) if expires else None
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
            with suppress(FileNotFoundError):  # named where it is used
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


def _authorization(user: Mapping[str, Any]) -> str | None:
    """The header ``Authorization`` of a user; None: it has none."""
    if user.get("token"):
        return f"Bearer {user['token']}"
    if "username" in user and "password" in user:
        return f"Basic {_base64(str(user['username']) + ':' + str(user['password']))}"
    return None


def _check_anonymous(user: Mapping[str, Any], url: str) -> None:
    """Check that a user without credentials asks for none. Raises UnreachableError."""
    asked = [key for key in _CREDENTIALS if user.get(key)]
    if url.startswith("http://"):  # where no certificate is ever used
        asked = [key for key in asked if not key.startswith("client-certificate")]
    if asked:
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


def _url(server: Any, namespace: Any) -> str:
    """The server's address, which is checked, as the namespace is. Raises ValueError."""
    if not isinstance(server, str) or not re.fullmatch(
        r"https?://[^\s/@\x00-\x20\x7f]+(/[^\s\x00-\x20\x7f]*)?", server
    ):
        raise ValueError(f"server: {str(server)[:100]!r} is no https:// or http:// address")
    for problem in label_name_problem("namespace:", namespace):
        raise ValueError(problem)
    return server.rstrip("/")


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: str) -> tuple[ssl.SSLContext, float | None, bool]:
    """The TLS context, when its client certificate expires, and whether there is one.

    Args:
        cluster: of the context.
        user: likewise, with what a login has given.
        folder: where keys and certificates are written that are in the kubeconfig itself.
    """
    authority = _file(cluster, "certificate-authority", folder)
    certificate, key = (_file(user, kind, folder) for kind in ("client-certificate", "client-key"))
    context = _context(authority)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context, _expiry(certificate), certificate is not None


def _file(thing: Mapping[str, Any], key: str, folder: str) -> str | None:
    """The path of a file that a cluster or a user names, or has as data, which counts before; None: neither."""
    if data := thing.get(f"{key}-data"):
        path = os.path.join(folder, key)
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
        return path
    named = thing.get(key)
    if named and not os.path.isfile(named):
        raise FileNotFoundError(f"{key}: there is no file {named}")
    return named or None


def _context(authority: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    if hasattr(ssl, "VERIFY_X509_STRICT"):  # clusters' own authorities often lack an extension that it asks for
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
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
