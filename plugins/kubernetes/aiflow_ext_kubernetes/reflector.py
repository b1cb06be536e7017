"""One kind of a run's objects, listed and then watched: what happens to them, as changes.

A kind is listed, then watched from the list's resourceVersion, with bookmarks; the server ends a watch after some
minutes, and the next one begins where it ended. Where a version is too old (410), the kind is listed again. Where the
server does not answer, the reflector fails, and its caller starts it again.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from aiflow_ext.plugin import UnreachableError
from aiflow_ext_kubernetes import answers, manifest
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.response_stream import Stream
from aiflow_ext_kubernetes.server import namespace_of, server_of
from aiflow_ext_kubernetes.target import Target

KINDS = {"job": "/apis/batch/v1/namespaces/{}/jobs", "pod": "/api/v1/namespaces/{}/pods"}
PAGE = 250  # objects of one answer
LASTS = (240, 300)  # seconds that a watch lasts, drawn
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
        self._closed = False
        self._stream: Stream | None = None
        threading.Thread(target=self._run, daemon=True, name=f"aiflow-{kind}s").start()

    def close(self) -> None:
        """End; no change is reported any more."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()

    def _run(self) -> None:
        try:
            while not self._closed:
                version: str | None = self._list()
                while version is not None and not self._closed:
                    version = self._watch(version)
        except Exception as error:
            if not self._closed:
                self._tell(Change("failed", self._kind, error))

    def _list(self) -> str:
        """List all; returns the resourceVersion."""
        server = server_of(self._target)
        items: list[Any] = []
        query: dict[str, Any] = {"labelSelector": self._selector, "limit": PAGE}
        while True:
            try:
                found = server.get(self._path, **query)
            except ApiError as error:
                if error.status != 410 or "continue" not in query:
                    raise
                items, query = [], {key: query[key] for key in ("labelSelector", "limit")}  # too old: list again
                continue
            except answers.TooLargeError:
                if query["limit"] == 1:
                    raise
                query["limit"] //= 2
                continue
            items += [answers.thing(item) for item in answers.items(found)]
            place = answers.read(found.get("metadata", {}), answers.LIST, "a list's metadata")
            if not place.get("continue"):
                break
            query["continue"] = place["continue"]
        self._tell(Change("listed", self._kind, items))
        return str(place.get("resourceVersion", ""))

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
                if self._closed:
                    return version
                event = answers.read(answers.parsed(line, "the API server"), _EVENT, "an event")
                what, content = event.get("type"), event.get("object", {})
                if what == "ERROR":
                    failed = answers.read(content, _ERROR, "an error")
                    if failed.get("code") == 410:
                        return None
                    raise UnreachableError(f"the watch of {self._kind}s broke off: {failed.get('message')}")
                metadata = answers.read(content.get("metadata", {}), answers.METADATA, "an object's metadata")
                version = metadata.get("resourceVersion", version)
                if what != "BOOKMARK":
                    changed: Literal["changed", "deleted"] = "deleted" if what == "DELETED" else "changed"
                    self._tell(Change(changed, self._kind, answers.thing(content)))
        finally:
            stream.close()
        return version
