"""Calling an author's class with values from a file, and what it says of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any

from aiflow_ext.translate.misfits import Misfit
from aiflow_ext.translate.signature import signature_of


def create(cls: Any, values: Mapping[str, Any], droppable: Collection[str] = ()) -> Any:
    """Call ``cls`` with ``values``. Raises Misfit with the words of what its author's code raised.

    Args:
        cls: the class, or a function that returns its object.
        values: its arguments by name.
        droppable: arguments that may be left out where the author passes them on by hand
            (``super().__init__(platform="slurm", **kwargs)``).
    """
    signature = signature_of(cls)
    named = dict(values)
    later = {
        name: named.pop(name, copy.deepcopy(each.default))
        for name, each in signature.parameters.items()
        if each.attribute
    }
    while True:
        by_place = [named[p.name] for p in signature.parameters.values() if p.positional and p.name in named]
        rest = {
            n: v for n, v in named.items() if n not in signature.parameters or not signature.parameters[n].positional
        }
        try:
            made = cls(*by_place, **rest)
            for name, value in later.items():
                object.__setattr__(made, name, value)
            return made
        except Exception as error:
            twice = re.search(r"got multiple values for (?:keyword )?argument '(\w+)'", str(error))
            if isinstance(error, TypeError) and twice and twice[1] in droppable and twice[1] in named:
                del named[twice[1]]
                continue
            raise _author_refuses(cls, error, values) from error


def _author_refuses(cls: Any, error: Exception, values: Mapping[str, Any]) -> Misfit:
    name = getattr(cls, "__name__", str(cls))
    first = error.args[0] if error.args else None
    # attrs' validators put the attribute and more behind their sentence.
    words = first if isinstance(first, str) and len(error.args) > 1 else str(error)
    missing = re.search(r"missing \d+ required .*?arguments?: (.*)", words) if isinstance(error, TypeError) else None
    if missing:
        names = [each for each in re.findall(r"'(\w+)'", missing[1]) if each not in values]
        if names:
            return Misfit(items=[((), f"lacks the key {each!r}", f"add {each}: to it") for each in names])
    attribute = next(
        (getattr(each, "alias", None) or each.name for each in error.args[1:2] if hasattr(each, "name")), None
    )
    named = [key for key in values if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", words)]
    path: tuple[Any, ...] = ()
    if attribute in values:
        path = (attribute,)
    elif len(named) == 1:
        path = (named[0],)
    kind = "" if isinstance(error, ValueError) or attribute else f"{type(error).__name__}: "
    return Misfit(f"is refused by {name}: {kind}{words or type(error).__name__}", _raised_at(error), path=path)


def _raised_at(error: Exception) -> str | None:
    """Where the author's code raised, for what looks like a mistake of theirs."""
    if isinstance(error, ValueError) or len(error.args) > 1:
        return None
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_filename == __file__:
        return None
    code = trace.tb_frame.f_code
    return f"raised in {PurePath(code.co_filename).name}:{trace.tb_lineno}, {code.co_name}"
