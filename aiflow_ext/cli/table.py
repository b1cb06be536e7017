"""Rows under heads for a terminal of any width. No cell is truncated and no word broken, so that cells can be copied:
columns that do not fit are printed on lines of their own below the row."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

GAP = 2  # columns of the terminal between two cells
INDENT = 4  # of a row's second and further lines
PROSE = 24  # columns that are wide enough for a sentence

Style = Callable[[int, str], str]  # of the cell in a column


def lines(
    heads: Sequence[str], rows: Sequence[Sequence[str]], width: int, style: Style, *, prose: bool = False
) -> list[Text]:
    """The lines of the table.

    Args:
        heads: the columns' names.
        rows: the cells of each row.
        width: columns of the terminal. A single cell that is wider makes a longer line.
        style: rich's name for how a cell looks; empty for plain.
        prose: whether the last column holds sentences, which may go on in further lines.
    """
    from rich.cells import cell_len
    from rich.text import Text

    # Empty columns are left out.
    used = [number for number in range(len(heads)) if not rows or any(row[number] for row in rows)]
    prose = prose and used[-1:] == [len(heads) - 1]
    heads, rows = [heads[number] for number in used], [[row[number] for number in used] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    needed = list(widths)
    if prose:
        words = [word for row in rows for word in row[-1].split()]
        needed[-1] = min(widths[-1], max([PROSE, *map(cell_len, words)]))
    made: list[Text] = []
    for number, row in enumerate([heads, *rows]):
        for group in _groups(needed, width):
            if not any(row[column] for column in group):
                continue
            at = INDENT if group[0] else 0
            line = Text(" " * at)
            for column in group:
                looks = "bold" if number == 0 else style(used[column], row[column])
                first, *more = [row[column]]
                if prose and column == len(heads) - 1:
                    first, *more = _wrapped(row[column], max(PROSE, width - at))
                line.append(first, looks)
                for part in more:
                    made.append(line)
                    line = Text(" " * at).append(part, looks)
                line.append(" " * (widths[column] - cell_len(row[column]) + GAP))
                at += widths[column] + GAP
            line.rstrip()
            made.append(line)
    return made


def _groups(needed: Sequence[int], width: int) -> list[list[int]]:
    """The columns of each of a row's lines."""
    groups: list[list[int]] = []
    at = width + 1
    for column, wide in enumerate(needed):
        if at + wide > width:
            groups.append([])
            at = INDENT if column else 0
        groups[-1].append(column)
        at += wide + GAP
    return groups


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
