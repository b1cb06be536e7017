"""Plugins registered by the program itself: a notebook, a test, or a team's own platform that is not packaged."""

from __future__ import annotations

from aiflow_ext.host.records import IN_PROCESS, PluginRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from aiflow_ext.model.plugin import AbstractEngine, AbstractJobPlugin, AbstractPlatform

    P = TypeVar("P", bound="type[AbstractPlatform]")
    E = TypeVar("E", bound="type[AbstractEngine]")
    J = TypeVar("J", bound="AbstractJobPlugin | type[AbstractJobPlugin]")

# (kind, name) -> (what was registered, its record)
_registered: dict[tuple[str, str], tuple[Any, PluginRecord]] = {}


def register_platform(cls: P) -> P:
    """List ``cls`` as a platform of this process, and return it. The same name again replaces the former one."""
    from aiflow_ext.host.validate import named_by

    _add("platform", named_by(cls, "platform", f"register_platform({_shown(cls)})"), cls)
    return cls


def register_engine(cls: E) -> E:
    """List ``cls`` as an engine of this process, and return it. The same name again replaces the former one."""
    from aiflow_ext.host.validate import named_by

    _add("engine", named_by(cls, "engine", f"register_engine({_shown(cls)})"), cls)
    return cls


def register_job_plugin(plugin: J) -> J:
    """Offer ``plugin`` (an object, a class or a factory) to this process, and return it.

    Its record's distribution is ``in process``; policy, conflicts and pins are as for an installed one. The same
    platform and engine again replaces the former one. Raises PluginTypeError for what is no job plugin.
    """
    from aiflow_ext.host.loading import make
    from aiflow_ext.host.validate import named_by, types_of

    where = f"register_job_plugin({_shown(plugin)})"
    made = make(plugin, where)
    types = types_of(made, where)
    name = f"{named_by(types['platform'], 'platform', where)}.{named_by(types['engine'], 'engine', where)}"
    _add("job_plugin", name, made)
    return plugin


def unregister_all() -> None:
    """Forget everything registered in this process."""
    _registered.clear()


def together_with(installed: list[PluginRecord]) -> list[PluginRecord]:
    """``installed`` and the records of what this process has registered, sorted; each plugin once."""
    if not _registered:
        return list(installed)
    known = {key for key, (made, _) in _registered.items() for record in installed
             if record[:2] == key and is_same(record, made)}  # fmt: skip
    return sorted([*installed, *(record for key, (_, record) in _registered.items() if key not in known)])


def object_of(kind: str, name: str) -> Any:
    """What was registered under this name; None where nothing was."""
    return _registered.get((kind, name), (None,))[0]


def is_same(record: PluginRecord, made: Any) -> bool:
    """Whether ``made``, registered in this process, is what ``record`` advertises. Nothing is imported to find out.

    A module may both advertise a plugin and register it as it is imported: that is one plugin, not a conflict.
    """
    import sys

    from aiflow_ext.host.metadata import split_value

    module, attribute = split_value(record.entry_point)
    found: Any = sys.modules.get(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, "__dict__", {}).get(part)  # never a module's own __getattr__, which may import
    return found is not None and (found is made or found is type(made) or record.entry_point == _shown(made))


def _add(kind: str, name: str, made: Any) -> None:
    _registered[kind, name] = made, PluginRecord(kind, name, IN_PROCESS, "", _shown(made))


def _shown(made: Any) -> str:
    cls = made if isinstance(made, type) else type(made)
    if hasattr(made, "__qualname__"):
        cls = made
    return f"{cls.__module__}:{cls.__qualname__}"
