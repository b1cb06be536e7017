"""What is known of one advertised plugin."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

KINDS = ("authoring", "engine", "extension", "job_environment", "job_plugin", "platform", "secret_source")
STATUSES = ("available", "loaded", "broken", "incompatible", "conflicted", "disabled")
FIELDS = ("kind", "name", "distribution", "version", "entry_point", "status", "reason", "error")
IN_PROCESS = "in process"


class PluginRecord(tuple[str, ...]):
    """One advertised plugin. Frozen: ``replace`` makes a changed copy.

    A tuple underneath, because a listing of hundreds must cost next to nothing (no dataclasses, no typing).

    Attributes:
        kind: ``platform``, ``engine``, ``job_plugin``, ``extension``, ``job_environment``,
            ``secret_source`` or ``authoring``.
        name: as advertised; a job plugin's is ``<platform>.<engine>``.
        distribution: the name of the distribution that advertises it, or ``in process``.
        version: the distribution's version.
        entry_point: where it leads: ``module:attribute``.
        status: ``available``, ``loaded``, ``broken``, ``incompatible``, ``conflicted`` or ``disabled``.
        reason: a sentence for every status but available and loaded; None there.
        error: the exception that broke the plugin, as text; None where there was none.
    """

    __slots__ = ()

    def __new__(
        cls,
        kind: str,
        name: str,
        distribution: str,
        version: str,
        entry_point: str,
        status: str = "available",
        reason: str | None = None,
        error: str | None = None,
    ) -> PluginRecord:
        return tuple.__new__(cls, (kind, name, distribution, version, entry_point, status, reason or "", error or ""))

    @classmethod
    def of(cls, fields: Sequence[str]) -> PluginRecord:
        """A record of all eight fields, in order; '' means no reason, and no error."""
        return tuple.__new__(cls, fields)

    @property
    def kind(self) -> str:
        return self[0]

    @property
    def name(self) -> str:
        return self[1]

    @property
    def distribution(self) -> str:
        return self[2]

    @property
    def version(self) -> str:
        return self[3]

    @property
    def entry_point(self) -> str:
        return self[4]

    @property
    def status(self) -> str:
        return self[5]

    @property
    def reason(self) -> str | None:
        return self[6] or None

    @property
    def error(self) -> str | None:
        return self[7] or None

    def replace(self, status: str, reason: str = "", error: str = "") -> PluginRecord:
        """This record with another status, reason and error."""
        return PluginRecord.of((*self[:5], status, reason, error))

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON types, by the names of its attributes."""
        return {field: getattr(self, field) for field in FIELDS}

    def __repr__(self) -> str:
        return f"PluginRecord({', '.join(f'{field}={getattr(self, field)!r}' for field in FIELDS)})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


class PluginRecords(tuple[PluginRecord, ...]):
    """The inventory, a tuple that a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from aiflow_ext.view.notebook import plugins_html

        return plugins_html([record.to_dict() for record in self])


def normalise(distribution: str) -> str:
    """A distribution's name as names are compared: runs of ``-``, ``_`` and ``.`` are one, case does not count."""
    return "-".join(filter(None, distribution.lower().replace("_", "-").replace(".", "-").split("-")))


def provider(record: PluginRecord) -> str:
    """Who provides the plugin, for a sentence: ``aiflow-ext-yarn 1.2``."""
    return f"{record.distribution} {record.version}".strip()
