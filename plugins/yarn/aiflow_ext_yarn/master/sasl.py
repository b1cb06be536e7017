"""The client's side of SASL DIGEST-MD5 (RFC 2831) with a Hadoop token, and the security layers that it negotiates.

``hadoop.rpc.protection`` decides what the server offers: authentication is qop ``auth``, integrity ``auth-int``,
privacy ``auth-conf``. Of what is offered the strongest is taken. Ciphers are RC4's, which Java's server always offers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aiflow_ext_yarn.master.credentials import Token

QOPS = ("auth-conf", "auth-int", "auth")
# Cipher -> how many bytes of H(A1) go into its key (RFC 2831, 2.4).
CIPHERS = {"rc4": 16, "rc4-56": 7, "rc4-40": 5}
_DIRECTIVE = re.compile(r'\s*([A-Za-z0-9-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)')


class SaslError(Exception):
    """The server violates DIGEST-MD5, or cannot prove that it knows the token."""


def directives(text: str) -> dict[str, str]:
    """The directives of a challenge or response. Raises SaslError for text that is none."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _DIRECTIVE.match(text, at)
        if match is None or match.end() == at:
            raise SaslError("a DIGEST-MD5 challenge that cannot be read")
        quoted = match.group(2)
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match.group(3)
        found.setdefault(match.group(1).lower(), value)
        at = match.end()
    return found


class Digest:
    """One authentication.

    Args:
        token: whose identifier and password are user name and password, both in Base64 (Hadoop's SaslRpcClient).
        challenge: the server's first one.
        uri: what is authenticated to: protocol, slash, server id, as the server named them.

    Raises SaslError.
    """

    def __init__(self, token: Token, challenge: bytes, uri: str) -> None:
        given = directives(challenge.decode("utf-8", "replace"))
        if not given.get("nonce") or given.get("algorithm", "md5-sess") != "md5-sess":
            raise SaslError("a DIGEST-MD5 challenge without a nonce, or for another algorithm")
        offered = re.split(r"[,\s]+", given.get("qop") or "auth")
        self.qop = next((qop for qop in QOPS if qop in offered), "")
        if not self.qop:
            raise SaslError("the server offers none of {}".format(", ".join(QOPS)))
        ciphers = re.split(r"[,\s]+", given.get("cipher", ""))
        self.cipher = next((cipher for cipher in CIPHERS if cipher in ciphers), None)
        if self.qop == "auth-conf" and self.cipher is None:
            raise SaslError("the server offers no RC4 cipher, only {}".format(", ".join(ciphers)))
        self._realm, self._nonce, self._uri = given.get("realm", ""), given["nonce"], uri
        self._client_nonce = base64.b64encode(os.urandom(24)).decode()
        self._user = base64.b64encode(token.identifier).decode()
        password = base64.b64encode(token.password).decode()
        secret = md5(f"{self._user}:{self._realm}:{password}".encode())
        self._key = md5(secret + f":{self._nonce}:{self._client_nonce}".encode())

    def response(self) -> bytes:
        """The response to the challenge."""
        cipher = f",cipher={self.cipher}" if self.qop == "auth-conf" else ""
        return (
            'charset=utf-8,username="{}",realm="{}",nonce="{}",nc=00000001,cnonce="{}",digest-uri="{}",maxbuf=65536,'
            "response={},qop={}{}"
        ).format(
            self._user, _quoted(self._realm), _quoted(self._nonce), self._client_nonce, self._uri,
            self._proof("AUTHENTICATE"), self.qop, cipher,
        ).encode()  # fmt: skip

    def check(self, final: bytes) -> None:
        """Check the server's final response: that it knows the token too. Raises SaslError."""
        proof = directives(final.decode("utf-8", "replace")).get("rspauth", "")
        if not hmac.compare_digest(proof.encode(), self._proof("").encode()):
            raise SaslError("the server cannot prove that it knows the token")

    def layer(self) -> Layer | None:
        """The security layer for all later messages; None with qop ``auth``."""
        if self.qop == "auth":
            return None
        ours, theirs = "client-to-server", "server-to-client"
        sign = "Digest session key to {} signing key magic constant"
        sealing = {}
        if self.qop == "auth-conf" and self.cipher is not None:
            seal = "Digest H(A1) to {} sealing key magic constant"
            half = self._key[: CIPHERS[self.cipher]]
            sealing = {side: md5(half + seal.format(side).encode()) for side in (ours, theirs)}
        return Layer(
            Sequenced(md5(self._key + sign.format(ours).encode()), sealing.get(ours)),
            Sequenced(md5(self._key + sign.format(theirs).encode()), sealing.get(theirs)),
        )

    def _proof(self, method: str) -> str:
        what = f"{method}:{self._uri}" + ("" if self.qop == "auth" else ":" + "0" * 32)
        parts = (self._key.hex(), self._nonce, "00000001", self._client_nonce, self.qop, md5(what.encode()).hex())
        return md5(":".join(map(str, parts)).encode()).hex()


class Layer:
    """Wraps messages to the server and unwraps those from it (RFC 2831, 2.3 and 2.4)."""

    def __init__(self, ours: Sequenced, theirs: Sequenced) -> None:
        self._ours, self._theirs = ours, theirs

    def wrap(self, data: bytes) -> bytes:
        """The message to send for ``data``."""
        mac, number = self._ours.sign(data)
        return self._ours.cipher(data + mac) + b"\0\1" + number

    def unwrap(self, data: bytes) -> bytes:
        """The data of a message. Raises SaslError for anything but the server's next message."""
        if len(data) < 16 or data[-6:-4] != b"\0\1":
            raise SaslError("a protected message that is too short or of another kind")
        plain = self._theirs.cipher(data[:-6])
        text, mac = plain[:-10], plain[-10:]
        expected, number = self._theirs.sign(text)
        if not hmac.compare_digest(mac, expected) or data[-4:] != number:
            raise SaslError("a protected message that was changed, left out or repeated on its way")
        return text


class Sequenced:
    """One direction: its key for signatures, its cipher's state, and the number of messages so far."""

    def __init__(self, signing: bytes, sealing: bytes | None) -> None:
        self._signing, self._number = signing, 0
        self.cipher: Callable[[bytes], bytes] = rc4(sealing) if sealing is not None else bytes

    def sign(self, data: bytes) -> tuple[bytes, bytes]:
        """The next message's authentication code and number."""
        number = struct.pack(">I", self._number & 0xFFFFFFFF)
        self._number += 1
        return hmac.new(self._signing, number + data, _md5).digest()[:10], number


def rc4(key: bytes) -> Callable[[bytes], bytes]:
    """A stream cipher's state, as a function that encrypts or decrypts what comes next."""
    box = list(range(256))
    j = 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) & 255
        box[i], box[j] = box[j], box[i]
    at = [0, 0]

    def crypt(data: bytes) -> bytes:
        i, j = at
        out = bytearray(len(data))
        for index, byte in enumerate(data):
            i = (i + 1) & 255
            j = (j + box[i]) & 255
            box[i], box[j] = box[j], box[i]
            out[index] = byte ^ box[(box[i] + box[j]) & 255]
        at[:] = [i, j]
        return bytes(out)

    return crypt


def md5(data: bytes) -> bytes:
    """The digest that DIGEST-MD5 is made of."""
    return _md5(data).digest()


def _md5(data: bytes = b"") -> hashlib._Hash:
    try:
        return hashlib.md5(data)
    except ValueError:  # a machine in FIPS mode; here MD5 is the protocol's choice
        return hashlib.new("md5", data, usedforsecurity=False)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
