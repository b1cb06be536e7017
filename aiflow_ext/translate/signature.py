"""What a class takes: the parameters of its ``__init__``, or its annotated attributes, their types resolved."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from aiflow_ext.model.signature import annotations_of, signature

REQUIRED: Any = inspect.Parameter.empty


class Parameter(NamedTuple):
    """One parameter: its name, type (Any where it has none that can be read), default and how it is reached."""

    name: str
    type: Any
    default: Any
    positional: bool = False
    # Reached through **kwargs: the class in between may give it itself, so it is never missing.
    passed_on: bool = False
    # An annotated attribute of a class that has no __init__ for it: set on the object, once that is made.
    attribute: bool = False

    @property
    def required(self) -> bool:
        """Whether leaving it out is a mistake that can be reported before the run."""
        return self.default is REQUIRED and not self.passed_on


class Signature(NamedTuple):
    """The parameters by name, and whether any other keyword is taken too."""

    parameters: Mapping[str, Parameter]
    free: bool

    @property
    def attributes(self) -> bool:
        """Whether some are attributes, set on the object once it is made."""
        return any(each.attribute for each in self.parameters.values())


@lru_cache(maxsize=512)
def signature_of(cls: Any) -> Signature:
    """What ``cls`` (a class, or a generic one with its arguments) takes.

    ``**kwargs`` stands for the parameters of the next ``__init__`` in the method resolution order. Where a class has
    annotated attributes and no ``__init__``, these are parameters, too.
    Raises TypeError where the class does not tell.
    """
    origin = typing.get_origin(cls) or cls
    bound = dict(zip(getattr(origin, "__parameters__", ()), typing.get_args(cls), strict=False))
    if typing.is_typeddict(origin):
        return _typed_dict(origin)
    found = {name: each._replace(type=_substituted(each.type, bound)) for name, each in _attributes(origin)}
    for depth, (owner, init) in enumerate(_initializers(origin)):
        try:
            parameters = list(signature(init).parameters.values())[1:]
        except ValueError as error:
            raise TypeError(f"{origin.__name__} does not tell what it takes") from error
        for each in parameters:
            if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) or each.name in found:
                continue
            kind = _substituted(_resolved(each.annotation, init, owner, origin), bound)
            found[each.name] = Parameter(each.name, kind, each.default, each.kind is each.POSITIONAL_ONLY, depth > 0)
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            return Signature(found, False)
    return Signature(found, bool(found) or _has_own_init(origin))


def _attributes(cls: type) -> Iterator[tuple[str, Parameter]]:
    """The annotated attributes of the classes before the first ``__init__`` (or ``__new__``), in the order written."""
    first = next(_initializers(cls), (object, None))[0]
    bases = cls.__mro__[: cls.__mro__.index(first)]
    for base in reversed(bases):
        for name, annotation in annotations_of(base).items():
            default = getattr(cls, name, REQUIRED)
            if name.startswith("_") or callable(getattr(type(default), "__get__", None)):
                continue
            maker = type(default).__module__.partition(".")[0]
            if type(default).__name__ in ("_CountingAttr", "Field") and maker in ("attr", "dataclasses"):
                decorator = "@attrs.define" if maker == "attr" else "@dataclasses.dataclass"
                raise TypeError(
                    f"{base.__name__}.{name} is a field of a class that is not decorated: write {decorator}"
                )
            kind = _resolved(annotation, None, base, cls)
            # What belongs to the class alone is no key.
            if not {ClassVar, Final} & {kind, typing.get_origin(kind)}:
                yield name, Parameter(name, kind, default, attribute=True)


def _has_own_init(cls: type) -> bool:
    return any(True for _ in _initializers(cls))


def _initializers(cls: type) -> Iterator[tuple[type, Callable[..., Any]]]:
    """Each ``__init__`` on the way to object, or ``__new__`` where there is none (a named tuple)."""
    none = True
    for base in cls.__mro__[:-1]:
        init = vars(base).get("__init__")
        if init is not None:
            none = False
            yield base, init
    if none:
        for base in cls.__mro__[:-1]:
            made = vars(base).get("__new__")
            if made is not None and base.__module__ != "typing":
                yield base, getattr(made, "__func__", made)
                return


def _typed_dict(cls: Any) -> Signature:
    hints = {name: _resolved(each, None, cls, cls) for name, each in annotations_of(cls).items()}
    needed = cls.__required_keys__
    return Signature({n: Parameter(n, kind, REQUIRED if n in needed else None) for n, kind in hints.items()}, False)


def _resolved(annotation: Any, init: Callable[..., Any] | None, owner: type, cls: type) -> Any:
    """The type that ``annotation`` means; Any where it names something that is not there when it runs."""
    if annotation is REQUIRED:
        return Any
    namespaces = [] if init is None else [getattr(inspect.unwrap(init), "__globals__", {})]
    # attrs and dataclasses make __init__ in a namespace of their own; the words were written in a class's module.
    namespaces += [
        vars(sys.modules[base.__module__]) for base in (owner, *cls.__mro__) if base.__module__ in sys.modules
    ]
    local = {**vars(owner), owner.__name__: owner, cls.__name__: cls}
    while True:
        missing: set[str] = set()
        for namespace in namespaces:
            try:
                found = _hint(annotation, namespace, local)
            except NameError as error:
                missing.add(error.name or "")
            except Exception:  # whatever evaluating it here raises: another namespace may know it
                continue
            else:
                return found.type if isinstance(found, dataclasses.InitVar) else found
        # Names that are in none of them, as when only a type checker imports them: each accepts any value.
        nowhere = {name for name in missing if name not in local and not any(name in each for each in namespaces)}
        if not nowhere:
            return Any
        local |= dict.fromkeys(nowhere, Any)


def _hint(annotation: Any, namespace: dict[str, Any], local: dict[str, Any]) -> Any:
    class Holder: ...  # not a function, of which no annotation may say ClassVar

    Holder.__annotations__ = {"it": annotation}
    return typing.get_type_hints(Holder, globalns=namespace, localns=local)["it"]


def _substituted(kind: Any, bound: Mapping[Any, Any]) -> Any:
    if isinstance(kind, TypeVar):
        return bound.get(kind, Any)
    inner = getattr(kind, "__parameters__", ())
    if inner and not isinstance(kind, type):
        return kind[tuple(bound.get(each, Any) for each in inner)]
    return kind
