"""A job's log as HTML: colours stay, and end with their line; other commands to a terminal are left out, and other
controls are visible."""

from __future__ import annotations

import re

from aiflow_ext.model.visible import COLOUR, SEQUENCE
from aiflow_ext.view.html import lines

_COLOURS = {**{30 + number: f"c{number}" for number in range(8)}, **{90 + number: f"c{number}" for number in range(8)}}
_BOLD, _RESET, _DEFAULT, _NOT_BOLD = 1, 0, 39, 22


def log_html(data: bytes) -> str:
    """What a job has printed, as the content of a ``pre`` element. Bytes that are not UTF-8 are replaced.

    Of colours the sixteen of ECMA-48 and its usual extension are shown, and bold. A carriage return, which would have
    the line written over, begins a new one.
    """
    text = re.sub("\r\n?", "\n", data.decode("utf-8", "replace"))
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    made, at, shown = [], 0, _Shown()
    for found in re.finditer(SEQUENCE, line):
        made.append(shown.part(line[at : found.start()]))
        at = found.end()
        if re.fullmatch(COLOUR, found.group()):
            shown.set(found.group()[2:-1])
    made.append(shown.part(line[at:]))
    return "".join(made)


class _Shown:
    """How text is shown from here on."""

    def __init__(self) -> None:
        self.colour, self.bold = "", False

    def part(self, text: str) -> str:
        classes = " ".join(filter(None, (self.colour, "bold" if self.bold else "")))
        return f'<span class="{classes}">{lines(text)}</span>' if classes and text else lines(text)

    def set(self, parameters: str) -> None:
        """What a sequence says: numbers between semicolons. Colours by their number of 256, or by red, green and blue,
        are left out, with their numbers."""
        numbers = iter(re.split("[;:]", parameters))
        for each in numbers:
            number = int(each) if each.isascii() and each.isdigit() and len(each) < 4 else _RESET
            if number in (38, 48):
                for _ in range({"5": 1, "2": 3}.get(next(numbers, ""), 0)):
                    next(numbers, None)
            elif number in (_RESET, _DEFAULT):
                self.colour, self.bold = "", self.bold and number == _DEFAULT
            elif number in (_BOLD, _NOT_BOLD):
                self.bold = number == _BOLD
            else:
                self.colour = _COLOURS.get(number, self.colour)
