"""Engine ``flink``: jobs of Apache Flink. ``from aiflow_ext_flink import flink`` is ``af.flink``, for type checkers.

What the platforms' flink plugins share: ``authoring``, ``engine``, ``config`` (the keys of a job), ``program`` (what a
node says, checked), ``ids``, ``configuration`` (of an application cluster), ``rest``, ``verdict`` and ``home``.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiflow_ext_flink.authoring import flink as flink


def __getattr__(name: str) -> object:
    if name == "flink":
        from aiflow_ext_flink.authoring import flink

        return flink
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
