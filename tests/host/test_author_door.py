"""``aiflow_ext.plugin``: all that plugins import of aiflow-ext, for the interpreter and for type checkers alike."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# The documentation of plugins, extensions and secret sources.
PAGES = [
    *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("plugin-*.md"))),
    *(f"docs/{page}.md" for page in ["plugins", "extensions", "secret-sources", "conformance", "conformance-rules"]),
]
PYTHON = re.compile(r"```python\n(.*?)```", re.S)


def seen_by_type_checkers(module: str) -> list[str]:
    """The names that a module imports under ``if TYPE_CHECKING``."""
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    return [str(name.asname) for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names]


@pytest.mark.parametrize("module", ["aiflow_ext.plugin", "aiflow_ext.plugin.engines"])
def test_every_name_is_there_for_the_interpreter_and_for_type_checkers(module: str) -> None:
    door = importlib.import_module(module)
    assert sorted(door.__all__) == sorted(seen_by_type_checkers(module))
    for name in door.__all__:
        assert getattr(door, name).__doc__, name
        assert name in dir(door)
        assert re.search(rf"\b{name}\b", door.__doc__), f"{module} does not say what {name} is"
    with pytest.raises(AttributeError, match="AbstractPlatfrom"):
        door.AbstractPlatfrom  # noqa: B018


def modules_of(code: str) -> Iterator[str]:
    """The modules that code imports from."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def shown(document: str) -> list[str]:
    """The code of a document that is a plugin's or its tests'."""
    found = PYTHON.findall((REPOSITORY / document).read_text())
    return [code for code in found if "aiflow_ext" in code and "@af.workflow" not in code]


@pytest.mark.parametrize(
    "code",
    [
        (REPOSITORY / "examples/plugin-nohup/aiflow_ext_nohup.py").read_text(),
        *(path.read_text() for path in sorted((REPOSITORY / "examples/plugins/slurm/aiflow_ext_slurm").glob("*.py"))),
        *shown("README.md"),
        *(code for page in PAGES for code in shown(page)),
    ],
    ids=lambda code: code.split("\n")[0],
)
def test_what_authors_are_shown_imports_the_door_alone(code: str) -> None:
    allowed = [["aiflow_ext", "plugin"], ["aiflow_ext", "testing"]]
    if "def test_" in code:  # a test runs projects, as a workflow's author does
        allowed.append(["aiflow_ext"])
    for module in modules_of(code):
        if module.split(".")[0] == "aiflow_ext":
            assert module.split(".")[:2] in allowed, module
