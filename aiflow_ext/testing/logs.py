"""Level durable: the logs of an attempt, through its handler and afterwards."""

from __future__ import annotations

import time
from pathlib import Path

from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import durable
from aiflow_ext.testing.support import Support
from aiflow_ext.testing.works import ODD_ERR, ODD_OUT
from aiflow_ext.testing.zygote import Client

LINES = 400
LATE = 4.0  # seconds that a wait of 0.2 seconds may take


class Logs(Support):
    """A job's output is complete, byte by byte."""

    @durable()
    def test_logs_are_complete_and_in_order(self) -> None:
        """stdout and stderr, apart, from any offset, after the end."""
        self.trial.marks.put("go")
        client, _ = self.started(self.jobs.counts(LINES), "half")
        self.finished(client, "the job prints lines")
        for stream, word in (("stdout", "line"), ("stderr", "error")):
            wanted = numbered(word)
            found = self._read(client, stream)
            self._compare_logs(stream, wanted, found)
            middle = len(wanted) // 2
            self._compare_logs(f"{stream} from byte {middle} on", wanted[middle:], self._read(client, stream, middle))
            beyond = self._read(client, stream, len(wanted))
            self._compare_logs(f"{stream} from its end on", b"", beyond)

    @durable()
    def test_logs_are_bytes(self) -> None:
        """Bytes that are not text, every kind of line end, and a last line without one, are returned unchanged."""
        client, _ = self.started(self.jobs.prints_oddly(), "end")
        self.finished(client, "the job prints bytes that are no text")
        for stream, wanted in (("stdout", ODD_OUT), ("stderr", ODD_ERR)):
            self._compare_logs(stream, wanted, self._read(client, stream))

    @durable()
    def test_logs_can_be_followed(self) -> None:
        """A running job's output can be read by offset, and the rest later, without gaps or repetitions."""
        client, _ = self.started(self.jobs.counts(LINES), "half")
        half = numbered("line", LINES // 2)
        followed = b""

        def follow() -> bool:
            nonlocal followed
            followed += self._piece(client, "stdout", len(followed))
            return len(followed) >= len(half)

        self.until(follow, "the job runs and has printed half of its lines; they do not come")
        self._compare_logs("stdout of the running job", half, followed)
        began = time.monotonic()
        waited = client("wait", seconds=0.2)
        if (passed := time.monotonic() - began) > LATE:
            complain(f"{self.name}: the job runs, and its handler's wait(0.2) takes {passed:.1f} s",
                     "return once the time is up", "handlers-are-data")  # fmt: skip
        if waited not in (None, "RUNNING"):
            complain(f"{self.name}: the job runs, and its handler's wait(0.2) returns {waited}",
                     "return the state that it is in once the time is up", "handlers-are-data")  # fmt: skip
        state = client("state")
        if state != "RUNNING":
            complain(f"{self.name}: the job runs, and its handler says {state}", "let state() tell RUNNING",
                     "handlers-are-data")  # fmt: skip
        self.trial.marks.put("go")
        self.finished(client, "the job prints lines")
        followed += self._read(client, "stdout", len(followed))
        self._compare_logs("stdout, followed by offset", numbered("line"), followed)

    @durable()
    def test_logs_stay(self) -> None:
        """The logs can still be read after the attempt was cleaned up."""
        record = self.trial.write({"job": self.jobs.prints_and_exits("hello", 1)}).run()
        attempt = self.attempt_of(record)
        try:
            found = Path(attempt["folder"], "stdout").read_bytes()
        except OSError:
            found = b""
        if found != b"hello\n":
            complain(f"{self.name}: the job has printed 'hello', and was cleaned up; its log in the run's folder is "
                     f"{found!r}", "keep the logs in job.job_context.work_folder, as stdout and stderr, before "
                     "cleanup_job removes what holds them", "logs")  # fmt: skip

    def _piece(self, client: Client, stream: str, offset: int) -> bytes:
        found = client("logs", stream=stream, offset=offset)
        if found is None:
            complain(f"{self.name}: the handler cannot tell the logs", "implement logs(stream, offset)", "logs")
        if not isinstance(found, bytes):
            complain(
                f"{self.name}: logs gives {type(found).__name__}, {found[:20]!r}", "return bytes, undecoded", "logs"
            )
        return found

    def _read(self, client: Client, stream: str, offset: int = 0) -> bytes:
        found = b""
        while (piece := self._piece(client, stream, offset + len(found))) and len(found) < 1 << 24:
            found += piece
        return found

    def _compare_logs(self, what: str, wanted: bytes, found: bytes) -> None:
        if found == wanted:
            return
        pairs = enumerate(zip(wanted, found, strict=False))
        place = next((place for place, (one, other) in pairs if one != other), min(len(wanted), len(found)))
        known = f"{len(found)} bytes instead of {len(wanted)}"
        near = found[max(0, place - 20) : place + 40].decode("utf-8", "replace")
        complain(f"{self.name}: {what} is not what the job printed: {known}; they part at byte {place}, at {near!r}",
                 "return the bytes of the stream from the offset on, no more and no fewer; a stream that the platform "
                 "mixes, cuts or decorates needs a place of its own", "logs")  # fmt: skip


def numbered(word: str, lines: int = LINES) -> bytes:
    """What a job prints that counts."""
    return "".join(f"{word} {number}\n" for number in range(1, lines + 1)).encode()
