"""Lists of the API server's objects, in pages, to a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiflow_ext_kubernetes import answers
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.server import Server

PAGE = 250  # objects of one answer
MOST_LISTED = 128 << 20  # bytes in memory of what one list has, roughly
MOST_EMPTY = 100  # pages of a list without objects


def listed(
    server: Server,
    path: str,
    parse: Callable[[Any], dict[str, Any]],
    closed: Callable[[], bool] = lambda: False,
    **query: Any,
) -> tuple[list[dict[str, Any]], str]:
    """All objects of a kind, and the list's resourceVersion.

    Args:
        server: the API server.
        path: of the kind in a namespace.
        parse: makes of an item what is kept of it.
        closed: whether nobody wants the list any more.
        query: which of the objects.

    Raises what the server raises, and TooLargeError where the list has too much or no end, or is not wanted any more.
    """
    items: list[dict[str, Any]] = []
    size = empty = 0
    asked: dict[str, Any] = {**query, "limit": PAGE}
    while True:
        if size > MOST_LISTED or empty > MOST_EMPTY or closed():
            raise answers.TooLargeError(
                f"the API server's list of {path.rpartition('/')[2]} has no end, or more than can be kept in memory",
                hint="see that the kubeconfig's address is the API server's: kubectl version",
            )
        try:
            found = server.get(path, **asked)
        except ApiError as error:
            if error.status != 410 or "continue" not in asked:
                raise
            del asked["continue"]  # too old: list again
            items, size, empty = [], 0, empty + 1
            continue
        except answers.TooLargeError:
            if asked["limit"] == 1:
                raise
            asked["limit"] //= 2
            continue
        page = list(map(parse, answers.items(found)))
        items += page
        size, empty = size + sum(map(answers.size_of, page)), empty + (not page)
        place = answers.read(found.get("metadata", {}), answers.LIST, "a list's metadata")
        if not place.get("continue"):
            return items, str(place.get("resourceVersion", ""))
        asked["continue"] = place["continue"]
