"""The server of :mod:`~aiflow_ext.host.isolated`: a process that forks for each call, and ends what the call leaves."""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from aiflow_ext.supervise import kernel, proc
from aiflow_ext.supervise.sweep import Sweep, sweep

MOST_PRINTED = 16_384  # bytes that are kept of what a call prints
# What a driver has imported before it imports a plugin: each fork has it, too. By name, as it is not used here.
_FIRST = ("aiflow_ext.host.trial_child", "aiflow_ext.plugin")
MOST_ROUNDS = 20  # in which what a call has left is ended; what may not be signalled stays


def serve(*, quiet: bool) -> None:
    """Make the calls that stdin has, one a line, and write an outcome for each to stdout, until stdin ends."""
    kernel.become_subreaper()  # what a call's process leaves behind becomes a child of this one
    requests, answers = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    for name in _FIRST:
        importlib.import_module(name)
    os.write(answers, b" ")
    if quiet:
        os.dup2(nowhere, 2)
    with open(requests, "rb", buffering=0) as lines:
        for line in lines:
            function, arguments, limit = json.loads(line)
            answer = json.dumps(_outcome(function, arguments, limit, requests)).encode() + b"\n"
            _write_all(os.write, answers, answer)


def _outcome(function: str, arguments: dict[str, Any], limit: float, requests: int) -> tuple[Any, ...]:
    """The fields of the outcome of a call."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    began = time.monotonic()
    with tempfile.TemporaryFile() as printed:
        pid = os.fork()
        if pid == 0:
            _call(function, arguments, write, printed.fileno())
        os.close(write)
        answer, is_over = _awaited(pid, read, began + limit, requests)
        seconds = time.monotonic() - began
        os.close(read)
        status = os.waitpid(pid, 0)[1] if is_over else None
        left = _end_all(but=None if is_over else pid)
        printed.seek(0)
        noise = printed.read(MOST_PRINTED).decode("utf-8", "replace")
    exit_code = None if status is None else os.waitstatus_to_exitcode(status)
    lines = answer.split(b"\n")[:-1]  # without the beginning of one
    is_complete = bool(lines) and not lines[-1]
    answers = [json.loads(line) for line in lines if line]
    return is_complete, answers, None if is_complete else exit_code, seconds, noise, left


def _awaited(pid: int, read: int, deadline: float, requests: int) -> tuple[bytes, bool]:
    """What the call's process has answered, and whether it has ended, at the deadline at the latest."""
    answer = b""
    end = kernel.pidfd_open(pid)
    poll = select.poll()
    for descriptor in (end, read):
        poll.register(descriptor, select.POLLIN)
    poll.register(requests, select.POLLIN)  # no request comes during a call: it is the end
    try:
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)}
            if requests in ready:
                _end_all(but=None)
                os._exit(0)
            while part := _part(read):
                answer += part
            if end in ready or not ready:
                return answer, end in ready
            if read in ready and part is not None:  # its end, before that of the process
                poll.unregister(read)
    finally:
        os.close(end)


def _part(read: int) -> bytes | None:
    """Some of what is in the pipe: nothing at its end, None where nothing is there yet."""
    try:
        return os.read(read, 1 << 16)
    except BlockingIOError:
        return None


def _end_all(*, but: int | None) -> bool:
    """End every descendant; whether there was any, ``but`` this one, which is ended too."""
    found = False
    for _ in range(MOST_ROUNDS):
        _reap()
        roots = [(pid, start) for pid in proc.children(os.getpid()) if (start := proc.start_time(pid)) is not None]
        if not roots:
            break
        found = found or any(pid != but for pid, _ in roots)
        sweep(Sweep(mark=None, grace=0.0, roots=roots))
    return found


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _write_all(write: Callable[[int, bytes], int], descriptor: int, data: bytes) -> None:
    while data:
        data = data[write(descriptor, data) :]


def _call(function: str, arguments: dict[str, Any], answer: int, printed: int) -> None:
    """Make the call, in a process of its own, write its answers and an empty line, and exit at once."""
    write, leave = os.write, os._exit
    try:
        os.setsid()
        os.closerange(3, min(answer, printed))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is reported; nobody wants its core
        os.dup2(printed, 1)
        os.set_blocking(answer, True)
        module, _, name = function.partition(":")
        for each in getattr(importlib.import_module(module), name)(**arguments):
            _write_all(write, answer, json.dumps(each).encode() + b"\n")
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):  # whatever the plugin has made of them
                pass
        _write_all(write, answer, b"\n")
        leave(0)
    finally:
        leave(1)
