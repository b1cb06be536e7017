"""The supervisor of one folder: a single-threaded loop over its clients, its children and a few timers.

Run by path, isolated from site-packages: ``python -I -S daemon.py FOLDER_FD READY_FD IDLE_SECONDS``. It serves as long
as it has a living process or a connected client, and IDLE_SECONDS longer. After SIGTERM it exits as soon as no process
is alive.

Clients send JSON lines over a unix stream socket. A request is ``{"n": number, "op": ..., ...}`` and its answer
``{"n": number, "ok": ...}`` or ``{"n": number, "error": words, "errno": number}``; a subscriber is sent each journal
line as it is written.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct
import sys
import time

if __name__ == "__main__":
    # Last on the path, so that no module beside aiflow_ext can replace one of the standard library.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from aiflow_ext.shared_folder import share_file
from aiflow_ext.supervise import kernel, proc
from aiflow_ext.supervise.daemon_client import Client
from aiflow_ext.supervise.journal import LOCK, PROTOCOL, SOCKET, encode, lock, print_error
from aiflow_ext.supervise.processes import Processes
from aiflow_ext.supervise.spawn import default_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Delay for coalescing non-urgent changes into one send, in seconds.
LINGER = 0.005
PLENTY = 6  # a subscriber with at least so many waiting starts need not answer an end at once


class Daemon:
    """The event loop."""

    def __init__(self, folder: int, idle: float) -> None:
        self.folder, self.idle = folder, idle
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self.clients: set[Client] = set()
        self.unsent: set[Client] = set()
        self._lingers_until: float | None = None
        self.waiting: dict[str, list[tuple[Client, int, str]]] = {}
        self.leaving = False
        self.child_ended = False
        self._deaf_until = 0.0
        self._idle_since: float | None = None
        self._watch_signals()
        self.processes = Processes(folder, self.publish)
        for descriptor, process in list(self.processes.adopted.items()):
            self.selector.register(descriptor, selectors.EVENT_READ, self._adopted_ended)
            assert process.pidfd == descriptor
        self.listener = self._listen()
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)

    def run(self) -> None:
        """Serve until there is neither a process nor a client."""
        while True:
            if self.child_ended:
                self._reap()
            delay = self.processes.tick()
            if self.processes.settled:
                self._answer_waiting()
            if self._lingers_until is not None and time.monotonic() >= self._lingers_until:
                self._lingers_until = None
                self.unsent |= {client for client in self.clients if client.subscribed}
            self._flush()
            if self._may_leave():
                break
            for key, events in self.selector.select(self._patience(delay)):
                if isinstance(key.data, tuple):
                    key.data[0](key.fd, *key.data[1:])
                else:
                    key.data(events if isinstance(key.fileobj, socket.socket) else key.fd)
        # The lock is released with the process; a client that connects meanwhile gets EOF and retries.
        try:
            os.unlink(SOCKET, dir_fd=self.folder)
        except FileNotFoundError:
            pass

    def publish(self, line: bytes, over: bool, starting: bool) -> None:
        """Send a journal line to all subscribers: at once if a process is ``over``, else after ``LINGER``."""
        lingers = not over
        for client in list(self.clients):
            if client.subscribed and not (starting and client.brief):
                # A subscriber with enough waiting starts need not answer an end at once.
                now = over and len(client.queue) < PLENTY
                lingers = lingers or not now
                client.send(line, now)
        if lingers and self._lingers_until is None:
            self._lingers_until = time.monotonic() + LINGER

    def request(self, client: Client, line: bytes) -> None:
        """Execute the request ``line`` and answer it."""
        number = 0
        try:
            asked = json.loads(line)
            number = asked["n"]
            answer = getattr(self, "_do_" + asked["op"])(client, asked)
        except OSError as error:
            self._send(client, {"n": number, "error": error.strerror or str(error), "errno": error.errno})
        except Exception as error:
            # A malformed request must not end the supervisor of the other clients' processes.
            print_error(error)
            self._send(client, {"n": number, "error": f"{type(error).__name__}: {error}", "errno": 0})
        else:
            if answer is not None:
                self._send(client, {"n": number, "ok": answer})
        if self.child_ended:
            # Between the requests of a long pipeline too.
            self._reap()
        self._flush()

    # -- requests

    def _do_hello(self, client: Client, asked: dict[str, Any]) -> dict[str, Any]:
        return {"pid": os.getpid(), "protocol": PROTOCOL}

    def _do_base(self, client: Client, asked: dict[str, Any]) -> None:
        client.base = asked["env"]

    def _do_recall(self, client: Client, asked: dict[str, Any]) -> None:
        client.queue.clear()

    def _do_start(self, client: Client, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Start a process.

        =========================== ===================================================================================
        further keys                how it is started and answered
        =========================== ===================================================================================
        nothing                     answered with its record once it runs
        ``early``                   answered with its record as soon as it is on record that it starts
        ``quiet``, ``beside`` None  by a subscriber, who sees what becomes of it: not answered
        ``quiet``, ``beside`` N     the same, once at most N others run; forgotten with the client
        =========================== ===================================================================================
        """
        spec, umask = asked["spec"], asked["umask"]
        if not asked.get("quiet"):
            if not asked.get("early"):
                return self.processes.start(spec, umask)
            self.processes.start(spec, umask, lambda record: self._answer_now(client, asked["n"], record))
        elif asked["beside"] is None:
            self._start_quietly(client, spec, umask)
        else:
            client.queue.append((spec, umask, asked["beside"]))
            self._start_queued()
        return None

    def _answer_now(self, client: Client, number: int, record: dict[str, Any]) -> None:
        self._send(client, {"n": number, "ok": record})
        self._flush()

    def _start_quietly(self, client: Client, spec: dict[str, Any], umask: int) -> None:
        """Start a process for a subscriber, which sees the result in the stream, or gets a line for what is not in
        it."""
        id = spec["id"]
        if self.processes.record(id) is not None:
            self._send(client, {"known": id})
            return
        try:
            self.processes.start({**spec, "env": {**client.base, **spec["env"]}}, umask)
        except OSError as error:
            self._send(client, {"refused": id, "error": error.strerror or str(error)})

    def _start_queued(self) -> None:
        for client in list(self.clients):
            while client.queue and len(self.processes.living) <= client.queue[0][2]:
                spec, umask, _ = client.queue.popleft()
                self._start_quietly(client, spec, umask)

    def _do_record(self, client: Client, asked: dict[str, Any]) -> dict[str, Any]:
        self.processes.reap()
        return {"record": self.processes.record(asked["id"])}

    def _do_stop(self, client: Client, asked: dict[str, Any]) -> dict[str, Any] | None:
        record = self.processes.stop(asked["id"], asked["grace"])
        if not asked["wait"] or self.processes.gone(asked["id"]):
            return record
        self.waiting.setdefault(asked["id"], []).append((client, asked["n"], "gone"))
        return None

    def _do_wait(self, client: Client, asked: dict[str, Any]) -> dict[str, Any] | None:
        record = self.processes.record(asked["id"])
        if record is not None and asked["id"] not in self.processes.living:
            return record
        self.waiting.setdefault(asked["id"], []).append((client, asked["n"], "ended"))
        return None

    def _do_subscribe(self, client: Client, asked: dict[str, Any]) -> None:
        journal = self.processes.journal
        self._send(client, {"n": asked["n"], "ok": {"seq": journal.seq - len(journal.unsaved)}})
        client.subscribed, client.brief = True, bool(asked.get("brief"))
        for line in journal.unsaved_lines():
            client.send(line)

    # -- inside

    def _reap(self) -> None:
        self.child_ended = False
        self.processes.reap()
        self._start_queued()

    def _flush(self) -> None:
        while self.unsent:
            self.unsent.pop().flush()

    def _answer_waiting(self) -> None:
        settled, self.processes.settled = self.processes.settled, set()
        for id in settled & self.waiting.keys():
            still = []
            for client, number, what in self.waiting.pop(id):
                if client.closed:
                    continue
                if what == "ended" or self.processes.gone(id):
                    self._send(client, {"n": number, "ok": self.processes.record(id)})
                else:
                    still.append((client, number, what))
            if still:
                self.waiting[id] = still

    def _send(self, client: Client, message: dict[str, Any]) -> None:
        client.send(encode(message).encode() + b"\n")

    def _may_leave(self) -> bool:
        if self.processes.busy or (self.clients and not self.leaving):
            self._idle_since = None
            return False
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        return self.leaving or now - self._idle_since >= self.idle

    def _patience(self, delay: float | None) -> float | None:
        waits = [] if delay is None else [delay]
        now = time.monotonic()
        if self._idle_since is not None:
            waits.append(self._idle_since + self.idle - now)
        if self._lingers_until is not None:
            waits.append(self._lingers_until - now)
        if self._deaf_until:
            if now >= self._deaf_until:
                self._deaf_until = 0.0
                self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
            else:
                waits.append(self._deaf_until - now)
        return max(0.0, min(waits)) if waits else None

    def _watch_signals(self) -> None:
        wake, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(wake, selectors.EVENT_READ, lambda fd: os.read(fd, 4096))
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._on_child)
        signal.signal(signal.SIGTERM, self._on_term)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def _on_child(self, *_: object) -> None:
        self.child_ended = True

    def _on_term(self, *_: object) -> None:
        self.leaving = True

    def _adopted_ended(self, descriptor: int) -> None:
        process = self.processes.adopted.get(descriptor)
        self.selector.unregister(descriptor)
        if process is not None:
            self.processes.adopted_ended(process)
        os.close(descriptor)
        self._start_queued()

    def _listen(self) -> socket.socket:
        # Through /proc: a socket's path may have 107 bytes, a folder's may have 4,095.
        try:
            os.unlink(SOCKET, dir_fd=self.folder)
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(f"/proc/self/fd/{self.folder}/{SOCKET}")
        finally:
            os.umask(before)
        listener.listen(256)
        listener.setblocking(False)
        return listener

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return
        except OSError:
            # Out of descriptors: a listener that stays readable must not cause a busy loop.
            self.selector.unregister(self.listener)
            self._deaf_until = time.monotonic() + 1.0
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in (0, os.geteuid()):
            connection.close()
            return
        self.clients.add(Client(self, connection))


def _sign(held: int) -> None:
    # For people and messages only; the lock itself counts, so that a full disk does no harm.
    try:
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()} {proc.start_time(os.getpid())} {proc.boot_id()}\n".encode(), 0)
    except OSError as error:
        print_error(error)


def main() -> None:
    """Become the folder's supervisor and serve, or report that another process is."""
    folder, ready, idle = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    if os.fork():
        os._exit(0)
    try:
        for descriptor in (folder, ready):
            os.set_inheritable(descriptor, False)
        os.chdir("/")
        held = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        share_file(held, folder)
        if not lock(held):
            os.write(ready, b"taken\n")
            return
        default_signals()
        kernel.become_subreaper()
        _sign(held)
        daemon = Daemon(folder, idle)
    except OSError as error:
        print_error(error)
        os.write(ready, f"failed {error.strerror or error}{f': {error.filename}' if error.filename else ''}\n".encode())
        return
    try:
        os.write(ready, b"ready\n")
    except BrokenPipeError:
        return  # whoever started it is dead
    os.close(ready)
    daemon.run()


if __name__ == "__main__":
    main()
