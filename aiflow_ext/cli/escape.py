"""Escapes text of names, jobs, servers and exceptions for a terminal, and for logs that are read line by line.

A terminal interprets control characters as commands (ECMA-48: ESC and its sequences, and C1), and bidirectional
controls and characters without a glyph (Unicode TR 36) can make text look like other text. Here they become escapes
such as ``\\x1b``. So do combining marks from the fifth in a row on: a terminal draws them over other lines.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

# Texts, compiled by re where they are used: most commands need none of them.
_CONTROL = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\uf8ff\ufeff\ufff0-\ufffb\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_NO_GLYPH = (
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u3164\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]"
)
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_COLOUR = "\x1b\\[[0-9;:]*m"
_SEQUENCE = (
    "\x1b\\[(?:[0-9;:]*m|[0-?]*[ -/]*[@-~])"  # CSI
    "|\x1b[\\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\\\)"  # OSC, DCS, SOS, PM, APC: to their end, within a line
    "|\x1b[ -/]*[0-~]?"
)
_UNFINISHED = "(?:\x1b(?:\\[[0-?]*[ -/]*|[\\]PX^_][^\x07\x1b\n]*\x1b?|[ -/]*)|\r)\\Z"
_PENDING = 4096  # characters of an unfinished sequence that are kept until more comes
_RESET = "\x1b[0m"


def escaped(text: str) -> str:
    """``text`` without control characters but newline and tab; each becomes a Python escape."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    unsafe = f"{_CONTROL}|{_NO_GLYPH}|(?<={_MARK * 4}){_MARK}"
    return re.sub(unsafe, lambda found: found.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """``text`` as one line: white space that would end it or move the cursor becomes a space; controls are escaped."""
    if text.isascii() and text.isprintable():  # nearly always, and a table of thousands asks for each cell
        return text
    return escaped(re.sub("[\t\n\r\v\f]+", " ", text))


def indented(text: str) -> str:
    """``text`` escaped; lines after the first are indented by 4, so that none looks like one that aiflow-ext prints."""
    return escaped(text.replace("\r\n", "\n")).replace("\n", "\n    ")


def coloured(text: str) -> str:
    """``text`` escaped, except sequences that set colours."""
    if "\x1b" not in text:
        return escaped(text)
    parts, at = [], 0
    for found in re.finditer(_COLOUR, text):
        parts += [escaped(text[at : found.start()]), found.group()]
        at = found.end()
    return "".join([*parts, escaped(text[at:])])


class TerminalLog:
    """A job's log for a terminal, piece by piece: colours stay, and end with their line; other sequences and controls
    are dropped; a carriage return, which could overwrite the line, begins a new line."""

    def __init__(self) -> None:
        self._decode: Callable[..., str] = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._colour = False

    def shown(self, data: bytes, *, end: bool = False) -> str:
        """The text to print. An unfinished sequence is kept for the next call, except at the ``end``."""
        text = self._rest + self._decode(data, end)
        self._rest = ""
        unfinished = None if end else re.search(_UNFINISHED, text)
        if unfinished is not None and len(unfinished.group()) <= _PENDING:
            text, self._rest = text[: unfinished.start()], unfinished.group()
        text = re.sub("\r\n?", "\n", text)
        made, at = [], 0
        for found in re.finditer(f"{_SEQUENCE}|\n", text):
            made.append(re.sub(_CONTROL, "", text[at : found.start()]))
            at, part = found.end(), found.group()
            if part == "\n":
                made.append(f"{_RESET}\n" if self._colour else "\n")
                self._colour = False
            elif re.fullmatch(_COLOUR, part):
                made.append(part)
                self._colour = True
        made.append(re.sub(_CONTROL, "", text[at:]))
        if end and self._colour:
            made.append(_RESET)
        return "".join(made)
