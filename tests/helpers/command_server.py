"""Started as a script: has the modules of the command line loaded, and forks a process for each command.

The other side is in ``commands``. Standard input is a SOCK_SEQPACKET socket. A request is JSON with ``args``, ``env``,
``cwd`` and ``session``; with it come the descriptors of the three standard streams and of a socket for the answer: the
command's pid, and then its wait status.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
from typing import Any

ROOMS = ("model", "translate", "host", "run", "cli", "supervise.client", "plugin", "engines.bundle")
LAZY = (
    "cattrs",
    "click",
    "cloudpickle",
    "importlib_metadata",
    "rich.console",
    "rich.live",
    "rich.table",
    "sqlite3",
    "yaml",
)
MOST = 1 << 20  # bytes of a request

BELL = "aiflow-bell"  # the thread that each run has to its very end, blocked in a read

_exit_codes: list[int] = []  # of this process's command, once it has ended


def load() -> None:
    """Import what commands import: all of it but plugins, which each command finds for itself."""
    for name in LAZY:
        importlib.import_module(name)
    for room in ROOMS:
        package = importlib.import_module(f"aiflow_ext.{room}")
        for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}."):
            if not module.name.endswith(("_child", "__main__")):
                importlib.import_module(module.name)


def main() -> None:
    """Fork a process for each request; it returns there, and the interpreter then runs the command to its end."""
    atexit.register(leave)  # before all others, so that it is called after them
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    load()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the processes that wait for a command are not waited for
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, MOST, 4)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            return command(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def command(request: dict[str, Any], descriptors: list[int]) -> None:
    """In a child: run the command. Its parent, which waits for it, does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    answer = socket.socket(fileno=descriptors.pop())
    pid = os.fork()
    if pid:
        for descriptor in (*descriptors, 0, 1, 2):
            os.close(descriptor)
        with contextlib.suppress(OSError):  # the client is gone
            answer.send(str(pid).encode())
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            status = ended.si_status << 8 if ended.si_code == os.CLD_EXITED else ended.si_status
            answer.send(str(status).encode())
            answer.recv(1)  # until then the pid is its own
        os._exit(0)
    answer.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0:1] = [os.getcwd(), *filter(None, request["env"].get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[1:] = request["args"]
    try:
        runpy.run_module("aiflow_ext", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, int):
            _exit_codes.append(ended.code)
        raise


def leave() -> None:
    """Called by a command's interpreter when it has joined its threads and called what it was told to call at its end.

    End without taking the modules apart: that copies each page that is shared with the server, and takes four times as
    long as a short command. Where a user could notice it, because a thread is left or output cannot be flushed, the
    interpreter goes on to its own end.
    """
    others = {thread.name for thread in threading.enumerate()} - {threading.main_thread().name, BELL}
    if _exit_codes and not others:
        with contextlib.suppress(Exception):
            for stream in (sys.stdout, sys.stderr):
                if stream is not None and not stream.closed:
                    stream.flush()
            os._exit(_exit_codes[0])


if __name__ == "__main__":
    main()
