"""A client of Hadoop's RPC, version 9, authenticated by a token, or under simple authentication by a user name.

The format is Hadoop's ``RpcHeader.proto`` and ``ipc.Client``: after a preamble, frames of a four-byte length and
delimited messages. Once a security layer is negotiated, each frame is inside another one, as a SASL message whose token
is the wrapped bytes of the inner stream.
"""

from __future__ import annotations

import os
import socket
import struct
import time

from aiflow_ext_yarn.master.sasl import Digest, SaslError
from aiflow_ext_yarn.master.wire import Message, WireError, blob, delimited, integer, read_delimited, zigzag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiflow_ext_yarn.master.credentials import Token
    from aiflow_ext_yarn.master.sasl import Layer

PREAMBLE = b"hrpc" + bytes([9, 0])  # version, service class
NOTHING, SASL_FOLLOWS = b"\0", b"\xdf"  # what comes next
LARGEST = 16 << 20  # bytes of a frame; ours are a few hundred
SASL, CONTEXT = -33, -3  # call ids that are no calls
SUCCESS, NEGOTIATE, INITIATE, WRAP = 0, 1, 2, 5  # RpcSaslProto.SaslState
FATAL = 2  # RpcResponseHeaderProto.RpcStatusProto
# Seconds to connect, and for a whole answer: a ResourceManager that hangs must not end an attempt.
CONNECT_TIMEOUT, TIMEOUT = 5.0, 10.0
STANDBY = "StandbyException"


class RemoteError(Exception):
    """The server's own exception. ``name``: its class without the package; ``fatal``: it has closed the connection."""

    def __init__(self, name: str, words: str, fatal: bool = False) -> None:
        self.name, self.fatal = name.rpartition(".")[2].rpartition("$")[2], fatal
        super().__init__("{}: {}".format(self.name, words.strip().partition("\n")[0]))


class Unreachable(Exception):
    """None of the servers answers, or none of them correctly; to be retried later."""


class Client:
    """Calls methods of one protocol, of whichever of several servers answers. For one thread.

    Args:
        addresses: ``host:port`` of each server, of which one at a time is active.
        protocol: the protocol's full Java name.
        token: for authentication; the next connection uses a changed value. None: simple authentication.
        user: the user to act as under simple authentication.
    """

    def __init__(self, addresses: Sequence[str], protocol: str, token: Token | None, user: str = "") -> None:
        self.token, self._user = token, user
        self._addresses, self._protocol = list(addresses), protocol
        self._id = os.urandom(16)
        self._connection: RpcConnection | None = None

    def call(self, method: str, request: bytes) -> Message:
        """Call a method; each server is tried once.

        Raises Unreachable, and RemoteError where the server answers with an exception. After either it is not known
        whether the call was carried out.
        """
        words = ""
        for _ in self._addresses:
            address = self._addresses[0]
            try:
                if self._connection is None:
                    self._connection = RpcConnection(address, self._protocol, self.token, self._id, self._user)
                return self._connection.call(method, request)
            except RemoteError as error:
                if error.fatal:
                    self.close()
                if error.name != STANDBY:
                    raise
                words = f"{address}: {error}"
            except (OSError, ValueError, SaslError) as error:  # a WireError is a ValueError
                words = f"{address}: {error}"
            self.close()
            self._addresses.append(self._addresses.pop(0))
        raise Unreachable(words)

    @property
    def protection(self) -> str:
        """The qop of the present connection; empty without one."""
        return self._connection.protection if self._connection is not None else ""

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class RpcConnection:
    """One authenticated connection. Raises OSError, WireError, SaslError and RemoteError; it is of no use after that,
    except after a RemoteError of a call."""

    def __init__(self, address: str, protocol: str, token: Token | None, client: bytes, user: str = "") -> None:
        host, _, port = address.rpartition(":")
        self._client, self._protocol, self._next = client, protocol, 0
        self._layer: Layer | None = None
        self.protection = ""
        self._unwrapped = b""
        self._until = 0.0  # when the answer must be complete, by time.monotonic
        self._socket = socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT)
        try:
            self._socket.settimeout(TIMEOUT)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket.sendall(PREAMBLE + (NOTHING if token is None else SASL_FOLLOWS))
            if token is not None:
                self._authenticate(token)
            who = blob(2, blob(1, user)) if token is None else b""  # a token says it
            self._send(_frame(CONTEXT, client, -1, who + blob(3, protocol)))
        except BaseException:
            self.close()
            raise

    def call(self, method: str, request: bytes) -> Message:
        """Call a method and wait for its answer."""
        number, self._next = self._next, self._next + 1
        header = blob(1, method) + blob(2, self._protocol) + integer(3, 1)
        self._send(_frame(number, self._client, 0, header, request))
        return self._answer(number)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _authenticate(self, token: Token) -> None:
        self._send(_sasl(integer(1, 0) + integer(2, NEGOTIATE)))
        offers = [Message(offer) for offer in self._answer(SASL).blobs(4)]
        for offer in offers:
            if offer.text(1) == "TOKEN" and offer.text(2) == "DIGEST-MD5":
                break
        else:
            raise SaslError(f"the server takes no token, only {[offer.text(1) for offer in offers]}")
        protocol, server = offer.text(3), offer.text(4)
        digest = Digest(token, offer.blob(5), f"{protocol}/{server}")
        chosen = blob(1, "TOKEN") + blob(2, "DIGEST-MD5") + blob(3, protocol) + blob(4, server)
        self._send(_sasl(integer(1, 0) + integer(2, INITIATE) + blob(3, digest.response()) + blob(4, chosen)))
        last = self._answer(SASL)
        if last.integer(2, -1) != SUCCESS:
            raise SaslError("the server asks for more than DIGEST-MD5 has")
        digest.check(last.blob(3))
        self._layer, self.protection = digest.layer(), digest.qop

    def _send(self, frame: bytes) -> None:
        if self._layer is not None:
            frame = _sasl(integer(1, 0) + integer(2, WRAP) + blob(3, self._layer.wrap(frame)))
        self._socket.settimeout(TIMEOUT)
        self._socket.sendall(frame)
        self._until = time.monotonic() + TIMEOUT

    def _answer(self, number: int) -> Message:
        frame = self._inner() if self._layer is not None else self._frame()
        return _answer(frame, number)

    def _inner(self) -> bytes:
        """The next frame of the stream inside the security layer."""
        assert self._layer is not None
        while True:
            if len(self._unwrapped) >= 4:
                length = _length(self._unwrapped)
                if len(self._unwrapped) >= 4 + length:
                    frame, self._unwrapped = self._unwrapped[4 : 4 + length], self._unwrapped[4 + length :]
                    return frame
            outer = _answer(self._frame(), SASL)
            if outer.integer(2, -1) != WRAP:
                raise SaslError("the server sends something without the protection that was agreed on")
            self._unwrapped += self._layer.unwrap(outer.blob(3))

    def _frame(self) -> bytes:
        return self._exactly(_length(self._exactly(4)))

    def _exactly(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no whole answer in {TIMEOUT:g} s")
            self._socket.settimeout(left)
            part = self._socket.recv(min(length - len(found), 1 << 16))
            if not part:
                raise ConnectionError("the server hung up")
            found += part
        return bytes(found)


def _length(data: bytes) -> int:
    length: int = struct.unpack(">I", data[:4])[0]
    if length > LARGEST:
        raise WireError(f"a frame of {length} bytes")
    return length


def _frame(number: int, client: bytes, retry: int, *parts: bytes) -> bytes:
    header = integer(1, 2) + integer(2, 0) + integer(3, zigzag(number)) + blob(4, client) + integer(5, zigzag(retry))
    data = b"".join(delimited(part) for part in (header, *parts))
    return struct.pack(">I", len(data)) + data


def _sasl(message: bytes) -> bytes:
    return _frame(SASL, b"", -1, message)


def _answer(frame: bytes, number: int) -> Message:
    """The message in an answer to call ``number``."""
    data, at = read_delimited(frame, 0)
    header = Message(data)
    status = header.integer(2)
    if status:
        raise RemoteError(header.text(4), header.text(5), fatal=status == FATAL)
    if header.integer(1) & 0xFFFFFFFF != number & 0xFFFFFFFF:
        raise WireError("an answer to another call")
    return Message(read_delimited(frame, at)[0]) if at < len(frame) else Message(b"")
