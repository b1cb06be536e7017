"""What travels to a job, and how: by reference or by value; what cannot is named at render with file:line."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import aiflow_ext as af
from aiflow_ext.model.code import FunctionRef, Pickled
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import InputRef, OutputFile
from aiflow_ext.translate import functions
from aiflow_ext.translate.functions import freeze
from aiflow_ext.translate.load import built_graph, imported_workflow
from aiflow_ext.translate.pickles import modules_named
from aiflow_ext.translate.project import load_project

STEPS = """
    import functools
    def fit(*args, **kwargs): return args
    def decorated(function):
        @functools.wraps(function)
        def inner(*args): return function(*args)
        return inner
    @decorated
    def wrapped(x): return x
    class Model:
        def __init__(self, n=0): self.n = n
        def train(self, *args): return self.n
        @classmethod
        def load(cls): return cls(7)
        @staticmethod
        def help(): return 1
        def __call__(self, *args): return self.n
"""
Frozen = tuple[af.AIGraph, list[Problem]]
Freeze = Callable[..., Frozen]


@pytest.fixture
def frozen(tmp_path: Path) -> Freeze:
    """Freezes the workflow with this body; ``above`` stands before it in workflow.py."""

    def call(body: str, above: str = "", project_yaml: str = "", files: dict[str, str] | None = None) -> Frozen:
        root = tmp_path / "project"
        root.mkdir(exist_ok=True)
        for name, text in {"steps.py": STEPS, "project.yaml": project_yaml, **(files or {})}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        start = "import aiflow_ext as af\nfrom steps import *\n" + textwrap.dedent(above)
        head = '\n@af.workflow\ndef tested():\n  with af.job("j"):\n'
        (root / "workflow.py").write_text(start + head + textwrap.indent(textwrap.dedent(body), "    ") + "\n")
        project = load_project(root)
        with imported_workflow(project) as module:
            graph = built_graph(project, module)
            return graph, freeze(graph, project.root, module, project.desc.python_paths)

    return call


def function_of(frozen: Frozen) -> object:
    graph, problems = frozen
    assert problems == []
    af.dumps(graph)  # data through and through
    return list(graph.nodes)[-1].properties["function"]


@pytest.mark.parametrize(
    ("expression", "module", "qualname"),
    [
        ("fit", "steps", "fit"),
        ("wrapped", "steps", "wrapped"),
        ("Model", "steps", "Model"),
        ("Model.help", "steps", "Model.help"),
        ("__import__('json').dumps", "json", "dumps"),
        ("__import__('attrs').asdict", "attr._next_gen", "asdict"),
        ("len", "builtins", "len"),
        ("__import__('pack.deep.mod').deep.mod.go", "pack.deep.mod", "go"),
        ("mine", "workflow", "mine"),
        ("cached", "workflow", "cached"),
        ("also_cached", "workflow", "also_cached"),
        ("square", "workflow", "square"),
        ("Mine", "workflow", "Mine"),
        ("Mine.Inner.help", "workflow", "Mine.Inner.help"),
    ],
)
def test_what_a_job_can_import_travels_by_reference(
    frozen: Freeze, expression: str, module: str, qualname: str
) -> None:
    above = """
        def mine(): pass
        @functools.lru_cache
        def cached(): pass
        also_cached = functools.lru_cache(mine)
        square = lambda x: x * x
        class Mine:
            class Inner:
                @staticmethod
                def help(): pass
    """
    files = {"pack/__init__.py": "", "pack/deep/mod.py": "def go(): pass"}
    assert function_of(frozen(f"af.python({expression})", above, files=files)) == FunctionRef(module, qualname)


@pytest.mark.parametrize(
    "expression",
    [
        "lambda: N", "closure(3)", "Model(4).train", "Model.load", "functools.partial(fit, 1)", "Model(2)",
        "Mine()", "Mine().go",
    ],
)  # fmt: skip
def test_what_has_no_name_in_a_module_travels_by_value(frozen: Freeze, expression: str) -> None:
    above = """
        N = 5
        def mine(): return fit(N)
        def closure(n): return lambda: n
        class Mine:
            def go(self): return N
            def __call__(self): return N
    """
    made = function_of(frozen(f"af.python({expression})", above))
    assert isinstance(made, Pickled)
    assert made.python == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_the_projects_own_modules_are_referred_to_from_a_value_and_never_copied_into_it(frozen: Freeze) -> None:
    body = "from steps import Model as Other\naf.python(lambda: fit(Other, BIG))"
    made = function_of(frozen(body, f"BIG = {'x' * 10_000!r}"))
    assert isinstance(made, Pickled)
    assert {"steps", "workflow"} <= modules_named(made.data)
    assert len(made.data) < 5_000


def test_arguments_stay_data_where_they_are_data(frozen: Freeze) -> None:
    body = "a = af.python(fit)\naf.python(fit, 1, 'x', b'y', [a, (a, None)], {1: a, (2, 'k'): 3.5}, k=a)"
    graph, problems = frozen(body)
    assert problems == []
    properties = graph.nodes["j/fit-2"].properties
    assert properties["args"] == [
        1, "x", b"y", [InputRef(0), (InputRef(1), None)], {1: InputRef(2), (2, "k"): 3.5},
    ]  # fmt: skip
    assert properties["kwargs"] == {"k": InputRef(3)}


def test_arguments_that_are_no_data_are_pickled_each_in_its_place(frozen: Freeze) -> None:
    graph, problems = frozen("af.python(fit, [Model(1), {'m': Model(2)}], {3, 4})")
    assert problems == []
    outer, number = graph.nodes["j/fit"].properties["args"]
    assert [type(outer[0]), type(outer[1]["m"]), type(number)] == [Pickled] * 3


def test_a_commands_names_are_text_whatever_path_they_were(frozen: Freeze) -> None:
    graph, problems = frozen("af.cmd('x {p} {n} {l} {o}', p=pathlib.Path('/a b'), n=1, l=[1, 'x'], o=af.output('o'))",
                             "import pathlib")  # fmt: skip
    assert problems == []
    assert graph.nodes["j/cmd"].properties["names"] == {"p": "/a b", "n": 1, "l": [1, "x"], "o": OutputFile("o")}


def test_a_python_node_made_by_hand_gets_its_inputs_as_arguments(frozen: Freeze) -> None:
    graph, problems = frozen("a = af.python(fit)\naf.node('python', a, a, function=fit)")
    assert problems == []
    assert graph.nodes["j/python"].properties == {
        "function": FunctionRef("steps", "fit"), "args": [InputRef(0), InputRef(1)], "kwargs": {},
    }  # fmt: skip


def test_what_the_check_has_named_already_is_not_stumbled_over(frozen: Freeze) -> None:
    _, problems = frozen("af.node('python')\naf.node('cmd_line')\naf.python(lambda: FILE)", "FILE = open(__file__)")
    assert ["an open file" in problem.message for problem in problems] == [True]


CANNOT = [
    ("af.python(fit, (n for n in range(3)))", "argument 1 of node 'fit' in job 'j' cannot travel", "generator"),
    ("af.python(fit, k=threading.Lock())", "argument 'k' of node 'fit' in job 'j' cannot travel", "lock"),
    ("af.python(fit, [1, {'a': FILE}])", "argument 1['a'] of node 'fit'", "an open file"),
    ("af.python(lambda: FILE.read())", "function tested.<locals>.<lambda>", "an open file"),
    ("af.python(lambda: FILE.read())", "function tested.<locals>.<lambda>", "(its variable 'FILE')"),
    ("af.python(lambda: BINARY.read())", "cannot travel", "an open file"),
    ("lock = threading.Lock()\naf.python(lambda: lock)", "cannot travel", "(its variable 'lock')"),
    ("a = af.python(fit)\naf.python(lambda: a)", "cannot travel", "it holds the node 'fit'"),
    ("a = af.python(fit)\naf.python(fit, {a})", "cannot travel", "it holds the node 'fit'"),
    ("a = af.python(fit)\naf.node('kind', deep=a)", "its properties['deep'] of", "it holds the node 'fit'"),
    ("af.python(fit, b'x', Big())", "argument 2 of node 'fit'", "is 70 MB; what is sent with a job may be 64 MB"),
    ("af.python(waits)", "function waits of node 'waits'", "is async"),
    ("af.cmd('x {k}', k=Model())", "keyword 'k' of node 'cmd'", "is a Model, which no command can take"),
    ("a = af.python(fit)\naf.cmd('x {k}', k=[a])", "keyword 'k' of node 'cmd'", "a node or an output in a list"),
]


@pytest.mark.parametrize(("body", "what", "why"), CANNOT, ids=[f"{body[-40:]} {why}" for body, _, why in CANNOT])
def test_what_cannot_travel_is_named_with_its_node_and_line(frozen: Freeze, body: str, what: str, why: str) -> None:
    above = """
        import threading
        FILE, BINARY = open(__file__), open(__file__, "rb")
        async def waits(): pass
        class Big:
            def __reduce__(self): return bytes, (b"x" * (70 * 2**20),)
    """
    graph, (problem,) = frozen(body, above)
    assert what in problem.message
    assert why in problem.message
    assert problem.where == list(graph.nodes)[-1].where
    assert problem.hint


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_generator_is_named_where_another_job_reads_it_and_nowhere_else(tmp_path: Path, kind: str) -> None:
    (tmp_path / "workflow.py").write_text(
        f"import aiflow_ext as af\n{kind} rows(): yield 1\n@af.workflow\ndef w():\n"
        "    with af.job('a'): af.python(sum, af.python(rows)); read = af.python(rows)\n"
        "    with af.job('b'): af.python(sum, read)\n"
    )
    project = load_project(tmp_path)
    with imported_workflow(project) as module:
        (problem,) = freeze(built_graph(project, module), project.root, module, project.desc.python_paths)
    assert "function rows of node 'rows-2' in job 'a' is a generator" in problem.message
    assert "job 'b' does" in problem.message


CLIENT_ONLY = """
    import sys
    sys.path.insert(0, {client!r})
    import client_lib
    from client_lib import helper
    import client_other
"""


@pytest.mark.parametrize(
    "expression",
    ["helper", "lambda: helper()", "lambda: client_lib.helper()", "(lambda m: lambda: m.helper())(client_lib)",
     "functools.partial(helper, 1)", "client_lib.Thing().go", "fit, client_lib.Thing()"],
)  # fmt: skip
def test_a_module_that_only_the_client_has_is_named_wherever_it_is_used(
    frozen: Freeze, tmp_path: Path, expression: str
) -> None:
    client = tmp_path / "client"
    client.mkdir()
    (client / "client_lib.py").write_text("def helper(*a): pass\nclass Thing:\n    def go(self): pass\n")
    (client / "client_other.py").write_text("def go(): pass\n")
    _, (problem,) = frozen(f"af.python({expression})", CLIENT_ONLY.format(client=str(client)))
    assert f"needs the module 'client_lib' ({client}/client_lib.py)" in problem.message
    assert "neither in the project nor installed" in problem.message
    assert "python_paths" in str(problem.hint)


OWN = """
    import functools
    def near(): return client_lib.helper()
    def far(): return near()
    class Base:
        def go(self): return far()
    class Thing(Base):
        pass
    cached = functools.lru_cache(far)
    later = functools.partial(far)
    def other(): return fit(1)
"""


@pytest.mark.parametrize(
    "expression",
    ["near", "far", "cached", "later", "Thing", "Thing().go", "lambda: far()", "lambda: [cached for _ in ()]",
     "(lambda f: lambda: f())(far)", "functools.partial(fit, far)", "fit, Thing()"],
)  # fmt: skip
def test_what_a_function_of_the_workflow_reaches_is_looked_at_and_nothing_else(
    frozen: Freeze, tmp_path: Path, expression: str
) -> None:
    client = tmp_path / "client"
    client.mkdir()
    for name in ("client_lib", "client_other"):
        (client / f"{name}.py").write_text("def helper(*a): pass\n")
    above = CLIENT_ONLY.format(client=str(client)) + OWN
    _, (problem,) = frozen(f"af.python({expression})", above)
    assert f"needs the module 'client_lib' ({client}/client_lib.py)" in problem.message
    assert function_of(frozen("af.python(other)", above)) == FunctionRef("workflow", "other")
    assert isinstance(function_of(frozen("af.python(lambda: other())", above)), Pickled)


CHANGED = """
    N, NAMES, KNOWN, LOG, UNTOUCHED = 1, ["a"], {"a": 1}, [], []
    def change():
        global N
        N = 2
        NAMES.append("b")
        KNOWN["a"] = 2
        LOG.append(1)
    def n(): return N
    def names(): return [NAMES for _ in ()]
    def known(): return known_too()
    def known_too(): return KNOWN
    def untouched(): return UNTOUCHED
"""


@pytest.mark.parametrize(
    ("expression", "name"),
    [("n", "N"), ("names", "NAMES"), ("known", "KNOWN"), ("lambda: N", "N"), ("lambda: known()", "KNOWN")],
)
def test_a_global_that_was_changed_while_the_graph_was_built_is_named_where_a_job_would_not_see_it(
    frozen: Freeze, expression: str, name: str
) -> None:
    _, (problem,) = frozen(f"change()\naf.python({expression})", CHANGED)
    assert (
        f"reads the global {name!r} of workflow.py, which has changed since workflow.py was imported" in problem.message
    )
    assert problem.hint == "pass the value as an argument"
    assert frozen(f"af.python({expression})", CHANGED)[1] == []
    assert frozen("change()\naf.python(untouched)\naf.python(fit, N, NAMES)", CHANGED)[1] == []


def test_the_second_client_module_of_a_function_is_seen_too(frozen: Freeze, tmp_path: Path) -> None:
    client = tmp_path / "client"
    client.mkdir()
    (client / "client_lib.py").write_text("helper = 1\n")
    (client / "client_other.py").write_text("")
    above = CLIENT_ONLY.format(client=str(client)) + "    import math"
    _, (problem,) = frozen("af.python(lambda: (math.pi, client_other.x))", above)
    assert "'client_other'" in problem.message


def test_a_client_module_behind_a_module_of_the_project_is_seen(frozen: Freeze, tmp_path: Path) -> None:
    client = tmp_path / "client"
    client.mkdir()
    for name in ("client_lib", "client_other"):
        (client / f"{name}.py").write_text("helper = 1\n")
    above = CLIENT_ONLY.format(client=str(client)) + "    from outer import go"
    files = {"outer.py": "from pack import inner\ndef go(): pass", "pack/__init__.py": "",
             "pack/inner.py": "import client_lib"}  # fmt: skip
    _, (problem,) = frozen("af.python(go)", above, files=files)
    assert "function go of node 'go'" in problem.message
    assert "needs the module 'client_lib'" in problem.message
    assert "(module 'outer' needs it)" in problem.message


def test_an_import_that_may_fail_in_the_job_is_no_mistake(frozen: Freeze, tmp_path: Path) -> None:
    client = tmp_path / "client"
    client.mkdir()
    for name in ("client_lib", "client_other"):
        (client / f"{name}.py").write_text("helper = 1\n")
    above = CLIENT_ONLY.format(client=str(client)) + "    from outer import go"
    outer = "try:\n    import client_lib\nexcept ImportError:\n    pass\ndef go():\n    import client_other"
    assert function_of(frozen("af.python(go)", above, files={"outer.py": outer})) == FunctionRef("outer", "go")


def test_a_module_of_an_installed_name_from_another_place_is_the_clients_alone(frozen: Freeze, tmp_path: Path) -> None:
    client = tmp_path / "client"
    (client / "sortedcontainers").mkdir(parents=True)
    (client / "sortedcontainers" / "__init__.py").write_text("def mine(): pass\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "sortedcontainers"]:
        del sys.modules[name]
    above = f"import sys\nsys.path.insert(0, {str(client)!r})\nimport sortedcontainers"
    _, (problem,) = frozen("af.python(sortedcontainers.mine)", above)
    assert "needs the module 'sortedcontainers'" in problem.message


def test_a_module_of_the_project_outside_the_python_paths_is_named_with_the_path_to_add(frozen: Freeze) -> None:
    above = "import sys, os\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))\nimport inner.helper"
    files = {"lib/inner/helper.py": "def go(): pass"}
    _, (problem,) = frozen("af.python(inner.helper.go)", above, files=files)
    assert "which is in the project but not where its jobs look" in problem.message
    assert problem.hint == "add 'lib' to python_paths in project.yaml"
    yaml = "python_paths: [., lib]"
    assert function_of(frozen("af.python(inner.helper.go)", above, yaml, files)) == FunctionRef("inner.helper", "go")


def test_a_project_in_a_linked_folder_is_a_project(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    (real / "steps.py").write_text("def fit(): pass\n")
    (real / "workflow.py").write_text(
        "import aiflow_ext as af, steps\n@af.workflow\ndef w():\n  with af.job('j'): af.python(steps.fit)\n"
    )
    project = load_project(tmp_path / "link")
    with imported_workflow(project) as module:
        graph = built_graph(project, module)
        assert freeze(graph, project.root, module, project.desc.python_paths) == []


def test_many_nodes_of_one_client_module_cost_one_look(frozen: Freeze, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    real = functions.Modules._look
    monkeypatch.setattr(functions.Modules, "_look", lambda self, name: (looked.append(name), real(self, name))[1])
    graph, problems = frozen("for _ in range(200): af.python(fit)")
    assert (len(graph.nodes), problems, looked) == (200, [], ["steps"])
