"""The plugin host: an inventory from metadata, and one plugin imported at a time."""

from __future__ import annotations

from _thread import RLock

from aiflow_ext.host import index, registry
from aiflow_ext.host.policy import PINS, Policy, settle, unmatched
from aiflow_ext.host.records import IN_PROCESS, PluginRecord, PluginRecords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from aiflow_ext.host.examine import Examination
    from aiflow_ext.host.explain import Explanation
    from aiflow_ext.host.extensions import Extensions
    from aiflow_ext.host.proof import Proof
    from aiflow_ext.host.resolve import ResolvedPlugin
    from aiflow_ext.model.plugin import AbstractJobEnvironment, AbstractSecretSource


class PluginHost:
    """The plugins of this environment under one policy.

    Args:
        policy: what may be used; None: as the environment says (AIFLOW_PLUGINS_ALLOW, AIFLOW_PLUGINS_DENY).
        pins: name -> the distribution that provides it where several do; None: AIFLOW_PLUGINS_PINS.
    """

    def __init__(self, policy: Policy | None = None, pins: Mapping[str, str] | None = None) -> None:
        self.policy = Policy.from_environment() if policy is None else policy
        self.pins = Policy.pins_from_environment() if pins is None else dict(pins)
        self.places_of_pins: Mapping[str, str] = {}  # name -> where its pin is configured, as far as that was told
        self._snapshot: index.Snapshot | None = None
        self._outcomes: dict[tuple[str, ...], PluginRecord] = {}
        self._resolved: dict[tuple[str, str], tuple[Any, ResolvedPlugin]] = {}
        self._extensions: Extensions | None = None
        self._sources: dict[str, AbstractSecretSource] = {}
        self._environments: dict[str, AbstractJobEnvironment] | None = None
        # Re-entrant: importing a plugin may itself ask for plugins.
        self._lock = RLock()

    def plugins(self, refresh: bool = False) -> tuple[PluginRecord, ...]:
        """A record of every advertised plugin, sorted; nothing is imported.

        Args:
            refresh: read all metadata again, whatever the index says.
        """
        return self._with_outcomes(self._records(refresh))

    def proofs(self) -> dict[tuple[str, ...], Proof]:
        """What the certificates of installed distributions prove, by the first five fields of a job plugin's record.

        Every file of the distributions that ship one is read; nothing is imported.
        """
        from aiflow_ext.host.proof import proofs

        with self._lock:
            snapshot = self._facts(refresh=False)
        return proofs(snapshot.records, snapshot.homes)

    def _with_outcomes(self, records: list[PluginRecord]) -> tuple[PluginRecord, ...]:
        if self._outcomes:
            records = [self._outcomes.get(record[:5], record) if record.status == "available" else record
                       for record in records]  # fmt: skip
        return tuple(records)

    def resolve(self, platform: str, engine: str) -> ResolvedPlugin:
        """Import, check and return the job plugin for ``platform`` and ``engine``, and no other.

        Raises a PluginError of its own kind for each way in which it cannot be had (model.errors).
        """
        with self._lock:
            registered = registry.object_of("job_plugin", f"{platform}.{engine}")
            known = self._resolved.get((platform, engine))
            if known is not None and (
                known[0] is registered or (known[0] is None and registry.is_same(known[1].record, registered))
            ):
                return known[1]
            record = self._choose(platform, engine)
            resolved = self._load(record, platform, engine, registered)
            if self._extensions is not None:
                resolved.wrap(self._extensions.wrappers)
            resolved.policy, resolved.pins = self.policy, self.pins
            self._resolved[platform, engine] = registered, resolved
            return resolved

    def extensions(self, required: Sequence[str] = ()) -> Extensions:
        """Import the extensions, once; from then on they wrap every resolved plugin. Only a driver calls this.

        ``required``: names of those without which nothing runs; PluginError is raised where one cannot be had.
        """
        from aiflow_ext.host.extensions import Extensions

        with self._lock:
            if self._extensions is None:
                self._extensions = Extensions(self._advertised(required), required)
                self._outcomes.update({record[:5]: record for record in self._extensions.records})
                for _, resolved in self._resolved.values():
                    resolved.wrap(self._extensions.wrappers)
            return self._extensions

    def check_extensions(self, required: Sequence[str]) -> None:
        """Raise PluginError for required extensions that metadata shows cannot be had. Imports none of them."""
        if required:
            from aiflow_ext.host.extensions import check_required

            check_required(self._advertised(required), required)

    def _advertised(self, required: Sequence[str]) -> list[PluginRecord]:
        """The records of the extensions; "not installed" is never concluded from the index alone."""
        for refresh in (False, True):
            records = [record for record in self._records(refresh) if record.kind == "extension"]
            if all(any(name == each.name and each.status == "available" for each in records) for name in required):
                break
        return _once(records)

    def secret_source(self, name: str) -> AbstractSecretSource | None:
        """Import, check and return the source of secrets of this name; None where none is advertised.

        Raises a PluginError for one that cannot be used.
        """
        with self._lock:
            found = self._sources.get(name)
            if found is None:
                from aiflow_ext.host.resolve import secret_source

                record, records = self._find("secret_source", name)
                if record is None and not any(each[:2] == ("secret_source", name) for each in records):
                    return None
                found = self._sources[name] = secret_source(record, name, records)
            return found

    def job_environments(self) -> dict[str, AbstractJobEnvironment]:
        """What adds variables to jobs, in the order of the names, by its description for a message.

        Imported and checked once. One that cannot be used is logged, and left out.
        """
        with self._lock:
            if self._environments is None:
                found = [record for record in self._records() if record.kind == "job_environment"]
                self._environments = {}
                if found:
                    from aiflow_ext.host.resolve import job_environments

                    self._environments = job_environments(_once(found))
            return self._environments

    def authoring(self, name: str) -> Callable[..., Any]:
        """Import, check and return the authoring function of this name that a distribution adds to ``aiflow_ext``.

        Raises AttributeError where none is advertised, and a PluginError for one that cannot be used.
        """
        from aiflow_ext.host.resolve import authoring, no_authoring

        with self._lock:
            record, records = self._find("authoring", name)
            if record is not None:
                return authoring(record)
        why = no_authoring(name, records)
        if isinstance(why, str):
            raise AttributeError(f"module 'aiflow_ext' has no attribute {name!r}: {why}")
        raise why

    def why(self, platform: str, engine: str, *, limit: float | None = None) -> Explanation:
        """Whether ``platform`` and ``engine`` can be resolved and, if not, why and what to do. Imports no plugin here.

        Args:
            platform: the platform's name.
            engine: the engine's name.
            limit: load the plugin for trial in a child process, for at most so many seconds; None: read metadata only.
        """
        found = self._explained(platform, engine, refresh=False)
        if found.exit_code:  # no failure is concluded from the index alone
            found = self._explained(platform, engine, refresh=True)
        if limit is not None and not found.exit_code and found.records[0].distribution != IN_PROCESS:
            from aiflow_ext.host.trial import try_loading

            found.add(try_loading(found.records[0], limit))
        return found

    def _explained(self, platform: str, engine: str, *, refresh: bool) -> Explanation:
        from aiflow_ext.host.decisions import Decision, decisions
        from aiflow_ext.host.explain import Explanation

        name = f"{platform}.{engine}"
        with self._lock:
            snapshot = self._facts(refresh)
        advertised = registry.together_with(snapshot.records)
        settled = settle(list(advertised), self.policy, self.pins)
        found = Explanation(platform, engine, self._with_outcomes(settled), self.pins)
        named = [record for record in advertised if record[:2] == ("job_plugin", name)]
        found.decisions = decisions(named, found.records, self.policy, self.pins.get(name), self._place_of_pin(name),
                                    snapshot.homes)  # fmt: skip
        if not found.exit_code:
            from aiflow_ext.host.proof import proofs

            for proof in proofs(found.records[:1], snapshot.homes).values():
                found.decisions.append(Decision("proof", f"{proof.words} {proof.details}".strip()))
        return found

    def _place_of_pin(self, name: str) -> str:
        """Where the pin of a name is configured."""
        if name in self.places_of_pins:
            return self.places_of_pins[name]
        return (
            PINS
            if Policy.pins_from_environment().get(name) == self.pins.get(name)
            else "given to aiflow_ext.PluginHost"
        )

    def examine(self, *, limit: float = 15.0) -> Examination:
        """What is right and wrong with every advertised plugin, as ``aiflow-ext doctor`` shows it.

        All metadata is read again, and each plugin that is available is imported in a process of its own, several at
        once. Nothing that one does there disturbs this process, or another import.

        Args:
            limit: seconds after which an import is ended.
        """
        from aiflow_ext.host.examine import examine

        before = index.load()
        records = self.plugins(refresh=True)
        found = examine(records, before, limit, self.proofs())
        return found._replace(notes=(*found.notes, *unmatched(self.policy, records)))

    def _records(self, refresh: bool = False) -> list[PluginRecord]:
        with self._lock:
            snapshot = self._facts(refresh)
        return settle(registry.together_with(snapshot.records), self.policy, self.pins)

    def _facts(self, refresh: bool) -> index.Snapshot:
        if not refresh:
            if self._snapshot is not None and self._snapshot.holds() and index.only_standard_finders():
                return self._snapshot
            self._snapshot = index.load()
            if self._snapshot is not None:
                return self._snapshot
        from aiflow_ext.host.scan import scan

        found = scan()
        index.save(found)
        self._snapshot = found if found.settled() else None
        return found

    def _choose(self, platform: str, engine: str) -> PluginRecord:
        record, records = self._find("job_plugin", f"{platform}.{engine}")
        if record is not None:
            return record
        from aiflow_ext.host.resolve import refusal

        raise refusal(platform, engine, records, self.pins)

    def _find(self, kind: str, name: str) -> tuple[PluginRecord | None, list[PluginRecord]]:
        """The record of a plugin that can be used; where there is none, all records as they are now."""
        record = next((one for one in _usable(self._records(), kind, name) if self._still(one)), None)
        # Nothing usable, or no longer what the index says: the truth decides.
        if record is not None:
            return record, []
        records = self._records(refresh=True)
        return next(iter(_usable(records, kind, name)), None), records

    def _still(self, record: PluginRecord) -> bool:
        """Whether ``record``'s own distribution, read now, still says so."""
        if record.distribution == IN_PROCESS:
            return True
        home = self._snapshot.homes.get((record.distribution, record.version)) if self._snapshot else None
        if home is None:  # in an archive, or just scanned
            return self._snapshot is None
        from aiflow_ext.host.metadata import still_says

        return still_says(home, record)

    def _load(self, record: PluginRecord, platform: str, engine: str, registered: Any) -> ResolvedPlugin:
        from aiflow_ext.host.loading import shown
        from aiflow_ext.host.resolve import resolve
        from aiflow_ext.model.errors import PluginError

        try:
            resolved = resolve(record, platform, engine, registered if record.distribution == IN_PROCESS else None)
        except PluginError as error:
            self._outcomes[record[:5]] = record.replace("broken", error.message, shown(error.__cause__ or error))
            raise
        self._outcomes[record[:5]] = resolved.record
        return resolved


def plugins(refresh: bool = False) -> tuple[PluginRecord, ...]:
    """A record of every plugin that is advertised in this environment; nothing is imported."""
    return PluginRecords(PluginHost().plugins(refresh))


def _usable(records: list[PluginRecord], kind: str, name: str) -> list[PluginRecord]:
    return [one for one in records if one[1] == name and one[0] == kind and one[5] == "available"]


def _once(records: list[PluginRecord]) -> list[PluginRecord]:
    """Without the second of an extension that two distributions advertise as the same object."""
    first: dict[tuple[str, str, str], PluginRecord] = {}
    return [record for record in records if record.status != "available"
            or first.setdefault((record.kind, record.name, record.entry_point), record) is record]  # fmt: skip
