"""Separates stdout and stderr in a container's log."""

from __future__ import annotations

_EOF = (b".", b";")  # the last lines of stdout and of stderr
ROTATED = b"[aiflow-ext: the node has rotated this log; lines may be missing here]\n"


class Splitter:
    """Separates the log of a container that ran ``shell.SCRIPT``, also if parts of it are missing.

    Attributes:
        begun: whether the beginning of stdout was seen: the node may have rotated it away. (Lines of stderr may be
            before it: the runtime copies the two on its own.)
        at_eof: which of the streams have come to EOF.
        ran_with: what the shell has printed of what the job ran with, since it was last taken.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag.encode()
        self.begun = False
        self.at_eof: set[bytes] = set()
        self.ran_with = b""
        self._cut = b""  # the kind of a line of stderr whose rest comes on the next one

    @property
    def is_complete(self) -> bool:
        """Whether everything that the job has written has been seen."""
        return len(self.at_eof) == len(_EOF)

    def is_tagged(self, line: bytes) -> bool:
        """Whether a line has the tag of stderr."""
        return self._tag in line

    def line(self, line: bytes) -> tuple[bytes, bytes]:
        """The part of a line of the log (with its newline, if it has one) that is stdout, and the part that is stderr.

        A tag in the middle of a line follows a line of stdout that is not complete yet. The mark of stdout's end may be
        in the middle of a line of stderr that the runtime has kept in pieces.
        """
        place = line.find(self._tag)
        if place < 0:
            kind, self._cut = self._cut, b""
            if kind:
                return b"", line if kind == b":" else line.removesuffix(b"\n")
            return line, b""
        before, kind, text = line[:place], line[place + len(self._tag) :][:1], line[place + len(self._tag) + 1 :]
        if kind == b"+":
            self.begun = True
            return before, b""
        if kind == b"!":
            self.ran_with += text
            return before, b""
        if kind in _EOF:
            self.at_eof.add(kind)
            return before, b""
        if kind in (b":", b"-") and text.endswith(self._tag + b".\n"):
            self.at_eof.add(b".")
            self._cut = kind
            return before, text[: -len(self._tag) - 2]
        if kind == b"-":  # its author ended it without a newline
            return before, text.removesuffix(b"\n")
        return (before, text) if kind == b":" else (line, b"")


def split(log: bytes, tag: str) -> tuple[bytes, bytes, bool]:
    """A whole log: stdout, stderr, and whether it has its beginning."""
    splitter, out, err = Splitter(tag), [], []
    for line in _lines(log):
        one, other = splitter.line(line)
        out.append(one)
        err.append(other)
    return b"".join(out), b"".join(err), splitter.begun


def _lines(log: bytes) -> list[bytes]:
    """Lines that end with a newline; bytes.splitlines takes a lone carriage return for an end too."""
    *whole, rest = log.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])
