"""The site of the documentation: ``make docs`` builds it into build/docs, strictly."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

project = "aiflow-ext"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
html_theme = "furo"
html_title = "aiflow-ext"
myst_heading_anchors = 6

_OUT = re.compile(r"\[([^\]]+)\]\((\.\./[^)]+)\)")


def _name_files(_app: Sphinx, _page: str, source: list[str]) -> None:
    """What a page links to of the repository's other files is named, as it is not on the site."""

    def named(link: re.Match[str]) -> str:
        words, path = link[1], link[2].removeprefix("../").partition("#")[0]
        return f"`{path}`" if words.strip("`") == path else f"{words} (`{path}`)"

    source[0] = _OUT.sub(named, source[0])


_PART = re.compile(r"^(When|Order|Default|Raising)(,[^:]*)?:")


def _part_hooks(_app: Sphinx, _what: str, _name: str, _of: object, _options: object, lines: list[str]) -> None:
    """The parts of a hook's docstring are paragraphs."""
    lines[:] = [
        part for line in lines for part in (["", _PART.sub(r"**\1**\2:", line)] if _PART.match(line) else [line])
    ]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _name_files)
    app.connect("autodoc-process-docstring", _part_hooks)
