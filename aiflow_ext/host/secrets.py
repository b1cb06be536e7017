"""Secrets: only their references are stored or shown; a value is read when it is sent, by the source that is named."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from aiflow_ext.model.errors import Problem, SecretError, UnreachableError, named
from aiflow_ext.model.plugin import AbstractSecretSource
from aiflow_ext.model.spelling import near
from aiflow_ext.regular_file import read_whole

if TYPE_CHECKING:
    from aiflow_ext.host.host import PluginHost
    from aiflow_ext.host.resolve import ResolvedPlugin

Lookup = Callable[[str], "AbstractSecretSource | None"]  # by name, as PluginHost.secret_source
_host: PluginHost | None = None
_LARGEST_FILE = 1 << 20  # bytes of a secret
_reading: dict[str, threading.RLock] = {}  # by source: jobs are submitted at once, and it may not expect that


class EnvSource(AbstractSecretSource):
    """``env:NAME``: an environment variable of the client."""

    def read(self, rest: str) -> str:
        if rest not in os.environ:
            raise SecretError("the variable is not set", hint=f"export {rest}=... and try again")
        return os.environ[rest]


class FileSource(AbstractSecretSource):
    """``file:PATH``: the text of a file, without the line break at its end."""

    def read(self, rest: str) -> str:
        try:
            return read_whole(os.path.expanduser(rest), _LARGEST_FILE).decode().replace("\r\n", "\n").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SecretError(str(words), hint="create the file, or name another one") from error


def is_secret(value: Any) -> bool:
    """Whether an ``env`` value is a secret's reference: ``{"secret": "..."}``."""
    return isinstance(value, Mapping) and set(value) == {"secret"}


def shown(env: Mapping[str, Any]) -> dict[str, str]:
    """``env`` as it may be shown and stored: each secret is replaced by ``${secret:REFERENCE}``."""
    return {name: f"${{secret:{value['secret']}}}" if is_secret(value) else plain(value) for name, value in env.items()}


def plain(value: Any) -> str:
    """A plain ``env`` value as the string that the job sees."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def resolve(env: Mapping[str, Any]) -> dict[str, str]:
    """``env`` with each secret's value.

    Raises SecretError that names every one that cannot be read, PluginError where a source cannot be used, and
    UnreachableError where one gives no answer.
    """
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for name, value in env.items():
        if is_secret(value):
            try:
                values[name] = read(str(value["secret"]))
            except SecretError as error:
                problems += [
                    Problem(f"variable {name}: {each.message}", each.where, each.hint) for each in error.problems
                ]
        else:
            values[name] = plain(value)
    if problems:
        raise SecretError(problems=problems)
    return values


def use(host: PluginHost) -> None:
    """From now on ``resolve`` in this process takes sources from ``host``, under its policy and pins.

    Whoever is about to call a plugin for a run says so: a driver, a command that acts without one, an attempt host.
    """
    global _host
    _host = host


def check(reference: str, taker: ResolvedPlugin | None = None, sources: Lookup | None = None) -> AbstractSecretSource:
    """The source of a reference, which is of the form that it takes. Reads no value.

    Args:
        reference: ``NAME:REST``.
        taker: the plugin whose job names it, which may have its platform give the value to the job; None: the client
            has to read it.
        sources: where sources are looked up; None: as in ``resolve``.

    Raises SecretError, also where neither the client nor ``taker`` can read it; PluginError for a source that cannot
    be used.
    """
    name, _, rest = reference.partition(":")
    source = (sources or _default())(name)
    if source is None:
        # Not shown: it may be the secret itself, put here by mistake.
        raise SecretError("a reference names no source of secrets that is installed", hint=_unknown(name))
    try:
        wrong = source.problem(rest)
    except Exception as error:
        wrong = f"cannot be checked: its source raised {named(error)}"
    if wrong:
        raise SecretError(f"secret {reference!r} {wrong}")
    if source.platforms is not None and (refused := _not_taken(name, source.platforms, taker)):
        raise SecretError(
            f"secret {reference!r} {refused}",
            hint="name one that is read on this machine, such as env:NAME or file:PATH",
        )
    return source


def read(reference: str, sources: Lookup | None = None) -> str:
    """The value of a secret that this machine reads. Raises as :func:`check`, and what ``resolve`` raises."""
    source = check(reference, None, sources)
    name, _, rest = reference.partition(":")
    try:
        with _reading.setdefault(name, threading.RLock()):
            value = source.read(rest)
    except UnreachableError:
        raise
    except SecretError as error:
        each = error.problems[0]
        raise SecretError(f"secret {reference!r}: {each.message}", hint=each.hint) from error
    except Exception as error:
        raise SecretError(f"secret {reference!r}: reading it raised {named(error)}") from error
    if not isinstance(value, str):
        raise SecretError(f"secret {reference!r}: its source gives {type(value).__name__}, and not text")
    return value


def _not_taken(name: str, platforms: Collection[str], taker: ResolvedPlugin | None) -> str | None:
    """Why the jobs of a plugin cannot have what only these platforms read, as the end of a sentence about it; None:
    they can."""
    if taker is None or taker.platform not in platforms:
        return f"is read by platform {' or '.join(platforms)} alone, and not on this machine"
    whose = f"the job plugin {taker.platform}.{taker.engine} of {taker.record.distribution}"
    alone = f"is read by platform {taker.platform} alone, and {whose}"
    if not taker.durable:  # what an attempt host runs gets the values from the client, whatever its platform can do
        return f"{alone}, which offers no lookup and attach, runs its jobs from this machine"
    if name in getattr(taker.plugin, "secret_sources", ()):
        return None
    return f"{alone} does not hand on secrets of source {name!r}"


def _default() -> Lookup:
    global _host
    if _host is None:
        from aiflow_ext.host.host import PluginHost

        _host = PluginHost()
    return _host.secret_source


def _unknown(name: str) -> str:
    from aiflow_ext.host.host import plugins

    known = sorted({record.name for record in plugins() if record.kind == "secret_source"})
    hint = f"here there are {', '.join(known)}; another one comes with the distribution that provides it"
    if not known:  # the metadata of aiflow-ext itself is of an earlier version
        hint = "no source is known here, not even env and file: install aiflow-ext again"
    return " ".join(filter(None, (near(name, known), hint)))
