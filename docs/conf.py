"""The site of the documentation: ``make docs`` builds it into build/docs, strictly."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parent))
import made

project = "aiflow-ext"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
html_theme = "furo"
html_title = "aiflow-ext"
html_show_copyright = False
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


class _Made(SphinxDirective):
    """A Markdown table that is made of the code."""

    def lines(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        inside = nodes.container()
        self.state.nested_parse(StringList(self.lines()), self.content_offset, inside)
        return inside.children


class _Keys(_Made):
    """The keys of every job, of ``project.yaml``, or of a job plugin."""

    required_arguments = 1
    option_spec: ClassVar = {"without": directives.unchanged}

    def lines(self) -> list[str]:
        what = self.arguments[0]
        if what == "every-job":
            return made.table_of(made.of_every_job())
        if what == "project.yaml":
            return made.table_of(made.of_project())
        return made.table_of(made.of_plugin(what, self.options.get("without", "")))


class _Errors(_Made):
    """Every error, with its exit code."""

    def lines(self) -> list[str]:
        return made.errors()


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("keys", _Keys)
    app.add_directive("errors", _Errors)
    app.connect("source-read", _name_files)
    app.connect("autodoc-process-docstring", _part_hooks)
