"""Protocol buffers' wire format, as much of it as Hadoop's messages use (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

import struct


class WireError(ValueError):
    """Malformed bytes: truncated, overlong, or of an unknown form."""


def varint(number: int) -> bytes:
    """An integer in seven bits a byte; a negative one as 64-bit two's complement."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned integer at ``at``, and where it ends. Raises WireError."""
    number = 0
    for index in range(10):
        if at + index >= len(data):
            raise WireError("truncated number")
        byte = data[at + index]
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number & (1 << 64) - 1, at + index + 1
    raise WireError("a number of more than ten bytes")


def zigzag(number: int) -> int:
    """A signed integer as sint32 and sint64 fields hold it."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def integer(field: int, value: int) -> bytes:
    """A field of an integer type (int32, uint32, enum, bool; sint32 with ``zigzag``)."""
    return varint(field << 3) + varint(value)


def blob(field: int, value: bytes | str) -> bytes:
    """A field of type bytes, string or a message."""
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def single(field: int, value: float) -> bytes:
    """A field of type float."""
    return varint(field << 3 | 5) + struct.pack("<f", value)


def delimited(message: bytes) -> bytes:
    """A message with its length before it."""
    return varint(len(message)) + message


def read_delimited(data: bytes, at: int) -> tuple[bytes, int]:
    """The message with its length before it at ``at``, and where it ends. Raises WireError."""
    length, at = read_varint(data, at)
    if length > len(data) - at:
        raise WireError("truncated message")
    return data[at : at + length], at + length


class Message:
    """A decoded message. Of a repeated field, the last one counts, as in the format's specification.

    Raises WireError for bytes that are not a message, and, on access, for a field of another type.
    """

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        at = 0
        while at < len(data):
            key, at = read_varint(data, at)
            form = key & 7
            value: int | bytes
            if form == 0:
                value, at = read_varint(data, at)
            elif form == 2:
                value, at = read_delimited(data, at)
            elif form in (1, 5):
                size = 8 if form == 1 else 4
                value, at = data[at : at + size], at + size
                if at > len(data):
                    raise WireError("truncated number")
            else:
                raise WireError(f"a field of form {form}")
            self._fields.setdefault(key >> 3, []).append(value)

    def __contains__(self, field: int) -> bool:
        return field in self._fields

    def integer(self, field: int, default: int = 0) -> int:
        """An unsigned integer, or an enum's or boolean's value."""
        value = self._fields.get(field, [default])[-1]
        if not isinstance(value, int):
            raise WireError(f"field {field} is no number")
        return value

    def blobs(self, field: int) -> list[bytes]:
        """All the values of a repeated field of type bytes, string or message."""
        found = []
        for value in self._fields.get(field, []):
            if isinstance(value, int):
                raise WireError(f"field {field} is a number")
            found.append(value)
        return found

    def blob(self, field: int) -> bytes:
        """A field of type bytes; empty if it is missing."""
        return self.blobs(field)[-1] if field in self._fields else b""

    def text(self, field: int) -> str:
        """A field of type string; empty if it is missing."""
        return self.blob(field).decode("utf-8", "replace")

    def message(self, field: int) -> Message:
        """A field that is a message; empty if it is missing."""
        return Message(self.blob(field))
