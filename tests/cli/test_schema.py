"""``schema``: every example's files are valid by it, and typical mistakes are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dist_info import install
from jsonschema import Draft202012Validator

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(file for name in ("workflow", "project") for file in EXAMPLES.rglob(f"{name}.yaml"))
Valid = Callable[[str, str], bool]


@pytest.fixture(scope="module")
def validators(command_server: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Draft202012Validator]:
    """A validator of each file, with the examples of third-party plugins installed beside aiflow-ext's own."""
    import os
    import shutil
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("schema")
    nohup = EXAMPLES / "plugin-nohup" / "aiflow_ext_nohup.py"
    groups = {"job_plugins": {"nohup.cmd_line": "aiflow_ext_nohup:NohupJobPlugin"}}
    install(folder / "site", "aiflow-ext-nohup", groups, {nohup.name: nohup})
    slurm = EXAMPLES / "plugins" / "slurm" / "aiflow_ext_slurm"
    shutil.copytree(slurm, folder / "site" / slurm.name)
    engines = {"cmd_line": "SlurmCmdLineJobPlugin", "python": "SlurmPythonJobPlugin"}
    groups = {"job_plugins": {f"slurm.{engine}": f"aiflow_ext_slurm.jobs:{name}" for engine, name in engines.items()}}
    install(folder / "site", "aiflow-ext-slurm", groups)
    env = {**os.environ, "PYTHONPATH": str(folder / "site"), "XDG_CACHE_HOME": str(folder / "cache")}
    found = {}
    for which in ("workflow", "project"):
        argv = [sys.executable, "-m", "aiflow_ext", "schema", which]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        schema = json.loads(done.stdout)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        Draft202012Validator.check_schema(schema)
        found[which] = Draft202012Validator(schema)
    return found


@pytest.fixture
def valid(validators: dict[str, Draft202012Validator]) -> Valid:
    return lambda which, text: validators[which].is_valid(yaml.safe_load(text) or {})


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_the_files_of_every_example_are_valid(validators: dict[str, Draft202012Validator], file: Path) -> None:
    errors = validators[file.stem].iter_errors(yaml.safe_load(file.read_text()))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


RIGHT = [
    "train: {platform: kubernetes, engine: python, image: team/ml, memory: 1Gi}",
    "train: {platform: kubernetes, engine: python, image: team/ml, volumes: [{mount: /data, claim: data}]}",
    "train: {engine: python, image: team/ml}",  # the platform may stand under "*"
    '"*": {platform: local}\n"fold-*": {retries: 2, retry_delay: {first: 10s}}',
    "train: {platforms: {kubernetes: {image: a}, moon: {rover: 1}}}",
    "train: {env: {TOKEN: {secret: env:TOKEN}, N: 1}, periodic_config: {cron: 0 3 * * *}}",
    "train:",
    "train: {platform: local, engine: python, timeout: 1h30m, keep: failed, shell: [bash, -c], exec_mode: stream}",
    "greet: {platform: nohup, engine: cmd_line, nice: 5}",
]
WRONG = [
    "train: {platform: local, engine: python, retires: 2}",
    "train: {platform: locla, engine: python}",
    "train: {platform: local, engine: pyhton}",
    "train: {platform: nohup, engine: python}",  # it has no such job plugin
    "train: {platform: local, engine: python, image: team/ml}",  # a key of kubernetes
    "train: {platform: local, image: team/ml}",
    "train: {retires: 2}",
    '"*": {retires: 2}',
    "train: {retries: two}",
    "train: {retries: -1}",
    "train: {memory: 1024}",
    "train: {memory: 4gb}",
    "train: {timeout: 10 minutes}",
    "train: {retry_on: [fail]}",
    "train: {retry_delay: {frist: 10s}}",
    "train: {env: [A, B]}",
    "train: {env: {TOKEN: {secret: TOKEN}}}",
    "train: {env: {TOKEN: {sceret: env:TOKEN}}}",
    "train: {periodic: {corn: 0 3 * * *}}",
    "train: {properties: [1]}",
    "train: {exec_mode: BATHC}",
    "train: {keep: maybe}",
    "train: {gpu: some}",
    "train: {platforms: {kubernetes: {imgae: a}}}",
    "train: {platforms: {kubernetes: {platform: local}}}",
    "train: {platforms: [kubernetes]}",
    "train: {platform: kubernetes, engine: python, volumes: [{mount: /data, calim: data}]}",
    "train: {platform: kubernetes, engine: python, volumes: {mount: /data}}",
    "greet: {platform: nohup, engine: cmd_line, nice: very}",
    "train: python",
    "retries: 2",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_a_job_may_say_is_valid(valid: Valid, text: str) -> None:
    assert valid("workflow", text)


@pytest.mark.parametrize("text", WRONG)
def test_typical_mistakes_in_workflow_yaml_are_refused(valid: Valid, text: str) -> None:
    assert not valid("workflow", text)


@pytest.mark.parametrize("text", [
    "name: digits\nartifacts: s3://bucket\njobs: {kubernetes: 10}\nextensions: {require: [audit], timeout: 30s}",
    "schedule: {nightly: {cron: 0 3 * * *, params: {alpha: 1}}}",
    "profiles: {prod: prod.yaml, dev: {train: {retries: 1}}}",
    "plugins: {allow: [aiflow-*], pins: {local.python: mine}}\npython_paths:\n",
])  # fmt: skip
def test_what_a_project_may_say_is_valid(valid: Valid, text: str) -> None:
    assert valid("project", text)


@pytest.mark.parametrize("text", [
    "nmae: digits", "python_paths: src", "jobs: {local: 0}", "jobs: {local: many}", "plugins: {pin: {}}",
    "plugins: {allow: aiflow-*}", "extensions: {require: audit}", "extensions: {timeout: long}",
    "schedule: {nightly: {corn: 0 3 * * *}}", "schedule: {every night: {cron: 0 3 * * *}}", "profiles: {prod: 1}",
    "profiles: {dev: {train: {retires: 1}}}", "resources: [a]", "name: 3",
])  # fmt: skip
def test_typical_mistakes_in_project_yaml_are_refused(valid: Valid, text: str) -> None:
    assert not valid("project", text)


def test_a_key_says_what_it_means_and_its_default(validators: dict[str, Draft202012Validator]) -> None:
    defs = validators["workflow"].schema["$defs"]
    assert defs["common.retries"]["description"].startswith("how many further attempts a failed job gets")
    image = defs["job.kubernetes.python"]["properties"]["image"]["$ref"].rpartition("/")[2]
    assert defs[image]["description"]


def test_a_plugin_that_cannot_be_imported_is_named_and_its_jobs_may_have_any_key(
    cli: Any, stranger: Any, cli_env: Any
) -> None:
    stranger("moon", "import ctypes; ctypes.string_at(0)", {"moon.rover": "Plugin"})
    done = cli("schema", env=cli_env)
    assert done.returncode == 0
    assert "is ended by SIGSEGV; its keys are not known, and any is taken" in done.stderr
    validator = Draft202012Validator(json.loads(done.stdout))
    assert validator.is_valid({"a": {"platform": "moon", "engine": "rover", "wheels": 6}})
    assert not validator.is_valid({"a": {"platform": "moon", "engine": "rover", "retries": "many"}})
    assert not validator.is_valid({"a": {"platform": "local", "engine": "python", "wheels": 6}})
