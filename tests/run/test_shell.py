"""How commands are run, and what they get of values: on the platform local, for real."""

from __future__ import annotations

import json

import pytest

import aiflow_ext as af

STEPS = """
import math
def metrics(): return {"score": 0.9, "names": ["a", "\u00e9"], "best": None}
def number(): return 0.5
def text(): return "plain"
def opaque(): return {"lock": {1, 2}}
"""
KINDS = '"*": {platform: local}\n'


def test_strict_fails_a_job_whose_pipe_fails_and_the_other_shells_are_as_they_were(project) -> None:
    body = "\n".join(f"with af.job({name!r}): af.cmd('false | cat')" for name in ("strict", "usual", "bash"))
    project.jobs(body, f"{KINDS}strict: {{shell: strict}}\nbash: {{shell: bash}}\n")
    jobs = af.run_project(project.root).jobs
    assert [str(job.state) for job in jobs.values()] == ["FAILED", "FINISHED", "FINISHED"]


def test_strict_holds_for_commands_with_artifacts_too_and_render_shows_what_runs(project, cli) -> None:
    body = """
    with af.job("a"): af.cmd("false | cat > {out}", out=af.output("o.txt"))
    with af.job("b"): af.cmd("false | cat")
    """
    project.jobs(body, f"{KINDS}b: {{shell: strict}}\na: {{shell: strict}}\n")
    jobs = af.run_project(project.root).jobs
    assert [str(job.state) for job in jobs.values()] == ["FAILED", "FAILED"]
    shown = cli("render", project.root, "b").stdout
    assert "bash -euo pipefail" in shown
    assert "false | cat" in shown


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("stirct", "did you mean 'strict'"),
        ("fish", "must not be the text 'fish'"),
        ("[]", "the name of a shell or a list of words"),
        ("[bash, 1]", "the name of a shell or a list of words"),
        ("true", "the name of a shell or a list of words"),
        ("5", "the name of a shell or a list of words"),
        ('""', "must not be the text"),
        ("bash -e", "must not be the text 'bash -e'"),
        ("/bin/bash -e", "must not be the text '/bin/bash -e'"),
        ("[bash]", "write [bash, -c]"),
        ('["", -c]', "the name of a shell or a list of words"),
        ('[bash, -e, "{0}"]', "has '{0}'"),
        ("{bash: -c}", "the name of a shell or a list of words"),
    ],
)
def test_a_shell_that_is_none_is_refused_with_its_line(project, cli, shell: str, words: str) -> None:
    project.jobs('with af.job("a"): af.cmd("true")', f"{KINDS}a: {{shell: {shell}}}\n")
    refused = cli("render", project.root)
    assert refused.returncode == 3
    assert "workflow.yaml:2" in refused.stderr
    assert words in refused.stderr


def test_values_that_json_has_a_form_for_reach_commands_as_json(project) -> None:
    body = """
    with af.job("made"):
        m, n, t, o = af.python(metrics), af.python(number), af.python(text), af.python(opaque)
    with af.job("read"):
        af.cmd("cat {m} > {out}; cat {n} {t} >> {all}; echo {o} >> {all}", m=m, n=n, t=t, o=o,
               out=af.output("metrics.json"), all=af.output("all.txt"))
    """
    project.jobs(body, KINDS, STEPS)
    af.run_project(project.root, check=True)
    artifacts = af.open_run("latest", project.root).jobs["read"].artifacts
    assert json.loads(artifacts["cmd.out"].load().read_text()) == {"score": 0.9, "names": ["a", "\u00e9"], "best": None}
    lines = artifacts["cmd.all"].load().read_text().splitlines()
    assert lines[0] == "0.5"
    assert lines[1].startswith("plain/")  # text has no newline at its end
    assert lines[1].endswith("value.pkl")


def test_the_projects_folder_in_a_command_that_is_not_sent_it_is_named_before_the_run(project, cli) -> None:
    project.jobs('with af.job("a"): af.cmd("cat $AIFLOW_PROJECT_FOLDER/steps.py")', KINDS)
    refused = cli("render", project.root)
    assert refused.returncode == 3
    assert "workflow.py:6: the command of node 'cmd' in job 'a' uses AIFLOW_PROJECT_FOLDER" in refused.stderr
    for fine in ('cat $AIFLOW_PROJECT_FOLDER/steps.py > {o}", o=af.output("o")', 'ls ${AIFLOW_PROJECT_FOLDER:-.}"'):
        project.jobs(f'with af.job("a"): af.cmd("{fine})', KINDS)
        assert cli("run", project.root).returncode == 0
