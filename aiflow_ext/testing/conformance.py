"""JobPluginConformance: the test class that a plugin's author subclasses; Conformance: its part without tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from aiflow_ext.host.specs import OPTIONAL
from aiflow_ext.testing.base import BaseLevel
from aiflow_ext.testing.cleaning import Cleaning
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.durable import SECRET, DurableLevel
from aiflow_ext.testing.given import Given
from aiflow_ext.testing.killing import KillLoop
from aiflow_ext.testing.marks import Marks
from aiflow_ext.testing.memory import Memory
from aiflow_ext.testing.outages import Outages
from aiflow_ext.testing.report import LEVELS, PROPERTY
from aiflow_ext.testing.streams import Streams
from aiflow_ext.testing.support import Support
from aiflow_ext.testing.trial import Trial
from aiflow_ext.testing.works import DEFAULTS, Works
from aiflow_ext.testing.zygote import Nursery, Zygote

# Hooks without which a driver can do less. The others have complete defaults.
_ASKED_FOR = ("attach", "lookup", "render", "watch")
_DEFAULTED = sorted(OPTIONAL.keys() - {*_ASKED_FOR})


class Conformance(Support):
    """What every class of the kit's tests has: its plugin, and for each test a project and clients.

    Attributes:
        platform, engine: the names that the plugin is advertised under.
        config: keys that every job needs in workflow.yaml on this platform.
        env: variables for the processes that call the plugin; a cluster's address, for example.
        artifacts: an artifacts URL that client and jobs reach; empty where they share the client's folders.
        patience: seconds that any one call may take, and any one job to begin.
        at_once: how many jobs are submitted at once.
        kills: how often the kill loop kills the client; ``--aiflow-kills`` says otherwise.
    """

    platform: ClassVar[str] = ""
    engine: ClassVar[str] = ""
    config: ClassVar[Mapping[str, Any]] = {}
    env: ClassVar[Mapping[str, str]] = {}
    artifacts: ClassVar[str] = ""
    patience: ClassVar[float] = 60.0
    at_once: ClassVar[int] = 8
    kills: ClassVar[int] = 40

    def works(self, marks: Marks) -> Works:
        """The jobs that the tests run. Override it for an engine other than python and cmd_line."""
        if self.engine not in DEFAULTS:
            complain(
                f"the kit has jobs for the engines {' and '.join(DEFAULTS)}, and none for {self.engine!r}",
                "subclass aiflow_ext.testing.works.Works and return an object of it from works(self, marks)",
                "jobs-and-marks",
            )
        return DEFAULTS[self.engine](marks)

    def marks(self, folder: Path) -> Marks:
        """Where jobs tell that they were executed. Override it where they do not see the client's folders."""
        return Marks(folder)

    # -- for the tests ---------------------------------------------------------------------------------------------

    @pytest.fixture(autouse=True)
    def _conformance(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
        function = getattr(request.function, "conformance", None)
        if function is None:  # a test of the author's own
            yield
            return
        self.pytest_config = request.config
        self.zygote = _zygote_of(self, request)
        facts = self.zygote.facts
        offers = facts.get("offers", [])
        level, needs = function
        report: dict[str, Any] = {
            "plugin": f"{self.platform}.{self.engine}",
            "distribution": " ".join(filter(None, (facts.get("distribution"), facts.get("version")))),
            "file": facts.get("file"),
            "level": level,
            "test": request.function.__name__,
            "tests": _tests_of(type(self)),
            "missing": [name for name in _ASKED_FOR if name not in offers] if facts else [],
            "defaults": [name for name in _DEFAULTED if name not in offers] if facts else [],
            "notes": [],
            "kill_loop": {},
        }
        self.notes, self.kill_loop = report["notes"], report["kill_loop"]
        request.node.user_properties.append((PROPERTY, report))
        if self.zygote.error is not None and request.function.__name__ not in _WITHOUT_PLUGIN:
            pytest.fail(f"{self.platform}.{self.engine} cannot be loaded; {_WITHOUT_PLUGIN[0]} says why", pytrace=False)
        missing = [name for name in needs if name not in offers]
        if missing and facts:
            pytest.skip(f"not offered: {', '.join(missing)}")
        self.root = tmp_path
        config = {"platform": self.platform, "engine": self.engine, **self.config}
        marks = self.marks(tmp_path / "marks")
        marks.clear()  # an author's place for them may be the same in each session
        self.trial = Trial(tmp_path, self.zygote, config, marks, self.patience, self.artifacts)
        self.jobs = self.works(self.trial.marks)
        try:
            yield
        finally:
            self.trial.close()


class JobPluginConformance(
    KillLoop, Outages, Memory, DurableLevel, Cleaning, Streams, Given, BaseLevel, Conformance
):  # pytest runs those of the last one first
    """Subclass it with a name that begins with ``Test``, and say which job plugin it is for, by the attributes of
    ``Conformance``."""


_WITHOUT_PLUGIN = ("test_it_is_found_and_is_what_it_says", "test_listing_imports_no_plugin")


def _tests_of(cls: type[Any]) -> dict[str, int]:
    found = dict.fromkeys(LEVELS, 0)
    for name in dir(cls):
        said = getattr(getattr(cls, name), "conformance", None)
        if name.startswith("test_") and said is not None:
            found[said[0]] += 1
    return found


class _Session:
    """A session's zygotes, by plugin and environment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.nursery = folder, Nursery(folder)
        self.zygotes: dict[Any, Zygote] = {}

    def zygote(self, case: Conformance) -> Zygote:
        """The zygote of a test class's plugin."""
        key = (case.platform, case.engine, tuple(sorted(case.env.items())))
        if key not in self.zygotes:
            folder = self.folder / str(len(self.zygotes))
            folder.mkdir()
            ours = {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}
            env = {SECRET: secrets.token_hex(16), **ours, **case.env}
            self.zygotes[key] = Zygote(self.nursery, case.platform, case.engine, folder, env)
        return self.zygotes[key]

    def close(self) -> None:
        """End all of them."""
        for zygote in self.zygotes.values():
            zygote.close()
        self.nursery.close()


_SESSION: pytest.StashKey[_Session] = pytest.StashKey()


def _zygote_of(case: Conformance, request: pytest.FixtureRequest) -> Zygote:
    config = request.config
    if _SESSION not in config.stash:
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        config.stash[_SESSION] = _Session(factory.mktemp("conformance"))
        config.add_cleanup(config.stash[_SESSION].close)
    return config.stash[_SESSION].zygote(case)
