"""Throw-away environments: folders of real distributions, and fresh interpreters that are asked about them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from dist_info import install, wheel

from aiflow_ext.host import registry

# What a fresh interpreter answers. LATER pretends that so many seconds have passed since the files were written: an
# index of files just written is not trusted, and waiting for that would be a sleep. AT is what its clock shows, in ns.
ASK = """
import json, os, sys, time
later = int(os.environ.get("TEST_LATER", "0"))
if at := int(os.environ.get("TEST_AT", "0")):
    time.time_ns = lambda: at
elif later:
    now = time.time_ns
    time.time_ns = lambda: now() + later * 10**9
import aiflow_ext as af
answer = {}
for what in sys.argv[1:]:
    if what == "plugins":
        answer["plugins"] = [record.to_dict() for record in af.plugins()]
        answer["scanned"] = "aiflow_ext.host.scan" in sys.modules
    elif what == "refresh":
        answer["plugins"] = [record.to_dict() for record in af.plugins(refresh=True)]
    elif what == "examine":
        answer["notes"] = [str(note) for note in af.PluginHost().examine().notes]
    elif what == "extensions":
        answer["extensions"] = [record.to_dict() for record in af.PluginHost().extensions().records]
    elif what.startswith("why "):
        answer["why"] = af.PluginHost().why(*what.split()[1:]).to_dict()
    else:
        try:
            answer["resolved"] = af.PluginHost().resolve(*what.split()).record.to_dict()
        except af.AiflowError as error:
            answer["error"] = [type(error).__name__, str(error)]
answer["modules"] = sorted(sys.modules)
print(json.dumps(answer))
"""

PLUGIN = """
import aiflow_ext as af

class Platform(af.AbstractPlatform):
    @staticmethod
    def platform():
        return {platform!r}

class Engine(af.AbstractEngine):
    @staticmethod
    def engine():
        return {engine!r}

class Plugin:
    def generate(self, sub_graph, project_desc):
        return af.AbstractJob(af.JobContext(), sub_graph.config)
    def generate_job_resource(self, job):
        pass
    def submit_job(self, job):
        return job
    def stop_job(self, job):
        pass
    def cleanup_job(self, job):
        pass
    def job_type(self):
        return af.AbstractJob
    def job_config_type(self):
        return af.AbstractJobConfig
    def platform(self):
        return Platform
    def engine(self):
        return Engine
"""


def plugin_source(platform: str = "moon", engine: str = "rover", more: str = "") -> str:
    """A whole job plugin as a module, with ``more`` appended."""
    return PLUGIN.format(platform=platform, engine=engine) + textwrap.dedent(more)


class Site:
    """A folder on sys.path with distributions in it."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.python = sys.executable
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith(("AIFLOW_", "PYTHON"))}  # fmt: skip
        self.env |= {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(cache)}
        folder.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        name: str,
        groups: Mapping[str, Mapping[str, str]] | str,
        files: Mapping[str, str] | None = None,
        *,
        version: str = "1.0",
        requires: Sequence[str] = (),
        header: str | None = None,
    ) -> Path:
        """Lay a distribution out as pip does; returns its metadata folder."""
        return install(self.folder, name, groups, files, version=version, requires=requires, metadata=header)

    def ask(self, *what: str, later: int = 0, **env: str) -> dict[str, Any]:
        """The answer of a fresh interpreter."""
        done = subprocess.run(
            [self.python, "-c", ASK, *what],
            env=self.env | {"TEST_LATER": str(later)} | env, cwd=self.folder.parent, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def settle(self) -> None:
        """Have a trusted index written, and make sure that it is used."""
        self.ask("plugins", later=60)
        assert not self.ask("plugins")["scanned"], "no index was written, or it is not trusted"

    def names(self, *distributions: str, **env: str) -> dict[str, str]:
        """``distribution version`` by plugin name, as a fresh interpreter lists it."""
        listed = self.ask("plugins", later=0, **env)["plugins"]
        return {one["name"]: f"{one['distribution']} {one['version']}" for one in listed
                if not distributions or one["distribution"] in distributions}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An environment of its own, for fresh interpreters."""
    return Site(tmp_path / "site", tmp_path / "cache")


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The same, on this interpreter's sys.path for the length of a test."""
    known = set(sys.modules)
    for name in ("ALLOW", "DENY", "PINS"):
        monkeypatch.delenv(f"AIFLOW_PLUGINS_{name}", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(site.cache))
    monkeypatch.syspath_prepend(str(site.folder))
    registry.unregister_all()
    yield site
    registry.unregister_all()
    for name, module in list(sys.modules.items()):
        if name not in known and str(getattr(module, "__file__", None)).startswith(str(site.folder.parent)):
            del sys.modules[name]


@pytest.fixture
def source() -> Any:
    return plugin_source


@pytest.fixture
def build_wheel() -> Any:
    return wheel
