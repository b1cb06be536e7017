"""An installation that lacks a module: a sentence and a cure, whichever module it is and whatever the command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from patience import PATIENCE

from aiflow_ext.model.errors import INTERNAL, NOT_INSTALLED

WITHOUT = "import sys; sys.modules[sys.argv[1]] = None; from aiflow_ext.cli import main; main(sys.argv[2:])"


def run_without(module, *args, env):
    """A command in an interpreter in which importing ``module`` fails as if it were not installed."""
    argv = [sys.executable, "-c", WITHOUT, module, *map(str, args)]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("module", "command", "words", "cure"),
    [
        (
            "click",
            "plugins",
            "not installed completely: the module 'click' is missing",
            "pip install --force-reinstall",
        ),
        ("yaml", "doctor", "not installed completely: the module 'yaml' is missing", "pip install --force-reinstall"),
        ("pluggy", "run", "not installed completely: the module 'pluggy' is missing", "pip install --force-reinstall"),
        ("_sqlite3", "run", f"({sys.executable}) lacks the module '_sqlite3'", "use another Python"),
    ],
)
def test_a_module_that_is_missing_is_told_with_a_cure_and_no_traceback(cli_env, project, module, command, words, cure):
    project.jobs("with af.job('job'): af.cmd('true')", "job: {platform: local, engine: cmd_line}\n")
    done = run_without(module, command, *([project.root] if command == "run" else []), env=cli_env)
    assert done.returncode == NOT_INSTALLED
    assert words in done.stderr
    assert cure in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_is_told_of_it_as_of_any_error(cli_env):
    done = run_without("yaml", "doctor", "--json", env=cli_env)
    assert json.loads(done.stdout)["error"]["exit_code"] == NOT_INSTALLED


def test_a_module_of_aiflow_ext_that_is_missing_stays_a_defect_to_report(cli_env):
    done = run_without("aiflow_ext.cli.doctor", "doctor", env=cli_env)
    assert done.returncode == INTERNAL
    assert "Traceback" in done.stderr
