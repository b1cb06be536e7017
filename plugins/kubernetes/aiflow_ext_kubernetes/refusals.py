"""What an API server refuses, or does not answer, as errors with a cure."""

from __future__ import annotations

import re
import ssl

from aiflow_ext.plugin import AnotherPlatformError, PlatformError, UnreachableError
from aiflow_ext_kubernetes.answers import parsed, read
from aiflow_ext_kubernetes.target import Cluster


class ApiError(PlatformError):
    """The server has refused a request.

    Attributes:
        status: the HTTP status.
        api_reason: the Status object's reason: NotFound, AlreadyExists, Conflict, Forbidden, Invalid, ...
        again: whether the request was sent more than once, and an earlier one may have been carried out.
        body: the answer, where it may be that of a server behind the API server.
    """

    again = False
    body = b""

    def __init__(self, status: int, api_reason: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status, self.api_reason = status, api_reason


class QuotaError(UnreachableError):
    """The namespace's quota is used up: the request is retried until other jobs have ended."""


class AnotherClusterError(AnotherPlatformError):
    """The kubeconfig leads to another cluster than the one in which a run began."""


def another_cluster(context: str | None, wanted: Cluster, found: Cluster) -> AnotherClusterError:
    """The error for a server that is of the cluster ``found``, where the run began in ``wanted``."""
    uid = next(((mine, its) for mine, its in ((wanted.system, found.system), (wanted.home, found.home))
                if mine is not None and its is not None), None)  # fmt: skip
    place = f"context {context!r} of the kubeconfig" if context is not None else "the service account of this pod"
    if uid is None:
        return AnotherClusterError(
            f"{place} names {found.server}, and the run began at {wanted.server}: whether that is the same cluster "
            "cannot be told",
            hint="the Role needs to get namespaces (aiflow-ext render --rbac PROJECT), from before a run on; or let "
            "the context name the old address",
        )
    return AnotherClusterError(
        f"{place} leads to another cluster, {found.server} ({uid[1]}), and the run began in {wanted.server} ({uid[0]})",
        hint="what the run has created is there: let the kubeconfig lead there again, or begin a new run",
    )


def unreachable(url: str, error: BaseException) -> PlatformError:
    """The error for a request that got no answer: the certificate is not trusted, or nothing answers."""
    cause: BaseException = getattr(error, "reason", None) or error
    if not isinstance(cause, BaseException):
        cause = error
    text = str(cause)[:500]
    mistrusted = ("CERTIFICATE_VERIFY_FAILED", "doesn't match", "certificate is not valid for")
    if any(words in text for words in mistrusted) or isinstance(cause, ssl.SSLCertVerificationError):
        return PlatformError(
            f"the API server at {url} is not trusted: {text}",
            hint="the kubeconfig's certificate-authority must be of that server, and its address (or tls-server-name) "
            "one that its certificate names; fetch the kubeconfig again",
        )
    words = re.sub(r"^(<.*?>|HTTPS?Connection(Pool)?\(.*?\)): (Failed to establish a new connection: )?", "", text)
    return UnreachableError(
        f"the API server at {url} does not answer: {words}",
        hint="see that the address is right, and that you are in its network: kubectl version",
    )


def refused(status: int, data: bytes, method: str, path: str, more: str = "") -> PlatformError:
    """A refusal as an error: the server's message, and what to do."""
    try:
        found = read(parsed(data, "the API server"), {"reason": str, "message": str}, "a status")
        reason, words = found.get("reason", ""), found.get("message", "")[:10_000]
    except PlatformError:  # not in the words of an API server
        found, reason, words = {}, "", data[:2000].decode("utf-8", "replace").strip()[:500]
    words = words or f"HTTP status {status}"
    if status == 401:
        return UnreachableError(
            f"the API server does not accept the credentials (401): {words}{more}",
            hint="they may have expired: log in again, as for kubectl; what runs goes on meanwhile",
        )
    if status == 403:
        if "exceeded quota" in words:
            return QuotaError(f"the namespace's quota is used up: {words}", hint="it is asked again")
        if 'User "system:anonymous"' in words:
            return ApiError(status, reason, f"the kubeconfig's context names no credentials: {words}",
                            "log in, as for kubectl, or choose another context: context: in workflow.yaml")  # fmt: skip
        if "is forbidden: User" in words or "cannot" in words:
            from aiflow_ext_kubernetes.access import line_for

            return ApiError(status, reason, f"no permission: {words}", line_for(method, path))
        return ApiError(status, reason, f"the API server refuses it: {words}",
                        "an admission rule of the cluster says no; its words say which")  # fmt: skip
    if status >= 500 or status == 429 or (status == 409 and reason == "Conflict"):
        return UnreachableError(f"the API server cannot answer ({status}): {words}", hint="it is asked again")
    hint = None
    if status == 404 and words.startswith("namespaces "):
        hint = "create it, or name another one: namespace: in workflow.yaml"
    elif not found:
        hint = "what answers there is no API server: see that the kubeconfig's address is right: kubectl version"
    elif status in (400, 422):
        hint = "the config or the pod template says something that the cluster does not take"
    error = ApiError(status, reason, words, hint)
    error.body = data
    return error
