"""The file of tokens and secrets that a NodeManager gives a container (``HADOOP_TOKEN_FILE_LOCATION``).

Written by Hadoop's ``Credentials.writeTokenStorageFile``: the letters HDTS, a version, then tokens and secret keys,
either as Hadoop's Writables (version 0, what NodeManagers write) or as a protocol buffer (version 1).
"""

from __future__ import annotations

from aiflow_ext_yarn.master.wire import Message, WireError, read_delimited

AMRM = "YARN_AM_RM_TOKEN"


class Token:
    """A token: ``identifier`` names its owner, ``password`` proves it."""

    def __init__(self, identifier: bytes, password: bytes, kind: str) -> None:
        self.identifier, self.password, self.kind = identifier, password, kind


class Credentials:
    """Tokens, and secrets by alias. Raises WireError for bytes that are not such a file."""

    def __init__(self, data: bytes) -> None:
        self.tokens: list[Token] = []
        self.secrets: dict[str, bytes] = {}
        if data[:4] != b"HDTS" or len(data) < 5:
            raise WireError("not a file of Hadoop credentials")
        if data[4] == 0:
            self._writables(_Reader(data, 5))
        elif data[4] == 1:
            self._message(Message(read_delimited(data, 5)[0]))
        else:
            raise WireError(f"Hadoop credentials of version {data[4]}")

    def token(self, kind: str) -> Token:
        """The first token of a kind. Raises LookupError where there is none."""
        for token in self.tokens:
            if token.kind == kind:
                return token
        raise LookupError(f"the container was given no {kind}")

    def _writables(self, reader: _Reader) -> None:
        for _ in range(reader.count()):
            reader.blob()  # the alias
            identifier, password, kind = reader.blob(), reader.blob(), reader.text()
            reader.blob()  # the service
            self.tokens.append(Token(identifier, password, kind))
        for _ in range(reader.count()):
            alias = reader.text()
            self.secrets[alias] = reader.blob()

    def _message(self, message: Message) -> None:
        for entry in message.blobs(1):
            token = Message(entry).message(2)
            self.tokens.append(Token(token.blob(1), token.blob(2), token.text(3)))
        for entry in message.blobs(2):
            secret = Message(entry)
            self.secrets[secret.text(1)] = secret.blob(2)


class _Reader:
    """Reads Hadoop's Writables (``WritableUtils.readVInt``, ``Text``)."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def count(self) -> int:
        """A number that must not be larger than the number of remaining bytes."""
        number = self._vint()
        if not 0 <= number <= len(self._data) - self._at:
            raise WireError("truncated credentials")
        return number

    def blob(self) -> bytes:
        length = self.count()
        self._at += length
        return self._data[self._at - length : self._at]

    def text(self) -> str:
        return self.blob().decode("utf-8", "replace")

    def _vint(self) -> int:
        if self._at >= len(self._data):
            raise WireError("truncated credentials")
        first = self._data[self._at]
        self._at += 1
        first -= 256 if first > 127 else 0
        if first >= -112:
            return first
        if first < -120:
            return -1  # a negative number: never the size of anything
        size = -112 - first
        if self._at + size > len(self._data):
            raise WireError("truncated credentials")
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "big")
