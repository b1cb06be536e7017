"""Cycles among things that wait for each other: jobs, and the nodes of a job."""

from __future__ import annotations

from collections.abc import Iterable


def find_cycle(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """A cycle among ``names`` as a path that ends where it began, or an empty list. Edges run (before, after)."""
    after: dict[str, list[str]] = {name: [] for name in names}
    waiting = dict.fromkeys(after, 0)
    for source, target in edges:
        after[source].append(target)
        waiting[target] += 1
    ready = [name for name, count in waiting.items() if not count]
    while ready:
        name = ready.pop()
        del waiting[name]
        for target in after[name]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    if not waiting:
        return []
    # Every name left over waits for another one left over, so walking against the edges must come round.
    before = {target: source for source in waiting for target in after[source] if target in waiting}
    path, seen = [next(iter(waiting))], set[str]()
    while path[-1] not in seen:
        seen.add(path[-1])
        path.append(before[path[-1]])
    path = path[path.index(path[-1]) :]
    return path[::-1]
