"""Text and attributes of HTML and SVG, whoever has written them; states, tables, and the beginning of a picture."""

from __future__ import annotations

import html
from collections.abc import Sequence

from aiflow_ext.model.states import JobState
from aiflow_ext.model.visible import escaped, one_line
from aiflow_ext.view.words import SIGNS, state_of, word_of


def text(words: object) -> str:
    """Words as text of an element, or as value of a quoted attribute, on one line; controls are visible."""
    return html.escape(one_line(str(words)))


def lines(words: object) -> str:
    """As :func:`text`, with its line ends."""
    return html.escape(escaped(str(words).replace("\r\n", "\n")))


def sign_and_word(name: str) -> str:
    """The state of this name: its sign and its word, in its colour."""
    return marked(state_of(name), word_of(state_of(name)))


def marked(state: JobState, words: str) -> str:
    """Words with a state's sign, in its colour."""
    return f'<span class="state {state}"><span aria-hidden="true">{SIGNS[state]}</span> {text(words)}</span>'


def scrolled(part: str) -> str:
    """HTML that may be wider than there is room; it is scrolled then, by the keyboard too."""
    return f'<div class="scrolled" tabindex="0">{part}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], anchors: Sequence[str] = ()) -> str:
    """A table, without the columns in which every row has nothing.

    Args:
        heads: the columns' names. The first one names what a row is about.
        rows: the cells of each row, which are HTML already.
        anchors: the ``id`` of each row; none by default.
    """
    used = [place for place, _ in enumerate(heads) if any(row[place] for row in rows)]
    made = ["<table><thead><tr>", *(f'<th scope="col">{text(heads[place])}' for place in used), "</tr></thead><tbody>"]
    for number, row in enumerate(rows):
        made.append(f'<tr id="{text(anchors[number])}">' if anchors else "<tr>")
        made += [f'<th scope="row">{row[place]}' if place == 0 else f"<td>{row[place]}" for place in used]
    return "".join([*made, "</tbody></table>"])


def svg_begin(kind: str, label: str, width: int, height: int) -> str:
    """The begin of an SVG element of this class and size, in pixels; ``label`` tells a screen reader what it shows."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" role="group" aria-label="{text(label)}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    )
