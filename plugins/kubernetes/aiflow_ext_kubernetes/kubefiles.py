"""Kubeconfig files: found and merged as kubectl does it, and one context of them, with absolute paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aiflow_ext.plugin import PlatformError
from aiflow_ext_kubernetes.yaml_files import read_yaml

# Keys whose value is a path, relative to the file that has it: client-go's RESTConfig.ResolveLocalPaths.
_PATHS = {"clusters": ("certificate-authority",), "users": ("client-certificate", "client-key", "tokenFile")}
_KINDS = {"clusters": "cluster", "users": "user", "contexts": "context"}


class NoContextError(PlatformError):
    """The kubeconfig does not have a context."""


class Context(NamedTuple):
    """A context with what it names.

    Args:
        name: the context's.
        namespace: as in the file; None if it has none.
        cluster: its ``cluster``; paths in it are absolute.
        user: its ``user``, likewise; empty if it has none.
    """

    name: str
    namespace: Any
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]


def paths_of(named: str) -> list[str]:
    """The files of a value such as that of KUBECONFIG."""
    return [os.path.expanduser(each) for each in named.split(os.pathsep) if each]


def read_context(paths: list[str], context: str | None) -> Context:
    """One context of these files; None: the current one. If several files define the same name, the first one counts.

    Raises NoContextError if there is no such context, and ValueError or OSError if the files cannot be read.
    """
    found: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    current: Any = None
    for path in filter(os.path.exists, paths):
        content = _content(path)
        current = current or content.get("current-context")
        for kind in _KINDS:
            for name, entry in _entries(path, content, kind):
                found[kind].setdefault(name, entry)
    name = current if context is None else context
    chosen = found["contexts"].get(name) if isinstance(name, str) else None
    if chosen is None:
        missing = "no current context" if name is None else f"no context {name!r}"
        raise NoContextError(
            f"the kubeconfig has {missing}", where=os.pathsep.join(paths),
            hint=f"its contexts are {', '.join(found['contexts']) or 'none'}; context: in workflow.yaml chooses one",
        )  # fmt: skip
    return Context(
        str(name),
        chosen.get("namespace"),
        _named(found, "clusters", name, chosen),
        _named(found, "users", name, chosen) if chosen.get("user") else {},
    )


def _named(found: Mapping[str, Mapping[str, Any]], kind: str, context: Any, chosen: Mapping[str, Any]) -> Any:
    name = chosen.get(_KINDS[kind])
    if not isinstance(name, str) or name not in found[kind]:
        raise ValueError(f"context {context!r} names a {_KINDS[kind]} {name!r} that is in none of its files")
    return found[kind][name]


def _content(path: str) -> Mapping[str, Any]:
    content = read_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} is no mapping")
    return content


def _entries(path: str, content: Mapping[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    folder = os.path.dirname(os.path.abspath(path))
    entries = content.get(kind) or []
    if not isinstance(entries, list):
        raise ValueError(f"{kind}: of {path} is no list")
    for each in entries:
        name, entry = (each.get("name"), each.get(_KINDS[kind])) if isinstance(each, Mapping) else (None, None)
        if not isinstance(name, str) or not isinstance(entry or {}, Mapping):
            raise ValueError(f"{kind}: of {path} has an entry that is no name with a {_KINDS[kind]}")
        entry = dict(entry or {})
        for key in _PATHS.get(kind, ()):
            if entry.get(key):
                entry[key] = os.path.join(folder, entry[key])
        program = entry.get("exec")
        # A command with a slash is relative to the file, one without is searched for in PATH.
        if kind == "users" and isinstance(program, Mapping) and os.sep in str(program.get("command")):
            entry["exec"] = {**program, "command": os.path.join(folder, str(program["command"]))}
        yield name, entry
