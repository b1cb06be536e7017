"""What installed plugins add to the variables of jobs: the same in what is rendered and in what a job gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dist_info import install
from ui_page import served

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin-nohup" / "aiflow_ext_nohup.py"
SOURCE = """
    import aiflow_ext.plugin as af


    class Added(af.AbstractJobEnvironment):
        def variables(self, context, traceparent):
            found = f"{context.run_id} {context.job_name} {context.attempt} {traceparent}"
            print("not on stdout")
            refused = {"AIFLOW_RUN": "x", "A-B": "x", "NUMBER": 1, "HALF": "\\ud800"}
            return {"ADDED": found, "OWN": "not the job's", **refused}


    class Second(Added):
        def variables(self, context, traceparent):
            return {"ADDED": "the first one counts", "SECOND": "second"}


    class Raising(Added):
        def variables(self, context, traceparent):
            raise RuntimeError("no variables today")


    class Ending(Added):
        def variables(self, context, traceparent):
            raise SystemExit(0)


    class Nothing:
        pass
"""
SHOW = 'echo "$ADDED|$SECOND|$OWN|$AIFLOW_JOB"; test $AIFLOW_ATTEMPT = 2'
CONFIG = '"*": {{platform: {}, engine: cmd_line, env: {{OWN: own}}, retries: 1, retry_delay: 0s}}\n'


@pytest.fixture
def added(tmp_path: Path, cli_env: dict[str, str]) -> dict[str, str]:
    """The environment of a command that has plugins installed which add variables."""
    site, names = tmp_path / "site", {"a": "Added", "b": "Second", "c": "Raising", "d": "Nothing", "e": "Ending"}
    entries = {name: f"added_plugin:{found}" for name, found in names.items()}
    install(site, "added", {"job_environments": entries}, {"added_plugin.py": SOURCE})
    nohup = {"nohup.cmd_line": "aiflow_ext_nohup:NohupJobPlugin"}
    install(site, "nohup", {"job_plugins": nohup}, {EXAMPLE.name: EXAMPLE})
    return {**cli_env, "PYTHONPATH": os.fspath(site), "TRACEPARENT": "parent"}


@pytest.mark.parametrize("platform", ["local", "nohup"])
def test_a_job_gets_the_variables_that_render_shows_and_its_own_have_precedence(project, cli, added, platform) -> None:
    project.jobs(f"with af.job('a'): af.cmd('''{SHOW}''')", CONFIG.format(platform))
    done = cli("render", project.root, "--json", env=added)
    (shown,) = json.loads(done.stdout)
    env = {
        name: shown["content"]["env"].get(name)
        for name in ("ADDED", "SECOND", "OWN", "AIFLOW_JOB", "A-B", "NUMBER", "HALF")
    }
    assert env == {"ADDED": "${run} a 1 parent", "SECOND": "second", "OWN": "own", "AIFLOW_JOB": "a", "A-B": None,
                   "NUMBER": None, "HALF": None}  # fmt: skip
    assert "job a goes without the variables of job environment 'c' of added 1.0" in done.stderr
    assert "RuntimeError: no variables today" in done.stderr
    assert "job environment 'd' of added 1.0 (added_plugin:Nothing) is no source of variables" in done.stderr
    assert "job environment 'e' of added 1.0 (added_plugin:Ending): it raised SystemExit" in done.stderr
    for refused in ("'AIFLOW_RUN'", "'A-B'", "NUMBER", "HALF"):
        assert refused in done.stderr
    assert cli("run", project.root, env=added).returncode == 0
    for number in (1, 2):  # each attempt has its own
        run = project.run_folder.name
        assert project.log("a", attempt=number).decode() == f"{run} a {number} parent|second|own|a\n"


def test_a_driver_that_comes_back_gives_the_variables_of_the_process_that_began_the_run(project, cli, added, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    body = f"with af.job('a'): af.cmd('cat {go}')\nwith af.job('b'): af.cmd('echo $ADDED')\naf.run_after('b', 'a')"
    project.jobs(body, CONFIG.format("local"))
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root)]
    driver = subprocess.Popen(argv, env=added, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with go.open("w"):  # opened once the job reads it
        driver.kill()
        driver.wait()
    again = cli("resume", "latest", "--project", project.root, env={**added, "TRACEPARENT": "another"})
    assert again.returncode == 0
    assert project.log("b").decode() == f"{project.run_folder.name} b 1 parent\n"


@pytest.mark.parametrize("options", [[], ["--in-process"]], ids=["run", "in-process"])
def test_a_job_in_process_and_one_that_is_reproduced_have_the_variables_of_the_run(project, cli, added, options):
    project.jobs("with af.job('a'): af.cmd('echo $ADDED $SECOND $OWN')", CONFIG.format("local"))
    assert cli("run", project.root, *options, env=added).returncode == 0
    log = project.log("a").decode()
    assert log == f"{project.run_folder.name} a 1 parent second own\n"
    again = cli("reproduce", "latest", "a", "--project", project.root, env={**added, "TRACEPARENT": "another"})
    assert (again.returncode, again.stdout) == (0, log)


def test_the_page_shows_a_job_with_the_variables_that_it_was_given(project, cli, added) -> None:
    project.jobs("with af.job('a'): af.cmd('echo $ADDED')", CONFIG.format("local"))
    assert cli("run", project.root, env=added).returncode == 0
    run = project.run_folder.name
    with served({**added, "TRACEPARENT": "another"}, "--project", str(project.root)) as page:
        shown = page.json(f"/api/runs/{run}/request?job=a")
    assert shown["content"]["env"]["ADDED"] == project.log("a").decode().strip() == f"{run} a 1 parent"


def test_a_policy_denies_them_and_doctor_names_one_that_is_broken(project, cli, added) -> None:
    project.jobs("with af.job('a'): af.cmd('true')", CONFIG.format("local"))
    denied = {**added, "AIFLOW_PLUGINS_DENY": "kind:job_environment"}
    done = cli("render", project.root, "--json", env=denied)
    assert "ADDED" not in json.loads(done.stdout)[0]["content"]["env"]
    assert "without" not in done.stderr
    assert "is no source of variables" in cli("doctor", env=added).stdout
