"""A platform that may get several calls at once: what is called at once, what in order, and what never holds up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dist_info import install
from patience import PATIENCE

PLUGIN = """
    import contextlib
    import os
    import threading
    import time
    import aiflow_ext as af
    from aiflow_ext.plugin import UnreachableError
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    SEEN = os.environ["SEEN"]
    ALONE = threading.Lock()

    def note(words):
        with open(SEEN, "a") as file:
            file.write(words + "\\n")

    def until(*lines):
        deadline = time.monotonic() + 200
        while not os.path.exists(SEEN) or not {*lines} <= {*open(SEEN).read().splitlines()}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within 200 s: {lines}")
            time.sleep(0.01)

    @contextlib.contextmanager
    def alone():
        if os.environ["CASE"] == "alone" and not ALONE.acquire(blocking=False):
            note("two calls at once")
        yield
        if os.environ["CASE"] == "alone" and ALONE.locked():
            ALONE.release()

    class Fleet(af.AbstractPlatform):
        if "AT_ONCE" in os.environ:
            calls_at_once = int(os.environ["AT_ONCE"])

        @staticmethod
        def platform():
            return "fleet"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Fleet

        def generate_job_resource(self, job):
            with alone():
                super().generate_job_resource(job)

        def submit_job(self, job):
            name, case = job.job_context.job_name, os.environ["CASE"]
            with alone():
                note(f"{name} is submitted")
                if case == "together":
                    until("a is submitted", "b is submitted")
                handler = super().submit_job(job)
                if case == "late" and name == "a":
                    until("b is cleaned up")
                note(f"{name} was submitted")
                return handler

        def cleanup_job(self, job):
            name, case = job.job_context.job_name, os.environ["CASE"]
            with alone():
                if case == "waits":
                    until("last was submitted")
                if case == "hangs" and name == "a":
                    threading.Event().wait()
                if case == "away" and name == "a":
                    raise UnreachableError("nobody answers")
                note(f"{name} is cleaned up")
                super().cleanup_job(job)

    class Wrapper:
        @af.hookimpl(wrapper=True)
        def submit_job(self, job):
            return (yield)
"""


@pytest.fixture
def fleet(project, cli, cli_env, stranger, tmp_path):
    """Runs jobs on a platform whose calls do what the case says; returns what was called, in order.

    ``after``: what the jobs run after; ``at_once``: how many calls the platform takes; None: it does not say.
    """
    seen = stranger("fleet", PLUGIN, {"fleet.cmd_line": "Plugin"})

    def start(case, at_once, jobs, after=""):
        cli_env["CASE"] = case
        if at_once is not None:
            cli_env["AT_ONCE"] = str(at_once)
        body = "\n".join(f"with af.job({name!r}): af.cmd('true')" for name in jobs)
        configs = "\n".join(f"{name}: {{platform: fleet, engine: cmd_line}}" for name in jobs)
        project.jobs(f"{body}\n{after}", f"{configs}\n")
        done = cli("run", project.root, "--jobs", "8")
        assert done.returncode == 0, done.stdout + done.stderr
        return seen.read_text().splitlines()

    return start


def test_jobs_are_submitted_at_once_where_the_platform_takes_it(fleet):
    fleet("together", 2, "ab")


def test_cleanups_that_wait_do_not_hold_up_a_submission(fleet):
    after = "\n".join(f"af.run_after('next', {name!r})" for name in "abc")
    calls = fleet("waits", 2, ["a", "b", "c", "next", "last"], f"{after}\naf.run_after('last', 'next')")
    assert calls.index("last was submitted") < min(calls.index(f"{name} is cleaned up") for name in "abc")


def test_an_attempt_is_cleaned_up_after_its_submission_has_returned_though_it_ended_before(fleet):
    calls = fleet("late", 4, "ab", "af.run_after('b', 'a')")
    order = [calls.index(words) for words in ("b is cleaned up", "a was submitted", "a is cleaned up")]
    assert order == sorted(order)


@pytest.mark.parametrize(("at_once", "wrapped"), [(None, False), (8, True)])
def test_one_call_is_made_at_a_time_unless_the_platform_says_more_and_nothing_wraps_it(
    fleet, tmp_path, at_once, wrapped
):
    if wrapped:
        install(tmp_path / "site", "wrapping", {"extensions": {"wrapper": "fleet_plugin:Wrapper"}}, {})
    calls = fleet("alone", at_once, [f"j{number}" for number in range(12)])
    assert sum(line.endswith("is cleaned up") for line in calls) == 12
    assert "two calls at once" not in calls


IMPATIENT = """
from aiflow_ext.cli import main
from aiflow_ext.run.driving import cleanup

cleanup.PATIENCE = 0.1
main()
"""


@pytest.mark.parametrize(("case", "why"), [("hangs", "cleanup_job has not returned"), ("away", "nobody answers")])
def test_a_run_ends_without_a_cleanup_that_does_not_return_and_says_so(project, cli, cli_env, stranger, case, why):
    seen = stranger("fleet", PLUGIN, {"fleet.cmd_line": "Plugin"})
    env = {**cli_env, "CASE": case, "AT_ONCE": "2"}
    project.jobs(
        "with af.job('a'): af.cmd('true')\nwith af.job('b'): af.cmd('true')\naf.run_after('b', 'a')",
        "a: {platform: fleet, engine: cmd_line}\nb: {platform: fleet, engine: cmd_line}\n",
    )
    argv = [sys.executable, "-c", f"import sys; sys.argv[1:] = ['run', {str(project.root)!r}]; {IMPATIENT}"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    (words,) = [line for line in done.stderr.splitlines() if "/a/" in line and "ends without a cleanup" in line]
    assert why in words
    assert "logs may be incomplete" in words
    assert "a is cleaned up" not in seen.read_text().splitlines()
    done = cli("gc", "--project", project.root, "--keep", "0", env={**env, "CASE": ""})
    assert done.returncode == 0, done.stderr
    assert "a is cleaned up" in seen.read_text().splitlines()
    assert not any(Path(project.root, ".aiflow").glob("runs/*/attempts"))
