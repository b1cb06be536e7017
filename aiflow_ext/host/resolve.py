"""A job plugin that has been imported and checked, and what is raised for one that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from aiflow_ext.host.guard import guarded
from aiflow_ext.host.loading import create, describe, load, make
from aiflow_ext.host.manager import Hooks, manager_of
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.host.validate import check_names, types_of
from aiflow_ext.host.window import NEEDS_EXTRA
from aiflow_ext.model.errors import (
    PluginConflictError,
    PluginDependencyError,
    PluginDisabledError,
    PluginError,
    PluginIncompatibleError,
    PluginNotInstalledError,
    PluginTypeError,
)
from aiflow_ext.model.plugin import AbstractJobEnvironment, AbstractSecretSource

if TYPE_CHECKING:
    from aiflow_ext.host.policy import Policy
    from aiflow_ext.model.config import BaseJobConfig
    from aiflow_ext.model.job import BaseJob

log = logging.getLogger("aiflow_ext.host")
_RAISED: dict[str, type[PluginError]] = {
    "conflicted": PluginConflictError,
    "incompatible": PluginIncompatibleError,
    "disabled": PluginDisabledError,
}


class ResolvedPlugin:
    """A job plugin, ready to be called.

    Attributes:
        record: its record, ``loaded``.
        plugin: the author's object.
        hook: the nine, the offered optional hooks and the defaults of the others; called with
            keywords: ``resolved.hook.submit_job(job=job)``.
        platform, engine: the names it is advertised under.
        config_type, job_type: the classes of its configs and jobs.
        offers: names of the optional hooks that it implements.
        durable: it offers both ``lookup`` and ``attach``.
        wrapped: an extension is around it, whose code may take any time.
        remarks: sentences on what its author may not have meant, such as a hook's method without a marker.
        policy, pins: of the host that has resolved it; no policy where none has.
    """

    policy: Policy | None = None
    pins: Mapping[str, str] = {}

    def __init__(self, record: PluginRecord, plugin: Any, platform: str, engine: str) -> None:
        where = describe(record)
        types = types_of(plugin, where)
        check_names(types, platform, engine, where)
        self._manager, self.offers, self.remarks = manager_of(plugin, where)
        self.record, self.plugin, self.platform, self.engine = record.replace("loaded"), plugin, platform, engine
        self.hook: Any = self._manager.hook
        self.config_type: type[BaseJobConfig] = types["job_config_type"]
        self.job_type: type[BaseJob] = types["job_type"]
        self.wrapped = False
        self.durable = {"lookup", "attach"} <= self.offers

    def wrap(self, wrappers: Iterable[tuple[str, Hooks]]) -> None:
        """Put extensions' wrappers around the nine."""
        for name, hooks in wrappers:
            self._manager.add(hooks, name)
            self.wrapped = True

    def __repr__(self) -> str:
        return f"<ResolvedPlugin {self.platform}.{self.engine} of {self.record.distribution}>"


def resolve(record: PluginRecord, platform: str, engine: str, registered: Any = None) -> ResolvedPlugin:
    """Import and check what ``record`` advertises (or take what was registered in this process)."""
    if registered is not None:
        return ResolvedPlugin(record, registered, platform, engine)
    where = describe(record)
    found, damage = guarded(where, lambda: ResolvedPlugin(record, make(load(record), where), platform, engine))
    found.remarks += tuple(f"importing {where} {each}, for all of this process" for each in damage)
    return found


def secret_source(record: PluginRecord | None, name: str, records: Iterable[PluginRecord]) -> AbstractSecretSource:
    """Import and check the source of secrets that ``record`` advertises. Raises a PluginError.

    ``records``: where ``record`` is None, all there are; one of this name is among them and says why it is refused.
    """
    if record is None:
        refused = next(each for each in records if (each.kind, each.name) == ("secret_source", name))
        raise _raised_for(refused)(f"{describe(refused)} is {refused.status}: {refused.reason}")
    found: AbstractSecretSource = _instance(record, AbstractSecretSource, "source of secrets")
    return found


def job_environment(record: PluginRecord) -> AbstractJobEnvironment:
    """Import and check what adds variables to jobs. Raises a PluginError."""
    found: AbstractJobEnvironment = _instance(record, AbstractJobEnvironment, "source of variables")
    return found


def _instance(record: PluginRecord, base: type[Any], what: str) -> Any:
    """What ``record`` leads to, if it is of this class; ``what``: what it should be, in words."""
    where = describe(record)
    found, _ = guarded(where, lambda: create(load(record), where))
    if not isinstance(found, base):
        raise PluginTypeError(f"{where} is no {what}", hint=f"subclass aiflow_ext.plugin.{base.__name__}")
    return found


def job_environments(records: Iterable[PluginRecord]) -> dict[str, AbstractJobEnvironment]:
    """Those of the records that can be used, by their description; the others are logged, unless they are disabled."""
    found: dict[str, AbstractJobEnvironment] = {}
    for record in records:
        where = describe(record)
        if record.status == "available":
            try:
                found[where] = job_environment(record)
            except PluginError as error:
                log.warning("jobs go without the variables of a plugin: %s", error)
        elif record.status != "disabled":
            log.warning("jobs go without the variables of %s: it is %s: %s", where, record.status, record.reason)
    return found


def authoring(record: PluginRecord) -> Callable[..., Any]:
    """Import and check the authoring function that ``record`` advertises. Raises a PluginError."""
    where = describe(record)
    found, _ = guarded(where, lambda: load(record))
    if not callable(found):
        raise PluginTypeError(f"{where} is no function", hint="it leads to what authors call: def flink(...) -> AINode")
    return cast("Callable[..., Any]", found)


def no_authoring(name: str, records: Iterable[PluginRecord]) -> PluginError | str:
    """Why there is no authoring function ``name`` among ``records``, all there are: the error of one that is refused,
    else what is there instead, as a clause."""
    known = sorted({record.name for record in records if record.kind == "authoring" and record.status == "available"})
    refused = next((each for each in records if (each.kind, each.name) == ("authoring", name)), None)
    if refused is not None:
        return _raised_for(refused)(f"{describe(refused)} is {refused.status}: {refused.reason}")
    from aiflow_ext.host.explain import OURS
    from aiflow_ext.model.spelling import near

    if name in OURS:
        return f"pip install aiflow-ext-{name}"

    listed = f"installed distributions add {', '.join(known)}" if known else "no installed distribution adds one"
    return near(name, known) or listed


def _raised_for(record: PluginRecord) -> type[PluginError]:
    """The error for a plugin that its record's status refuses."""
    if (record.reason or "").startswith(NEEDS_EXTRA):
        return PluginDependencyError
    return _RAISED.get(record.status, PluginError)


def refusal(platform: str, engine: str, records: Iterable[PluginRecord], pins: dict[str, str]) -> PluginError:
    """The error for a job plugin that none of ``records`` (all there are) lets be resolved."""
    from aiflow_ext.host.explain import Explanation, install_hint

    found = Explanation(platform, engine, tuple(records), pins)
    if not found.records:
        return PluginNotInstalledError(found.sentences[0], hint=install_hint(found))
    kind = _raised_for(found.records[0])
    return kind("\n".join(found.sentences), hint="\n    ".join(found.cures) or None)
