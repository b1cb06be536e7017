"""Laziness, proved in fresh interpreters by sys.modules: listing imports no plugin, resolving imports one."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["pluggy", "attrs", "attr", "cattrs", "json", "importlib.metadata", "importlib_metadata", "packaging",
         "typing", "dataclasses", "click", "rich", "yaml", "inspect", "logging"]  # fmt: skip


def modules_after(site, code: str) -> set[str]:
    """The modules that ``code`` adds to those that the interpreter starts with."""
    child = f"import sys\nknown = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - known))"
    done = subprocess.run([sys.executable, "-c", child], env=site.env, capture_output=True, text=True,
                          cwd=site.folder.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.fixture
def three(site, source):
    for name in ("moon", "mars", "venus"):
        site.add(f"{name}-dist", {"platforms": {name: f"{name}_plugin:Platform"},
                                  "job_plugins": {f"{name}.rover": f"{name}_plugin:Plugin"},
                                  "extensions": {f"{name}-watch": f"{name}_watch:Watch"}},
                 {f"{name}_plugin.py": source(name), f"{name}_watch.py": "raise RuntimeError('imported')"})  # fmt: skip
    return site


OURS = {f"{name}_{what}" for name in ("moon", "mars", "venus") for what in ("plugin", "watch")}


@pytest.mark.parametrize("code", ["import aiflow_ext", "import aiflow_ext.host", "import aiflow_ext.host.host",
                                  "import aiflow_ext.plugin.engines",
                                  "from aiflow_ext import plugins, PluginHost, Policy"])  # fmt: skip
def test_importing_the_host_imports_nothing_heavy(site, code: str) -> None:
    assert not modules_after(site, code) & set(HEAVY)


def test_listing_from_the_index_imports_nothing_heavy_and_no_plugin(three) -> None:
    three.settle()
    found = modules_after(three, "import aiflow_ext as af\nassert len(af.plugins()) >= 9\naf.PluginHost().plugins()")
    assert not found & {*HEAVY, *OURS, "aiflow_ext.plugin"}
    assert not {module for module in found if module.startswith("aiflow_ext.model")}


@pytest.mark.parametrize("what", ["refresh", "why moon rover", "why moon walker", "plugins"])
def test_no_inventory_imports_a_plugin(three, what: str) -> None:
    assert not set(three.ask(what)["modules"]) & OURS


@pytest.mark.parametrize("indexed", [False, True])
def test_resolving_imports_the_one_and_no_extension(three, indexed: bool) -> None:
    if indexed:
        three.settle()
    answer = three.ask("moon rover")
    assert answer["resolved"]["status"] == "loaded"
    assert set(answer["modules"]) & OURS == {"moon_plugin"}


@pytest.mark.parametrize("what", ["plugins", "moon rover", "why moon rover"])
def test_with_an_index_nothing_reads_metadata_through_a_library(three, what: str) -> None:
    three.settle()
    assert not {"importlib.metadata", "importlib_metadata"} & set(three.ask(what)["modules"])


def test_an_index_serves_also_where_somebody_else_has_imported_importlib_metadata(three) -> None:
    three.settle()
    code = "import importlib_metadata, aiflow_ext as af\nassert len(af.plugins()) >= 9"
    assert "aiflow_ext.host.scan" not in modules_after(three, code)


def test_a_miss_imports_no_plugin(three) -> None:
    answer = three.ask("pluto rover")
    assert answer["error"][0] == "PluginNotInstalledError"
    assert not set(answer["modules"]) & OURS
