"""Process 1 of a bed: it starts the components, reaps what is orphaned, and takes everything with it when it ends.

Run by ``unshare`` in mount, network and pid namespaces of its own. The kernel kills every process of a pid namespace
when its process 1 dies, and with them go the mounts, addresses, bridges and packet filter rules that they made.

It listens at ``control`` in the bed's folder. A request is one line of JSON, and so is its answer:

    {"start": NAME, "argv": [...], "env": {...}}    -> {"pid": N}, as this namespace counts
    {"signal": NAME, "number": N}                   -> {}
    {"list": true}                                  -> {"components": {NAME: RECORD, ...}}

A ``RECORD`` is ``{"pid": N, "paused": BOOL}``, or ``{"exit": STATUS}`` of one that has ended.

``STATUS`` is an exit code, or a signal's number below zero. A refusal is ``{"error": "..."}``.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Run by path, isolated; found last, so that nothing beside aiflow_ext can stand in for the standard library.
    sys.path.append(str(Path(__file__).resolve().parents[4]))

from aiflow_ext.supervise import kernel

# Written by kubelet, runtime and network plugins wherever their own data is: they get these for themselves.
PRIVATE = ("/run", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")

# The kubelet sets these, and they belong to the whole machine: it gets files of its own to write to.
SYSCTLS = (
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
)  # fmt: skip


def call(*command: str) -> None:
    subprocess.run(command, check=True)


def settle(folder: Path) -> None:
    """Make the mounts that the components are to see, and the loopback device."""
    call("mount", "-t", "proc", "proc", "/proc")
    for path in PRIVATE:
        call("mount", "-t", "tmpfs", "-o", "mode=755", "none", path)
    for number, name in enumerate(SYSCTLS):
        sysctl = Path("/proc/sys", name)
        if sysctl.exists():
            stand_in = Path(f"/run/sysctl{number}")
            stand_in.write_bytes(sysctl.read_bytes())
            call("mount", "--bind", str(stand_in), str(sysctl))
    for source, target in json.loads((folder / "binds").read_text()):
        call("mount", "--bind", "--options=ro", source, target)
    # As systemd does: volumes whose mounts travel into containers need shared mounts to start from.
    call("mount", "--make-rshared", "/")
    call("ip", "link", "set", "lo", "up")


class Init:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[int, str] = {}
        self.components: dict[str, dict[str, int]] = {}

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            name = self.running.pop(pid, None)
            if name is not None:
                self.components[name] = {"exit": os.waitstatus_to_exitcode(status)}

    def start(self, name: str, argv: list[str], env: dict[str, str]) -> dict[str, Any]:
        if "pid" in self.components.get(name, {}):
            return {"error": f"{name} is running"}
        log = str(self.folder / "log" / f"{name}.log")
        try:
            with open(os.devnull) as nothing, open(log, "a") as said:
                pid = kernel.spawn(argv[0], argv, env, (nothing.fileno(), said.fileno(), said.fileno()))
        except OSError as error:
            return {"error": f"{name} does not start: {error}"}
        self.running[pid] = name
        self.components[name] = {"pid": pid}
        return {"pid": pid}

    def signal(self, name: str, number: int) -> dict[str, Any]:
        pid = self.components.get(name, {}).get("pid")
        if pid is None:
            return {"error": f"{name} is not running"}
        os.kill(pid, number)  # it is our child and not reaped yet, so the pid is still its own
        return {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "start" in request:
            return self.start(request["start"], request["argv"], request["env"])
        if "signal" in request:
            return self.signal(request["signal"], request["number"])
        return {"components": {name: self.told(record) for name, record in self.components.items()}}

    def told(self, record: dict[str, int]) -> dict[str, Any]:
        if "pid" not in record:
            return dict(record)
        state = Path(f"/proc/{record['pid']}/stat").read_text().rpartition(")")[2].split()[0]
        return {**record, "paused": state == "T"}

    def serve(self, listener: socket.socket) -> None:
        ended, wakeup = os.pipe()
        os.set_blocking(ended, False)
        os.set_blocking(wakeup, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup)
        selector = selectors.DefaultSelector()
        selector.register(ended, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == ended:
                    os.read(ended, 4096)
                    self.reap()
                    continue
                client, _ = listener.accept()
                client.settimeout(5)
                with client, client.makefile("rw") as stream:
                    try:
                        print(json.dumps(self.answer(json.loads(stream.readline()))), file=stream, flush=True)
                    except (OSError, ValueError) as error:  # a client that went away, or speaks something else
                        print(f"request failed: {error}", file=sys.stderr, flush=True)


def main(folder: Path) -> None:
    # /proc is still the machine's: it says which process this is there.
    pid = int(os.readlink("/proc/self"))
    # Held for life and inherited by nobody, so that who finds it free knows that this bed is down.
    lock = open(folder / "lock", "a")  # noqa: SIM115
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which the kernel keeps from a process 1, as it does the others
    os.chdir(folder)
    settle(folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind("control")  # relative: a socket's path may have 107 characters at most
        os.chmod("control", 0o600)
        listener.listen(16)
        Path("pid.new").write_text(str(pid))
        os.rename("pid.new", "pid")
        Init(folder).serve(listener)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
