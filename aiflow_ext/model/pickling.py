"""Values as pickles that carry the code that cannot be imported elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from aiflow_ext.model.own_imports import without_project
from aiflow_ext.model.signature import annotations_of


def dumps(value: Any, override: Callable[[Any], Any] | None = None) -> bytes:
    """``value`` as a pickle that ``pickle.loads`` opens where cloudpickle is installed.

    Args:
        value: any object.
        override: called with every object that is pickled. It returns a value as of ``__reduce_ex__``, or None for the
            default, and raises pickle.PicklingError for an object that must not be sent. None by default.

    Raises any exception of pickling, of cloudpickle or of the object's own methods.
    """
    with without_project():
        import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            reduced = override(obj) if override is not None else None
            if reduced is not None:
                return reduced
            if sys.version_info >= (3, 14) and isinstance(obj, FunctionType):
                _evaluate_annotations(obj)
            return super().reducer_override(obj)

    made = io.BytesIO()
    Pickler(made).dump(value)
    return made.getvalue()


def _evaluate_annotations(function: FunctionType) -> None:
    # cloudpickle takes them with it, and one may name what only a type checker imports: it goes as it was written.
    try:
        function.__annotations__  # noqa: B018
    except Exception:
        function.__annotations__ = annotations_of(function, written=True)
