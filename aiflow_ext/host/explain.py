"""Explains why a platform and engine can or cannot be resolved, from metadata and by loading the plugin for trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aiflow_ext.host.decisions import Decision
from aiflow_ext.host.metadata import split_value
from aiflow_ext.host.policy import PINS, POLICY
from aiflow_ext.host.records import IN_PROCESS, PluginRecord, provider
from aiflow_ext.host.window import NEEDS_EXTRA
from aiflow_ext.model.errors import NOT_INSTALLED, OK, PLUGIN

if TYPE_CHECKING:
    from aiflow_ext.host.trial import Trial

# The platforms that this project publishes a distribution for.
OURS = ("local", "kubernetes", "yarn", "flink")
# The record that says most comes first.
_TELLING = ("loaded", "available", "conflicted", "incompatible", "disabled", "broken")


class Explanation:
    """What is known of one platform and engine.

    Attributes:
        platform, engine: what was asked for.
        records: the job plugins advertised under this name, the most telling first.
        sentences: what is the case.
        cures: what to do about it, one command or setting each; empty where nothing need be done.
        decisions: how that came about, in the order in which it is decided.
        loaded: whether loading it for trial went well; None where that was not tried.
        exit_code: 0 if it can be resolved as far as is known, else the code that ``run`` would end with.
    """

    def __init__(
        self, platform: str, engine: str, records: tuple[PluginRecord, ...], pins: Mapping[str, str] | None = None
    ) -> None:
        self.platform, self.engine = platform, engine
        name = f"{platform}.{engine}"
        self.records = tuple(
            sorted(
                (record for record in records if record.kind == "job_plugin" and record.name == name),
                key=lambda record: _TELLING.index(record.status),
            )
        )
        self.sentences: list[str] = []
        self.cures: list[str] = []
        self.decisions: list[Decision] = []
        self.loaded: bool | None = None
        if not self.records:
            self.exit_code = NOT_INSTALLED
            self._not_installed(name, records, pins or {})
            return
        self.exit_code = OK if self.records[0].status in ("available", "loaded") else PLUGIN
        for record in self.records:
            self._say(record)
        if self.exit_code == OK and self.records[0].distribution != IN_PROCESS:
            self._look_for_module(self.records[0])

    def add(self, trial: Trial) -> None:
        """Take in how loading the plugin for trial went."""
        record, *others = self.records
        self.loaded = trial.problem is None
        if trial.problem is None:
            record = record.replace("loaded")
            self.sentences[0] = f"{_named(record)} is loaded: it was imported and checked, in a process of its own"
        else:
            record = record.replace("broken", trial.problem, trial.error or "")
            self.exit_code = trial.exit_code
            self.sentences[0] = trial.problem
            if trial.hint:
                self.cures.append(trial.hint)
        words = trial.problem or "it was imported and checked, in a process of its own"
        self.decisions.append(Decision("import", words))
        self.records = (record, *others)
        self.sentences += trial.remarks

    def lines(self) -> list[str]:
        """The explanation for a person to read."""
        return [*self.sentences, *(f"to do: {cure}" for cure in self.cures)]

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types."""
        return {
            "platform": self.platform,
            "engine": self.engine,
            "resolvable": self.exit_code == OK,
            "loaded": self.loaded,
            "exit_code": self.exit_code,
            "records": [record.to_dict() for record in self.records],
            "sentences": list(self.sentences),
            "cures": list(self.cures),
            "decisions": [each._asdict() for each in self.decisions],
        }

    def _say(self, record: PluginRecord) -> None:
        what = _named(record)
        if record.status in ("available", "loaded"):
            self.sentences.append(f"{what} is {record.status}")
            return
        self.sentences.append(f"{what} is {record.status}: {record.reason}")
        cure = cure_of(record)
        if self.exit_code != OK and cure is not None and cure not in self.cures:
            self.cures.append(cure)

    def _look_for_module(self, record: PluginRecord) -> None:
        from importlib.util import find_spec

        top = split_value(record.entry_point)[0].partition(".")[0]
        try:
            there = find_spec(top) is not None  # of a top-level module: finds it without importing it
        except (ImportError, ValueError):
            there = False
        if not there:
            self.exit_code = PLUGIN
            self.sentences.append(f"but its module {top!r} is not there")
            self.cures.append(f"pip install --force-reinstall {record.distribution}")

    def _not_installed(self, name: str, records: Iterable[PluginRecord], pins: Mapping[str, str]) -> None:
        here: dict[str, list[str]] = {}
        for record in records:
            if record.kind == "job_plugin" and "." in record.name:
                platform, _, engine = record.name.partition(".")
                here.setdefault(platform, []).append(engine)
        engines = sorted(set(here.get(self.platform, ())))
        if engines:
            what = f"nothing installed runs engine {self.engine!r} on platform {self.platform!r}"
            self.sentences.append(f"{what}; its engines here are {_listed(engines)}")
            self._near_engine(engines, here)
        else:
            what = f"nothing installed provides the platform {self.platform!r}"
            listed = f"installed are {_listed(sorted(here))}" if here else "no job plugin is installed"
            self.sentences.append(f"{what}; {listed}")
            self._near_platform(here)
        if not self.cures:
            self.cures.append("install the distribution that provides it; aiflow-ext plugins lists what is installed")
        if name in pins:
            self.sentences.append(f"the pin {name}={pins[name]} changes nothing: it is not installed")

    def _near_engine(self, engines: list[str], here: Mapping[str, list[str]]) -> None:
        platform, dot, engine = self.engine.partition(".")
        if dot and platform in here and engine in here[platform]:
            self.cures.append(f"{self.engine!r} is a platform and an engine: write {engine!r} as engine")
            return
        if others := sorted(platform for platform, theirs in here.items() if self.engine in theirs):
            self.cures.append(f"the engine {self.engine!r} is there on platform {_listed(others)}")
        elif near := _near(self.engine, engines):
            self.cures.append(f"did you mean {' or '.join(map(repr, near))}?")
        if self.engine == "flink" and self.platform in OURS:
            self.cures.append(f"pip install 'aiflow-ext-{self.platform}[flink]'")

    def _near_platform(self, here: Mapping[str, list[str]]) -> None:
        platform, dot, engine = self.platform.partition(".")
        if dot and engine in here.get(platform, ()):
            words = f"write {platform!r} as platform and {engine!r} as engine"
            self.cures.append(f"{self.platform!r} is a platform and an engine: {words}")
            return
        near = _near(platform, here)
        if near:
            self.cures.append(f"did you mean {' or '.join(map(repr, near))}?")
        # Nearer than what is installed: who has most of a long name right means that one.
        ours = [one for one in _near(platform, OURS, 0.75) if one not in here]
        if ours and not (near and _likeness(platform, near[0]) >= _likeness(platform, ours[0])):
            written = "" if ours[0] == self.platform else f", and write {ours[0]!r} as platform"
            self.cures.append(f"pip install aiflow-ext-{ours[0]}{written}")


def _named(record: PluginRecord) -> str:
    return f"job plugin {record.name!r} of {provider(record)} ({record.entry_point or 'no entry point'})"


def install_hint(explanation: Explanation) -> str:
    """The cures of something that is not installed, in one line."""
    return "; ".join(explanation.cures)


def _near(name: str, names: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Those of ``names`` that ``name`` may be a misspelling of, whatever the case of its letters; the nearest first."""
    from difflib import get_close_matches

    lowered = {one.lower(): one for one in names}
    return [lowered[one] for one in get_close_matches(name.lower(), lowered, 3, cutoff)]


def _likeness(one: str, other: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _listed(names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def cure_of(record: PluginRecord) -> str | None:
    """What to do about a plugin that metadata, policy or a conflict keeps from being used; None: nothing does."""
    return {
        "conflicted": f"{PINS}={record.name}={record.distribution} chooses the one of {record.distribution}",
        "disabled": f"change {_switch(record.reason or '')}",
        "incompatible": _upgrade(record),
        "broken": f"pip install --force-reinstall {record.distribution}",
    }.get(record.status)


def _upgrade(record: PluginRecord) -> str:
    """What makes an incompatible plugin one that can be used."""
    reason = record.reason or ""
    if reason.startswith(NEEDS_EXTRA):
        return reason.rpartition("; ")[2]
    return f"pip install --upgrade {record.distribution}  (or another version of aiflow-ext)"


def _switch(reason: str) -> str:
    """What has disabled a plugin: a variable, or a project's file."""
    if not reason.startswith(POLICY):
        return f"{PINS}, or plugins: in the project's project.yaml"
    place = reason.partition(" list (")[2].removesuffix(" names it").removesuffix(")")
    return place or "the policy that aiflow_ext.PluginHost was given"
