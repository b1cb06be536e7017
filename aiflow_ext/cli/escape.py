"""Text of names, jobs, servers and exceptions for a terminal, and for logs that are read line by line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from aiflow_ext.model.visible import COLOUR, CONTROL, SEQUENCE
from aiflow_ext.model.visible import escaped as escaped
from aiflow_ext.model.visible import one_line as one_line

# As in ``visible``: compiled by re where it is used.
_UNFINISHED = "(?:\x1b(?:\\[[0-?]*[ -/]*|[\\]PX^_][^\x07\x1b\n]*\x1b?|[ -/]*)|\r)\\Z"
_PENDING = 4096  # characters of an unfinished sequence that are kept until more comes
_RESET = "\x1b[0m"


def indented(text: str) -> str:
    """``text`` escaped; lines after the first are indented by 4, so that none looks like one that aiflow-ext prints."""
    return escaped(text.replace("\r\n", "\n")).replace("\n", "\n    ")


def coloured(text: str) -> str:
    """``text`` escaped, except sequences that set colours."""
    if "\x1b" not in text:
        return escaped(text)
    parts, at = [], 0
    for found in re.finditer(COLOUR, text):
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
        for found in re.finditer(f"{SEQUENCE}|\n", text):
            made.append(re.sub(CONTROL, "", text[at : found.start()]))
            at, part = found.end(), found.group()
            if part == "\n":
                made.append(f"{_RESET}\n" if self._colour else "\n")
                self._colour = False
            elif re.fullmatch(COLOUR, part):
                made.append(part)
                self._colour = True
        made.append(re.sub(CONTROL, "", text[at:]))
        if end and self._colour:
            made.append(_RESET)
        return "".join(made)
