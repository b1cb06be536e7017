"""One kind of a run's objects, listed and then watched: what happens to them, as changes.

A kind is listed, then watched from the list's resourceVersion, with bookmarks; the server ends a watch after some
minutes, and the next one begins where it ended. Where a version is too old (410), the kind is listed again. Where the
server does not answer, the reflector fails, and its caller starts it again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import Backoff
from aiflow_ext_kubernetes import answers, manifest
from aiflow_ext_kubernetes.paging import listed
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.response_stream import Stream
from aiflow_ext_kubernetes.server import namespace_of, server_of
from aiflow_ext_kubernetes.target import Target

KINDS = {"job": "/apis/batch/v1/namespaces/{}/jobs", "pod": "/api/v1/namespaces/{}/pods"}
LASTS = (240, 300)  # seconds that a watch lasts, drawn
SHORTEST = 1.0  # seconds: after a watch that ended sooner there is a pause
BACK_OFF = (0.2, 10.0)  # seconds of that pause: the first, and the longest
_CHANGES: dict[str, Literal["changed", "deleted"]] = {"ADDED": "changed", "MODIFIED": "changed", "DELETED": "deleted"}
_EVENT, _ERROR = {"type": str, "object": dict}, {"code": int, "message": str}
SILENCE = 100.0  # seconds without a bookmark (one a minute) after which a connection is taken for dead


class Change(NamedTuple):
    """What a reflector reports.

    Args:
        what: ``listed``: these are all objects; ``changed``, ``deleted``: one of them; ``failed``: nothing more comes.
        kind: ``job`` or ``pod``.
        content: a list of objects, an object, or an exception.
    """

    what: Literal["listed", "changed", "deleted", "failed"]
    kind: str
    content: Any


class Reflector:
    """Lists and watches one kind, in a thread of its own, until it is closed or fails.

    Args:
        target: where.
        run: whose objects.
        kind: one of ``KINDS``.
        tell: called with each change, in that thread.
    """

    def __init__(self, target: Target, run: str, kind: str, tell: Callable[[Change], None]) -> None:
        self._target, self._kind, self._tell = target, kind, tell
        self._path = KINDS[kind].format(namespace_of(target))
        self._selector = manifest.selector(run)
        self._closed = threading.Event()
        self._stream: Stream | None = None
        threading.Thread(target=self._run, daemon=True, name=f"aiflow-{kind}s").start()

    def close(self) -> None:
        """End; no change is reported any more."""
        self._closed.set()
        if self._stream is not None:
            self._stream.close()

    def _run(self) -> None:
        try:
            backoff = Backoff(*BACK_OFF)
            while not self._closed.is_set():
                version: str | None = self._list()
                while version is not None and not self._closed.is_set():
                    began = time.monotonic()
                    version = self._watch(version)
                    if time.monotonic() - began >= SHORTEST:
                        backoff.reset()
                    else:
                        self._closed.wait(backoff.next())
        except Exception as error:
            if not self._closed.is_set():
                self._tell(Change("failed", self._kind, error))

    def _list(self) -> str:
        """List all; returns the resourceVersion."""
        items, version = listed(server_of(self._target), self._path, answers.thing, self._closed.is_set,
                                labelSelector=self._selector)  # fmt: skip
        self._tell(Change("listed", self._kind, items))
        return version

    def _watch(self, version: str) -> str | None:
        """Watch from a version on; the last version at the end, None where it must be listed again."""
        try:
            stream = self._stream = server_of(self._target).stream(
                self._path, silence=SILENCE, lasts=LASTS[1] + SILENCE, labelSelector=self._selector, watch="true",
                resourceVersion=version,
                allowWatchBookmarks="true", timeoutSeconds=random.randint(*LASTS),
            )  # fmt: skip
        except ApiError as error:
            if error.status == 410:
                return None
            raise
        try:
            for line in stream.lines():
                if self._closed.is_set():
                    return version
                event = answers.read(answers.parsed(line, "the API server"), _EVENT, "an event")
                what, content = event.get("type"), event.get("object", {})
                if what == "ERROR":
                    failed = answers.read(content, _ERROR, "an error")
                    if failed.get("code") == 410:
                        return None
                    raise UnreachableError(f"the watch of {self._kind}s broke off: {failed.get('message')}")
                if what != "BOOKMARK" and what not in _CHANGES:
                    raise PlatformError(
                        f"the API server tells of an event {str(what)[:100]!r}, which is none of a watch"
                    )
                metadata = answers.read(content.get("metadata", {}), answers.METADATA, "an object's metadata")
                version = metadata.get("resourceVersion", version)
                if what != "BOOKMARK":
                    self._tell(Change(_CHANGES[what], self._kind, answers.thing(content)))
        finally:
            stream.close()
        return version
