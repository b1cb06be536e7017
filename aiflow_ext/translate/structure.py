"""A class's object from a mapping: by its ``__init__``, with every mistake found at once."""

from __future__ import annotations

import copy
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

from aiflow_ext.model.errors import Problem
from aiflow_ext.translate.check import near
from aiflow_ext.translate.fitting import Item, Misfit, describe, fit, writable
from aiflow_ext.translate.signature import Signature, signature_of

T = TypeVar("T")
Path = Sequence[Any]
TELLS = " is not a key of "
LATEST = 100  # problems


def structure(
    cls: type[T],
    data: Mapping[Any, Any],
    *,
    where: Callable[[Path], str],
    problems: list[Problem],
    what: str,
) -> T | None:
    """An object of ``cls`` from ``data``, or None after everything that is wrong was appended to ``problems``.

    Args:
        cls: a plain class, an attrs class, a dataclass, a named tuple or a TypedDict.
        data: values by the names of ``cls``'s parameters.
        where: ``file:line`` of what stands at a path in ``data``.
        what: what the mapping is, for messages: ``project.yaml``, ``job 'train'``.
    """
    try:
        return typing.cast(T, build(cls, data, what))
    except Misfit as misfit:
        report(misfit.items, lambda path: what, where, problems)
        return None


def report(
    items: Iterable[Item], what: Callable[[Path], str], where: Callable[[Path], str], problems: list[Problem]
) -> None:
    """Append the mistakes to ``problems``, each with its place; what several jobs share is told once."""
    # The latest alone: what jobs share each of them would tell again, and ten thousand jobs may each have their own.
    known = {(each.message.partition(TELLS)[0], each.where) for each in problems[-LATEST:]}
    for path, message, hint in items:
        subject = f"{what(path)}: {dotted(path)!r}" if path else what(path)
        problem = Problem(f"{subject} {message}", where(path), hint)
        # One key under "*" may be wrong for several kinds of jobs, each with words of its own.
        same = (problem.message.partition(TELLS)[0], problem.where)
        if same not in known:
            known.add(same)
            problems.append(problem)


def dotted(path: Path) -> str:
    """``resources.gpus[0]``: the path as its author would say it."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) and text else f"{'.' if text else ''}{step}"
    return text


def build(cls: Any, data: Mapping[Any, Any], owner: str | None = None) -> Any:
    """An object of ``cls`` from ``data``. Raises Misfit with everything that is wrong."""
    values, wrong = arguments(signature_of(cls), data, owner or "this mapping")
    if wrong:
        raise Misfit(items=wrong)
    return create(cls, values)


def arguments(
    signature: Signature, data: Mapping[Any, Any], owner: str, others: Collection[str] = ()
) -> tuple[dict[str, Any], list[Item]]:
    """The arguments that ``data`` gives, fitted to their types, and what is wrong.

    Args:
        owner: what has these keys, for messages.
        others: further valid keys, which somebody else takes care of; named where a key is unknown.
    """
    values: dict[str, Any] = {}
    wrong: list[Item] = []
    for key, value in data.items():
        parameter = signature.parameters.get(key) if isinstance(key, str) else None
        if parameter is None:
            if isinstance(key, str) and signature.free:
                values[key] = value
            else:
                wrong.append(((key,), *_unknown(key, owner, [*signature.parameters, *others])))
        elif value is None and parameter.default is None:
            values[key] = None
        else:
            try:
                values[key] = fit(value, parameter.type)
            except Misfit as misfit:
                wrong += misfit.under(key)
    for name, parameter in signature.parameters.items():
        if parameter.required and name not in data:
            kind = describe(parameter.type)
            hint = f"add {name}: with {'its value' if kind == 'anything' else kind}"
            if not writable(parameter.type):
                hint = f"no file can hold a {kind}: the author of the class gives it a default, or makes it in __init__"
            wrong.append(((), f"lacks the key {name!r}" + ("" if kind == "anything" else f" ({kind})"), hint))
    return values, wrong


def _unknown(key: Any, owner: str, valid: Sequence[str]) -> tuple[str, str]:
    keys = f"its keys are {', '.join(valid)}" if valid else "it has none"
    if not isinstance(key, str):
        return f"{TELLS.strip()} {owner}: a key is text", f"put it in quotes if it is meant; {keys}"
    close = near(key, valid)
    return f"{TELLS.strip()} {owner}", f"{close} {keys}" if close else keys


def create(cls: Any, values: Mapping[str, Any], droppable: Collection[str] = ()) -> Any:
    """Call ``cls`` with ``values``. Raises Misfit with the words of what its author's code raised.

    Args:
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
