"""workflow.py is imported and built, its mistakes told with file:line, and the process left as it was."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import aiflow_ext as af
from aiflow_ext.model.errors import GraphError, ProjectError
from aiflow_ext.translate.load import built_graph, imported_workflow
from aiflow_ext.translate.project import load_project

GOOD = "import aiflow_ext as af\n@af.workflow\ndef w():\n    with af.job('j'): af.cmd('true')\n"


def load(root: Path, name: str | None = None, **files: str) -> af.AIGraph:
    root.mkdir(exist_ok=True)
    for stem, text in files.items():
        (root / f"{stem}.py").write_text(textwrap.dedent(text))
    project = load_project(root)
    with imported_workflow(project) as module:
        return built_graph(project, module, name)


W = "workflow"
WRONG: list[tuple[str, dict[str, str], str, str]] = [
    ("syntax error", {W: "x = 1\ndef (:\n"}, "SyntaxError", "workflow.py:2"),
    ("bad indentation", {W: "if True:\nx = 1\n"}, "IndentationError", "workflow.py:2"),
    ("syntax error behind it", {W: "import steps\n", "steps": "\n\nx ==\n"}, "SyntaxError", "steps.py:3"),
    ("raises when imported", {W: "import steps\n", "steps": "x = 1\n1 / 0\n"}, "ZeroDivision", "steps.py:2"),
    ("leaves when imported", {W: "import sys\nsys.exit(3)\n"}, "SystemExit: 3", "workflow.py:2"),
    ("no such module", {W: "\nimport no_such_module_x\n"}, "No module named 'no_such_module_x'", "workflow.py:2"),
    ("no such name", {W: "from os import nothing_x\n"}, "cannot import name 'nothing_x'", "workflow.py:1"),
    ("raises when built", {W: GOOD + "    [][0]\n"}, "workflow 'w' failed: IndexError", "workflow.py:5"),
    ("wants arguments", {W: GOOD.replace("w()", "w(a)")}, "missing 1 required positional", "workflow.py:2"),
    ("takes a node apart", {W: GOOD + "    with af.job('k'): a, b = af.cmd('x')\n"}, "one value", "workflow.py:5"),
    ("raises in the standard library", {W: "import json\njson.loads('{')\n"}, "JSONDecodeError", "workflow.py:2"),
    ("no workflow", {W: "x = 1\n"}, "workflow.py has no workflow", "workflow.py:1"),
    ("several", {W: GOOD + GOOD.replace("w()", "v()")}, "several workflows: w", "workflow.py:6"),
    ("a nul byte", {W: "x = '\0'\n"}, "null bytes", "workflow.py"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "words", "where"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_a_users_mistake_is_a_project_error_with_its_place(
    tmp_path: Path, files: dict[str, str], words: str, where: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        load(tmp_path / "p", **files)
    assert words in str(caught.value)
    assert str(caught.value.problems[0].where).startswith(f"{tmp_path}/p/{where}")


TAKEN_FOR_ITS_VALUE = [
    ('f"cat {node}"', "node 'abs' was made a text", "af.cmd"),
    ("f\"cat {made['o']}\"", "output 'o' of node 'cmd' was made a text", "af.cmd"),
    ("f\"cat > {af.output('o')}\"", "the output 'o' was made a text", "out=af.output"),
    ('"cat {}".format(node)', "made a text", "af.cmd"),
    ('"cat %s" % node', "made a text", "af.cmd"),
    ("str(node)", "made a text", "af.cmd"),
    ("print(node)", "made a text", "repr(node)"),
    ("1 if node else 2", "was asked whether it is true", "node is None"),
    ("node and 1", "was asked whether it is true", "node is None"),
    ("not made['o']", "was asked whether it is true", "node is None"),
    ("any([node])", "was asked whether it is true", "node is None"),
    ("node == 3", "was compared", "a is b"),
    ("node != 'x'", "was compared", "a is b"),
    ("3 == node", "was compared", "a is b"),
    ("node == made", "was compared", "a is b"),
    ("made['o'] == 'x'", "was compared", "a is b"),
    ("[1, 2].count(node)", "was compared", "a is b"),
    ("3 in node", "argument of type 'AINode' is not", "af.python(function, node)"),
    ("list(made['o'])", "output 'o' of node 'cmd' stands for one value", "take it apart"),
    ("node[0]", "was indexed by 0", "take the part"),
    ("node[1:]", "was indexed by slice(1, None, None)", "take the part"),
    ("node + 1", "unsupported operand type(s) for +: 'AINode' and 'int'", "af.python(function, node)"),
    ("'a' + node", '"AINode") to str', "af.python(function, node)"),
    ("-node", "bad operand type for unary -: 'AINode'", "af.python(function, node)"),
    ("max(node, 3)", "'AINode'", "af.python(function, node)"),
    ("node < 3", "'AINode'", "af.python(function, node)"),
    ("len(node)", "'AINode' has no len()", "af.python(function, node)"),
    ("int(node)", "not 'AINode'", "af.python(function, node)"),
    ("float(made['o'])", "not 'NodeOutput'", "af.python(function, node)"),
    ("node()", "'AINode' object is not callable", "af.python(function, node)"),
    ("node.shape", "'AINode' object has no attribute 'shape'", "af.python(function, node)"),
    ("open(node)", "not AINode", "af.python(function, node)"),
    ("range(node)", "'AINode' object cannot be interpreted as an integer", "af.python(function, node)"),
    ("__import__('json').dumps([node])", "AINode is not JSON serializable", "af.python(function, node)"),
]


@pytest.mark.parametrize(("expression", "words", "cure"), TAKEN_FOR_ITS_VALUE, ids=lambda each: str(each)[:40])
def test_a_node_that_is_taken_for_its_value_is_refused_with_its_line(
    tmp_path: Path, expression: str, words: str, cure: str
) -> None:
    text = GOOD + "    with af.job('k'):\n        node = af.python(abs, -1)\n"
    text += f"        made = af.cmd('x > {{o}}', o=af.output('o'))\n        {expression}\n"
    with pytest.raises(ProjectError) as caught:
        load(tmp_path / "p", workflow=text)
    (problem,) = caught.value.problems
    assert words in problem.message
    assert cure in f"{problem.message} {problem.hint}"
    assert problem.where == f"{tmp_path}/p/workflow.py:8"


def test_what_asks_nothing_of_a_nodes_value_is_fine(tmp_path: Path) -> None:
    lines = ["node = af.python(abs, -1)", "made = af.cmd('x > {o}', o=af.output('o'))",
             "assert node is not None and node is not made and node == node and hash(node)",
             "assert {node: 1}[node] == 1 and node in {node, made} and node in [node]",
             "assert 'abs' in repr(node) and f'{node!r}' and node.name == 'abs'",
             "af.python(print, [node, {'k': made['o']}])"]  # fmt: skip
    text = GOOD + "    with af.job('k'):\n" + "".join(f"        {line}\n" for line in lines)
    graph = load(tmp_path / "p", workflow=text)
    # Once the graph is built, plugins may look at nodes as at any other objects.
    first = graph.nodes["k/abs"]
    assert bool(first)
    assert first != 3
    assert "abs" in f"{first}"


def test_a_file_that_is_no_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / "workflow.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(ProjectError, match="SyntaxError") as caught:
        load(tmp_path)
    assert str(caught.value.problems[0].where).startswith(f"{tmp_path}/workflow.py")


def test_a_missing_module_comes_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, workflow="import no_such_module_x")
    assert "install what brings the module 'no_such_module_x'" in str(caught.value.problems[0].hint)


MISSPELT = [
    ("a word of ours", "af.jbo('k')", "did you mean 'job'?"),
    ("a variable", "lenght = 3; print(lenghth)", "did you mean 'lenght'"),
    ("a built-in", "pritn(1)", "did you mean 'print'"),
    ("a function of a module", "import steps; steps.fecth()", "did you mean 'fetch'?"),
    ("a name that is imported", "from steps import fecth", "did you mean 'fetch'?"),
    ("a module", "import stpes", "did you mean 'steps'? Otherwise install"),
    ("a command's input", "af.cmd('cat {x}', 1)", "given by keyword"),
]


@pytest.mark.parametrize(("words", "hint"), [each[1:] for each in MISSPELT], ids=[each[0] for each in MISSPELT])
def test_a_misspelt_name_comes_with_what_is_near(tmp_path: Path, words: str, hint: str) -> None:
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, workflow=GOOD + f"    {words}\n", steps="def fetch(): pass\n")
    assert hint in str(caught.value.problems[0].hint)


def test_the_place_is_reported_in_a_project_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ProjectError) as caught:
        load(tmp_path / "link", workflow="x = 1\n1 / 0\n")
    assert str(caught.value.problems[0].where).endswith("/workflow.py:2")


def test_our_own_errors_keep_their_place_and_kind(tmp_path: Path) -> None:
    with pytest.raises(GraphError) as caught:
        load(tmp_path, workflow=GOOD + "    af.job('').__enter__()\n")
    assert caught.value.problems[0].where == f"{tmp_path}/workflow.py:5"


def test_one_of_several_workflows_is_chosen_by_name_and_a_misspelling_is_met(tmp_path: Path) -> None:
    text = GOOD + GOOD.replace("w()", "validate()")
    assert load(tmp_path, "validate", workflow=text).name == "validate"
    with pytest.raises(ProjectError, match="no workflow 'validte'") as caught:
        load(tmp_path, "validte", workflow=text)
    assert caught.value.problems[0].hint == "did you mean 'validate'?"


def test_one_workflow_under_two_names_is_one_and_two_under_one_name_are_two(tmp_path: Path) -> None:
    assert load(tmp_path / "a", workflow=GOOD + "again = w\n").name == "w"
    named = GOOD.replace("w()", "v()").replace("workflow\n", "workflow(name='w')\n")
    with pytest.raises(ProjectError, match=r"several workflows: w .*, w "):
        load(tmp_path / "b", "w", workflow=GOOD + named)


STEPS = "def name(): return {name!r}\n"
SAYS = "import aiflow_ext as af, {imports}\n@af.workflow\ndef w():\n    with af.job(steps.name()): af.cmd('true')\n"


def test_two_projects_with_the_same_module_names_do_not_mix(tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        graph = load(tmp_path / name, workflow=SAYS.format(imports="steps"), steps=STEPS.format(name=name))
        assert list(graph.jobs) == [name]


def test_nor_do_two_that_reach_out_to_folders_of_their_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        lib = tmp_path / f"lib-{name}"
        lib.mkdir()
        (lib / "steps.py").write_text(STEPS.format(name=name))
        text = f"import sys; sys.path.insert(0, {str(lib)!r})\n" + SAYS.format(imports="steps")
        assert list(load(tmp_path / name, workflow=text).jobs) == [name]


def test_a_project_module_named_like_a_loaded_one_is_the_projects_and_the_loaded_one_is_back(tmp_path: Path) -> None:
    import yaml
    import yaml.nodes

    text = "import aiflow_ext as af, yaml as steps\n" + SAYS.format(imports="json")
    graph = load(tmp_path, workflow=text, yaml=STEPS.format(name="mine"))
    assert list(graph.jobs) == ["mine"]
    assert sys.modules["yaml"] is yaml
    assert sys.modules["yaml.nodes"] is yaml.nodes


def test_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    def state() -> dict[str, Any]:
        return {"path": list(sys.path), "cwd": os.getcwd(), "written": sys.dont_write_bytecode}

    for text in (GOOD, GOOD + "    1 / 0\n", "import sys, os\nsys.path.insert(0, '/x')\nos.chdir('/')\n1 / 0\n"):
        before, modules = state(), set(sys.modules)
        try:
            load(tmp_path / "p", workflow="import steps\n" + text, steps="")
        except ProjectError:
            pass
        assert state() == before
        assert {name for name in set(sys.modules) - modules if name in ("steps", "aiflow_workflow")} == set()
    assert not list(tmp_path.rglob("__pycache__"))


def test_modules_that_are_installed_stay_loaded(tmp_path: Path) -> None:
    sys.modules.pop("sortedcontainers", None)
    load(tmp_path, workflow="import sortedcontainers\n" + GOOD)
    assert "sortedcontainers" in sys.modules
