"""Makes text visible that names, jobs, servers and exceptions have: control characters become escapes.

A terminal interprets control characters as commands (ECMA-48: ESC and its sequences, and C1), and bidirectional
controls and characters without a glyph (Unicode TR 36) can make text look like other text, in a browser too. XML, and
so SVG, may hold no controls, and neither U+FFFE nor U+FFFF. Here all of them become escapes such as ``\\x1b``. So do
combining marks from the fifth in a row on: they are drawn over other lines.
"""

from __future__ import annotations

import re

# Texts, compiled by re where they are used: most commands need none of them.
CONTROL = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\uf8ff\ufeff\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_NO_GLYPH = (
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u3164\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]"
)
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
# Of ECMA-48, as a job's log has them: what sets a colour; and any sequence, that too.
COLOUR = "\x1b\\[[0-9;:]*m"
SEQUENCE = (
    "\x1b\\[(?:[0-9;:]*m|[0-?]*[ -/]*[@-~])"  # CSI
    "|\x1b[\\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\\\)"  # OSC, DCS, SOS, PM, APC: to their end, within a line
    "|\x1b[ -/]*[0-~]?"
)


def escaped(text: str) -> str:
    """``text`` without control characters but newline and tab; each becomes a Python escape."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    unsafe = f"{CONTROL}|{_NO_GLYPH}|(?<={_MARK * 4}){_MARK}"
    return re.sub(unsafe, lambda found: found.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """``text`` as one line: white space that would end it or move the cursor becomes a space; controls are escaped."""
    if text.isascii() and text.isprintable():  # nearly always, and a table of thousands asks for each cell
        return text
    return escaped(re.sub("[\t\n\r\v\f]+", " ", text))
