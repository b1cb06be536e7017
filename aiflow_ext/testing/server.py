"""Started as a script: loads the plugin, then forks a client for each request. ``zygote`` is the other side."""

import sys

if __name__ == "__main__" and sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]  # this file's folder; its modules are no top-level ones

import json
import os
import socket


def main() -> None:
    """Say what the plugin is, then serve until the other side hangs up."""
    told = json.loads(sys.argv[1])
    # What the tests find, its clients find, in the same order.
    sys.path[:] = dict.fromkeys([*told["path"], *sys.path])
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    from aiflow_ext.testing.client import hello

    _say(control, hello(told["platform"], told["engine"]))
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
            _become_client(socket.socket(fileno=descriptors[0]), asked)
        os.close(descriptors[0])
        _say(control, {"pid": pid})


def _say(control: socket.socket, what: dict[str, object]) -> None:
    control.sendall(json.dumps(what).encode() + b"\n")


def _become_client(channel: socket.socket, asked: dict[str, str]) -> None:
    import faulthandler
    import signal
    import traceback

    code = 70
    try:
        os.setsid()
        log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
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
