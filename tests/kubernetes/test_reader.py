"""A fake kubelet, for what a real one does not do on demand: rotate a log, cut a line, or stamp lines out of order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiflow_ext_kubernetes import logs
from aiflow_ext_kubernetes.places import Place
from aiflow_ext_kubernetes.server import Stream
from aiflow_ext_kubernetes.shell import tag_of
from aiflow_ext_kubernetes.streams import ROTATED

ID = "run-job-1"
TAG = tag_of(ID)


class Kubelet:
    """Has a log, and gives it as the real one does: stamped, from a whole second on, a cut line without a newline."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.cut = ""  # the beginning of a line that has no end yet, with its stamp

    def stream(self, path: str, **query: Any) -> Stream:
        since = str(query.get("sinceTime") or "")[:19]
        text = "".join(f"{stamp} {line}\n" for stamp, line in self.lines if stamp[:19] >= since) + self.cut
        return Stream(_Response(text.encode()))


class _Response:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, size: int, decode_content: bool) -> Any:
        yield from (self._data[place : place + 7] for place in range(0, len(self._data), 7))

    def close(self) -> None: ...


@pytest.fixture
def kubelet(monkeypatch: pytest.MonkeyPatch) -> Kubelet:
    made = Kubelet()
    monkeypatch.setattr(logs, "server_of", lambda place: made)
    monkeypatch.setattr(logs, "namespace_of", lambda place: "n")
    return made


def at(second: int, nanos: int = 0) -> str:
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.{nanos:09}Z"


def whole(reader: logs.Reader, stream: str = "stdout") -> bytes:
    found = b""
    for _ in range(100):
        if not (piece := reader.read(stream, len(found))):
            return found
        found += piece
    raise AssertionError(f"it has no end: {found[-500:]!r}")


def reader() -> logs.Reader:
    return logs.Reader(Place(), ID, "pod")


def test_what_was_read_is_not_repeated(kubelet: Kubelet) -> None:
    read, wanted = reader(), ""
    kubelet.lines.append((at(0), f"{TAG}+"))
    for number in range(200):
        kubelet.lines.append((at(number // 7, number), f"line {number}"))
        wanted += f"line {number}\n"
        if number % 3 == 0:
            assert whole(read).decode() == wanted
    assert whole(read).decode() == wanted


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


def test_a_rotation_between_two_reads_says_so_and_repeats_nothing(kubelet: Kubelet) -> None:
    read = reader()
    kubelet.lines = [(at(0), f"{TAG}+"), (at(1), "a"), (at(1), "b")]
    assert whole(read) == b"a\nb\n"
    kubelet.lines = [(at(2), "f"), (at(2), "g")]
    assert whole(read) == b"a\nb\n" + ROTATED + b"f\ng\n"


def test_more_lines_than_are_remembered_are_read_once(kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LATEST", 5)
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
    now = logs._seconds(at(0)) + 100.0  # the node's clock is slow
    clock = logs.Clock()
    monkeypatch.setattr(logs.time, "time", lambda: now)
    assert not clock.jumps(at(0))
    now += 30
    assert not clock.jumps(at(30))  # it has said nothing for so long
    now += 10
    assert not clock.jumps(at(31))  # and now it says much: nine seconds behind
    assert not clock.jumps(at(32))
    assert clock.jumps(at(39))


def test_nodes_write_their_own_time_zone(kubelet: Kubelet) -> None:
    read = reader()
    kubelet.lines = [("2026-01-01T02:00:00.000000000+02:00", f"{TAG}+"), ("2026-01-01T02:00:01.000000000+02:00", "a")]
    assert whole(read) == b"a\n"
    assert read._since() == 1767225599  # two seconds before the last line


def test_it_is_kept_whole(kubelet: Kubelet, tmp_path: Path) -> None:
    kubelet.lines = [(at(0), f"{TAG}+"), (at(1), "a"), (at(1), f"{TAG}-b")]
    read = reader()
    read.catch_up()
    read.write(tmp_path)
    assert [(tmp_path / stream).read_bytes() for stream in logs.STREAMS] == [b"a\n", b"b"]
    assert logs.is_kept(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
