"""The site of the documentation: ``make docs`` builds it into build/docs, strictly."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

project = "aiflow-ext"
extensions = ["myst_parser", "sphinx_click"]
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


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _name_files)
