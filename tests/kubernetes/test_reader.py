"""A fake kubelet, for what a real one does not do on demand: rotate a log, cut a line, stamp lines out of order, or say
that it has no log to give."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from patience import PATIENCE

from aiflow_ext.model.errors import UnreachableError
from aiflow_ext.plugin.engines import RAN_WITH, STREAMS
from aiflow_ext_kubernetes import objects
from aiflow_ext_kubernetes.logs import lag, merge, nodes
from aiflow_ext_kubernetes.logs import reader as reading
from aiflow_ext_kubernetes.logs.buffers import StreamBuffers
from aiflow_ext_kubernetes.logs.follow import Follower
from aiflow_ext_kubernetes.logs.keep import is_kept, keep
from aiflow_ext_kubernetes.logs.reader import CUT, GONE, QUIET, READ, Reader, forget
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.response_stream import Stream
from aiflow_ext_kubernetes.shell import tag_of
from aiflow_ext_kubernetes.streams import ROTATED
from aiflow_ext_kubernetes.target import Target

ID = "run-job-1"
TAG = tag_of(ID)


class Kubelet:
    """Has a log, and gives it as the real one does: stamped, from a whole second on, a cut line without a newline."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.cut = ""  # the beginning of a line that has no end yet, with its stamp
        self.instead: list[str] = []  # what it says for a log, at the next questions
        self.breaks_off = ""  # what it says at the end of an answer that follows
        self.running: SimpleQueue[str] | None = None  # what the container goes on to say; "" is its end
        self.is_there = True
        self.annotations: dict[str, str] = {}  # of the pod
        self.silent = False  # the node does not answer, and the API server does
        self.within: list[float] = []  # in how many seconds an answer had to begin
        self.asked = 0
        self.since = ""  # from when on the log was asked for last

    def stream(self, path: str, **query: Any) -> Stream:
        self.asked += 1
        self.since = str(query.get("sinceTime"))
        self.within.append(query["silence"])
        if not self.is_there:
            raise ApiError(404, "NotFound", "no such pod")
        if self.silent:
            raise UnreachableError("dial tcp 10.0.0.1:10250: connect: connection refused")
        if self.instead:
            return Stream(_Response(self.instead.pop(0).encode()))
        since = str(query.get("sinceTime") or "")[:19]
        text = "".join(f"{stamp} {line}\n" for stamp, line in self.lines if stamp[:19] >= since) + self.cut
        if "follow" not in query:
            return Stream(_Response(text.encode()))
        return Stream(_Response((text + self.breaks_off).encode(), self))

    def get(self, path: str, **query: Any) -> Any:
        labels = dict([query["labelSelector"].split("=")])
        pod = {"metadata": {"name": "pod", "annotations": self.annotations, "labels": labels},
               "spec": {"nodeName": "n1"}}  # fmt: skip
        return {"items": [pod] if self.is_there else []}


class _Response:
    def __init__(self, data: bytes, follows: Kubelet | None = None) -> None:
        self._data, self._follows, self._closed = data, follows, False

    def stream(self, size: int, decode_content: bool) -> Any:
        yield from (self._data[place : place + 7] for place in range(0, len(self._data), 7))
        running = None if self._follows is None else self._follows.running
        while running is not None:
            try:
                line = running.get(timeout=0.01)
            except Empty:
                if self._closed:
                    raise OSError("closed") from None
                continue
            if not line:
                return
            assert self._follows is not None
            self._follows.lines.append((line.partition(" ")[0], line.partition(" ")[2]))
            yield f"{line}\n".encode()

    def close(self) -> None:
        self._closed = True


@pytest.fixture
def kubelet(monkeypatch: pytest.MonkeyPatch) -> Kubelet:
    made = Kubelet()
    for module in (reading, objects):
        monkeypatch.setattr(module, "server_of", lambda target: made)
        monkeypatch.setattr(module, "namespace_of", lambda target: "n")
    monkeypatch.setattr(nodes, "_silent", {})
    return made


def at(second: int, nanos: int = 0) -> str:
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.{nanos:09}Z"


def whole(reader: Reader, stream: str = "stdout") -> bytes:
    found = b""
    for _ in range(100):
        if not (piece := reader.read(stream, len(found))):
            return found
        found += piece
    raise AssertionError(f"it has no end: {found[-500:]!r}")


def reader() -> Reader:
    return Reader(Target(), ID, "pod")


def test_what_was_read_is_not_repeated(kubelet: Kubelet) -> None:
    read, wanted = reader(), ""
    kubelet.lines.append((at(0), f"{TAG}+"))
    for number in range(200):
        kubelet.lines.append((at(number // 7, number), f"line {number}"))
        wanted += f"line {number}\n"
        if number % 3 == 0:
            assert whole(read).decode() == wanted
    assert whole(read).decode() == wanted


def test_what_the_job_ran_with_is_kept_beside_its_log_once(kubelet: Kubelet, tmp_path: Path) -> None:
    read = reader()
    kubelet.lines = [(at(0), f"{TAG}+"), (at(1), "out"), (at(2), f'{TAG}!{{"python":'), (at(2), f'out{TAG}!"3.12"}}')]
    assert whole(read) == b"out\nout"
    kubelet.lines += [(at(3), f"{TAG}."), (at(3), f"{TAG};")]
    assert whole(read) == b"out\nout"
    read.write(tmp_path)
    assert (tmp_path / RAN_WITH).read_text() == '{"python":\n"3.12"}\n'


def test_stamps_out_of_order_lose_nothing(kubelet: Kubelet) -> None:
    read = reader()
    kubelet.lines = [(at(0), f"{TAG}+"), (at(5, 9), "a"), (at(5, 3), f"{TAG}:b")]
    assert (whole(read), whole(read, "stderr")) == (b"a\n", b"b\n")
    kubelet.lines += [(at(4, 999999999), "c"), (at(5, 1), f"{TAG}:d")]
    assert (whole(read), whole(read, "stderr")) == (b"a\nc\n", b"b\nd\n")


def test_a_cut_line_grows(kubelet: Kubelet) -> None:
    read = reader()
    kubelet.lines = [(at(0), f"{TAG}+")]
    kubelet.cut = f"{at(1)} half"
    assert whole(read) == b"half"
    kubelet.cut = f"{at(1)} half of it"
    assert whole(read) == b"half of it"
    kubelet.lines.append((at(1), "half of it, whole"))
    kubelet.lines.append((at(1), "next"))
    kubelet.cut = ""
    assert whole(read) == b"half of it, whole\nnext\n"


def test_stderr_may_come_before_the_mark(kubelet: Kubelet) -> None:
    kubelet.lines = [(at(0), f"{TAG}:quick"), (at(0), f"{TAG}+"), (at(0), "a")]
    read = reader()
    assert (whole(read), whole(read, "stderr")) == (b"a\n", b"quick\n")


def test_a_log_without_its_beginning_says_so(kubelet: Kubelet) -> None:
    kubelet.lines = [(at(60), "line 9000"), (at(60), "line 9001")]
    assert whole(reader()) == ROTATED + b"line 9000\nline 9001\n"


def test_the_log_of_an_image_without_a_shell_is_stdout(kubelet: Kubelet, tmp_path: Path) -> None:
    kubelet.annotations = {"aiflow-ext/one-stream": "true"}
    kubelet.lines = [(at(1), "one"), (at(2), "two")]
    assert whole(reader()) == b"one\ntwo\n"
    keep(Target(), ID, str(tmp_path), "pod")
    assert [Path(tmp_path, stream).read_bytes() for stream in STREAMS] == [b"one\ntwo\n", b""]
    forget(Target(), ID)


def test_a_shell_that_could_not_be_executed_is_no_rotation(kubelet: Kubelet) -> None:
    read = reader()
    kubelet.lines = [(at(0), "exec /bin/sh: argument list too long")]
    assert (whole(read), whole(read, "stderr")) == (b"", b"exec /bin/sh: argument list too long\n")


def test_a_rotation_between_two_reads_says_so_and_repeats_nothing(kubelet: Kubelet) -> None:
    read = reader()
    kubelet.lines = [(at(0), f"{TAG}+"), (at(1), "a"), (at(1), "b")]
    assert whole(read) == b"a\nb\n"
    kubelet.lines = [(at(2), "f"), (at(2), "g")]
    assert whole(read) == b"a\nb\n" + ROTATED + b"f\ng\n"


def test_more_lines_than_are_remembered_are_read_once(kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "LATEST", 5)
    kubelet.lines.append((at(0), f"{TAG}+"))
    read, wanted = reader(), ""
    for part in range(4):
        for number in range(9):
            kubelet.lines.append((at(0, 100 * part + number), f"line {part}.{number}"))
            wanted += f"line {part}.{number}\n"
        assert whole(read).decode() == wanted


def test_a_rotation_that_leaves_known_lines_loses_and_repeats_nothing(kubelet: Kubelet) -> None:
    read = reader()
    kubelet.lines = [(at(0), f"{TAG}+"), (at(1), "a"), (at(1, 5), "b")]
    assert whole(read) == b"a\nb\n"
    kubelet.lines = [(at(1, 5), "b"), (at(2), "c")]
    assert whole(read) == b"a\nb\nc\n"


def test_a_jump_is_only_one_where_we_are_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    now = lag.seconds_of(at(0)) + 100.0  # the node's clock is slow
    monitor = lag.LagMonitor()
    monkeypatch.setattr(lag.time, "time", lambda: now)
    assert not monitor.jumps(at(0))
    now += 30
    assert not monitor.jumps(at(30))  # it has said nothing for so long
    now += 10
    assert not monitor.jumps(at(31))  # and now it says much: nine seconds behind
    assert not monitor.jumps(at(32))
    assert monitor.jumps(at(39))


def test_nodes_write_their_own_time_zone(kubelet: Kubelet) -> None:
    read = reader()
    kubelet.lines = [("2026-01-01T02:00:00.000000000+02:00", f"{TAG}+"), ("2026-01-01T02:00:01.000000000+02:00", "a")]
    assert whole(read) == b"a\n"
    assert kubelet.since == "2025-12-31T23:59:59Z"  # two seconds before the last line


def test_it_is_kept_whole(kubelet: Kubelet, tmp_path: Path) -> None:
    kubelet.lines = [(at(0), f"{TAG}+"), (at(1), "a"), (at(1), f"{TAG}-b")]
    read = reader()
    read.catch_up()
    read.write(tmp_path)
    assert [(tmp_path / stream).read_bytes() for stream in STREAMS] == [b"a\n", b"b"]
    assert is_kept(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


def test_of_a_log_beyond_the_limit_beginning_and_end_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFLOW_LOG_LIMIT", "1")
    buffers = StreamBuffers(None)
    for number in range(5 << 16):  # 5 MiB
        buffers.append("stdout", b"line %010d\n" % number)
    buffers.append("stderr", b"e" * ((2 << 20) - 5))  # beginning and end are all of it
    buffers.write(tmp_path)
    begun, note, ended = (
        (tmp_path / "stdout")
        .read_bytes()
        .partition(
            b"\n[aiflow-ext: %d bytes are left out here; AIFLOW_LOG_LIMIT says how many MiB of a log are kept]\n"
            % (3 << 20)
        )
    )
    assert (len(begun), len(ended), bool(note)) == (1 << 20, 1 << 20, True)
    assert begun.startswith(b"line 0000000000\nline 0000000001\n")
    assert ended.endswith(b"line %010d\n" % ((5 << 16) - 1))
    assert (tmp_path / "stderr").read_bytes() == b"e" * ((2 << 20) - 5)


# -- a kubelet that has no log to give, and says so in the answer's place (status 200, no newline) --------------------

NONE = "unable to retrieve container logs for containerd://f3b9"


def said(kubelet: Kubelet, *lines: str) -> None:
    kubelet.lines = [(at(0), f"{TAG}+"), *((at(number), line) for number, line in enumerate(lines, 1))]


def kept(read: Reader, folder: Path, ends_within: float | None = None) -> list[bytes]:
    reading._readers[(Target(), ID)] = read
    try:
        keep(Target(), ID, str(folder), "pod", ends_within=ends_within)
    finally:
        forget(Target(), ID)
    return [(folder / stream).read_bytes() for stream in STREAMS]


def test_what_a_kubelet_says_for_a_log_is_no_log(kubelet: Kubelet) -> None:
    read = reader()
    said(kubelet, "hello", "bye")
    assert whole(read) == b"hello\nbye\n"
    kubelet.instead = [NONE] * 9
    assert (whole(read), whole(read, "stderr")) == (b"hello\nbye\n", b"")
    kubelet.instead = [NONE] * 9
    fresh = reader()
    assert (whole(fresh), whole(fresh, "stderr")) == (b"", b"")


def test_a_job_may_say_what_a_kubelet_says(kubelet: Kubelet) -> None:
    said(kubelet, NONE, "rpc error: code = NotFound")
    assert whole(reader()).decode() == f"{NONE}\nrpc error: code = NotFound\n"


def test_where_following_ends_in_a_kubelets_words_they_are_left_out(kubelet: Kubelet, tmp_path: Path) -> None:
    read = reader()
    said(kubelet, "hello", "bye")
    kubelet.breaks_off = "rpc error: code = NotFound desc = an error occurred when try to find container"
    read.follow()
    kubelet.is_there = False
    assert kept(read, tmp_path) == [b"hello\nbye\n", b""]


def test_a_kubelets_words_behind_a_line_without_an_end_are_told_from_it(kubelet: Kubelet, tmp_path: Path) -> None:
    read = reader()
    said(kubelet, "hello")
    kubelet.cut, kubelet.breaks_off = f"{at(2)} no end", "something went wrong"
    assert kept(read, tmp_path, ends_within=1.0) == [b"hello\nno end", b""]


def test_a_line_without_an_end_is_kept_where_it_is_told_once(kubelet: Kubelet, tmp_path: Path) -> None:
    read = reader()
    said(kubelet, "hello")
    kubelet.cut, kubelet.breaks_off = f"{at(2)} no end", NONE
    read.follow()
    kubelet.is_there = False
    assert kept(read, tmp_path)[0] == b"hello\nno end"


def test_a_runtime_that_does_not_answer_is_retried(kubelet: Kubelet, tmp_path: Path) -> None:
    read = reader()
    said(kubelet, "hello")
    kubelet.instead = [NONE]
    with pytest.raises(UnreachableError, match="cannot give the log of pod pod: unable to retrieve"):
        kept(read, tmp_path)
    assert kept(read, tmp_path) == [b"hello\n", b""]


def test_what_could_not_be_kept_is_said(kubelet: Kubelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENCE", -1.0)
    read = reader()
    said(kubelet, "hello")
    assert whole(read) == b"hello\n"
    kubelet.instead = [NONE]
    assert kept(read, tmp_path) == [b"hello\n", CUT]


def test_a_log_that_could_not_be_read_is_reported(
    kubelet: Kubelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PATIENCE", -1.0)
    kubelet.instead = [NONE]
    assert kept(reader(), tmp_path) == [b"", GONE]


def test_a_node_that_does_not_answer_is_named_and_its_log_kept_after_a_while_as_far_as_it_was_read(
    kubelet: Kubelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = reader()
    said(kubelet, "hello")
    assert whole(read) == b"hello\n"
    kubelet.silent = True
    with pytest.raises(UnreachableError, match=r"^node n1 does not give the log of pod pod: dial tcp"):
        kept(read, tmp_path)
    assert not is_kept(str(tmp_path))
    monkeypatch.setattr(nodes, "PATIENCE", 0.0)
    words = "node n1 did not answer when the log was to be kept; lines may be missing"
    assert kept(read, tmp_path) == [b"hello\n", f"[aiflow-ext: {words}]\n".encode()]
    assert caplog.messages == [f"the log of pod pod: {words}"]


def test_a_node_that_has_been_silent_for_long_is_waited_for_no_longer_until_it_answers(
    kubelet: Kubelet, tmp_path: Path
) -> None:
    said(kubelet, "hello")
    now = time.monotonic()
    nodes._silent[Target(), "n1"] = (now - nodes.PATIENCE - 1.0, now)
    assert kept(reader(), tmp_path) == [b"hello\n", b""]
    read = reader()
    read.catch_up()
    assert kubelet.within == [nodes.AGAIN, READ]


def test_an_api_server_that_does_not_answer_is_not_taken_for_a_silent_node(
    kubelet: Kubelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "PATIENCE", 0.0)

    def away(path: str, **query: Any) -> Any:
        raise UnreachableError("the API server does not answer")

    kubelet.silent = True
    monkeypatch.setattr(kubelet, "get", away)
    with pytest.raises(UnreachableError, match=r"^the API server does not answer"):
        kept(reader(), tmp_path)
    assert not is_kept(str(tmp_path))


@pytest.mark.parametrize("is_followed", [True, False])
def test_the_log_of_a_job_that_is_stopped_is_read_to_eof(kubelet: Kubelet, tmp_path: Path, is_followed: bool) -> None:
    said(kubelet, "hello")
    kubelet.running = SimpleQueue()
    read, follower = reader(), Follower()
    if is_followed:
        reading._readers[(Target(), ID)] = read
        follower.follow(Target(), ID, "pod", str(tmp_path))
        while read.read("stdout", 0) != b"hello\n":
            pass
        kubelet.instead = [NONE] * 9  # to whoever asks from now on
    keeping = threading.Thread(target=kept, args=(read, tmp_path, 30.0))
    keeping.start()
    keeping.join(2 * QUIET)  # the container says nothing for longer than a log is waited for that is at its end
    assert not is_kept(str(tmp_path))
    kubelet.running.put(f"{at(5)} saved")
    kubelet.running.put("")
    keeping.join(PATIENCE)
    follower.close()
    assert [(tmp_path / stream).read_bytes() for stream in STREAMS] == [b"hello\nsaved\n", b""]


def test_each_line_is_returned_as_it_arrives(kubelet: Kubelet) -> None:
    said(kubelet, "hello")
    kubelet.running = SimpleQueue()
    read = reader()
    following = threading.Thread(target=read.follow)
    following.start()
    while read.read("stdout", 0) != b"hello\n":  # with its end: no other line follows it
        pass
    kubelet.running.put("")
    following.join(10)


def test_a_log_that_was_followed_to_its_end_is_not_asked_for_again(kubelet: Kubelet, tmp_path: Path) -> None:
    said(kubelet, "hello", f"no end{TAG}.", f"{TAG}:oh", f"{TAG};")
    read = reader()
    read.follow()
    asked = kubelet.asked
    assert kept(read, tmp_path) == [b"hello\nno end", b"oh\n"]
    assert (whole(read), kubelet.asked) == (b"hello\nno end", asked)


@pytest.mark.parametrize("missing", [f"{TAG}.", f"{TAG};"])
def test_a_log_that_may_go_on_is_asked_for_again(kubelet: Kubelet, tmp_path: Path, missing: str) -> None:
    said(kubelet, "hello", *({f"{TAG}.", f"{TAG};"} - {missing}))
    read = reader()
    read.follow()
    kubelet.lines.append((at(9), "bye" if missing.endswith(".") else f"{TAG}:bye"))
    assert b"bye\n" in b"".join(kept(read, tmp_path))
