"""What a callable takes and a class declares, whatever their annotations name.

From Python 3.14 on annotations are evaluated when they are asked for: one may name what only a type checker imports.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any


def signature(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    """``inspect.signature``, with annotations that cannot be evaluated as they were written.

    Raises TypeError and ValueError as ``inspect.signature`` does.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        try:
            return inspect.signature(function, follow_wrapped=follow_wrapped, annotation_format=Format.FORWARDREF)
        except (TypeError, ValueError):
            raise
        except Exception:  # an annotation that fails otherwise than by a missing name
            return inspect.signature(function, follow_wrapped=follow_wrapped, annotation_format=Format.STRING)
    return inspect.signature(function, follow_wrapped=follow_wrapped)


def annotations_of(thing: Any, written: bool = False) -> dict[str, Any]:
    """The annotations of a class or a function itself; as ``written``, or only where they cannot be evaluated."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        try:
            return get_annotations(thing, format=Format.STRING if written else Format.FORWARDREF)
        except Exception:
            return get_annotations(thing, format=Format.STRING)
    return inspect.get_annotations(thing)
