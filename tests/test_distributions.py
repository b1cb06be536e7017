"""The distributions agree on their versions and requirements, and the changelog speaks of the same version."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import aiflow_ext

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ["aiflow-ext-flink", "aiflow-ext-local", "aiflow-ext-kubernetes", "aiflow-ext-yarn"]


def test_the_installed_version_is_the_one_that_the_package_says():
    assert distribution("aiflow-ext").version == aiflow_ext.__version__, "make lint installs it anew"


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_has_the_core_s_version_and_its_requirement_admits_that(name):
    plugin = distribution(name)
    assert plugin.version == aiflow_ext.__version__
    (core,) = [one for one in map(Requirement, plugin.requires or []) if one.name == "aiflow-ext"]
    assert core.specifier.contains(aiflow_ext.__version__, prereleases=True)
    assert not core.specifier.contains("1.0"), "a next incompatible version must be excluded"


@pytest.mark.parametrize("file", sorted(ROOT.glob("plugins/*/pyproject.toml")), ids=lambda file: file.parent.name)
def test_a_plugin_has_the_core_s_version_also_where_it_is_not_installed(file):
    assert re.search(r'^version = "(.*)"$', file.read_text(), re.MULTILINE)[1] == aiflow_ext.__version__


@pytest.mark.parametrize("name", ["aiflow-ext", *PLUGINS])
def test_a_distribution_says_where_it_runs_and_under_which_licence(name):
    metadata = distribution(name).metadata
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    classifiers = set(metadata.get_all("Classifier") or [])
    pythons = {f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)}
    assert pythons | {"Operating System :: POSIX :: Linux", "Typing :: Typed"} <= classifiers


def test_the_changelog_s_newest_heading_is_this_version_or_changes_to_come():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert next(each for each in headings if each != "Unreleased") == aiflow_ext.__version__
    assert "Unreleased" not in headings[1:], "changes to come stand first, and once"
