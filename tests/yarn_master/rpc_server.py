"""A fake: a Hadoop RPC server with SASL DIGEST-MD5 that can send damaged frames, which a real one will not.

Written from RFC 2831 and RpcHeader.proto, apart from the client's code, which it checks: it is the other side.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

IDENTIFIER, PASSWORD = b"\x00who \xff", b"\x01secret \xfe"
Damage = Callable[[int, bytes], bytes]


class Server:
    """Serves one connection at a time, on loopback, in a thread.

    Args:
        qop: the protection level that it demands.
        damage: gets the number of each frame to be sent (0, 1, ...) and the frame, and gives what is sent instead, or
            raises ConnectionError to hang up.
        cipher: what it encrypts with.
    """

    def __init__(self, qop: str = "auth", damage: Damage = lambda _, frame: frame, cipher: str = "rc4") -> None:
        self.qop, self.damage, self.cipher = qop, damage, cipher
        self.calls: list[tuple[str, bytes]] = []
        self.answers: list[bytes] = []
        self.errors: list[BaseException] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._thread.join(5)
        self._listener.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    _Session(self, connection).run()
                except (ConnectionError, TimeoutError):
                    pass
                except BaseException as error:
                    self.errors.append(error)


class _Session:
    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.server, self.connection = server, connection
        self.sent = 0
        self.inner = b""
        self.key = b""
        self.numbers = {"in": 0, "out": 0}
        self.streams: dict[str, Callable[[bytes], bytes]] = {}

    def run(self) -> None:
        if self.exactly(7) != b"hrpc\x09\x00\xdf":
            return
        assert self.sasl_message()[2] == [1]
        nonce = base64.b64encode(b"n" * 24).decode()
        challenge = f'realm="default",nonce="{nonce}",qop="{self.server.qop}",charset=utf-8,algorithm=md5-sess'
        if self.server.qop == "auth-conf":
            challenge += f',cipher="3des,{self.server.cipher}"'
        offer = b"".join(blob(n, v) for n, v in ((1, b"TOKEN"), (2, b"DIGEST-MD5"), (4, b"default")))
        self.send_sasl(number(2, 1) + blob(4, blob(1, b"SIMPLE")) + blob(4, offer + blob(5, challenge.encode())))
        initiate = self.sasl_message()
        given = dict(re.findall(r'([a-z-]+)="?([^",]*)"?', initiate[3][0].decode()))
        assert given["username"] == base64.b64encode(IDENTIFIER).decode()
        assert given["qop"] == self.server.qop
        password = base64.b64encode(PASSWORD).decode()
        secret = md5(f"{given['username']}:default:{password}".encode())
        self.key = md5(secret + f":{nonce}:{given['cnonce']}".encode())
        tail = "" if self.server.qop == "auth" else ":" + "0" * 32

        def proof(method: str) -> str:
            a2 = md5(f"{method}:/default{tail}".encode()).hex()
            return md5(f"{self.key.hex()}:{nonce}:00000001:{given['cnonce']}:{self.server.qop}:{a2}".encode()).hex()

        if given["response"] != proof("AUTHENTICATE"):
            self.send_frame(
                number(1, -33) + number(2, 2) + blob(4, b"x.SecretManager$InvalidToken") + blob(5, b"no\nat")
            )
            return
        if self.server.qop == "auth-conf":
            assert given["cipher"] == self.server.cipher
            half = self.key[: {"rc4": 16, "rc4-56": 7, "rc4-40": 5}[self.server.cipher]]
            magic = b"Digest H(A1) to %s sealing key magic constant"
            self.streams = {
                "in": arcfour(md5(half + magic % b"client-to-server")),
                "out": arcfour(md5(half + magic % b"server-to-client")),
            }
        self.send_sasl(number(2, 0) + blob(3, f"rspauth={proof('')}".encode()))
        context = self.request()
        assert context[1:] == [blob(3, b"proto")]
        while True:
            header, method, body = self.request()
            call = fields(header)[3][0] >> 1
            self.server.calls.append((fields(method)[1][0].decode(), body))
            answer = self.server.answers.pop(0) if self.server.answers else b""
            self.send(number(1, call) + number(2, 0), answer)

    # -- frames -----------------------------------------------------------------------------------------------------

    def request(self) -> list[bytes]:
        if self.server.qop == "auth":
            return split(self.frame())
        while True:
            if len(self.inner) >= 4:
                (length,) = struct.unpack(">I", self.inner[:4])
                if len(self.inner) >= 4 + length:
                    frame, self.inner = self.inner[4 : 4 + length], self.inner[4 + length :]
                    return split(frame)
            message = self.sasl_message()
            assert message[2] == [5]
            self.inner += self.unwrap(message[3][0])

    def send(self, header: bytes, body: bytes) -> None:
        data = delimited(header) + delimited(body)
        frame = struct.pack(">I", len(data)) + data
        if self.server.qop == "auth":
            self.put(frame)
        else:
            self.send_sasl(number(2, 5) + blob(3, self.wrap(frame)))

    def send_sasl(self, message: bytes) -> None:
        self.send_frame(number(1, -33) + number(2, 0), message)

    def send_frame(self, header: bytes, *bodies: bytes) -> None:
        data = delimited(header) + b"".join(map(delimited, bodies))
        self.put(struct.pack(">I", len(data)) + data)

    def put(self, frame: bytes) -> None:
        count, self.sent = self.sent, self.sent + 1
        self.connection.sendall(self.server.damage(count, frame))

    def sasl_message(self) -> dict[int, list[Any]]:
        return fields(split(self.frame())[1])

    def frame(self) -> bytes:
        (length,) = struct.unpack(">I", self.exactly(4))
        return self.exactly(length)

    def exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.connection.recv(length - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    # -- the security layer -----------------------------------------------------------------------------------------

    def mac(self, side: str, data: bytes) -> bytes:
        who = b"client-to-server" if side == "in" else b"server-to-client"
        count = struct.pack(">I", self.numbers[side])
        key = md5(self.key + b"Digest session key to %s signing key magic constant" % who)
        return hmac.new(key, count + data, "md5").digest()[:10]

    def wrap(self, data: bytes) -> bytes:
        sealed = self.streams.get("out", bytes)(data + self.mac("out", data))
        count = struct.pack(">I", self.numbers["out"])
        self.numbers["out"] += 1
        return sealed + b"\0\1" + count

    def unwrap(self, data: bytes) -> bytes:
        plain = self.streams.get("in", bytes)(data[:-6])
        assert plain[-10:] == self.mac("in", plain[:-10])
        assert data[-6:] == b"\0\1" + struct.pack(">I", self.numbers["in"])
        self.numbers["in"] += 1
        return plain[:-10]


def md5(data: bytes) -> bytes:
    return hashlib.md5(data).digest()


def arcfour(key: bytes) -> Callable[[bytes], bytes]:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]

    def stream() -> Iterator[int]:
        i = j = 0
        while True:
            i = (i + 1) % 256
            j = (j + state[i]) % 256
            state[i], state[j] = state[j], state[i]
            yield state[(state[i] + state[j]) % 256]

    keys = stream()
    return lambda data: bytes(byte ^ next(keys) for byte in data)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field * 8) + varint(value)


def blob(field: int, value: bytes) -> bytes:
    return varint(field * 8 + 2) + delimited(value)


def delimited(value: bytes) -> bytes:
    return varint(len(value)) + value


def take(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    while True:
        byte, data = data[0], data[1:]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, data


def split(data: bytes) -> list[bytes]:
    found = []
    while data:
        length, data = take(data)
        found.append(data[:length])
        data = data[length:]
    return found


def fields(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    value: int | bytes
    while data:
        key, data = take(data)
        if key & 7 == 2:
            length, data = take(data)
            value, data = data[:length], data[length:]
        elif key & 7 == 0:
            value, data = take(data)
        else:
            value, data = data[:4], data[4:]
        found.setdefault(key >> 3, []).append(value)
    return found
