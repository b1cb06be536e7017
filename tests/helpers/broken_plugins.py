"""Plugins that are broken in one way each, and what is to be said of each of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dist_info import install

WHOLE = """
import aiflow_ext.plugin as af


class Platform(af.AbstractPlatform):
    @staticmethod
    def platform() -> str:
        return "{platform}"


class Engine(af.AbstractEngine):
    @staticmethod
    def engine() -> str:
        return "{engine}"


class Plugin(af.AbstractJobPlugin):
    def generate(self, sub_graph, project_desc): ...
    def generate_job_resource(self, job): ...
    def submit_job(self, job): ...
    def stop_job(self, job): ...
    def cleanup_job(self, job): ...
    def job_type(self): return af.AbstractJob
    def job_config_type(self): return af.AbstractJobConfig
    def platform(self): return Platform
    def engine(self): return Engine
"""


class Broken(NamedTuple):
    """A plugin that is broken in one way.

    Attributes:
        code: what its module does beyond being a whole job plugin.
        status: of its record after it was examined.
        words: what its reason, or a remark on it, contains.
        requires: requirements of its distribution.
    """

    code: str
    status: str
    words: str
    requires: tuple[str, ...] = ()


KINDS = {
    "hang": Broken("import time; time.sleep(10_000)", "broken", "is still not imported after"),
    "segfault": Broken("import ctypes; ctypes.string_at(0)", "broken", "is ended by SIGSEGV"),
    "exit": Broken("raise SystemExit(0)", "broken", "cannot be imported: SystemExit: 0"),
    "importerror": Broken("raise ImportError('no licence')", "broken", "ImportError: no licence"),
    "wrongtype": Broken("class Plugin: pass", "broken", "is no job plugin: Plugin lacks the methods"),
    "dependency": Broken("import not_installed_here", "broken", "needs the module 'not_installed_here'"),
    "conflict": Broken("", "conflicted", "both provide it"),
    "version": Broken("", "incompatible", "it requires aiflow-ext>=99", ("aiflow-ext>=99",)),
    "syntax": Broken("def broken(:", "broken", "SyntaxError"),
    "slow": Broken("import time; time.sleep(SLOW)", "loaded", "importing it takes"),
}  # fmt: skip


def add_plugin(site: Path, name: str, broken: Broken | None = None, *, slow: float = 6.0) -> None:
    """Install ``{name}-dist`` in ``site``, whose platform ``name`` runs jobs of engine ``rover``; whole, or broken.

    Of a conflict there is a second one, ``{name}-rival``; ``slow``: seconds that a slow import takes.
    """
    source = WHOLE.format(platform=name, engine="rover")
    code = "" if broken is None else broken.code.replace("SLOW", str(slow)) + "\n"
    requires = () if broken is None else broken.requires
    owners = [f"{name}-dist", *([f"{name}-rival"] if broken is not None and broken.status == "conflicted" else [])]
    for owner in owners:
        module = owner.replace("-", "_")
        groups = {"platforms": {name: f"{module}:Platform"}, "job_plugins": {f"{name}.rover": f"{module}:Plugin"}}
        if owner != owners[0]:
            del groups["platforms"]
        install(site, owner, groups, {f"{module}.py": source + code}, requires=requires)
