"""What may be used: allow and deny by distribution, kind or name, and the pins that settle a conflict."""

from __future__ import annotations

import os

from aiflow_ext.host.records import KINDS, normalise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aiflow_ext.host.records import PluginRecord
    from aiflow_ext.model.errors import Problem

ALLOW, DENY, PINS = "AIFLOW_PLUGINS_ALLOW", "AIFLOW_PLUGINS_DENY", "AIFLOW_PLUGINS_PINS"
POLICY = "the policy"  # how a refusal begins
# Kinds whose code is called; platforms and engines are types.
_CALLED = ("job_plugin", "extension", "job_environment", "secret_source", "authoring")
_UNNAMED = ("extension", "job_environment")  # kinds that take part without being named by any config


class Policy:
    """Which plugins may be used.

    A pattern is ``distribution:NAME``, ``kind:KIND`` (platform, engine, job_plugin, extension, job_environment,
    secret_source, authoring), ``name:NAME``, or a bare NAME, which is a distribution's or a plugin's. NAME and KIND may
    be shell globs. A name is the one in the record: ``name:kubernetes`` is the platform, ``name:kubernetes.*`` its job
    plugins.

    Args:
        allow: patterns of plugins that may be used; empty, the default: all.
        deny: patterns of plugins that may not; it has precedence over ``allow``.
        places: by pattern, where it is configured, for messages: a variable, or a project's file.

    Raises PluginError for anything else than such a pattern, so that a mistake does not go unnoticed.
    """

    __slots__ = ("_places", "allow", "deny")

    def __init__(
        self, allow: Iterable[str] = (), deny: Iterable[str] = (), *, places: Mapping[str, str] | None = None
    ) -> None:
        self._places = places or {}
        self.allow, self.deny = self._patterns(allow, "allow"), self._patterns(deny, "deny")

    @classmethod
    def from_environment(cls) -> Policy:
        """The policy in AIFLOW_PLUGINS_ALLOW and AIFLOW_PLUGINS_DENY: patterns with commas between."""
        allow, deny = _split(ALLOW), _split(DENY)
        return cls(allow, deny, places={**dict.fromkeys(allow, ALLOW), **dict.fromkeys(deny, DENY)})

    def together(
        self, allow: Sequence[str], deny: Sequence[str], where: Callable[[Sequence[str | int]], str]
    ) -> Policy:
        """This policy and that of a project.

        Args:
            allow: the patterns of its ``plugins: allow``.
            deny: those of its ``plugins: deny``.
            where: returns ``file:line`` of what is at a path below its ``plugins``.
        """
        places = {
            **{each: f"plugins: allow in {where(('allow', at))}" for at, each in enumerate(allow)},
            **{each: f"plugins: deny in {where(('deny', at))}" for at, each in enumerate(deny)},
        }
        return Policy([*self.allow, *allow], [*self.deny, *deny], places={**places, **self._places})

    def denying_more(self) -> Policy:
        """This policy, kept since a run was started, and what AIFLOW_PLUGINS_DENY has named since."""
        now = [pattern for pattern in _split(DENY) if pattern not in self.deny]
        return Policy(self.allow, [*self.deny, *now], places={**self._places, **dict.fromkeys(now, DENY)})

    @staticmethod
    def pins_from_environment() -> dict[str, str]:
        """The pins in AIFLOW_PLUGINS_PINS, name -> distribution: ``NAME=DISTRIBUTION`` with commas between."""
        found = {}
        for item in _split(PINS):
            name, _, distribution = (part.strip() for part in item.partition("="))
            if not name or not distribution:
                _reject(f"{PINS}: {item!r} is not NAME=DISTRIBUTION", "such as local.python=aiflow-ext-local")
            found[name] = distribution
        return found

    def refusal(self, record: PluginRecord) -> str | None:
        """Why ``record`` may not be used, as a sentence; None: it may."""
        for pattern in self.deny:
            if _matches(pattern, record):
                return f"{POLICY} denies it: {pattern!r} is in {self._named('deny', [pattern])}"
        # What reads secrets without any plugin goes on doing so, whichever plugins are allowed.
        own = record.kind == "secret_source" and record.distribution == "aiflow-ext"
        if self.allow and not own and not any(_matches(pattern, record) for pattern in self.allow):
            return f"{POLICY} does not allow it: nothing in {self._named('allow', self.allow)} names it"
        return None

    def named(self, which: str) -> str:
        """The list ``allow`` or ``deny`` for a sentence, with the sources of its patterns."""
        return self._named(which, self.allow if which == "allow" else self.deny)

    def _named(self, which: str, patterns: Iterable[str]) -> str:
        """A list for a sentence, with the sources of these patterns."""
        places = " and ".join(dict.fromkeys(self._places[each] for each in patterns if each in self._places))
        return f"the {which} list ({places})" if places else f"the {which} list"

    def _patterns(self, patterns: Iterable[str], which: str) -> tuple[str, ...]:
        found = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        for pattern in found:
            scope, colon, rest = pattern.partition(":")
            if not (rest if colon else scope) or (colon and scope not in ("distribution", "kind", "name")):
                _reject(
                    f"{pattern!r} in {self._named(which, [pattern])} is not a pattern",
                    "write distribution:NAME, kind:KIND, name:NAME or a bare NAME",
                )
            if scope == "kind" and not any(_like(kind, rest) for kind in KINDS):
                _reject(
                    f"{pattern!r} in {self._named(which, [pattern])} names no kind of plugin",
                    f"the kinds are {', '.join(KINDS)}",
                )
        return found

    def __bool__(self) -> bool:
        return bool(self.allow or self.deny)

    def __repr__(self) -> str:
        return f"Policy(allow={self.allow!r}, deny={self.deny!r})"


def unmatched(policy: Policy, records: Sequence[PluginRecord]) -> list[Problem]:
    """What allow and deny name that nothing installed has, though something has nearly that name: it may be
    misspelt, and a plugin that was to be denied is not."""
    from aiflow_ext.model.errors import Problem
    from aiflow_ext.model.spelling import near

    found = []
    names = sorted({name for record in records for name in (record.name, record.distribution)})
    for which, patterns in (("allow", policy.allow), ("deny", policy.deny)):
        for pattern in patterns:
            named = pattern.rpartition(":")[2]
            close = near(named, [name for name in names if near(_own(named), [_own(name)])])
            if close and not any(_matches(pattern, record) for record in records):
                words = f"{pattern!r} in {policy.named(which)} matches nothing that is installed"
                found.append(Problem(words, hint=f"{close} Otherwise nothing need be done"))
    return found


def _own(name: str) -> str:
    """What tells a distribution from others: names that share a prefix are all near each other."""
    return name.removeprefix("aiflow-ext-")


def settle(records: list[PluginRecord], policy: Policy, pins: Mapping[str, str]) -> list[PluginRecord]:
    """``records`` with the statuses that policy, pins and conflicts give them; the order stays."""
    if policy:
        refused = [(record, policy.refusal(record)) for record in records]
        records = [record.replace("disabled", reason, record[7]) if reason else record for record, reason in refused]
    if not pins and len({(record[0], record[1]) for record in records}) == len(records):
        return records  # no name is there twice: the usual case, and the fast one
    rivals: dict[tuple[str, str], list[int]] = {}
    for position, record in enumerate(records):
        if record.status == "available":
            rivals.setdefault((record[0], record[1]), []).append(position)
    beaten: dict[str, str] = {}  # distribution -> the name that is not, or not clearly, its own
    for (kind, name), positions in rivals.items():
        settled = _settled([records[position] for position in positions], pins.get(name))
        chosen = {record.entry_point for record in settled if record.status == "available"}
        for position, record in zip(positions, settled, strict=True):
            records[position] = record
            if kind in _CALLED and record.status != "available" and record.entry_point not in chosen:
                beaten.setdefault(normalise(record.distribution), name)
    return [_silenced(record, beaten, pins) for record in records] if beaten else records


def _silenced(record: PluginRecord, beaten: Mapping[str, str], pins: Mapping[str, str]) -> PluginRecord:
    """``record``, refused if it is of a distribution that lost a conflict, and of a kind that is not used by name."""
    lost = beaten.get(normalise(record.distribution))
    if lost is None or record.kind not in _UNNAMED or record.status != "available":
        return record
    if normalise(pins.get(record.name, "")) == normalise(record.distribution):
        return record
    status = "disabled" if lost in pins else "conflicted"
    why = f"the pin {lost}={pins[lost]} prefers another" if lost in pins else f"{lost} is also provided by another"
    hint = f"{PINS}={record.name}={record.distribution} uses the {record.kind.replace('_', ' ')} all the same"
    return record.replace(status, f"{why} distribution than {record.distribution}; {hint}")


def _settled(rivals: list[PluginRecord], pin: str | None) -> list[PluginRecord]:
    if pin is not None:
        chosen = [record for record in rivals if normalise(record.distribution) == normalise(pin)]
        if not chosen:
            reason = f"the pin {rivals[0].name}={pin} names a distribution that does not provide it here"
            return [record.replace("conflicted", reason) for record in rivals]
        reason = f"the pin {rivals[0].name}={pin} prefers {chosen[0].distribution}"
        return [record if record in chosen else record.replace("disabled", reason) for record in rivals]
    # The same object advertised by two distributions is one plugin, whichever of them is asked for.
    if len({record.entry_point for record in rivals}) == 1:
        return rivals
    names = " and ".join(f"{record.distribution} {record.version}".strip() for record in rivals)
    hint = f"; {PINS}={rivals[0].name}=DISTRIBUTION settles it"
    return [record.replace("conflicted", f"{names} both provide it{hint}") for record in rivals]


def _split(variable: str) -> list[str]:
    return [item.strip() for item in os.environ.get(variable, "").split(",") if item.strip()]


def _matches(pattern: str, record: PluginRecord) -> bool:
    scope, colon, rest = pattern.partition(":")
    if not colon:
        return _like(record.name, scope) or _like(normalise(record.distribution), normalise(scope))
    if scope == "distribution":
        return _like(normalise(record.distribution), normalise(rest))
    return _like(record.kind if scope == "kind" else record.name, rest)


def _like(text: str, pattern: str) -> bool:
    if not any(char in pattern for char in "*?["):
        return text == pattern
    from fnmatch import fnmatchcase  # imports re, which a plain name does not need

    return fnmatchcase(text, pattern)


def _reject(message: str, hint: str) -> None:
    from aiflow_ext.model.errors import PluginError

    raise PluginError(message, hint=hint)
