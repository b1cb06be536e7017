"""``config show``: the settings that a run would have, and the origin of each."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from aiflow_ext.run.operations.settings import LAYERS, VARIABLES

ROOT = Path(__file__).parents[2]
WORKFLOW = """
with af.job("train"):
    af.cmd("true")
with af.job("other"):
    af.cmd("true")
"""
# What aiflow-ext sets for a job, or for a program that it starts: nobody configures these. docs/inside-a-job.md and
# docs/conformance-rules.md describe those that a job or a plugin may read.
SET_FOR_JOBS = {
    "AIFLOW_RUN", "AIFLOW_JOB", "AIFLOW_ATTEMPT", "AIFLOW_PROPERTIES", "AIFLOW_MEMORY", "AIFLOW_WORK_FOLDER",
    "AIFLOW_PROJECT_FOLDER", "AIFLOW_CHECKPOINT_DIR", "AIFLOW_CHECKPOINT_HDFS", "AIFLOW_FAILED_JOBS", "AIFLOW_MARK",
    "AIFLOW_REASON_FILE", "AIFLOW_PROGRESS_FILE", "AIFLOW_RAN_WITH_FILE", "AIFLOW_ARTIFACT_HOSTS",
    "AIFLOW_ARTIFACT_INSECURE_NODES", "AIFLOW_ARCHIVE", "AIFLOW_BUNDLE", "AIFLOW_AM_SPEC", "AIFLOW_STORE",
    "AIFLOW_FLINK_FAILED", "AIFLOW_FLINK_DISRUPTED", "AIFLOW_FLINK_FOLDER", "AIFLOW_FLINK_RESTORED",
}  # fmt: skip


@pytest.fixture
def layered(project: Any, cli_env: dict[str, str], tmp_path: Path) -> Any:
    """A project with a setting of each layer."""
    user = tmp_path / "config" / "aiflow-ext"
    user.mkdir(parents=True)
    (user / "config.yaml").write_text('"*": {retries: 1, timeout: 1h, properties: {of_user: 1}}\n')
    cli_env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    project.jobs(
        WORKFLOW,
        '"*": {timeout: 2h, cpu: 1}\n"tr*": {cpu: 2}\n'
        "train:\n  memory: 1Gi\n  properties: {alpha: 1, beta: 2, deep: {a: 1}}"
        "\n  platforms: {local: {python: /usr/bin/python3}}\n",
    )
    project.write(
        project_yaml="""
            profiles: {file: prod.yaml, inline: {train: {retry_delay: 5s}}}
            plugins: {allow: ["aiflow-*"], pins: {local.python: aiflow-ext-local}}
            extensions: {timeout: 10s}
        """,
        prod_yaml="train: {memory: 2Gi, keep: failed}\n",
        mine_yaml="train: {keep: false}\n",
    )
    return project


def shown(cli: Any, *args: Any, cwd: Path, **more: str) -> dict[str, dict[str, tuple[Any, str, str | None]]]:
    """value, layer and place of each setting by its dotted path, by scope."""
    done = cli("config", "show", *args, "--json", cwd=cwd, env=more.pop("env"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    scopes = {"environment": found["environment"], "project": found["project"] or [], **found["jobs"]}

    def of(each: dict[str, Any]) -> tuple[Any, str, str | None]:
        return each["value"], each["layer"], each["where"]

    return {scope: {".".join(map(str, each["path"])): of(each) for each in found} for scope, found in scopes.items()}


def test_each_setting_has_the_value_and_the_place_of_the_strongest_layer(
    layered: Any, cli: Any, cli_env: Any, tmp_path: Path
) -> None:
    options = (
        "--profile",
        "file",
        "--config",
        "project/mine.yaml",
        "--set",
        "train.properties.beta=3",
        "-p",
        "alpha=5",
    )
    found = shown(cli, "project", *options, cwd=tmp_path, env=cli_env)
    train, other = found["train"], found["other"]
    assert train["retries"] == (1, "user file", "config/aiflow-ext/config.yaml:1")
    assert train["properties.of_user"] == (1, "user file", "config/aiflow-ext/config.yaml:1")
    assert train["timeout"] == ("2h", "project file", "project/workflow.yaml:1")
    assert train["cpu"] == (2, "project file", "project/workflow.yaml:2")
    assert other["cpu"] == (1, "project file", "project/workflow.yaml:1")
    assert train["python"] == ("/usr/bin/python3", "project file", "project/workflow.yaml:6")
    assert train["properties.deep.a"] == (1, "project file", "project/workflow.yaml:5")
    assert train["memory"] == ("2Gi", "profile", "project/prod.yaml:1")
    assert train["keep"] == (False, "--config", "project/mine.yaml:1")
    assert train["properties.beta"] == (3, "command line", "--set train.properties.beta=3")
    assert train["properties.alpha"] == (5, "command line", "-p alpha=5")
    assert train["platform"] == ("local", "default", None)
    assert train["engine"] == ("cmd_line", "default", "what the job's nodes are made for")
    assert other["memory"] == (None, "default", None)
    assert {layer for scope in found.values() for _, layer, _ in scope.values()} <= set(LAYERS)
    inline = shown(cli, "project", "train", "--profile", "inline", cwd=tmp_path, env=cli_env)
    assert inline["train"]["retry_delay"] == ("5s", "profile", "project/project.yaml:2")


def test_the_environment_is_told_apart_from_project_yaml(layered: Any, cli: Any, cli_env: Any, tmp_path: Path) -> None:
    env = cli_env | {"AIFLOW_PLUGINS_ALLOW": "local.*", "AIFLOW_STATE": str(tmp_path / "elsewhere"),
                     "AIFLOW_PLUGINS_PINS": "local.cmd_line=aiflow-ext-local"}  # fmt: skip
    found = shown(cli, "project", cwd=tmp_path, env=env)
    settings = found["project"]
    assert settings["plugins.allow.0"] == ("local.*", "environment", "AIFLOW_PLUGINS_ALLOW")
    assert settings["plugins.allow.1"] == ("aiflow-*", "project file", "project/project.yaml:3")
    assert settings["plugins.deny"] == ([], "default", None)
    assert settings["plugins.pins.local.cmd_line"] == ("aiflow-ext-local", "environment", "AIFLOW_PLUGINS_PINS")
    assert settings["plugins.pins.local.python"] == ("aiflow-ext-local", "project file", "project/project.yaml:3")
    assert settings["extensions.timeout"] == ("10s", "project file", "project/project.yaml:4")
    assert settings["extensions.require"] == ([], "default", None)
    value, layer, where = settings["artifacts"]
    assert value.startswith(str(tmp_path / "elsewhere"))
    assert (layer, where) == ("environment", "AIFLOW_STATE")
    assert found["environment"]["AIFLOW_STATE"] == (str(tmp_path / "elsewhere"), "environment", "AIFLOW_STATE")
    assert found["environment"]["AIFLOW_DEBUG"] == (None, "default", None)


def test_the_text_is_yaml_with_the_same_values_and_an_origin_behind_each(
    layered: Any, cli: Any, cli_env: Any, tmp_path: Path
) -> None:
    odd = ["yes", "1e3", "a: b", "# no", "*x", "two\nlines", "", "ä", "0x10", "- a", "12:30:45", "null", "{a}"]
    layered.write(odd_yaml=json.dumps({"train": {"properties": {"odd": odd, "a b: c": 1}}}))
    args = ("project", "train", "--config", "project/odd.yaml", "--set", "train.retries=2")
    plain = cli("config", "show", *args, cwd=tmp_path, env=cli_env)
    assert plain.returncode == 0, plain.stderr
    train = yaml.safe_load(plain.stdout)["jobs"]["train"]
    assert train["properties"]["odd"] == odd
    assert train["properties"]["a b: c"] == 1
    told = cli("config", "show", *args, "--origin", cwd=tmp_path, env=cli_env).stdout
    assert yaml.safe_load(told) == yaml.safe_load(plain.stdout)
    assert re.search(r"^ +retries: 2 +# --set train.retries=2$", told, re.MULTILINE)
    assert re.search(r"^ +timeout: 2h +# project/workflow.yaml:1$", told, re.MULTILINE)
    assert re.search(r"^ +platform: local +# default$", told, re.MULTILINE)
    assert "#" not in cli("config", "show", cwd=tmp_path, env=cli_env).stdout


def test_defaults_of_a_plugin_are_named_as_its_own_and_a_broken_one_does_not_keep_the_rest_from_being_shown(
    layered: Any, cli: Any, cli_env: Any, tmp_path: Path
) -> None:
    sets = ("--set", "train.platform=kubernetes", "--set", "train.image=python:3", "--set", "train.python=null")
    found = shown(cli, "project", "train", *sets, cwd=tmp_path, env=cli_env)
    assert found["train"]["image"] == ("python:3", "command line", "--set train.image=python:3")
    assert found["train"]["grace"] == (30, "default", "kubernetes.cmd_line of aiflow-ext-kubernetes")
    done = cli("config", "show", "project", "train", "--set", "train.platform=moon", cwd=tmp_path, env=cli_env)
    assert done.returncode == 0
    assert "the defaults of job plugins are not known: nothing installed provides the platform 'moon'" in done.stderr
    assert "platform: moon" in done.stdout


def test_mistakes_are_those_that_run_names(layered: Any, cli: Any, cli_env: Any, tmp_path: Path) -> None:
    done = cli("config", "show", "project", "trian", cwd=tmp_path, env=cli_env)
    assert done.returncode == 3
    assert "did you mean 'train'?" in done.stderr
    done = cli("config", "show", "project", "--set", "train.retries=two", cwd=tmp_path, env=cli_env)
    assert done.returncode == 3
    assert "'retries' must be a whole number" in done.stderr
    assert cli("config", "show", "--set", "a.b=1", cwd=tmp_path, env=cli_env).returncode == 2


def test_every_variable_that_is_read_is_in_the_table_of_the_documentation() -> None:
    names = ("aiflow_ext", *(f"aiflow_ext_{plugin}" for plugin in ("local", "flink", "kubernetes", "yarn")))
    packages = [Path(str(importlib.import_module(name).__file__)).parent for name in names]
    sources = [file for package in packages for file in package.rglob("*.py")]
    read = {name for file in sources for name in re.findall(r"\bAIFLOW_[A-Z][A-Z_]*[A-Z]\b", file.read_text())}
    table = (ROOT / "docs" / "operators.md").read_text().partition("### Variables\n")[2].partition("\n#")[0]
    documented = re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)
    assert documented == list(VARIABLES), "the table, and what config show prints"
    assert read - SET_FOR_JOBS == {name for name in VARIABLES if name.startswith("AIFLOW_")}
    assert read >= SET_FOR_JOBS, "one that is not there any more"
