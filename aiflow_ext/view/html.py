"""Text and attributes of HTML and SVG, whoever has written them; and the beginning of a picture."""

from __future__ import annotations

import html

from aiflow_ext.model.visible import escaped, one_line


def text(words: object) -> str:
    """Words as text of an element, or as value of a quoted attribute, on one line; controls are visible."""
    return html.escape(one_line(str(words)))


def lines(words: object) -> str:
    """As :func:`text`, with its line ends."""
    return html.escape(escaped(str(words).replace("\r\n", "\n")))


def svg_begin(kind: str, label: str, width: int, height: int) -> str:
    """The begin of an SVG element of this class and size, in pixels; ``label`` tells a screen reader what it shows."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" role="group" aria-label="{text(label)}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    )
