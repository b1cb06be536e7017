"""The RPC client against a server that knows the token, one that does not, and ones that send rubbish."""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading

import pytest
import rpc_server
from hypothesis import given, settings
from hypothesis import strategies as st

from aiflow_ext_yarn.master import rpc, wire
from aiflow_ext_yarn.master.credentials import Token
from aiflow_ext_yarn.master.rpc import Client, RemoteError, Unreachable

TOKEN = Token(rpc_server.IDENTIFIER, rpc_server.PASSWORD, "KIND")
QOPS = ("auth", "auth-int", "auth-conf")
quickly = settings(deadline=None, max_examples=300)


@pytest.mark.parametrize("qop", QOPS)
def test_calls(qop: str) -> None:
    with rpc_server.Server(qop) as server:
        client = Client([server.address], "proto", TOKEN)
        server.answers = [wire.integer(1, 5), wire.blob(2, b"x" * 200_000), b""]
        assert client.call("one", b"request").integer(1) == 5
        assert client.protection == qop
        assert client.call("two", b"y" * 100_000).blob(2) == b"x" * 200_000
        assert 1 not in client.call("three", b"")
        client.close()
    assert server.calls == [("one", b"request"), ("two", b"y" * 100_000), ("three", b"")]
    assert server.errors == []


@pytest.mark.parametrize("cipher", ["rc4-56", "rc4-40"])
def test_weaker_ciphers(cipher: str) -> None:
    with rpc_server.Server("auth-conf", cipher=cipher) as server:
        client = Client([server.address], "proto", TOKEN)
        client.call("one", b"request")
        client.close()
    assert (server.calls, server.errors) == ([("one", b"request")], [])


def test_a_token_that_is_not_known() -> None:
    with rpc_server.Server() as server:
        client = Client([server.address], "proto", Token(rpc_server.IDENTIFIER, b"wrong", "KIND"))
        with pytest.raises(RemoteError, match=r"InvalidToken: no$") as caught:
            client.call("one", b"")
        assert caught.value.name == "InvalidToken"
        client.close()


def test_a_server_that_does_not_know_the_token() -> None:
    def lie(count: int, frame: bytes) -> bytes:
        return frame.replace(b"rspauth=", b"rspauth=0")[:-1] if count == 1 else frame

    with rpc_server.Server(damage=lie) as server, pytest.raises(Unreachable, match="cannot prove that it knows"):
        Client([server.address], "proto", TOKEN).call("one", b"")
    assert server.calls == []


@pytest.mark.parametrize("qop", ["auth-int", "auth-conf"])
def test_a_changed_bit(qop: str) -> None:
    def flip(count: int, frame: bytes) -> bytes:
        return frame[:-8] + bytes([frame[-8] ^ 1]) + frame[-7:] if count == 2 else frame

    with rpc_server.Server(qop, flip) as server, pytest.raises(Unreachable, match="changed, left out or repeated"):
        Client([server.address], "proto", TOKEN).call("one", b"")


@pytest.mark.parametrize("qop", ["auth-int", "auth-conf"])
def test_an_unprotected_answer(qop: str) -> None:
    def bare(count: int, frame: bytes) -> bytes:
        data = wire.delimited(wire.integer(1, 0)) + wire.delimited(wire.integer(1, 7))
        return struct.pack(">I", len(data)) + data if count == 2 else frame

    with rpc_server.Server(qop, bare) as server, pytest.raises(Unreachable):
        Client([server.address], "proto", TOKEN).call("one", b"")


def test_an_answer_to_another_call() -> None:
    def other(count: int, frame: bytes) -> bytes:
        data = wire.delimited(wire.integer(1, 77) + wire.integer(2, 0)) + wire.delimited(wire.integer(1, 7))
        return struct.pack(">I", len(data)) + data if count == 2 else frame

    with rpc_server.Server(damage=other) as server, pytest.raises(Unreachable, match="an answer to another call"):
        Client([server.address], "proto", TOKEN).call("one", b"")


def test_the_next_server_is_tried() -> None:
    def standby(count: int, frame: bytes) -> bytes:
        if count != 2:
            return frame
        header = wire.integer(1, 0) + wire.integer(2, 1) + wire.blob(4, "org.apache.hadoop.ipc.StandbyException")
        data = wire.delimited(header)
        return struct.pack(">I", len(data)) + data

    with rpc_server.Server(damage=standby) as first, rpc_server.Server() as second:
        client = Client(["127.0.0.1:9", first.address, second.address], "proto", TOKEN)
        client.call("one", b"")
        client.call("two", b"")
        client.close()
    assert [len(first.calls), len(second.calls)] == [1, 2]


def test_an_answer_a_byte_at_a_time_has_a_deadline_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "TIMEOUT", 0.3)
    ended = threading.Event()

    class Slow(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.sendall(struct.pack(">I", 4096))
                while not ended.wait(0.02):
                    self.request.sendall(b"x")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(Unreachable, match=r"no whole answer in 0\.3 s|timed out"):
            Client([f"127.0.0.1:{server.server_address[1]}"], "proto", TOKEN).call("one", b"")
        ended.set()
        server.shutdown()


def test_nobody_there() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9: .*refused"):
        Client(["127.0.0.1:9"], "proto", TOKEN).call("one", b"")


def test_a_frame_that_is_too_large() -> None:
    def enlarge(_: int, frame: bytes) -> bytes:
        return b"\x7f\xff\xff\xff" + frame

    with rpc_server.Server(damage=enlarge) as server, pytest.raises(Unreachable, match="a frame of 2147483647 bytes"):
        Client([server.address], "proto", TOKEN).call("one", b"")


@quickly
@given(st.sampled_from(QOPS), st.integers(0, 2), st.data())
def test_damaged_frames(qop: str, which: int, data: st.DataObject) -> None:
    """Whatever is sent instead of a frame: an answer or one of two exceptions, soon."""

    def damage(count: int, frame: bytes) -> bytes:
        if count > which:
            raise ConnectionError
        if count < which:
            return frame
        body = frame[4:]
        how = data.draw(st.sampled_from(["cut", "change", "replace", "grow", "raw"]))
        if how == "raw":
            return data.draw(st.binary(max_size=60))
        if how == "cut":
            body = body[: data.draw(st.integers(0, len(body) - 1))]
        elif how == "change":
            at = data.draw(st.integers(0, len(body) - 1))
            body = body[:at] + data.draw(st.binary(min_size=1, max_size=4)) + body[at + 1 :]
        elif how == "replace":
            body = data.draw(st.binary(max_size=60))
        else:
            body += data.draw(st.binary(min_size=1, max_size=20))
        return struct.pack(">I", len(body)) + body

    with rpc_server.Server(qop, damage) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiflow_ext_yarn.master.rpc.TIMEOUT", 0.2)
        client = Client([server.address], "proto", TOKEN)
        try:
            client.call("one", b"request")
        except (Unreachable, RemoteError):
            pass
        finally:
            client.close()
