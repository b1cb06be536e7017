"""Copies the whole log of an attempt into its folder, once: the node removes its own copy with the pod."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from aiflow_ext.plugin import PlatformError
from aiflow_ext.plugin.engines import STREAMS
from aiflow_ext_kubernetes.logs.reader import reader_of
from aiflow_ext_kubernetes.target import Target

_log = logging.getLogger("aiflow_ext")
_writing = threading.Lock()  # of a log into its folder: by one at a time, which is then the only one
_starting = threading.Lock()  # of threads that keep a log


def is_kept(folder: str | None) -> bool:
    """Whether an attempt's log is in its folder."""
    return folder is not None and all(Path(folder, stream).exists() for stream in STREAMS)


def keep(
    target: Target,
    native_id: str,
    folder: str | None,
    pod: str | None,
    *,
    ends_within: float | None = None,
    on_answer: Callable[[], None] = lambda: None,
    may_lack: bool = True,
) -> None:
    """Copy an attempt's log into its folder, once. Raises what the server raises.

    Args:
        target: where the attempt is.
        native_id: the name of its Job.
        folder: its folder on this machine; if it does not exist, nothing is kept.
        pod: the name of its pod; None: the server is asked for it.
        ends_within: seconds in which the container ends, if its pod is being deleted; None: it has ended.
        on_answer: called once the node has begun to send the log.
        may_lack: whether a log that cannot be read is noted in stderr: the container has run.
    """
    if folder is None or is_kept(folder):
        return
    reader = reader_of(target, native_id, pod, folder)
    if not reader.is_complete:
        reader.catch_up(ends_within, on_answer)
    with _writing:
        if is_kept(folder):
            return
        if reader.pod is None:
            return  # it never had one
        if may_lack and (words := reader.lacks) is not None:
            reader.add_note(words)
            _log.warning("the log of pod %s: %s", reader.pod, words.decode().strip("[]\n").removeprefix("aiflow-ext: "))
        with contextlib.suppress(FileNotFoundError):  # the run's folder was removed: the log is not needed
            reader.write(Path(folder))


def keep_to_eof(
    target: Target, native_id: str, folder: str | None, pod: str, ends_within: float
) -> tuple[threading.Thread, threading.Event]:
    """Begin to read the log of a pod that is being deleted to EOF, and keep it, as :func:`keep` does.

    Returns the thread that reads it, and an event that is set once the node sends the log. The deletion of a pod waits
    for that event, because the log of a container that ends at once would be gone before it is requested. At most one
    thread reads a log to EOF.
    """
    reader = reader_of(target, native_id, pod, folder)
    with _starting:
        if reader.keeper is None or not reader.keeper[0].is_alive():
            reader.keeper = _start(target, native_id, folder, pod, ends_within)
        return reader.keeper


def _start(
    target: Target, native_id: str, folder: str | None, pod: str, ends_within: float
) -> tuple[threading.Thread, threading.Event]:
    answered = threading.Event()

    def run() -> None:
        try:
            keep(target, native_id, folder, pod, ends_within=ends_within, on_answer=answered.set)
        except (PlatformError, OSError) as error:  # stopping matters more; cleaning up tries again
            _log.debug("the log of %s cannot be kept yet: %s", native_id, error)
        finally:
            answered.set()

    thread = threading.Thread(target=run, daemon=True, name="aiflow-log")
    thread.start()
    return thread, answered
