"""workflow.py in its jobs: a module as on the client, with its name, file, lines and globals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.engines.bundle import build_bundle
from aiflow_ext.model.errors import CodeError

Jobs = Any  # of conftest.py

FUTURE = "from __future__ import annotations\n"
AS_A_MODULE = """
    import concurrent.futures, enum, functools, inspect, multiprocessing, os, sys
    from dataclasses import dataclass, fields
    from pathlib import Path
    from typing import NamedTuple, get_type_hints

    COUNT = 0
    SEEN = []

    def count():
        global COUNT
        COUNT += 1
        SEEN.append(COUNT)
        return COUNT

    def told(*xs): print(COUNT, SEEN, sys.modules[__name__].COUNT, *xs)

    @functools.lru_cache(maxsize=None)
    def cached(n):
        count()
        return n * 2

    def twice(n): return n * 2

    def pools(method):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool: print(pool.map(twice, [1, 2]), pool.map(Thing(3).times, [1, 2]))
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool: print(pool.submit(cached, 4).result())

    @dataclass(frozen=True)
    class Point:
        x: int
        y: int = 0

    class Pair(NamedTuple):
        left: int
        right: Point

    class Color(enum.Enum):
        RED = 1

    class Thing:
        def __init__(self, n): self.n = n
        def times(self, by): return self.n * by
        class Inner:
            value = 5

    def made_in_the_job():
        @dataclass
        class Local:
            x: int
        return [fields(Local)[0].name, get_type_hints(Local)["x"].__name__, Local(3) == Local(3)]

    def values(): return [Point(1), Pair(1, Point(2)), Color.RED, Thing(4), Thing.Inner]
    def same(values):
        point, pair, color, thing, inner = values
        print(type(point) is Point, isinstance(pair, Pair), color is Color.RED, thing.times(2), inner is Thing.Inner)

    def source():
        print(inspect.getsource(twice), inspect.getsource(Thing.Inner), end="")
        file, module = Path(__file__), sys.modules[__name__]
        print(__name__, file.name, file.parent.name, inspect.getmodule(twice) is module)
        print(os.path.samefile(inspect.getsourcefile(Thing), file), (file.parent / "data.txt").read_text())

    def wrapped(function):
        @functools.wraps(function)
        def inner(*args): return function(*args) + 1
        return inner

    @wrapped
    def decorated(n): return n

    also_cached = functools.lru_cache(twice)
    square = lambda n: n * n

    def locally_cached():
        @functools.lru_cache(maxsize=7)
        def fibonacci(n):
            count()
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
        return fibonacci

    def closure(n):
        def inner(more):
            count()
            return Point(n + more + COUNT)
        return inner

    if __name__ == "__main__":
        raise SystemExit("not here")
"""


def test_functions_of_a_workflow_share_their_modules_globals_in_a_job(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"):
            first = af.python(count)
            af.python(cached, 4)
            af.python(told, first, af.python(functools.partial(cached, 4)))
            af.python(lambda: (count(), told(COUNT)))
            af.python(told, af.python(closure(10), 5))
        """,
        above=AS_A_MODULE,
        first=FUTURE,
    )
    assert jobs.fine("a").out == "2 [1, 2] 2 1 8\n3 [1, 2, 3] 3 3\n4 [1, 2, 3, 4] 4 Point(x=19, y=0)\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_workflows_functions_reach_the_processes_of_multiprocessing(jobs: Jobs, method: str) -> None:
    jobs.write('with af.job("a"): af.python(pools, M)', above=AS_A_MODULE + f"    M = {method!r}\n", first=FUTURE)
    assert jobs.fine("a").out == "[2, 4] [3, 6]\n8\n"


def test_values_of_a_workflows_own_classes_cross_between_its_jobs(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"):
            x = af.python(values)
            f = af.python(closure, 10)
            af.python(same, [Point(1), Pair(1, Point(2)), Color.RED, Thing(4), Thing.Inner])
        with af.job("b"):
            af.python(same, x)
            af.python(lambda f: print(f(5), f.__module__, COUNT), f)
        with af.job("c"): af.python(lambda values: same(values), x)
        """,
        above=AS_A_MODULE,
        first=FUTURE,
    )
    line = "True True True 8 True\n"
    assert jobs.run("a").out == line
    assert jobs.fine("b", "c").out == line
    assert jobs.fine("b").out == f"{line}Point(x=16, y=0) workflow 1\n"


def test_functions_under_another_name_and_caches_of_closures_travel(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"):
            af.python(print, af.python(also_cached, 2), af.python(functools.partial(also_cached, 3)))
            af.python(print, af.python(square, 3), af.python(functools.partial(square, 4)))
            af.python(print, af.python(locally_cached(), 10), af.python(print, COUNT))
            made = af.python(locally_cached)
        with af.job("b"):
            af.python(lambda f: print(f(10), f.cache_parameters()), made)
        """,
        above=AS_A_MODULE,
        first=FUTURE,
    )
    assert jobs.fine("a").out == "4 6\n9 16\n0\n55 None\n"
    assert jobs.fine("b").out == "55 {'maxsize': 7, 'typed': False}\n"


def test_what_is_made_and_looked_up_in_the_job_finds_the_workflows_module(jobs: Jobs) -> None:
    jobs.write(
        """
        def in_a_closure():
            @dataclass
            class Local:
                x: int
            return [fields(Local)[0].name, Local(3) == Local(3), Local.__module__]
        with af.job("a"):
            af.python(print, af.python(made_in_the_job), af.python(in_a_closure), af.python(decorated, 1))
            af.python(source)
            af.python(lambda: print(inspect.getsource(sys._getframe().f_code).strip()[:25]))
        """,
        above=AS_A_MODULE,
        first=FUTURE,
        **{"data.txt": "data"},
    )
    assert jobs.fine("a").out.splitlines() == [
        "['x', 'int', True] ['x', True, 'workflow'] 2",
        "def twice(n): return n * 2",
        "     class Inner:",
        "        value = 5",
        "workflow workflow.py project True",
        "True data",
        "af.python(lambda: print(i",
    ]


@pytest.mark.parametrize("where", ["unchanged", "changed", "elsewhere"])
def test_a_traceback_shows_the_projects_own_file_and_the_lines_of_workflow_py_that_ran(jobs: Jobs, where: str) -> None:
    above = "def fails():\n    return 1 / 0  # here\n"
    jobs.write('with af.job("a"): af.python(fails)\nwith af.job("b"): af.python(lambda: fails())', above=above)
    jobs.run("a")  # packs the archive
    own = str(jobs.root / "workflow.py")
    if where == "changed":
        (jobs.root / "workflow.py").write_text("# another line\n" * 20)
    elif where == "elsewhere":
        jobs.root.rename(jobs.root.with_name("away"))
    for name, frames in (("a", ["fails"]), ("b", ["<lambda>", "fails"])):
        lines = jobs.run(name).err.splitlines()
        told = [line for line in lines if line.startswith("  File")]
        assert [line.rpartition(", in ")[2] for line in told] == frames
        shown = {line.split('"')[1] for line in told}
        if where == "changed":
            assert all("/unpacked/" in each and each.endswith("/project/workflow.py") for each in shown)
        else:
            assert shown == {own if where == "unchanged" else "workflow.py"}
        assert "    return 1 / 0  # here" in lines
        if name == "b":
            assert '    with af.job("b"): af.python(lambda: fails())' in lines


def test_causes_of_an_exception_and_a_file_that_is_not_python_are_named_by_the_projects_own_files(jobs: Jobs) -> None:
    steps = """
        def fails():
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise ValueError("no") from error
        def imports():
            import broken
    """
    jobs.write('with af.job("a"): af.python(fails)\nwith af.job("b"): af.python(imports)', steps)
    (jobs.root / "broken.py").write_text("def f(:\n")
    for name, files in (("a", ["steps.py", "steps.py"]), ("b", ["steps.py", "broken.py"])):
        told = [line.split('"')[1] for line in jobs.run(name).err.splitlines() if line.startswith("  File")]
        assert told == [str(jobs.root / file) for file in files]


def test_the_module_is_the_one_that_the_projects_own_code_imports(jobs: Jobs) -> None:
    steps = "def look():\n    import workflow\n    workflow.NAMES.append('steps')\n    return workflow\n"
    jobs.write(
        """
        with af.job("a"):
            af.python(add)
            af.python(look)
            af.python(add)
        """,
        steps,
        "NAMES = []\ndef add():\n    NAMES.append('workflow')\n    print(NAMES)\n",
    )
    assert jobs.fine("a").out == "['workflow']\n['workflow', 'steps', 'workflow']\n"


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_where_the_name_is_another_modules_workflow_py_has_one_of_its_own(jobs: Jobs, method: str) -> None:
    (jobs.root / "workflow").mkdir(parents=True)
    (jobs.root / "workflow" / "__init__.py").write_text("whose = 'the package'\n")
    body = f"""
        with af.job("a"):
            af.python(pools, {method!r})
            af.python(lambda: told(workflow.whose, __name__))
    """
    jobs.write(body, above=AS_A_MODULE + "    import workflow\n", first=FUTURE)
    assert jobs.fine("a").out == "[2, 4] [3, 6]\n8\n0 [] 0 the package aiflow_workflow\n"


def test_workflow_py_outside_the_python_paths_is_a_module_too(jobs: Jobs) -> None:
    (jobs.root / "src").mkdir(parents=True)
    jobs.write('with af.job("a"): af.python(pools, "spawn")', above=AS_A_MODULE, first=FUTURE,
               **{"project.yaml": "python_paths: [src]", "src/steps.py": ""})  # fmt: skip
    assert jobs.fine("a").out == "[2, 4] [3, 6]\n8\n"


@pytest.mark.parametrize("call", ["af.python(f)", "af.python(lambda: 1)", "af.python(print, [Thing()])"])
def test_code_of_a_workflow_py_that_does_not_travel_is_named_at_render(jobs: Jobs, call: str) -> None:
    body = f"with af.job('a'): {call}\nwith af.job('b'): af.python(print, [1])"
    jobs.write(body, above="def f(): pass\nclass Thing: pass", **{"project.yaml": "exclude: ['workflow.*']"})
    with pytest.raises(CodeError, match=r"node '.*' in job 'a' uses code of workflow.py, which does not travel"):
        build_bundle(jobs.parts.sub_graphs["a"], jobs.project.desc)
    jobs.fine("b")


CLIENT_ONLY = """
    import os, sys
    if "AIFLOW_RUN" not in os.environ: sys.path.append({client!r})
    import client_only_lib, json
    import client_only_lib.deep as deep
    from client_only_lib import Base, register, Frame as F
    class Derived(Base):
        def go(self): return 1
    @register("name")
    def registered(): return 1
    def annotated(x: F | None, y: list[F], *z: client_only_lib.Frame) -> deep.Thing: return json.dumps([x])
    def needs(): return Derived()
"""


def test_a_package_that_only_the_client_has_breaks_nothing_but_what_uses_it(jobs: Jobs, tmp_path: Path) -> None:
    package = tmp_path / "client" / "client_only_lib"
    package.mkdir(parents=True)
    (package / "deep.py").write_text("class Thing: pass\n")
    (package / "__init__.py").write_text(
        "class Base: pass\nclass Frame: pass\ndef register(name): return lambda function: function\n"
    )
    jobs.write(
        """
        with af.job("fine"):
            af.python(print, af.python(annotated, 1, []))
            af.python(lambda: print(json.dumps("lambda")))
        """,
        above=CLIENT_ONLY.format(client=str(package.parent)),
    )
    assert jobs.fine("fine").out == '[1]\n"lambda"\n'


def test_what_a_workflow_uses_and_a_job_lacks_is_reported_when_it_is_used(jobs: Jobs) -> None:
    above = "import json as lacking\ndef f(): lacking.go()\ndef g(): pass"
    jobs.write('with af.job("a"): af.python(f)\nwith af.job("b"): af.python(g)', above=above)
    file = jobs.root / "workflow.py"
    file.write_text(file.read_text().replace("import json as", "import not_installed as"))
    ended = jobs.run("a")
    assert ended.code == 1
    assert ended.reason == "ModuleNotFoundError: No module named 'not_installed' (imported at the top of workflow.py)"
    jobs.fine("b")


def test_what_fails_at_the_top_of_workflow_py_is_reported_as_the_users_own_error(jobs: Jobs) -> None:
    jobs.write('with af.job("a"): af.python(lambda: f())', above="import os\ndef f(): pass\nX = os.environ.get('NOPE')")
    file = jobs.root / "workflow.py"
    file.write_text(file.read_text().replace("os.environ.get('NOPE')", "os.environ['NOPE']"))
    ended = jobs.run("a")
    assert (ended.code, ended.reason) == (1, "KeyError: 'NOPE'")
    assert 'project/workflow.py", line' in ended.err
    assert "runner.py" not in ended.err
