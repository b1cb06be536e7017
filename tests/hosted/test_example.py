"""The example plugin, as somebody who has just installed it meets it."""

from __future__ import annotations

import json
import os
import shutil

import pytest


@pytest.fixture(scope="module")
def ran(environment, example, tmp_path_factory):
    root = tmp_path_factory.mktemp("example") / "example"
    shutil.copytree(example / "example", root, ignore=shutil.ignore_patterns(".aiflow"))
    return environment.run(root)


def test_the_installed_example_runs_its_project(ran):
    assert (ran.exit, ran.err) == (0, "")
    assert ran.file("greet", "stdout") == "hello, world\n"
    assert ran.file("report", "stdout") == f"nice {os.nice(0) + 5}, alpha 0.1, in job report\n"


def test_a_handler_that_overrides_nothing_is_finished_and_shown_as_unable_to_tell(ran):
    assert ran.last("greet")["state"] == "FINISHED"
    assert "its handler cannot tell more" in ran.last("greet")["reason"]
    assert "greet FINISHED" in ran.out
    assert "its handler cannot tell more" in ran.out


def test_its_cleanup_is_called_in_the_attempt_host(ran):
    assert not (ran.folder / "jobs" / "greet" / "1" / "script.sh").exists()


def test_a_failing_command_ends_with_its_own_exit_code(run):
    body = "    with af.job('bad'):\n        af.cmd('echo why >&2; exit 7')\n        af.cmd('echo never')\n"
    ran = run({"bad": {"platform": "nohup", "engine": "cmd_line"}}, body=body)
    assert (ran.exit, ran.last("bad")["exit_code"], ran.file("bad", "stdout")) == (1, 7, "")
    assert "returned non-zero exit status 7" in ran.last("bad")["reason"]


def test_moving_a_job_to_it_is_one_line_and_the_order_between_platforms_holds(run):
    both = {"platforms": {"nohup": {"nice": 3}}, "engine": "cmd_line"}
    body = (
        "    with af.job('second'):\n        af.cmd('date +%s.%N; nice')\n"
        "    with af.job('first'):\n        af.cmd('date +%s.%N; nice')\n"
        "    af.run_after('second', 'first')\n"
    )
    ran = run({"second": {"platform": "nohup", **both}, "first": {"platform": "local", **both}}, body=body)
    assert ran.exit == 0, ran.err
    first, second = (ran.file(name, "stdout").split() for name in ("first", "second"))
    assert float(first[0]) < float(second[0])
    assert (int(first[1]), int(second[1])) == (os.nice(0), os.nice(0) + 3)


@pytest.mark.parametrize(
    ("config", "line", "words"),
    [
        ({"nice": "ten"}, 3, "'nice' must be a whole number, not the text 'ten'"),
        ({"platforms": {"nohup": {"nise": 1}}}, 5, "did you mean 'nice'?"),
        ({"platforms": {"nohup": {"shell": 3}}}, 5, "'shell' must be the name of a shell"),
    ],
)
def test_a_mistake_in_a_key_of_its_config_is_named_with_file_and_line(run, config, line, words):
    ran = run({"greet": {"platform": "nohup", **config, "engine": "cmd_line"}})
    assert ran.exit == 3
    assert f"workflow.yaml:{line}" in ran.err, ran.err
    assert words in ran.err
    assert not ran.jobs


def test_its_commands_have_the_projects_folder_and_the_shell_that_is_configured(run):
    body = "    with af.job('greet'):\n        af.cmd('ls $AIFLOW_PROJECT_FOLDER; false | cat; echo on')\n"
    for shell, code, on in (("sh", 0, "on\n"), ("strict", 1, "")):
        ran = run({"greet": {"platform": "nohup", "engine": "cmd_line", "shell": shell}}, body=body)
        assert (ran.exit, ran.file("greet", "stdout")) == (code, f"workflow.py\nworkflow.yaml\n{on}"), ran.err


def test_an_artifact_that_it_cannot_pass_is_reported_before_anything_starts(run):
    body = "    with af.job('greet'):\n        af.cmd('date > {out}', out=af.output('date.txt'))\n"
    ran = run({"greet": {"platform": "nohup", "engine": "cmd_line"}}, body=body)
    assert (ran.exit, ran.out) == (3, "")
    assert "platform nohup passes no artifacts" in ran.err
    assert "aiflow-ext-nohup" in ran.err


def test_render_shows_the_host_that_will_run_it_and_is_json(environment, example):
    done = environment.call("-m", "aiflow_ext", "render", example / "example", "greet", "--json")
    (request,) = json.loads(done.stdout)
    assert request["kind"] == "attempt host"
    assert "echo hello, world" in request["content"]["job"]["script"]


def test_a_plugin_that_cannot_check_whether_a_job_is_ready_is_named_before_the_run(run):
    config = {"serve": {"platform": "nohup", "engine": "cmd_line", "exec_mode": "STREAM", "ready": 80}}
    ran = run(config, body="    with af.job('serve'):\n        af.cmd('true')\n")
    assert ran.exit == 3
    assert "job plugin nohup.cmd_line cannot check whether a job is ready" in ran.err
    assert "workflow.yaml:5" in ran.err
