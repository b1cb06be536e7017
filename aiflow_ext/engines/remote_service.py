"""Repeats an operation on a remote file system while its service does not answer. Runs inside jobs.

Standard library only. fsspec's file systems raise what their clients raise; those of WebHDFS are known here: a NameNode
on standby or in safe mode, a service that is restarted.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiflow_ext.bounded_call import CallTooLong, result_within

T = TypeVar("T")
# ``host:port``, separated by commas: servers of the artifacts' file system, of which one at a time is active.
ARTIFACT_HOSTS = "AIFLOW_ARTIFACT_HOSTS"
# Hosts or patterns, separated by commas, to which a service with TLS may lead without.
INSECURE_NODES = "AIFLOW_ARTIFACT_INSECURE_NODES"
PATIENCE = "AIFLOW_ARTIFACT_PATIENCE"  # the variable with the seconds for which an operation is repeated; 300
TIMEOUT = (10.0, 120.0)  # seconds to connect, and between two packets of an answer
# Seconds for a whole operation, and bytes of a file for which it gets one more: a server that sends a byte a second is
# as good as one that sends none.
LONGEST, SLOWEST = 300.0, 16 << 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 15.0  # seconds
_STATUSES = (429, 502, 503, 504)
_WORDS = (
    "state standby", "StandbyException", "safe mode", "SafeModeException", "RetriableException", "not started",
    "not yet started", "in startup mode", "could only be written to 0 of", "There are 0 datanode",
    "AlreadyBeingCreated", "Connection refused",
)  # fmt: skip
_NAMES = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "ChunkedEncodingError")  # of requests
_preferred = ""


class AwayError(Exception):
    """A remote file system has not answered for minutes; the message is for the job's log and its reason."""


def persist(url: str, operation: Callable[[str], T], size: int = 0) -> T:
    """The result of ``operation``, which is called again while the service does not answer.

    Args:
        url: of a remote file.
        operation: called with the URL at one of the service's addresses; may be repeated after it failed half-way.
        size: bytes that it transfers; it has a second more for every ``SLOWEST`` of them.

    Raises AwayError after the patience, or where a call takes too long (it is not repeated: the first one may still
    read and write), and whatever else ``operation`` raises.
    """
    global _preferred
    limit = LONGEST + size / SLOWEST
    began, pause, patience = time.monotonic(), _FIRST_PAUSE, float(os.environ.get(PATIENCE, "300"))
    while True:
        for address in _at_each_address(url):
            try:
                result = result_within(limit, partial(operation, address))
            except CallTooLong as error:
                words = f"{url} is too slow: {size} bytes have not been transferred in {limit:.0f} s"
                raise AwayError(words if size else f"{url} has not answered for {limit:.0f} s") from error
            except Exception as error:
                if not is_away(error):
                    raise
                last: Exception = error
                continue
            _preferred = urlsplit(address).netloc
            return result
        waited = time.monotonic() - began
        if waited + pause > patience:
            words = str(last).partition("\n")[0][:500] or type(last).__name__
            raise AwayError(f"{url} cannot be reached (tried for {waited:.0f} s): {words}") from last
        time.sleep(pause * random.uniform(0.8, 1.0))
        pause = min(pause * 2, _LONGEST_PAUSE)


def is_away(error: BaseException) -> bool:
    """Whether an operation failed because the service does not answer now."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    kind = type(error)
    if kind.__module__.partition(".")[0] == "requests" and kind.__name__ in _NAMES:
        return True
    answer = getattr(error, "response", None)
    if getattr(answer, "status_code", None) in _STATUSES:
        return True
    words = f"{error} {getattr(answer, 'text', '')}"
    return any(each in words for each in _WORDS)


def with_deadlines(system: Any) -> Any:
    """An fsspec file system; requests of WebHDFS get a time limit, which fsspec does not set.

    A DataNode's refusal is raised, which fsspec takes for a file's content. Where the NameNode has TLS, a node without
    raises PermissionError, unless it is one of ``INSECURE_NODES``.
    """
    session = getattr(system, "session", None)
    if session is None or "webhdfs" not in str(system.protocol) or hasattr(session, "aiflow_request"):
        return system
    request = session.aiflow_request = session.request

    def limited(method: str, url: str, **options: Any) -> Any:
        # requests prefers REQUESTS_CA_BUNDLE to the session's authorities, unless they are given here.
        answer = request(method, url, **{"timeout": TIMEOUT, "verify": session.verify, **options})
        if answer.status_code >= 400 and "namenoderpcaddress=" in answer.url:
            answer.raise_for_status()
        return answer

    session.request = limited
    if str(getattr(system, "url", "")).startswith("https:"):
        session.mount("http://", _WithoutTls(session.get_adapter("http://")))
    return system


class _WithoutTls:
    """An adapter of requests for http, redirects included."""

    def __init__(self, adapter: Any) -> None:
        self._adapter, self.close = adapter, adapter.close

    def send(self, request: Any, **options: Any) -> Any:
        host = urlsplit(request.url).hostname or ""
        if not any(fnmatchcase(host, each.lower()) for each in os.environ.get(INSECURE_NODES, "").split(",")):
            raise PermissionError(f"the artifacts' file system leads to {host} without TLS: nothing is sent there")
        return self._adapter.send(request, **options)


def _at_each_address(url: str) -> Iterator[str]:
    """The URL at each address of its service, at the one that answered last first."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    hosts = [each for each in os.environ.get(ARTIFACT_HOSTS, "").split(",") if each]
    if host not in hosts:
        yield url
        return
    places = [f"{user}{at}{each}" for each in hosts]
    for place in sorted(places, key=lambda each: each != _preferred):
        yield parts._replace(netloc=place).geturl()
