"""How commands are run, and what they get of values: on the platform local, for real."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

import aiflow_ext as af

STEPS = """
import os
def metrics(): return {"score": 0.9, "names": ["a", "\u00e9"], "best": None}
def number(): return 0.5
def text(): return "plain"
def opaque(): return {"lock": {1, 2}}
def odd(): return [os.fsdecode(b"\\xff"), "\u00e9"]
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


def test_text_that_is_no_utf8_reaches_commands_in_json_that_every_reader_takes(project) -> None:
    body = """
    with af.job("made"): m = af.python(odd)
    with af.job("read"): af.cmd("cat {m} > {o}", m=m, o=af.output("o.json"))
    """
    project.jobs(body, KINDS, STEPS)
    af.run_project(project.root, check=True)
    made = af.open_run("latest", project.root).jobs["read"].artifacts["cmd.o"].load().read_text(encoding="utf-8")
    assert json.loads(made) == ["\udcff", "\u00e9"]
    assert "\u00e9" in made


def test_the_projects_folder_in_a_command_that_is_not_sent_it_is_named_before_the_run(project, cli) -> None:
    project.jobs('with af.job("a"): af.cmd("cat $AIFLOW_PROJECT_FOLDER/steps.py")', KINDS)
    refused = cli("render", project.root)
    assert refused.returncode == 3
    assert "workflow.py:6: the command of node 'cmd' in job 'a' uses AIFLOW_PROJECT_FOLDER" in refused.stderr
    for wrong in ("$AIFLOW_PROJECT_FOLDER-old", "${AIFLOW_PROJECT_FOLDER%/}", "${AIFLOW_PROJECT_FOLDER:?}"):
        project.jobs(f'with af.job("a"): af.cmd(["sh", "-c", "ls {wrong}"])', KINDS)
        assert "uses AIFLOW_PROJECT_FOLDER" in cli("render", project.root).stderr
    for fine in ('cat $AIFLOW_PROJECT_FOLDER/steps.py > {o}", o=af.output("o")', 'ls ${AIFLOW_PROJECT_FOLDER:-.}"',
                 'ls ${AIFLOW_PROJECT_FOLDER:=.}"', 'echo $AIFLOW_PROJECT_FOLDERS"'):  # fmt: skip
        project.jobs(f'with af.job("a"): af.cmd("{fine})', KINDS)
        assert cli("run", project.root).returncode == 0


KEYS = {
    "local": {},
    "kubernetes": {"image": "team/ml:1"},
    "yarn": {"resource_manager": "http://rm.invalid:8088", "webhdfs": "http://nn.invalid:9870", "user": "ada"},
}
VALUES = ["a  b", 'it\'s "$HOME" `id` $(id) $$ \\\\', "two\nlines\n", "", "-n", "é*"]


def executed(content: dict[str, Any]) -> list[str]:
    """The argument vector in a rendered request, behind what the platform puts before it."""
    if "job" in content:
        command = content["job"]["spec"]["template"]["spec"]["containers"][0]["command"]
        return [word.replace("$$", "$") for word in command[6:]]  # as the kubelet passes it on
    return list(content["spec"]["argv"] if "spec" in content else content["argv"])


@pytest.mark.parametrize("platform", KEYS)
@pytest.mark.parametrize("shell", ["strict", "sh", "bash", ["bash", "-lc"]], ids=str)
def test_what_is_rendered_for_every_platform_passes_every_value_unchanged(project, cli, platform, shell) -> None:
    names = ", ".join(f"v{number}={value!r}" for number, value in enumerate(VALUES))
    words = " ".join(f"{{v{number}}}" for number in range(len(VALUES)))
    script = f"printf '%s\\0' {words}"
    for command in (script, ["bash", "-c", script], ["printf", r"%s\0", *words.split()]):
        project.jobs(
            f"with af.job('a'): af.cmd({command!r}, {names})",
            json.dumps({"a": {"platform": platform, "shell": shell, **KEYS[platform]}}),
        )
        done = cli("render", project.root, "--json")
        assert done.returncode == 0, done.stderr
        said = subprocess.run(executed(json.loads(done.stdout)[0]["content"]), capture_output=True, check=True).stdout
        assert said.decode().split("\0")[:-1] == VALUES


def test_commands_that_are_too_long_together_are_named_before_the_run(project, cli) -> None:
    project.jobs(
        """
        with af.job("a"):
            for number in range(22):
                af.cmd("echo {x} | wc -c", x="y" * 100_000)
        """,
        KINDS,
    )
    refused = cli("render", project.root)
    assert refused.returncode == 3
    assert "workflow.py:8: the 22 commands of job 'a' have 2200" in refused.stderr
