"""The layers of a job's config: user settings < workflow.yaml < profile < --config < --set < -p."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import aiflow_ext as af

BODY = 'with af.job("a"): af.cmd("echo {properties.who} $LEVEL")\nwith af.job("b"): af.cmd("true")'
CONFIG = '"*": {platform: local}\na: {properties: {who: file}, env: {LEVEL: "1"}}\n'


@pytest.fixture
def layered(project, tmp_path, cli_env, monkeypatch):
    """A project with profiles, and a user with settings."""
    for variables in (cli_env, os.environ):
        monkeypatch.setitem(variables, "XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.setitem(variables, "XDG_STATE_HOME", str(tmp_path / "state"))
    user = tmp_path / "config/aiflow-ext/config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text('"*": {env: {LEVEL: user, OWN: mine}}\n"another-project-*": {retries: 3}\n')
    project.jobs(BODY, CONFIG)
    project.write(project_yaml="profiles:\n  prod: prod.yaml\n  dev:\n    a: {properties: {who: dev}}\n")
    (project.root / "prod.yaml").write_text("a:\n  properties: {who: prod}\n  retries: 2\n")
    return project


def printed(project, **options):
    return af.open_run(af.run_project(project.root, check=True, **options)).logs("a").split()


def test_each_layer_overrides_those_below_it_key_by_key(layered, tmp_path):
    over = tmp_path / "over.yaml"
    over.write_text("'[a]': {properties: {who: config}}\n")
    assert printed(layered) == ["file", "1"]
    assert printed(layered, profile="dev") == ["dev", "1"]
    assert printed(layered, profile="prod") == ["prod", "1"]
    assert printed(layered, profile="prod", config=[str(over)]) == ["config", "1"]
    assert printed(layered, config=[str(over)], sets=["a.properties.who=set"]) == ["set", "1"]
    assert printed(layered, profile="prod", params={"who": "param"}) == ["param", "1"]
    layered.jobs(BODY, CONFIG.replace(', env: {LEVEL: "1"}', ""))
    layered.write(project_yaml="{}\n")
    assert printed(layered) == ["file", "user"]


def test_a_run_records_its_layers_and_a_mistake_is_named_with_the_file_of_its_layer(layered, cli):
    done = cli("run", layered.root, "--profile", "prod", "--json")
    layers = json.loads(done.stdout)["provenance"]["layers"]
    assert [os.path.basename(each) for each in layers] == ["config.yaml", "workflow.yaml", "prod.yaml"]
    for text, words in (("a:\n  retries: many\n", "prod.yaml:2: job 'a': 'retries'"),
                        ("a: {}\nzz: {}\n", "prod.yaml:2: no job of the workflow is called 'zz'")):  # fmt: skip
        (layered.root / "prod.yaml").write_text(text)
        refused = cli("run", layered.root, "--profile", "prod")
        assert refused.returncode == 3
        assert words in refused.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--profile", "prd"], "--profile prd: the project has no profile 'prd'\n    did you mean 'prod'"),
        (["--profile", "x"], "the profiles in project.yaml are prod, dev"),
        (["--config", "none.yaml"], "none.yaml: cannot be read: No such file or directory"),
        (["--config", "/dev/null/x"], "cannot be read"),
    ],
)
def test_a_layer_that_is_not_there_is_named_before_the_run(layered, cli, options, words):
    for command in ("run", "render"):
        refused = cli(command, layered.root, *options)
        assert refused.returncode == 3
        assert words in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (layered.root / ".aiflow/runs").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("profiles: {prod: 3}", "the profile 'prod' must be a file or a mapping, not the number 3"),
        ("profiles: {prod: gone.yaml}", "gone.yaml: cannot be read: No such file or directory"),
        ("profiles: [prod]", "profiles"),
    ],
)
def test_a_profile_that_cannot_be_used_is_named(layered, cli, text, words):
    layered.write(project_yaml=f"{text}\n")
    refused = cli("run", layered.root, "--profile", "prod")
    assert refused.returncode == 3
    assert words in refused.stderr


def test_a_resumed_and_updated_run_has_the_profile_that_it_was_started_with(layered):
    layered.jobs(BODY.replace('"true"', '"exit 1"'), CONFIG)
    record = af.run_project(layered.root, profile="prod")
    assert record.state == "FAILED"
    layered.jobs(BODY, CONFIG)
    run = af.open_run(record).resume(from_job="a", update=True)
    assert run.logs("a").split() == ["prod", "1"]
    assert run.resume(failed=True, update=True, check=True).state == "FINISHED"


def test_settings_of_another_user_are_refused(layered, cli, tmp_path):
    settings = tmp_path / "config/aiflow-ext/config.yaml"
    settings.chmod(0o666)
    assert "config.yaml: others can write to this file of settings" in cli("run", layered.root).stderr
    settings.chmod(0o644)
    os.chown(settings, 12345, 12345)
    refused = cli("run", layered.root)
    assert refused.returncode == 3
    assert "config.yaml: this file of settings belongs to another user" in refused.stderr


def test_a_schedule_has_profiles_too(layered, cli):
    layered.write(project_yaml="schedule: {nightly: {interval: 1h, profile: prod}}\n")
    refused = cli("schedule", layered.root)
    assert refused.returncode == 3
    assert "the project has no profile 'prod'" in refused.stderr
    assert Path(layered.root, "prod.yaml").exists()
