"""``why`` and ``run`` give the same verdict, and ``why`` names what decided, in order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from broken_plugins import KINDS, WHOLE, Broken, add_plugin

ADVERTISED = {"job_plugins": {"moon.rover": "moon_dist:Plugin"}}
GENERATES = """
class Plugin(Plugin):
    def generate(self, sub_graph, project_desc):
        return af.AbstractJob(af.JobContext(), sub_graph.config)
"""
REFUSES = """
class Plugin(Plugin):
    def generate(self, sub_graph, project_desc):
        raise ValueError("no fuel")
"""


class Site(NamedTuple):
    """What is installed and configured.

    Attributes:
        code: the exit code of both commands.
        broken: how the plugin moon.rover is broken; None: whole.
        env: variables.
        config: of the job a.
        project: project.yaml.
        extra: METADATA of a plugin that needs an extra, in the place of the plugin.
    """

    code: int
    broken: Broken | None = None
    env: Mapping[str, str] = MappingProxyType({})
    config: str = "{platform: moon, engine: rover}"
    project: str = "{}"
    extra: str = ""


def rival(code: int, **more: Any) -> Site:
    return Site(code, Broken(GENERATES, "conflicted", ""), **more)


SITES = {
    "whole": Site(0, Broken(GENERATES, "", "")),
    **{f"broken-{kind}": Site(5, KINDS[kind]) for kind in KINDS.keys() - {"hang", "segfault", "slow"}},
    "refused-by-generate": Site(3, Broken(REFUSES, "", "")),
    "denied-by-variable": Site(5, env={"AIFLOW_PLUGINS_DENY": "moon-dist"}),
    "not-allowed-by-variable": Site(5, env={"AIFLOW_PLUGINS_ALLOW": "mars-*"}),
    "denied-by-project": Site(5, project="plugins: {deny: ['name:moon.*']}"),
    "allowed-by-project": Site(0, Broken(GENERATES, "", ""), project="plugins: {allow: [moon-dist]}"),
    "pinned-by-variable": rival(0, env={"AIFLOW_PLUGINS_PINS": "moon.rover=moon-rival"}),
    "pinned-by-project": rival(0, project="plugins: {pins: {moon.rover: moon-dist}}"),
    "pinned-to-another": rival(5, project="plugins: {pins: {moon.rover: mars-dist}}"),
    "variable-over-project": rival(
        0, env={"AIFLOW_PLUGINS_PINS": "moon.rover=moon-rival"}, project="plugins: {pins: {moon.rover: mars-dist}}"
    ),
    "missing-extra": Site(5, extra="Name: moon-dist\nVersion: 1.0\nRequires-Dist: not-installed; extra == 'more'\n"),
    "no-platform": Site(4, config="{platform: mooon, engine: rover}"),
    "no-engine": Site(4, config="{platform: moon, engine: rovr}"),
    "unknown-key": Site(3, Broken(GENERATES, "", ""), config="{platform: moon, engine: rover, retires: 2}"),
    "wrong-common-key": Site(3, Broken(GENERATES, "", ""), config="{platform: moon, engine: rover, retries: two}"),
    "broken-project": Site(3, project="plugins: 3"),
}


@pytest.mark.parametrize("case", sorted(SITES))
def test_why_and_run_give_the_same_verdict_for_the_same_reason(site: Any, cli: Any, project: Any, case: str) -> None:
    given = SITES[case]
    if given.extra:
        source = WHOLE.format(platform="moon", engine="rover")
        site.add("moon-dist", {"job_plugins": {"moon.rover": "moon_dist:Plugin [more]"}}, {"moon_dist.py": source},
                 header=given.extra)  # fmt: skip
    else:
        add_plugin(site.folder, "moon", given.broken)
    project.jobs("with af.job('a'):\n    pass", f"a: {given.config}\n")
    project.write(project_yaml=given.project)
    env = site.env | dict(given.env)
    ran = cli("run", project.root, env=env)
    why = cli("why", project.root, "a", "--json", env=env)
    told = json.loads(why.stdout)
    assert (ran.returncode, why.returncode) == (given.code, given.code), (ran.stderr, why.stdout)
    if given.code == 0:
        assert told["plugin"]["resolvable"]
        assert told["problems"] == []
        return
    if "error" in told:  # of project.yaml, which both read first
        reasons = told["error"]["problems"]
    else:
        reasons = told["problems"] or [{"message": sentence} for sentence in told["plugin"]["sentences"]]
    assert reasons
    for each in reasons:
        assert each["message"].partition("\n")[0] in ran.stderr


def test_every_decision_names_what_made_it(site: Any, cli: Any, project: Any, tmp_path: Path) -> None:
    add_plugin(site.folder, "moon", Broken(GENERATES, "conflicted", ""))
    project.jobs("with af.job('a'):\n    pass", '"*":\n  platform: moon\na:\n  engine: rover\n')
    project.write(project_yaml="plugins:\n  allow:\n    - moon-*\n  pins:\n    moon.rover: moon-rival\n")
    done = cli("why", "project", "a", "--set", "a.engine=rover", "--json", env=site.env, cwd=tmp_path)
    told = [(each["about"], each["words"]) for each in json.loads(done.stdout)["decisions"]]
    assert [about for about, _ in told] == [
        "platform", "engine", "advertised", "metadata", "metadata", "policy", "policy", "conflict", "import", "job",
    ]  # fmt: skip
    words = dict(told)
    assert words["platform"] == "moon (project/workflow.yaml:2)"
    assert words["engine"] == "rover (--set a.engine=rover)"
    assert f"moon-rival 1.0 as moon_rival:Plugin ({site.folder}/moon_rival-1.0.dist-info)" in words["advertised"]
    assert words["policy"] == (
        "on moon-rival: it is allowed by the allow list (plugins: allow in project/project.yaml:3)"
    )
    assert words["conflict"] == (
        "the pin moon.rover=moon-rival (plugins: pins in project/project.yaml:5) chooses moon-rival of moon-dist and "
        "moon-rival"
    )
    assert words["import"] == "it was imported and checked, in a process of its own"
    env = site.env | {"AIFLOW_PLUGINS_PINS": "moon.rover=moon-dist"}
    done = cli("why", "project", "a", "--no-load", env=env, cwd=tmp_path)
    assert "the pin moon.rover=moon-dist (AIFLOW_PLUGINS_PINS) chooses moon-dist of" in done.stdout
    assert "import" not in done.stdout.split("\n")[-2]


def test_why_of_a_job_that_is_not_there_names_a_near_one(site: Any, cli: Any, project: Any) -> None:
    project.jobs("with af.job('train'):\n    af.cmd('true')", "{}\n")
    done = cli("why", project.root, "trian", env=site.env)
    assert done.returncode == 3
    assert "did you mean 'train'?" in done.stderr
    done = cli("why", project.root, "train", env=site.env)
    assert "local (the default: no config names one)" in done.stdout
    assert "cmd_line (the default: what the job's nodes are made for" in done.stdout
