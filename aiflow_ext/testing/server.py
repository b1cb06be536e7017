"""Started as a script: forks a zygote for each plugin, and that one a client for each request.

The other side is in ``zygote``.
"""

import sys

if __name__ == "__main__" and sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]  # this file's folder; its modules are no top-level ones

import json
import os
import signal
import socket
from typing import Any


def main() -> None:
    """Load what every client needs, then fork a zygote for each plugin that is requested."""
    # Its clients import from the same places as the tests, in the same order.
    sys.path[:] = dict.fromkeys([*json.loads(sys.argv[1]), *sys.path])
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zygote is waited for
    import aiflow_ext.testing.client  # noqa: F401

    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _as_zygote(socket.socket(fileno=descriptors[0]), json.loads(data))
        os.close(descriptors[0])
        control.sendall(b"forked\n")


def _as_zygote(control: socket.socket, options: dict[str, Any]) -> None:
    """Load one plugin, report facts about it, then fork a client for each request."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _print_to(options["log"])
    os.environ.clear()
    os.environ.update(options["env"])
    from aiflow_ext.testing.client import hello

    _say(control, hello(options["platform"], options["engine"]))
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not data:
            os._exit(0)
        asked = json.loads(data)
        if "wait" in asked:
            _say(control, {"status": os.waitpid(asked["wait"], 0)[1]})
            continue
        pid = os.fork()
        if pid == 0:
            control.close()
            _as_client(socket.socket(fileno=descriptors[0]), asked)
        os.close(descriptors[0])
        _say(control, {"pid": pid})


def _say(control: socket.socket, what: dict[str, object]) -> None:
    control.sendall(json.dumps(what).encode() + b"\n")


def _print_to(log: str, out: str | None = None) -> None:
    """Redirect standard error to ``log``, and standard output too, unless it has a file of its own."""
    for path, numbers in ((log, (1, 2)), (out, (1,))):
        if path is not None:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            for number in numbers:
                os.dup2(file, number)
            os.close(file)


def _as_client(channel: socket.socket, asked: dict[str, str]) -> None:
    import faulthandler
    import traceback

    code = 70
    try:
        os.setsid()
        _print_to(asked["log"], asked["out"])
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
        from aiflow_ext.testing.client import serve

        serve(channel, asked["fork"])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
