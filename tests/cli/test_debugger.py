"""The debugger in a run in process, on a terminal."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest
from patience import PATIENCE
from terminal import Terminal

STEPS = """
def stops(number):
    doubled = number * 2
    breakpoint()
    return doubled + 1

def fails(number):
    doubled = number * 2
    raise ValueError("no")
"""
PROMPT = b"(Pdb) "


@pytest.fixture
def terminal(project, cli_env):
    opened = []

    def start(body, *options):
        project.jobs(body, "", STEPS)
        argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root), "--in-process", *options]
        opened.append(Terminal(argv, {**cli_env, "TERM": "dumb"}))
        return opened[0]

    yield start
    for each in opened:
        each.close()


def test_breakpoint_stops_a_job_at_the_projects_own_line_and_the_run_goes_on(terminal, project):
    run = terminal('with af.job("a"): n = af.python(stops, 4)\nwith af.job("b"): af.python(print, "got", n)')
    assert f"{project.root}/steps.py(" in run.until(PROMPT)
    run.type("p doubled, __import__('os').getcwd()")
    assert f"(8, '{project.run_folder}/jobs/a/1/work')" in run.until(PROMPT)
    run.type("doubled = 20")
    run.until(PROMPT)
    run.type("c")
    assert "got 21\r\n" in run.rest()
    assert run.command.wait(PATIENCE) == 0
    assert project.log("b") == b"got 21\n"


@pytest.mark.skipif(not find_spec("readline"), reason="this Python has no readline")
def test_lines_are_edited_in_the_debugger_as_in_any_other_program(terminal):
    run = terminal('with af.job("a"): af.python(stops, 4)')
    run.until(PROMPT)
    run.type("p 113\x1b[D\x1b[D2")  # two times the left arrow
    run.until(b"\n1213\r\n")  # libedit shows the prompt again while the line is edited


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there the debugger asks, and ends the job by sys.exit")
def test_leaving_the_debugger_stops_the_run(terminal, project, cli):
    run = terminal('with af.job("a"): n = af.python(stops, 4)\nwith af.job("b"): af.python(print, n)')
    run.until(PROMPT)
    run.type("q")
    assert "Traceback" not in run.rest()
    assert run.command.wait(PATIENCE) == 7
    assert "the debugger was left" in cli("status", "latest", "--project", project.root).stdout


def test_pdb_opens_where_a_job_has_raised_and_the_job_has_failed_afterwards(terminal, project):
    body = 'with af.job("a"): af.python(fails, 4)\nwith af.job("b"): af.python(print, "others run")'
    run = terminal(body, "--pdb")
    shown = run.until(PROMPT)
    assert "ValueError: no" in shown
    assert f"{project.root}/steps.py(" in shown
    run.type("p doubled")
    assert "8\r\n" in run.until(PROMPT)
    run.type("q")
    rest = run.rest()
    assert "others run\r\n" in rest
    assert "a FAILED: ValueError: no" in rest
    assert run.command.wait(PATIENCE) == 1


def test_ctrl_c_at_the_debuggers_prompt_does_not_end_the_run(terminal):
    run = terminal('with af.job("a"): af.python(stops, 4)')
    run.until(PROMPT)
    run.type("\x03")
    run.until(b"--KeyboardInterrupt--")
    run.type("p doubled + 1000")
    run.until(b"1008")
    run.type("c")
    run.rest()
    assert run.command.wait(PATIENCE) == 0


def test_ctrl_c_stops_a_command_and_is_recorded(terminal, project):
    run = terminal('with af.job("a"): af.cmd("echo begins; sleep 1000; echo never")\nwith af.job("b"): af.cmd("true")')
    run.until(b"begins\r\n")
    run.type("\x03")
    rest = run.rest()
    assert "a STOPPED" in rest
    assert "b SKIPPED" in rest
    assert run.command.wait(PATIENCE) == 7
