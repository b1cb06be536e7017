"""Kerberos tokens for web services (SPNEGO, RFC 4559): with the user's own tickets, or by logging in from a keytab.

pyspnego and krb5 are imported for the first token.
"""

from __future__ import annotations

import base64
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext_yarn.cluster import Cluster

RETRY = 30.0  # seconds until another login is tried after one that failed, while the ticket is still valid
_NO_KDC = (-1765328228, -1765328230)  # KRB5_KDC_UNREACH, KRB5_REALM_CANT_RESOLVE
_AWAY = "is the KDC up, and does /etc/krb5.conf (or KRB5_CONFIG) name it?"


class NoTicket(PlatformError):
    """There is no ticket, and none can be had."""


class _Login(NamedTuple):
    """A ticket from a keytab; ``cache``, which only this process has, is removed with its last reference."""

    cache: Any
    renew_at: float  # time.monotonic()
    valid_until: float


_logins: dict[tuple[str, str], _Login] = {}  # by principal and keytab
_lock = threading.Lock()


def token(cluster: Cluster, url: str) -> str:
    """A token for a URL's host, in base64.

    Raises NoTicket without a ticket, UnreachableError if the KDC does not answer, PlatformError without the packages.
    """
    try:
        import spnego
    except ImportError as error:
        raise PlatformError("Kerberos needs the package pyspnego",
                            hint="pip install 'aiflow-ext-yarn[kerberos]'") from error  # fmt: skip
    login: _Login | None = None  # kept until the token is made: it holds the cache
    own: dict[str, Any] = {}
    if cluster.principal is not None and cluster.keytab is not None:
        login = _login(cluster.principal, cluster.keytab)
        own = {"username": spnego.KerberosCCache(str(login.cache), cluster.principal)}
    try:
        client = spnego.client(hostname=urlsplit(url).hostname or "", service="HTTP", protocol="kerberos", **own)
        made = client.step()
    except Exception as error:
        where = "{}://{}".format(*urlsplit(url)[:2])
        if "Cannot contact any KDC" in str(error):
            raise UnreachableError(f"no Kerberos ticket for {where}: {error}", hint=_AWAY) from error
        raise NoTicket(f"no Kerberos ticket for {where}: {error}", hint=cure(cluster)) from error
    return base64.b64encode(made or b"").decode()


def cure(cluster: Cluster) -> str:
    """What to do about a service that does not accept the ticket, or the lack of one."""
    if cluster.keytab is None:
        return "run kinit; klist shows what you have"
    return f"kinit -kt {cluster.keytab} {cluster.principal} shows whether it is the principal's keytab"


def _login(principal: str, keytab: str) -> _Login:
    """A valid ticket from a keytab; another one is requested once half of its life is over."""
    with _lock:
        found, now = _logins.get((principal, keytab)), time.monotonic()
        if found is not None and now < found.renew_at:
            return found
        try:
            made = _new_login(principal, keytab)
        except PlatformError:
            if found is None or now >= found.valid_until:
                raise
            made = found._replace(renew_at=now + min(RETRY, (found.valid_until - now) / 2))
        _logins[principal, keytab] = made
        return made


def _new_login(principal: str, keytab: str) -> _Login:
    import krb5

    began = time.monotonic()
    try:
        context = krb5.init_context()
        name = krb5.parse_name_flags(context, principal.encode())
        keys = krb5.kt_resolve(context, f"FILE:{keytab}".encode())
        ticket = krb5.get_init_creds_keytab(context, name, krb5.get_init_creds_opt_alloc(context), keys)
        cache = krb5.cc_new_unique(context, b"MEMORY")
        krb5.cc_initialize(context, cache, name)
        krb5.cc_store_cred(context, cache, ticket)
        # By the KDC's clock, so that the local one does not matter.
        life = float(ticket.times.endtime - (ticket.times.starttime or ticket.times.authtime))
    except krb5.Krb5Error as error:
        words = f"{principal} cannot log in from the keytab {keytab}: {error}"
        if error.err_code in _NO_KDC:
            raise UnreachableError(words, hint=_AWAY) from error
        raise NoTicket(words, hint=f"klist -kt {keytab} shows whose keys it has, and kinit -kt tries them") from error
    return _Login(cache, began + life / 2, began + life)
