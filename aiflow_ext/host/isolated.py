"""Calls in processes of their own: one that hangs, crashes or ends its process is reported, and this process goes on.

Each call runs in a fork of a server that has imported aiflow-ext's own modules and no plugin. One process that makes
the calls in turn would be as quick, but what an import leaves behind (modules, patched libraries, signal handlers,
threads) would then decide how later ones end. An interpreter for each call is as clean, and costs ten times as much.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext.model.errors import StateError
from aiflow_ext.supervise.sweep import Sweep, sweep

SPARE = 10.0  # seconds that a server may take, beyond a call's limit, to end what the call has started
# The folder that "-c" puts first is not one that "aiflow-ext" looks in.
_SERVER = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import json
spec = json.loads(sys.argv[1])
sys.path[:] = dict.fromkeys([*spec["path"], *sys.path])
from aiflow_ext.host.isolated_server import serve
serve(quiet=spec["quiet"])
"""


class Call(NamedTuple):
    """A function of aiflow-ext to call.

    Attributes:
        function: ``module:name`` of a generator function; what it yields, of JSON types, are its answers.
        arguments: by name, of JSON types.
        limit: seconds after which the call is ended.
    """

    function: str
    arguments: Mapping[str, Any]
    limit: float


class Outcome(NamedTuple):
    """How a call ended.

    Attributes:
        is_complete: whether it has returned; else its process has ended, or was ended.
        answers: what it has yielded until then.
        exit_code: where it has not returned, of its process; negative: minus the number of the signal that ended it;
            None: it was ended after its limit.
        seconds: how long it took.
        printed: the beginning of what it has printed on stdout.
        left: whether it has left processes running, which were ended.
    """

    is_complete: bool
    answers: Sequence[Any] = ()
    exit_code: int | None = None
    seconds: float = 0.0
    printed: str = ""
    left: bool = False


def call_each(calls: Sequence[Call], *, quiet: bool = True) -> Iterator[tuple[int, Outcome]]:
    """Make the calls, as many at once as this process has cores, and yield the number and outcome of each as it ends.

    All that a call has started is ended with it, also where this process is killed.

    Args:
        calls: what to call.
        quiet: whether what the calls write to stderr is dropped; else it goes to this process's.

    Raises StateError where no process can be started for them.
    """
    waiting = deque(enumerate(calls))
    cores = len(os.sched_getaffinity(0))
    with selectors.DefaultSelector() as selector:
        servers: list[_Server] = []

        def start() -> None:
            server = _Server(quiet=quiet)
            servers.append(server)
            selector.register(server.answers, selectors.EVENT_READ, server)
            server.give(*waiting.popleft())

        try:
            for _ in range(min(cores, len(waiting))):
                start()
            while servers:
                left = min(server.deadline for server in servers) - time.monotonic()
                ready = {key.data for key, _ in selector.select(max(0.0, left))}
                for server in list(servers):
                    outcome = server.take() if server in ready else None
                    if outcome is None and time.monotonic() >= server.deadline:
                        outcome = server.lost()
                    if outcome is None:
                        continue
                    number = server.number
                    if waiting and not server.ended:
                        server.give(*waiting.popleft())
                    else:
                        selector.unregister(server.answers)
                        servers.remove(server)
                        server.close()
                        if waiting:
                            start()
                    yield number, outcome
        finally:
            for server in servers:
                server.close()


class _Server:
    """A process that forks for one call after another.

    Attributes:
        answers: the descriptor of its answers.
        number: of the call that it makes.
        deadline: when, by the monotonic clock, it is ended unless it has answered.
        ended: whether it has ended, or answers no more.
    """

    def __init__(self, *, quiet: bool) -> None:
        # By the mark those processes are found that are orphaned because a call has ended its server.
        self._mark = f"isolated:{os.getpid()}:{time.time_ns()}"
        spec = {"path": [os.path.abspath(entry) for entry in sys.path], "quiet": quiet}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, json.dumps(spec)], bufsize=0, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True, env={**os.environ, "AIFLOW_MARK": self._mark},
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._stream = self._process.stdin, self._process.stdout
        self.answers = self._stream.fileno()
        self._read, self._began, self.number, self.deadline, self.ended = b"", 0.0, 0, 0.0, False
        if not os.read(self.answers, 1):
            code = self._process.wait()
            self.close()
            words = f"the process that calls plugins cannot be started: {sys.executable} has ended with {code}"
            raise StateError(words, hint="what it has written is above; does `aiflow-ext plugins` run?")

    def give(self, number: int, call: Call) -> None:
        """Have it make a call."""
        self.number, self._began = number, time.monotonic()
        self.deadline = self._began + call.limit + SPARE
        try:
            self._requests.write(json.dumps(call).encode() + b"\n")
        except OSError:  # it has ended: ``take`` reads the end of its answers
            pass

    def take(self) -> Outcome | None:
        """The outcome of its call, if it is complete. Called when there is something to read."""
        received = os.read(self.answers, 1 << 16)
        if not received:
            return self.lost()
        self._read += received
        line, end, rest = self._read.partition(b"\n")
        if not end:
            return None
        self._read = rest
        return Outcome(*json.loads(line))

    def lost(self) -> Outcome:
        """The outcome of a call that has ended its server, or keeps it from answering. The server is ended."""
        try:
            code = self._process.wait(0 if time.monotonic() >= self.deadline else 1)
        except subprocess.TimeoutExpired:
            code = None
        self.close()
        return Outcome(False, exit_code=code, seconds=time.monotonic() - self._began)

    def close(self) -> None:
        """End it, and all that its calls have started."""
        if not self.ended:
            self.ended = True
            self._process.kill()
            self._process.wait()
            sweep(Sweep(mark=self._mark, grace=0.0))
            self._requests.close()
            self._stream.close()
