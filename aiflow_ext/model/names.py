"""Names that are safe where a user's own are not: in folders, object stores and on clusters."""

from __future__ import annotations

import os
import re

_SAFE = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def safe_name(name: str, limit: int = 40) -> str:
    """``name`` in at most ``limit`` characters of [a-z0-9-], beginning and ending with a letter or digit.

    A name that is so already is returned as it is; any other gets a hash of the original at its end, so that two
    names never meet in one. (RFC 1123 labels: what Kubernetes takes for an object's name.)
    """
    if len(name) <= limit and _SAFE.fullmatch(name):
        return name
    import hashlib

    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    lowered = "".join(char if char.isascii() and char.isalnum() else "-" for char in name.lower())
    stem = "-".join(filter(None, lowered.split("-")))[: limit - 9].strip("-")
    return f"{stem}-{mark}" if stem else f"x-{mark}"


def container_log(container: str) -> str:
    """The file in an attempt's folder with the log of a container that has run beside the job's own."""
    return f"container-{container}.log"


def path_shown(path: str) -> str:
    """A path as it is; one that a terminal or a line cannot show, quoted so that a shell takes it."""
    if path.isprintable():
        return path
    quoted = "".join(
        char if char.isprintable() and char not in "\\'" else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        for char in path
    )
    return f"$'{quoted}'"


def path_pasted(path: str | os.PathLike[str]) -> str:
    """A path as one word of a command in a hint, whatever is in it."""
    import shlex

    text = os.fspath(path)
    return shlex.quote(text) if text.isprintable() else path_shown(text)


def artifact_key(node_id: str, output: str | None = None) -> str:
    """The name of an artifact in ``JobContext.inputs``: the node's instance id, and the output where it has several."""
    return node_id if output is None else f"{node_id}/{output}"


def artifact_url(run_url: str, job: str, attempt: int, node: str, output: str | None = None) -> str:
    """Where the artifact of a node is kept: its record at ``<this>.json``, its file in the folder ``<this>``.

    Args:
        run_url: ``JobContext.artifacts_url``.
        job: the job's key.
        attempt: number of the attempt that wrote it.
        node: the node's name in its job.
        output: the command's keyword for the file, where the node is a command.
    """
    name = safe_name(node) if output is None else f"{safe_name(node)}.{safe_name(output)}"
    return f"{run_url.rstrip('/')}/{safe_name(job)}/{attempt}/{name}"


def local_path(url: str) -> str | None:
    """The path on this machine that a URL, or a path, names; None for a file system of another kind."""
    if url.startswith("file://"):
        return url[len("file://") :]
    return None if "://" in url else url
