"""The fixture ``aiflow_project``, in real runs of pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"
WORKFLOW = """
    import aiflow_ext as af
    from steps import Model, fit
    @af.workflow
    def w():
        with af.job("fit"): af.python(fit)
"""
STEPS = """
    class Model:
        def __init__(self, rate): self.rate = rate
    SEEN = []
    def fit():
        SEEN.append(1)
        return Model(len(SEEN))
"""
Pytest = Callable[..., str]


@pytest.fixture
def pytest_in(tmp_path: Path) -> Pytest:
    """Runs pytest in a folder with these files; returns what it prints."""

    def run(files: dict[str, str], *options: str, passes: bool = True) -> str:
        home = tmp_path / "mine"
        for name, text in {"pytest.ini": "[pytest]\n", **files}.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(textwrap.dedent(text))
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "AIFLOW_STATE": str(tmp_path / "elsewhere")}
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base")]
        done = subprocess.run([*argv, *options], cwd=home, env=env, capture_output=True, text=True)
        assert (done.returncode == 0) is passes, done.stdout + done.stderr
        assert not (tmp_path / "state").exists()
        assert not (tmp_path / "elsewhere").exists()
        assert not (home / ".aiflow").exists()
        return done.stdout

    return run


def test_the_example_of_the_docs_passes(pytest_in: Pytest) -> None:
    section = DOCS.read_text()
    files = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", section, re.DOTALL))
    assert list(files) == ["steps.py", "workflow.py", "workflow.yaml", "tests/test_means.py"]
    assert "3 passed" in pytest_in(files)


def test_a_value_of_a_class_of_the_project_is_that_of_the_tests_own_module(pytest_in: Pytest) -> None:
    test = """
        from steps import SEEN, Model, fit
        def test_it(aiflow_project):
            SEEN.append("the test's")
            project = aiflow_project()
            for _ in range(2):
                model = project.run().jobs["fit"].result
                assert type(model) is Model and model.rate == 1
            assert SEEN == ["the test's"]
    """
    pytest_in({"workflow.py": WORKFLOW, "steps.py": STEPS, "test_it.py": test}, "-s")


def test_a_project_of_files_alone_is_run_as_it_is_written_last(pytest_in: Pytest) -> None:
    test = f"""
        import sys
        WORKFLOW, STEPS = {WORKFLOW!r}, {STEPS!r}
        def test_one(aiflow_project):
            project = aiflow_project(empty=True, files={{"workflow.py": WORKFLOW, "steps.py": STEPS}})
            assert project.run().jobs["fit"].result.rate == 1
            project.write({{"steps.py": STEPS.replace("len(SEEN)", "9")}})
            assert project.run().jobs["fit"].result.rate == 9
            assert type(project.run().jobs["fit"].result).__module__ == "steps"
        def test_nothing_of_it_is_left():
            assert "steps" not in sys.modules
            assert not [path for path in sys.path if "/projects/" in path]
    """
    pytest_in({"test_it.py": test})


def test_a_failure_that_nobody_expects_shows_the_jobs_own_words_and_line(pytest_in: Pytest) -> None:
    test = """
        def test_it(aiflow_project):
            aiflow_project().run()
    """
    steps = """
        def fit():
            print("fitting")
            raise ValueError("no rows")  # here
        class Model: pass
    """
    shown = pytest_in({"workflow.py": WORKFLOW, "steps.py": steps, "test_it.py": test}, passes=False)
    assert 'raise ValueError("no rows")  # here' in shown
    assert "job 'fit' of run w-" in shown
    assert "is FAILED: ValueError: no rows" in shown
    assert "fitting" in shown.partition("Captured stdout call")[2]


def test_a_test_outside_of_any_project_is_told_what_to_name(pytest_in: Pytest) -> None:
    shown = pytest_in({"test_it.py": "def test_it(aiflow_project):\n    aiflow_project()\n"}, passes=False)
    assert "no folder above it has a workflow.py" in shown
    assert "aiflow_project(empty=True, files={...})" in shown
