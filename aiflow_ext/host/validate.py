"""Whether an object is a job plugin: its four types are types, named as advertised."""

from __future__ import annotations

from typing import Any

from aiflow_ext.host.fit import DoesNotFit, hook_of
from aiflow_ext.host.loading import shown
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import PluginTypeError
from aiflow_ext.model.job import BaseJob
from aiflow_ext.model.plugin import AbstractEngine, AbstractPlatform

_BASES: dict[str, type[Any]] = {
    "job_type": BaseJob,
    "job_config_type": BaseJobConfig,
    "platform": AbstractPlatform,
    "engine": AbstractEngine,
}


def types_of(plugin: Any, where: str) -> dict[str, type[Any]]:
    """What the four methods that return types return, checked; every mistake is named at once."""
    found: dict[str, type[Any]] = {}
    wrong: list[str] = []
    cause: BaseException | None = None
    for name, base in _BASES.items():
        try:
            value = hook_of(plugin, name, ())()
        except KeyboardInterrupt:
            raise
        except DoesNotFit as error:
            wrong.append(f"{name} {error}")
            continue
        except BaseException as error:
            wrong.append(f"{name}() raised {shown(error)}")
            cause = error
            continue
        if isinstance(value, type) and issubclass(value, base):
            found[name] = value
        elif isinstance(value, base):
            wrong.append(f"{name}() returned an object, {type(value).__qualname__}(), and not the class itself")
        else:
            named = f"the class {value.__qualname__}" if isinstance(value, type) else repr(value)
            wrong.append(f"{name}() returned {named}, which is no subclass of aiflow_ext.{_public(base)}")
    if wrong:
        hint = "; ".join(f"{name}() returns a subclass of {_public(base)}" for name, base in _BASES.items())
        raise PluginTypeError(f"{where}: {'; '.join(wrong)}", hint=hint) from cause
    return found


def named_by(cls: Any, method: str, where: str) -> str:
    """The name that a platform or engine class gives itself."""
    base = _BASES[method]
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise PluginTypeError(f"{where}: {cls!r} is no subclass of aiflow_ext.{_public(base)}",
                              hint=f"write class Name(aiflow_ext.{_public(base)})")  # fmt: skip
    hint = f"write: @staticmethod def {method}() -> str: return 'name'"
    try:
        name = getattr(cls, method)()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginTypeError(f"{where}: {cls.__qualname__}.{method}() raised {shown(error)}", hint=hint) from error
    if not isinstance(name, str) or not name:
        raise PluginTypeError(f"{where}: {cls.__qualname__}.{method}() returned {name!r}, not a name", hint=hint)
    return name


def check_names(types: dict[str, type[Any]], platform: str, engine: str, where: str) -> None:
    """The plugin's platform and engine must be called what they are advertised as."""
    for method, advertised in (("platform", platform), ("engine", engine)):
        name = named_by(types[method], method, where)
        if name != advertised:
            raise PluginTypeError(
                f"{where} is advertised for the {method} {advertised!r}, but its {types[method].__qualname__} is called"
                f" {name!r}",
                hint=f"advertise it as <platform>.<engine> with the names that {types[method].__qualname__} and its"
                " like return, or change those",
            )


def _public(base: type[Any]) -> str:
    return base.__name__.replace("Base", "Abstract")
