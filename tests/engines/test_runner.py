"""The runner inside a job: values, artifacts, code by reference and by value, and the true end of whatever ran."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aiflow_ext as af
from aiflow_ext.engines.bundle import build_bundle
from aiflow_ext.model.errors import CodeError

Jobs = Any  # of conftest.py

STEPS = """
    import os, sys
    from pathlib import Path
    def one(): return 1
    def add(*xs): return sum(xs)
    def show(*args, **kwargs): print(repr((args, kwargs)))
    def make(size): return b"x" * size
"""


def test_code_and_values_reach_an_interpreter_that_has_nothing(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"):
            x = af.python(one)
            y = af.python(lambda n: n + N, x)
            af.python(show, [x, {"k": (y, "text")}], b"raw", last={3: y})
            kept = af.python(Counter(10).up, y)
        with af.job("b"):
            af.python(closure(5), kept, kept)
        """,
        STEPS,
        """
        N = 41
        class Counter:
            def __init__(self, n): self.n = n
            def up(self, by): self.n += by; return self
        def closure(k):
            def inner(a, b):
                assert isinstance(a, Counter) and a is b and a.n == 52
                show(a.n + k)
            return inner
        """,
    )
    assert jobs.run("a").out == "(([1, {'k': (42, 'text')}], b'raw'), {'last': {3: 42}})\n"
    assert jobs.run("b").out == "((57,), {})\n"


def test_a_job_sees_itself_and_the_projects_files_without_aiflow_ext_installed(jobs: Jobs) -> None:
    steps = """
        import aiflow_ext as af
        def look():
            job = af.current_job()
            print(job.run_id, job.name, job.attempt, job.properties, (job.project_folder / "data.txt").read_text())
            print(af.__file__)
    """
    jobs.properties = {"alpha": [1, {"b": None}]}
    said = jobs.write('with af.job("a"): af.python(look)', steps, **{"data.txt": "hello"}).fine("a").out.splitlines()
    assert said[0] == "run-1 a 1 {'alpha': [1, {'b': None}]} hello"
    assert "/unpacked/" in said[1]


VALUES: list[tuple[str, str, str]] = [
    ("'text \\u00e9 \\ud800'", "str", "value.txt"),
    ("''", "str", "value.txt"),
    ("b'\\x00\\xff'", "bytes", "value.bin"),
    ("b''", "bytes", "value.bin"),
    ("bytearray(b'x')", "bytearray", "value.bin"),
    ("None", "pickle", "value.pkl"),
    ("[1, {'a': (2.5, {3})}]", "pickle", "value.pkl"),
    ("type('S', (str,), {})('x')", "pickle", "value.pkl"),
]


def test_a_value_crosses_in_its_form_with_size_and_sha256(jobs: Jobs) -> None:
    made, shown = [], []
    for number, (expression, _, _) in enumerate(VALUES):
        made.append(f"x{number} = af.node('python', function=lambda: {expression}, name='v{number}')")
        shown.append(f"af.python(lambda x: print(x == {expression} or type(x).__name__ == 'S'), x{number})")
    bodies = {"a": made, "b": shown}
    jobs.write("\n".join(f"with af.job({job!r}):\n    " + "\n    ".join(lines) for job, lines in bodies.items()))
    assert jobs.fine("a", "b").out.splitlines() == ["True"] * len(VALUES)
    for number, (expression, form, file) in enumerate(VALUES):
        record, content = jobs.artifact("a", f"v{number}")
        assert (record["form"], record["file"]) == (form, file), expression
        assert (record["size"], record["sha256"]) == (len(content), hashlib.sha256(content).hexdigest()), expression


def test_ten_megabytes_cross_and_a_command_gets_their_file(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"): x = af.python(make, 10_000_000)
        with af.job("b"): c = af.cmd("wc -c < {x} | tr -d ' \\n' > {n}; cp {x} {big}", x=x, n=af.output("n.txt"),
                                     big=af.output("a b.bin"))
        with af.job("c"):
            af.python(lambda n, big: print(n.name, n.read_text(), big.name, big.stat().st_size), c["n"], c["big"])
        """,
        STEPS,
    )
    assert jobs.fine("a", "b", "c").out == "n.txt 10000000 a b.bin 10000000\n"


def test_a_folder_crosses_with_its_links_modes_and_empty_folders(jobs: Jobs) -> None:
    steps = """
        import os
        from pathlib import Path
        def write():
            outside = Path("outside"); outside.mkdir(); (outside / "blob").write_text("blob")
            home = Path("model dir"); (home / "empty").mkdir(parents=True); (home / "sub").mkdir()
            (home / "run.sh").write_text("x"); (home / "run.sh").chmod(0o755)
            (home / "sub" / "in").symlink_to("../run.sh")
            (home / "absolute").symlink_to(home.resolve() / "run.sh")
            (home / "hub").symlink_to(outside.resolve() / "blob")
            (home / "hubs").symlink_to(outside.resolve())
            os.mkfifo(home / "pipe")
            return home
        def check(home):
            assert home.name == "model dir" and (home / "empty").is_dir()
            assert sorted(os.listdir(home)) == ["absolute", "empty", "hub", "hubs", "run.sh", "sub"]
            assert os.access(home / "run.sh", os.X_OK) and (home / "sub" / "in").is_symlink()
            assert (home / "absolute").read_text() == "x"
            assert (home / "hub").read_text() == (home / "hubs" / "blob").read_text() == "blob"
            return home
    """
    jobs.write(
        """
        with af.job("a"): x = af.python(write)
        with af.job("b"):
            x = af.python(check, x)
            af.python(check, x)
        with af.job("c"): af.cmd("ls {x}; cat {x}/hub", x=x)
        """,
        steps,
    )
    assert jobs.run("a").code == 0
    shutil.rmtree(jobs.folder / "work" / "a")  # a job's folder does not outlive it
    assert jobs.fine("b", "c").out == "absolute\nempty\nhub\nhubs\nrun.sh\nsub\nblob"


def test_the_job_folder_itself_can_be_the_value(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"): x = af.python(lambda: (open("f", "w").close(), __import__("pathlib").Path("."))[1])
        with af.job("b"): af.python(lambda x: print(x.name, (x / "f").exists()), x)
        """
    )
    assert jobs.fine("a", "b").out == "a True\n"


def test_a_file_that_is_passed_through_is_a_file_for_the_next_job(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"): x = af.python(write)
        with af.job("b"): y = af.python(lambda x: x, x)
        with af.job("c"): z = af.cmd("cp {y} {z}", y=y, z=af.output("copy"))
        with af.job("d"): af.python(lambda z: print(z.read_text()), z)
        """,
        "from pathlib import Path\ndef write():\n    Path('f.txt').write_text('hello')\n    return Path('f.txt')\n",
    )
    assert jobs.fine("a", "b", "c", "d").out == "hello\n"
    assert jobs.artifact("b", "lambda")[0]["form"] == "path"


def test_a_file_that_no_job_reads_is_kept_as_a_result_and_a_value_is_not(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"):
            af.python(one)
            af.python(lambda: (Path("r.txt").write_text("r"), Path("r.txt"))[1])
        """,
        STEPS,
    ).fine("a")
    assert jobs.artifact("a", "lambda")[1] == b"r"
    assert not Path(jobs.artifacts, "run-1", "a", "1", "one.json").exists()


def test_an_artifact_is_opened_once_a_job_however_many_read_it(jobs: Jobs) -> None:
    steps = """
        class Loud:
            def __getstate__(self): return {"a": 1}
            def __setstate__(self, state): print("opened")
    """
    jobs.write(
        """
        with af.job("a"): x = af.python(lambda: Loud())
        with af.job("b"):
            af.python(lambda a, b: print(a is b), x, x)
            af.python(lambda a: None, [x])
        """,
        steps,
    )
    assert jobs.fine("a", "b").out == "opened\nTrue\n"


def test_jobs_and_nodes_of_any_name_find_each_others_artifacts(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a/b c"):
            x = af.node("python", function=one, name="Fit..")
            y = af.node("python", function=lambda: 2, name="fit")
        with af.job("d"): af.python(show, x, y)
        """,
        STEPS,
    )
    assert jobs.fine("a/b c", "d").out == "((1, 2), {})\n"


HOLDERS = """
    import collections, dataclasses, json, typing
    from pathlib import Path

    @dataclasses.dataclass(frozen=True)
    class Frozen:
        train: Path
        limit: int = 0
    @dataclasses.dataclass(slots=True)
    class Slotted:
        inner: Frozen
        rest: list
    class Pair(typing.NamedTuple):
        left: Path
        right: object
    class Attrs:  # as attrs makes them
        __slots__ = ("train",)
        __attrs_attrs__ = (type("Attribute", (), {"name": "train"}),)
        def __init__(self, train): self.train = train
        def __getstate__(self): return (self.train,)
        def __setstate__(self, state): (self.train,) = state
    class Opaque:
        def __init__(self, path): self.path = path

    def write(*names):
        for name in names: Path(name).write_text(name)
        return [Path(name) for name in names]
    def folder():
        home = Path("model"); home.mkdir(); (home / "weights").write_text("weights")
        return home
    def texts(value):
        if isinstance(value, Path):
            return value.read_text() if value.is_file() else sorted(each.name for each in value.iterdir())
        if isinstance(value, dict): return {key: texts(item) for key, item in value.items()}
        if isinstance(value, (set, frozenset)): return sorted(texts(item) for item in value)
        if isinstance(value, (list, tuple, collections.deque)): return [texts(item) for item in value]
        if dataclasses.is_dataclass(value):
            return [texts(getattr(value, each.name)) for each in dataclasses.fields(value)]
        return texts(value.train) if isinstance(value, Attrs) else value
    def show(value): print(type(value).__name__, json.dumps(texts(value)))
"""
HELD = [
    ("{'train': write('a.csv')[0], 'n': 1}", 'dict {"train": "a.csv", "n": 1}'),
    ("write('a', 'b')", 'list ["a", "b"]'),
    ("[{'deep': (write('a')[0], None)}]", 'list [{"deep": ["a", null]}]'),
    ("Slotted(Frozen(write('a')[0], 3), [folder()])", 'Slotted [["a", 3], [["weights"]]]'),
    ("Pair(write('a')[0], {1: write('b')})", 'Pair ["a", {"1": ["b"]}]'),
    ("Attrs(write('a')[0])", 'Attrs "a"'),
    ("set(write('a', 'b'))", 'set ["a", "b"]'),
    ("collections.OrderedDict(x=write('a')[0].resolve())", 'OrderedDict {"x": "a"}'),
    ("collections.defaultdict(list, x=write('a'))", 'defaultdict {"x": ["a"]}'),
]


def test_every_path_in_a_value_travels_as_the_file_that_it_names(jobs: Jobs) -> None:
    steps, bodies = HOLDERS, dict.fromkeys("abc", "")
    for number, (expression, _) in enumerate(HELD):
        steps += f"    def made_{number}(): return {expression}\n"
        bodies["a"] += f"    x{number} = af.python(made_{number})\n    af.python(show, x{number})\n"
        bodies["b"] += f"    y{number} = af.python(lambda x: x, x{number})\n"
        bodies["c"] += f"    af.python(show, y{number})\n"
    jobs.write("".join(f"with af.job({job!r}):\n{body}" for job, body in bodies.items()), steps)
    shown = [shown for _, shown in HELD]
    assert jobs.run("a").out.splitlines() == shown
    shutil.rmtree(jobs.folder / "work" / "a")  # a job's folder does not outlive it
    jobs.fine("b")
    assert jobs.fine("c").out.splitlines() == shown


def test_one_file_in_a_value_twice_is_stored_once_and_a_missing_one_is_named(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"): x = af.python(lambda: [write("a")[0], Path("a"), {"same": Path("a").resolve()}])
        with af.job("b"): af.python(lambda x: print(len({x[0], x[1], x[2]["same"]}), x[1].read_text()), x)
        with af.job("c"): z = af.python(lambda: {"train": Path("nowhere.csv")})
        with af.job("d"): af.python(print, z)
        with af.job("e"): af.python(lambda: {"later": Path("nowhere.csv")})
        with af.job("f"): af.python(lambda: [write("kept")])
        """,
        HOLDERS,
    )
    assert jobs.fine("a", "b").out == "1 a\n"
    assert jobs.run("c").reason.endswith("nowhere.csv was returned as a file but is not there")
    jobs.fine("e", "f")  # what no job reads is kept where its files are there
    kept = Path(jobs.artifacts, "run-1", "f", "1", "lambda", "files", "0", "kept")
    assert kept.read_text() == "kept"


def test_a_path_in_an_object_that_is_not_looked_into_stays_a_name(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"): x = af.python(lambda: Opaque(Path("nowhere.csv")))
        with af.job("b"): af.python(lambda x: print(x.path), x)
        """,
        HOLDERS,
    )
    assert jobs.fine("a", "b").out == "nowhere.csv\n"


SHADOWS = ["logging", "dis", "inspect", "ast", "tokenize", "opcode", "weakref", "tarfile", "fsspec", "cloudpickle",
           "typing", "platform", "uuid", "json", "linecache", "threading", "annotationlib", "attr", "yaml"]  # fmt: skip


def test_unused_files_of_a_project_named_like_modules_of_others_do_no_harm(jobs: Jobs) -> None:
    files = {f"{name}.py": "raise RuntimeError(__file__)\n" for name in SHADOWS if name != "json"}
    (jobs.root / "json").mkdir(parents=True)
    jobs.write(
        """
        with af.job("a"):
            made = af.python(lambda: {1, 2})
            af.python(show, made)
        with af.job("b"): af.python(show, made, key={3})
        with af.job("c"): af.cmd("cat {x} > {y}", x=made, y=af.output("y"))
        with af.job("d"): af.python(lambda: [1 / 0])
        """,
        STEPS,
        **files,
        **{"json/__init__.py": "raise RuntimeError(__file__)\n"},
    )
    assert jobs.fine("a", "b", "c").code == 0
    ended = jobs.run("d")
    assert ended.reason == "ZeroDivisionError: division by zero"
    assert "RuntimeError" not in ended.err


def test_modules_and_packages_that_are_links_inside_the_project_are_modules_of_it(jobs: Jobs) -> None:
    (jobs.root / "lib" / "real").mkdir(parents=True)
    (jobs.root / "lib" / "flow.py").write_text("")
    (jobs.root / "lib" / "one.py").write_text("def one(): return __name__\n")
    (jobs.root / "lib" / "real" / "__init__.py").write_text("")
    (jobs.root / "lib" / "real" / "two.py").write_text("def two(): return __name__\n")
    (jobs.root / "linked.py").symlink_to("lib/one.py")
    (jobs.root / "again.py").symlink_to("linked.py")
    (jobs.root / "absolute.py").symlink_to(jobs.root / "lib" / "one.py")
    (jobs.root / "package").symlink_to("lib/real")
    (jobs.root / "workflow.py").symlink_to("lib/flow.py")
    jobs.write(
        """
        with af.job("a"):
            for function in (linked.one, again.one, absolute.one, package.two.two, lib.one.one, own, lambda: __name__):
                af.python(print, af.python(function))
        """,
        above="import linked, again, absolute, package.two, lib.one\ndef own(): return __name__",
    )
    names = ["linked", "again", "absolute", "package.two", "lib.one", "workflow", "workflow"]
    assert (jobs.root / "workflow.py").is_symlink()
    assert jobs.fine("a").out.split() == names


# -- how jobs end ---------------------------------------------------------------------------------------------------


def test_a_platform_can_show_how_many_steps_are_done(jobs: Jobs) -> None:
    progress = jobs.folder / "progress"
    jobs.env["AIFLOW_PROGRESS_FILE"] = str(progress)
    body = "with af.job('j'):\n    one = af.python(told)\n    two = af.python(told, one)\n    af.python(told, two)"
    steps = f"""
        import pathlib

        def told(_=None):
            progress = pathlib.Path({str(progress)!r})
            print(progress.read_text() if progress.exists() else "none", flush=True)
    """
    ended = jobs.write(body, steps).fine("j")
    assert (ended.out, progress.read_text()) == ("none\n1\n2\n", "3")


def test_a_users_error_is_printed_as_by_their_own_script(jobs: Jobs) -> None:
    steps = """
        def inner(): raise ValueError("no data\\nin  line 2")
        def fails(): inner()
    """
    ended = jobs.write('with af.job("a"): af.python(fails)', steps).run("a")
    assert ended.code == 1
    lines = ended.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.rpartition(", in ")[2] for line in lines if line.startswith("  File")] == ["fails", "inner"]
    assert lines[-2:] == ["ValueError: no data", "in  line 2"]
    assert ended.reason == "ValueError: no data in line 2"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ("import missing_x\ndef f(): pass", "ModuleNotFoundError: No module named 'missing_x'"),
        ("x = 1 / 0\ndef f(): pass", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        ("def g(): pass", "AttributeError: module 'steps' has no attribute 'f'"),
    ],
)
def test_a_module_that_fails_to_import_is_the_users_error_too(jobs: Jobs, steps: str, reason: str) -> None:
    jobs.write('with af.job("a"): af.python(f)', "def f(): pass")
    (jobs.root / "steps.py").write_text(steps)
    ended = jobs.run("a")
    assert ended.code == 1
    assert ended.reason.startswith(reason)
    assert "runner.py" not in ended.err
    assert "importlib" not in ended.err


@pytest.mark.parametrize(
    ("statement", "code", "reason"),
    [
        ("sys.exit(4)", 4, ""),
        ("sys.exit('in words')", 1, "in words"),
        ("raise SystemExit", 0, ""),
        ("os._exit(9)", 9, ""),
        ("os.kill(os.getpid(), 9)", -9, ""),
        ("os.abort()", -6, ""),
        ("raise BaseException('x')", 1, "BaseException: x"),
        ("raise asyncio.CancelledError", 1, "CancelledError:"),
        ("raise KeyboardInterrupt", -2, ""),
    ],
)
def test_a_python_job_has_its_own_exit_code(jobs: Jobs, statement: str, code: int, reason: str) -> None:
    jobs.write('with af.job("a"): af.python(f)', f"import os, sys, asyncio\ndef f():\n    {statement}\n")
    ended = jobs.run("a")
    assert (ended.code, ended.reason) == (code, reason)


def test_a_debugger_in_a_job_is_told_where_there_is_a_terminal(jobs: Jobs) -> None:
    jobs.write('with af.job("a"): af.python(f)', "def f():\n    breakpoint()\n    return 1\n")
    ended = jobs.run("a")
    assert (ended.code, "aiflow-ext run PROJECT --in-process" in ended.reason) == (1, True)
    assert "Traceback" not in ended.err


def test_leaving_with_success_before_the_end_is_no_success(jobs: Jobs) -> None:
    jobs.write(
        """
        with af.job("a"): x = af.python(leave)
        with af.job("b"):
            af.python(leave)
            af.python(print, x)
        """,
        "import sys\ndef leave(): sys.exit()\n",
    )
    ended = jobs.run("a")
    assert (ended.code, "another job reads its value" in ended.reason) == (1, True)
    ended = jobs.run("b")
    assert ended.code == 1
    assert "a later node of the job was still to run" in ended.reason


EARLY = [
    ("os._exit(0)", "os._exit(0) was called before the job's steps were done"),
    ("os._exit(256)", "os._exit(0) was called"),
    ("from os import _exit; _exit(0)", "os._exit(0) was called"),
    ("threading.Thread(target=os._exit, args=(0,)).start(); threading.Event().wait()", "os._exit(0) was called"),
    ("signal.signal(15, lambda *_: os._exit(0)); os.kill(os.getpid(), 15)", "os._exit(0) was called"),
    ("signal.signal(15, lambda *_: sys.exit(0)); os.kill(os.getpid(), 15); signal.pause()", "called sys.exit()"),
    ("sys.exit(256)", "called sys.exit()"),
    ("os.execv('/bin/true', ['true'])", "ended with exit code 0 before its steps were done"),
    ("os.execlp('sh', 'sh', '-c', 'exit 0')", "ended with exit code 0 before its steps were done"),
    ("import ctypes; ctypes.CDLL(None).exit(0)", "ended with exit code 0 before its steps were done"),
    ("import ctypes; ctypes.CDLL(None)._exit(0)", "ended with exit code 0 before its steps were done"),
]

ONE_OF_EACH = (
    "os._exit(0)",
    "sys.exit(256)",
    "os.execv('/bin/true', ['true'])",
    "import ctypes; ctypes.CDLL(None).exit(0)",
)


@pytest.mark.parametrize(
    ("statement", "words", "place"),
    # In a job's last step one of each way to end.
    [(*each, "first") for each in EARLY] + [(*each, "last") for each in EARLY if each[0] in ONE_OF_EACH],
)
def test_a_process_that_ends_before_the_runner_has_reached_its_end_has_failed(
    jobs: Jobs, statement: str, words: str, place: str
) -> None:
    body = {"first": "af.python(f)\n    af.python(print, 'the second step')", "last": "x = af.python(f)"}[place]
    more = "\nwith af.job('b'): af.python(print, x)" if place == "last" else ""
    jobs.write(
        f"with af.job('a'):\n    {body}{more}", f"import os, sys, signal, threading\ndef f():\n    {statement}\n"
    )
    ended = jobs.run("a")
    assert (ended.code, words in ended.reason, ended.out) == (1, True, ""), ended


@pytest.mark.parametrize("statement", ["sys.exit()", "signal.raise_signal(15)"])
def test_leaving_where_no_step_is_running_is_no_success_either(jobs: Jobs, statement: str) -> None:
    steps = f"import signal, sys\nsignal.signal(15, lambda *_: sys.exit(0))\n{statement}\ndef f(): pass\n"
    jobs.write('with af.job("a"): af.python(f)', "def f(): pass")
    (jobs.root / "steps.py").write_text(steps)
    ended = jobs.run("a")
    assert (ended.code, ended.reason) == (1, "sys.exit() was called before the job's steps were done")


def test_processes_that_a_step_has_forked_end_as_they_like(jobs: Jobs) -> None:
    steps = """
        import multiprocessing, os, sys
        def leave(how):
            child = os.fork()
            if not child:
                if how == "fall through": return
                how(0)
            print(os.waitpid(child, 0)[1], flush=True)
        def pool():
            with multiprocessing.get_context("fork").Pool(1) as pool: print(pool.map(abs, [-1]))
    """
    jobs.write(
        """
        with af.job("a"):
            af.python(leave, os._exit)
            af.python(leave, sys.exit)
            af.python(leave, "fall through")
            af.python(pool)
        """,
        steps,
        "import os, sys",
    )
    ended = jobs.fine("a")
    assert ended.out == "0\n0\n256\n[1]\n"
    assert "leave-3 returned in a process that it had forked" in ended.err


COMMANDS: list[tuple[Any, int, str]] = [
    ("exit 3", 3, "a command ended with exit code 3"),
    ("kill -9 $$", -signal.SIGKILL, "a command was ended by signal SIGKILL"),
    ("kill -TERM $$", -signal.SIGTERM, "a command was ended by signal SIGTERM"),
    ("kill -SEGV $$", -signal.SIGSEGV, "a command was ended by signal SIGSEGV"),
    ("sh -c 'kill -9 $$'; exit $?", 137, "a command ended with exit code 137"),
    (["/no/such/program"], 127, "/no/such/program cannot be started: No such file or directory"),
    (["/etc/passwd"], 126, "/etc/passwd cannot be started: Permission denied"),
]


@pytest.mark.parametrize(("command", "code", "reason"), COMMANDS, ids=[str(each[0]) for each in COMMANDS])
def test_a_commands_end_is_the_jobs_end(jobs: Jobs, command: Any, code: int, reason: str) -> None:
    body = f"""
        with af.job("a"):
            af.cmd("echo before; echo x > {{o}}", o=af.output("o"))
            af.cmd({command!r})
            af.cmd("echo never")
    """
    ended = jobs.write(body).run("a")
    assert (ended.code, ended.reason, ended.out) == (code, reason, "before\n")


def test_an_output_that_was_not_written_is_named(jobs: Jobs) -> None:
    ended = jobs.write('with af.job("a"): af.cmd("true {o}", o=af.output("size.txt"))').run("a")
    assert ended.code == 1
    assert "its output 'o'" in ended.reason
    assert "size.txt and did not" in ended.reason


def test_commands_pass_files_to_each_other_and_read_properties(jobs: Jobs) -> None:
    jobs.properties = {"word": "it's $HOME"}
    jobs.write(
        """
        with af.job("a"):
            x = af.cmd("printf '%s' {properties.word} > {o}", o=af.output("o"))
            af.cmd("cat {x} '{x}'; echo '{braces}' | awk '{print $1}'", x=x)
        """
    )
    assert jobs.run("a").out == "it's $HOMEit's $HOME{braces}\n"


def test_processes_that_a_function_spawns_do_not_run_the_job_again(jobs: Jobs) -> None:
    steps = """
        import multiprocessing
        def twice(x): return 2 * x
        def go():
            with multiprocessing.get_context("spawn").Pool(2) as pool: print(pool.map(twice, [1, 2]))
    """
    assert jobs.write('with af.job("a"): af.python(go)', steps).fine("a").out == "[2, 4]\n"


STANDARD = ["typing", "logging", "bisect", "queue", "random", "tempfile", "heapq", "secrets", "json/__init__"]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_a_function_spawns_live_beside_files_called_as_standard_modules(jobs: Jobs, method: str) -> None:
    steps = """
        import multiprocessing, queue, sys
        def own(x):
            import logging
            return logging.OWN, queue.OWN, 2 * x
        def nested(x):
            process = multiprocessing.get_context("spawn").Process(target=own, args=[x])
            process.start()
            process.join()
            return process.exitcode
        def go(method):
            context = multiprocessing.get_context(method)
            with context.Pool(1) as pool: print(pool.map(own, [1, 2]))
            process = context.Process(target=exits, args=[nested])
            process.start()
            process.join()
            print(process.exitcode)
        def exits(nested): sys.exit(nested(1))
    """
    (jobs.root / "json").mkdir(parents=True)
    files = {f"{name}.py": "OWN = 'own'\n" for name in STANDARD}
    jobs.write(f'with af.job("a"): af.python(go, "{method}")', steps, **files)
    assert jobs.fine("a").out == "[('own', 'own', 2), ('own', 'own', 4)]\n0\n"


# -- what is refused ------------------------------------------------------------------------------------------------

TWO = """
    with af.job("a"): x = af.python(lambda: {1, 2})
    with af.job("b"): af.python(show, x)
"""


def artifact_file(jobs: Jobs, suffix: str) -> Path:
    (found,) = Path(jobs.artifacts).rglob(f"*{suffix}")
    found.chmod(0o644)
    return found


def _cut(jobs: Jobs) -> None:
    artifact_file(jobs, ".pkl").write_bytes(b"")


def _flip(jobs: Jobs) -> None:
    file = artifact_file(jobs, ".pkl")
    file.write_bytes(bytes([*file.read_bytes()[:-1], 0]))


def test_a_missing_or_damaged_artifact_is_named_and_never_opened(jobs: Jobs) -> None:
    jobs.write(TWO, STEPS).fine("a")
    kept = shutil.copytree(jobs.artifacts, jobs.folder / "kept")
    for harm, words in (
        (lambda jobs: shutil.rmtree(jobs.artifacts), "is not there, or was never completed"),
        (lambda jobs: artifact_file(jobs, ".json").unlink(), "is not there, or was never completed"),
        (lambda jobs: artifact_file(jobs, ".pkl").unlink(), "is gone; its record is still there"),
        (lambda jobs: artifact_file(jobs, ".json").write_text('{"file": "va'), "the record of the artifact"),
        (lambda jobs: artifact_file(jobs, ".json").write_text("{}"), "is damaged"),
        (_cut, "is not what its producer recorded (sha256 or size differ)"),
        (_flip, "is not what its producer recorded (sha256 or size differ)"),
    ):
        harm(jobs)
        ended = jobs.run("b")
        assert ended.code == 1
        assert words in ended.reason
        assert "artifacts/run-1/a/1/lambda" in ended.reason
        assert "Traceback" not in ended.err
        assert ended.out == ""
        shutil.rmtree(jobs.artifacts, ignore_errors=True)
        shutil.copytree(kept, jobs.artifacts)


def test_damaged_code_is_never_opened(jobs: Jobs) -> None:
    jobs.change_payload = lambda payload: payload["steps"][0]["properties"]["function"].update(sha256="0" * 64)
    ended = jobs.write('with af.job("a"): af.python(lambda: print("ran"))').run("a")
    assert (ended.code, ended.out) == (1, "")
    assert "was damaged on its way (sha256 differs)" in ended.reason
    assert "function w.<locals>.<lambda> of node 'lambda'" in ended.reason


def test_a_damaged_payload_is_reported_in_a_sentence(jobs: Jobs) -> None:
    jobs.change_payload = lambda payload: payload["steps"][0]["properties"]["function"].update(__type__="os:system")
    ended = jobs.write('with af.job("a"): af.python(lambda: 1)').run("a")
    assert ended.code == 1
    assert "the data names the type 'os:system'" in ended.reason
    assert "Traceback" not in ended.err


def test_a_pickle_of_another_cloudpickle_is_refused(jobs: Jobs) -> None:
    jobs.change_payload = lambda payload: payload["steps"][0]["properties"]["function"].update(cloudpickle="1.6.0")
    ended = jobs.write('with af.job("a"): af.python(lambda: 1)').run("a")
    assert "was pickled by cloudpickle 1.6.0 and here is" in ended.reason


def test_a_value_that_cannot_be_stored_is_named_by_its_type(jobs: Jobs) -> None:
    jobs.write('with af.job("a"): x = af.python(lambda: (n for n in []))\nwith af.job("b"): af.python(show, x)', STEPS)
    ended = jobs.run("a")
    assert ended.code == 1
    assert "a value of type generator cannot be stored" in ended.reason


def test_a_file_that_is_not_there_is_named(jobs: Jobs) -> None:
    ended = jobs.write('with af.job("a"): af.python(Path, "nowhere.txt")', "from pathlib import Path").run("a")
    assert ended.reason == "nowhere.txt was returned as a file but is not there"


def test_artifacts_that_cannot_be_written_are_a_sentence(jobs: Jobs) -> None:
    jobs.artifacts = str(jobs.folder / "file")
    (jobs.folder / "file").write_text("in the way")
    ended = jobs.write(TWO, STEPS).run("a")
    assert ended.code == 1
    assert "cannot be written: Not a directory" in ended.reason


def _other_pythons() -> list[Any]:
    found: list[Any] = []
    for version in ("3.10", "3.12", "3.13", "3.9"):
        home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
        known = sorted(map(str, home.glob(f"{version}.*/bin/python{version}")))
        path = known[-1] if known else shutil.which(f"python{version}")
        # One of the PATH may be a script of pyenv that finds no such version.
        works = path and subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0
        if path and works and version != f"{sys.version_info[0]}.{sys.version_info[1]}":
            found.append(pytest.param(path, marks=pytest.mark.thorough) if version == "3.12" else path)
    return found


NONE = pytest.param("", marks=pytest.mark.skip(reason="no other Python here"))


@pytest.mark.parametrize("python", _other_pythons() or [NONE])
def test_another_python_opens_built_in_types_and_refuses_the_rest_in_a_sentence(jobs: Jobs, python: str) -> None:
    jobs.write(
        """
        with af.job("made"): x = af.python(lambda: range(3))
        with af.job("read"): af.python(show, x)
        with af.job("plain"): p = af.python(lambda: [{1}, {"a": 2.5}])
        with af.job("code"): af.python(lambda: 1)
        with af.job("text"): t = af.python(lambda: "text")
        with af.job("fine"):
            af.python(show, t, b"raw", [1, {"a": (None, 2.5)}], p)
        """,
        STEPS,
    ).fine("made", "text", "plain")
    jobs.python = python
    if "3.9" in Path(python).name:
        ended = jobs.run("fine")
        assert (ended.code, "a job needs python 3.10 or newer" in ended.err) == (1, True)
        return
    assert jobs.fine("fine").out == "(('text', b'raw', [1, {'a': (None, 2.5)}], [{1}, {'a': 2.5}]), {})\n"
    for name, what in (("read", "artifacts/run-1/made"), ("code", "function w.<locals>.<lambda>")):
        ended = jobs.run(name)
        assert ended.code == 1
        assert what in ended.reason
        assert "was pickled by Python" in ended.reason
        assert "Traceback" not in ended.err


def test_a_function_whose_file_does_not_travel_is_named_at_render(jobs: Jobs) -> None:
    jobs.write('with af.job("a"): af.python(one)', STEPS, **{"project.yaml": "exclude: ['steps.*']"})
    with pytest.raises(CodeError, match=r"function one of node 'one' in job 'a' is in steps.py, which does not travel"):
        build_bundle(jobs.parts.sub_graphs["a"], jobs.project.desc)


def test_properties_too_large_for_a_jobs_environment_are_named_at_render() -> None:
    node = af.AINode("cmd_line", {"command": "x"}, "x", "a/x", "a")
    part = af.AISubGraph(af.BaseJobConfig(properties={"big": "x" * 140_000}), "a", [node])
    with pytest.raises(CodeError, match="the properties of job 'a' are 140011 bytes"):
        build_bundle(part, af.ProjectDesc(), "cmd_line")


def test_an_edited_project_is_sent_as_it_is_now(jobs: Jobs) -> None:
    body = 'with af.job("a"): af.python(say)'
    assert jobs.write(body, "def say(): print('old')").fine("a").out == "old\n"
    assert jobs.write(body, "def say(): print('new')").fine("a").out == "new\n"


def test_building_a_bundle_writes_nothing_and_twice_is_the_same(jobs: Jobs) -> None:
    jobs.write(TWO, STEPS)
    before = sorted(jobs.folder.rglob("*"))
    context = af.JobContext("r", "a", 1, None, None, "/artifacts/r", {})
    part, desc = jobs.parts.sub_graphs["a"], jobs.project.desc
    assert build_bundle(part, desc, "python").payload(context) == build_bundle(part, desc, "python").payload(context)
    assert sorted(jobs.folder.rglob("*")) == before
