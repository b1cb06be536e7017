"""Delegation tokens as text: ``Token.encodeToUrlString`` of Hadoop, url-safe base64 of four length-prefixed fields.

Lengths are Hadoop's variable-length integers (org.apache.hadoop.io.WritableUtils.writeVLong).
"""

from __future__ import annotations

import base64
import binascii
import socket
from urllib.parse import urlsplit

from aiflow_ext.plugin import PlatformError, UnreachableError

HDFS = "HDFS_DELEGATION_TOKEN"


def for_hdfs(text: str, service: str) -> str:
    """A token of WebHDFS converted to one for ``hdfs://``: the same identifier and password, another kind and service.

    Nodes that fetch ``hdfs://`` files need this kind. ``service`` is ``ip:port`` of the NameNode, or
    ``ha-hdfs:NAMESERVICE``. Raises PlatformError for text that is not a token.
    """
    identifier, password, _, _ = decoded(text)
    fields = (identifier, password, HDFS.encode(), service.encode())
    data = b"".join(length(len(field)) + field for field in fields)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def for_nodes(text: str, file_system: str) -> str:
    """The token with which nodes read files of a file system; for ``hdfs://`` it is converted."""
    parts = urlsplit(file_system)
    if parts.scheme != "hdfs":
        return text
    if parts.port is None:
        return for_hdfs(text, f"ha-hdfs:{parts.netloc}")
    try:
        address = socket.gethostbyname(parts.hostname or "")
    except OSError as error:
        raise UnreachableError(f"the host {parts.hostname!r} of {file_system} is not known here: {error}") from error
    return for_hdfs(text, f"{address}:{parts.port}")


def decoded(text: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Identifier, password, kind and service of a token."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        fields, place = [], 0
        for _ in range(4):
            size, place = _read_length(data, place)
            if size < 0 or place + size > len(data):
                raise ValueError("it is cut off")
            fields.append(data[place : place + size])
            place += size
    except (ValueError, IndexError, binascii.Error) as error:
        raise PlatformError(f"the NameNode's delegation token cannot be read: {error}") from error
    return fields[0], fields[1], fields[2], fields[3]


def length(number: int) -> bytes:
    """A length as Hadoop writes it."""
    if number <= 127:
        return bytes([number])
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([(-112 - len(data)) & 0xFF]) + data


def _read_length(data: bytes, place: int) -> tuple[int, int]:
    first = data[place] - 256 if data[place] > 127 else data[place]
    if first >= -112:
        return first, place + 1
    size = -112 - first
    if size > 8:
        raise ValueError("it has a negative length")
    return int.from_bytes(data[place + 1 : place + 1 + size], "big"), place + 1 + size
