"""A plugin in the words of AI Flow's own documents, and nothing else: it installs, is listed, and runs."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aiflow_ext as af

SEED = Path(__file__).parent / "seed" / "seed_words.py"
# What AI Flow's documents name, and how each is called.
SIGNATURES = {
    "AbstractPlatform": "", "AbstractPlatform.platform": "", "AbstractEngine": "", "AbstractEngine.engine": "",
    "BaseJob": "job_context job_config", "AbstractJob": "job_context job_config",
    "BaseJobConfig": "platform engine job_name periodic_config exec_mode properties",
    "AbstractJobConfig": "platform engine job_name periodic_config exec_mode properties",
    "AbstractJobGenerator.generate": "self sub_graph project_desc",
    "AbstractJobGenerator.generate_job_resource": "self job", "AbstractJobSubmitter.submit_job": "self job",
    "AbstractJobSubmitter.stop_job": "self job", "AbstractJobSubmitter.cleanup_job": "self job",
    **{f"AbstractJobPlugin.{name}": "self job" for name in ("generate_job_resource", "submit_job", "stop_job",
                                                            "cleanup_job")},
    "AbstractJobPlugin.generate": "self sub_graph project_desc",
    **{f"AbstractJobPlugin.{name}": "self" for name in ("job_type", "job_config_type", "platform", "engine")},
    "AbstractJobHandler": "", "register_platform": "cls", "register_engine": "cls", "register_job_plugin": "plugin",
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_class_and_method_takes_the_seeds_arguments_by_place_and_by_name(name: str) -> None:
    found: Any = af
    for part in name.split("."):
        found = getattr(found, part)
    taken = list(inspect.signature(found).parameters.values())
    by_place = [each.name for each in taken if each.kind is each.POSITIONAL_OR_KEYWORD]
    wanted = SIGNATURES[name].split()
    assert by_place[: len(wanted)] == wanted
    further = [each for each in taken if each.name not in wanted]
    assert all(
        each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in further
    )


@pytest.fixture(scope="module")
def installed(environment: Any, build_wheel: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The environment with the seed's plugin in it, until the module's end."""
    folder = tmp_path_factory.mktemp("seed")
    advertised = "[aiflow_ext.platforms]\nseed = seed_words:SeedPlatform\n"
    advertised += "[aiflow_ext.job_plugins]\nseed.cmd_line = seed_words:SeedJobPlugin\n"
    built = build_wheel(folder, "aiflow-ext-seed", advertised, {SEED.name: SEED}, requires=["aiflow-ext"])
    pip = [sys.executable, "-m", "pip", "--python", environment.python, "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-index", "--no-deps", str(built)], check=True)
    yield environment
    subprocess.run([*pip, "uninstall", "-q", "-y", "aiflow-ext-seed"], check=True)


def test_it_is_listed_and_explained(installed: Any) -> None:
    listed = json.loads(installed.call("-m", "aiflow_ext", "plugins", "--json").stdout)
    ours = [
        (each["kind"], each["name"], each["status"]) for each in listed if each["distribution"] == "aiflow-ext-seed"
    ]
    assert sorted(ours) == [("job_plugin", "seed.cmd_line", "available"), ("platform", "seed", "available")]
    done = installed.call("-m", "aiflow_ext", "why", "seed", "cmd_line")
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_runs_with_a_config_in_ai_flows_flat_shape(installed: Any, write_project: Any, tmp_path: Path) -> None:
    config = {"platform": "seed", "engine": "cmd_line", "job_name": "told", "exec_mode": "BATCH",
              "periodic_config": {"cron": "0 6 * * *"},
              "properties": {"told": "x", "text": "first", "list": [1, {"a": None}], "map": {"b": 1.5}}}  # fmt: skip
    body = '    with af.job("one"):\n        af.cmd("echo done")\n'
    ran = installed.run(write_project(tmp_path / "project", {"one": config}, body))
    assert ran.exit == 0, ran.out + ran.err
    told, done = ran.file("one", "stdout").splitlines()
    assert re.match(r"seed cmd_line told \S*BATCH\S* 0 6 \* \* \* \{", told)
    assert str(config["properties"]) in told
    assert done == "done"
