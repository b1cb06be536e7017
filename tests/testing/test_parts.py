"""Parts of the kit by themselves: what it compares, watches, draws and reports, and what pytest loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from patience import PATIENCE

from aiflow_ext.testing.killing import ENOUGH, chosen, lines_of, verdict
from aiflow_ext.testing.likeness import difference
from aiflow_ext.testing.marks import UrlMarks
from aiflow_ext.testing.places import Place
from aiflow_ext.testing.report import PROPERTY, Report
from aiflow_ext.testing.works import Works


class Thing:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__ |= attributes


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (Thing(a=[1, {"b": Thing(c=2)}]), Thing(a=[1, {"b": Thing(c=2)}]), None),
        (Thing(a=[1, {"b": Thing(c=2)}]), Thing(a=[1, {"b": Thing(c=3)}]), "it.a[1]['b'].c is 2, then 3"),
        (Thing(a=1), Thing(a=1, b=2), "it.b is there only the second time"),
        ([1], [1, 2], "it has 1 items, then 2"),
        (1, "1", "it is 1, then '1'"),
        ({1, 2}, {2, 1}, None),
    ],
)
def test_a_difference_is_found_and_named(one: Any, other: Any, words: str | None) -> None:
    assert difference(one, other) == words


def test_likeness_of_what_holds_itself() -> None:
    one, other = Thing(), Thing()
    one.me, other.me = one, other
    assert difference(one, other) is None


WATCHED = """
import os, socket, subprocess, sys, tempfile, threading
from pathlib import Path
from aiflow_ext.testing.watching import Watching
with Watching() as watching:
    open(sys.argv[1], "w").close()
    open(sys.argv[1]).close()
    os.mkdir(sys.argv[1] + ".folder")
    for reach in (lambda: socket.socket().connect(("127.0.0.1", 9)), lambda: socket.gethostbyname("example.org")):
        try:
            reach()
        except OSError as error:
            assert "lets nothing out" in str(error)
os.mkdir(sys.argv[1] + ".later")
print("; ".join(watching.seen))
with Watching([os.path.dirname(sys.argv[1])]) as watching:
    open(sys.argv[1]).close()
    open("/etc/hosts").close()
    import this
    os.environ["KIT"] = "x"
    thread = threading.Thread(target=os.mkdir, args=[sys.argv[1] + ".thread"])
    thread.start()
    thread.join()
print("; ".join(watching.seen), file=sys.stderr)
"""


def test_what_reaches_out_is_seen_and_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", WATCHED, file], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.stdout.splitlines()[0].split("; ") == [
        f"writes {file}", f"makes the folder {file}.folder", "connects to ('127.0.0.1', 9)",
        "asks for the address of example.org",
    ], done.stderr  # fmt: skip
    assert done.stderr.strip().split("; ") == [
        "reads /etc/hosts", "changes the environment's variable KIT", f"makes the folder {file}.thread",
    ]  # fmt: skip


def test_lines_are_all_of_them_or_a_seeded_sample() -> None:
    assert chosen(1000, 300, 500, None, 1) == list(range(200, 601))
    assert len(chosen(3000, 300, 2500, None, 1)) >= ENOUGH
    few = chosen(1000, 300, 500, 40, 1)
    assert len(few) == 40
    assert few == chosen(1000, 300, 500, 40, 1) != chosen(1000, 300, 500, 40, 2)


def test_a_poll_is_one_line_however_often_it_asks() -> None:
    executed = [(Place("plugin.py", line, time), number) for number, (line, time) in
                enumerate([(7, 1), (8, 1), (7, 2), (8, 2), (9, 1)])]  # fmt: skip
    assert lines_of(executed) == [Place("plugin.py", line, 1) for line in (7, 8, 9)]


def test_marks_below_a_url_are_left_and_counted(tmp_path: Path) -> None:
    marks = UrlMarks(f"file://{tmp_path}/marks", python=sys.executable)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [marks.shell("start"), marks.shell("start", "printf 'a b'"), marks.shell_wait("start")]
    subprocess.run(["/bin/sh", "-ec", "\n".join(commands)], env=env, check=True)
    assert sorted(marks.contents("start")) == [b"", b"a b"]
    assert (marks.count("start"), marks.count("end")) == (2, 0)
    (tmp_path / "kit_marks.py").write_text(marks.python_module())
    code = "import kit_marks; kit_marks.mark('end', b'x'); kit_marks.wait_for('go')"
    waiting = subprocess.Popen([sys.executable, "-c", code], env=env, cwd=tmp_path)
    marks.wait("end", 60.0)
    marks.put("go")
    assert waiting.wait(PATIENCE) == 0
    marks.clear()
    assert marks.count("start") == marks.count("end") == 0


BESIDE = """
import os, subprocess, sys
from aiflow_ext.testing.crash import Lines
from aiflow_ext.testing.places import Place
import work

def drive(at):
    lines = Lines(at, [work.__file__])
    lines.arm()
    try:
        work.work(sys.argv[1])
    finally:
        lines.disarm()
    return lines

def killed_at(place):
    pid = os.fork()
    if not pid:
        drive(place)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for place in drive(None).beside:
    open(sys.argv[1], "w").close()
    print(place.line, place.time, killed_at(place), open(sys.argv[1]).read())
"""
WORK = """
def work(path):
    text = "a"
    for turn in range(2):
        with open(path, "a") as file:
            text += "b"
            file.write(text)
        turn += 1
"""


def test_the_lines_next_to_io_are_found_again_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    done = subprocess.run([sys.executable, "-c", BESIDE, tmp_path / "file"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])})  # fmt: skip
    places = [line.split() for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert {int(line) for line, *_ in places} >= {5, 6, 7, 8}  # open and what follows, write and what follows
    assert {killed for _, _, killed, *_ in places} == {"-9"}
    written = {(int(line), int(time)): "".join(text) for line, time, _, *text in places}
    assert (written[8, 1], written[7, 2], written[8, 2]) == ("ab", "ab", "ababb")


@pytest.mark.parametrize(("starts", "ends", "state"), [(2, 1, "FINISHED"), (0, 0, "FINISHED"), (1, 0, "FINISHED"),
                                                       (1, 1, "LOST")])  # fmt: skip
def test_every_miscount_is_a_verdict(starts: int, ends: int, state: str) -> None:
    assert verdict(1, 1, "FINISHED") is None
    assert f"begun {starts} times" in str(verdict(starts, ends, state))


def test_a_job_that_an_author_has_not_is_left_out() -> None:
    with pytest.raises(pytest.skip.Exception, match="left out: Works has no job that ignores sigterm"):
        Works(SimpleNamespace()).ignores_sigterm(1.0)  # type: ignore[arg-type]


def told(test: str, level: str, outcome: str, longrepr: Any = None, missing: tuple[str, ...] = ()) -> Any:
    facts = {"plugin": "mars.rover", "distribution": "mars 1.0", "level": level, "test": test, "missing": list(missing),
             "tests": {"base": 2, "durable": 1, "cluster": 0}, "defaults": [], "notes": [],
             "kill_loop": {}}  # fmt: skip
    return SimpleNamespace(when="call", outcome=outcome, longrepr=longrepr, nodeid=f"t.py::TestMars::{test}",
                           user_properties=[(PROPERTY, facts)])  # fmt: skip


SKIPPED = ("t.py", 1, "Skipped: not offered: lookup")
UNTRIED = ("t.py", 1, "Skipped: not tested: away() gives no context manager")
WITHOUT = ("t.py", 1, "Skipped: left out: Works has no job that sleeps")


@pytest.mark.parametrize(
    ("reports", "level"),
    [
        ([told("a", "base", "passed"), told("b", "base", "passed"), told("c", "durable", "passed")], "durable"),
        ([told("a", "base", "passed"), told("b", "base", "passed"),
          told("c", "durable", "skipped", SKIPPED, ("lookup",))], "base"),
        ([told("a", "base", "passed"), told("b", "base", "failed")], "none (1 of 2 tests of level base failed)"),
        ([told("a", "base", "passed")], "none (only 1 of 2 tests of level base were run)"),
        ([told("a", "base", "passed"), told("b", "base", "passed"), told("c", "durable", "failed")],
         "base (1 of 1 tests of level durable failed)"),
        ([told("a", "base", "passed"), told("b", "base", "skipped", WITHOUT), told("c", "durable", "passed")],
         "durable (without the 1 tests left out)"),
        ([told("a", "base", "passed"), told("b", "base", "passed"), told("c", "durable", "skipped", UNTRIED)],
         "durable"),
        ([told("a", "base", "skipped", WITHOUT), told("b", "base", "skipped", WITHOUT)],
         "none (all tests of level base were left out)"),
    ],
)  # fmt: skip
def test_the_level_reached_is_reported(reports: list[Any], level: str) -> None:
    report = Report()
    for each in reports:
        report.take(each)
    assert report.lines()[0] == f"mars.rover (mars 1.0; t.py::TestMars): level {level}"


def test_what_pytest_loads_is_cheap() -> None:
    code = (
        "import sys, aiflow_ext.testing.pytest_plugin; print(*(m for m in sys.modules if m.startswith('aiflow_ext')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    cheap = {"aiflow_ext", "aiflow_ext._lazy", "aiflow_ext.testing", "aiflow_ext.testing.pytest_plugin"}
    assert set(done.stdout.split()) == cheap, done.stderr
