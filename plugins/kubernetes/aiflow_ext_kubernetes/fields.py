"""Which names, labels and quantities Kubernetes accepts; checked before anything is sent.

Sources: kubernetes.io/docs, "Object Names and IDs", "Labels and Selectors"; apimachinery's resource.Quantity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DNS_LABEL = re.compile(_LABEL)
_KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_QUANTITY = re.compile(r"[+]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def name_problem(what: str, name: Any) -> Iterator[str]:
    """That ``name`` is no name of an object (RFC 1123 subdomain)."""
    if not isinstance(name, str) or len(name) > 253 or not _NAME.fullmatch(name):
        yield f"{what} {name!r} is no name of Kubernetes: lower-case letters, digits, '-' and '.', at most 253"


def label_name_problem(what: str, name: Any) -> Iterator[str]:
    """That ``name`` is no name of a namespace, container or volume (RFC 1123 label)."""
    if not isinstance(name, str) or len(name) > 63 or not _DNS_LABEL.fullmatch(name):
        yield f"{what} {name!r} is no name of Kubernetes: lower-case letters, digits and '-', at most 63"


def key_problem(what: str, key: Any) -> Iterator[str]:
    """That ``key`` is no key of a label, annotation or resource: ``name`` or ``prefix/name``."""
    prefix, slash, name = key.rpartition("/") if isinstance(key, str) else ("", "", "")
    fits = len(name) <= 63 and _KEY.fullmatch(name) and (not slash or (len(prefix) <= 253 and _NAME.fullmatch(prefix)))
    if not fits:
        takes = "letters, digits, '-', '_' and '.', at most 63, with an optional DNS name and '/' before it"
        yield f"{what} {key!r} is no key of Kubernetes: {takes}"


def label_problem(what: str, value: Any) -> Iterator[str]:
    """That ``value`` is no label's value."""
    if not isinstance(value, str) or len(value) > 63 or (value and not _KEY.fullmatch(value)):
        yield f"{what} {value!r} is no value of a label: letters, digits, '-', '_' and '.', at most 63, in quotes"


def quantity_problem(what: str, value: Any) -> Iterator[str]:
    """That ``value`` is no quantity: ``500m``, ``2``, ``1.5``, ``1Gi``."""
    if isinstance(value, bool) or not _QUANTITY.fullmatch(str(value)):
        yield f"{what} {value!r} is no quantity of Kubernetes, such as 500m, 2, 1.5 or 1Gi"


def variable_problem(name: str) -> Iterator[str]:
    """That ``name`` is no name of a container's environment variable."""
    if not _VARIABLE.fullmatch(name):
        takes = "letters, digits, '_', '-' and '.', not a digit first"
        yield f"env: {name!r} is no name of a variable in a container: {takes}"


def is_secret_key(name: str, key: str) -> bool:
    """Whether they can be the name of a Secret and a key in it."""
    return _SECRET_KEY.fullmatch(key) is not None and not any(name_problem("", name))


_FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, **{prefix: 1000.0**power for power, prefix in enumerate("kMGTPE", 1)},
            **{f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTPE", 1)}}  # fmt: skip


def amount(value: Any) -> float:
    """A quantity as a number; 0 for what is none."""
    text = str(value)
    number = text.rstrip("numkKMGTPEi") if not re.search(r"[eE][+-]?\d+$", text) else text
    try:
        return float(number) * _FACTORS.get(text[len(number) :], 1.0)
    except ValueError:
        return 0.0


def quantity(value: Any) -> str:
    """A quantity as it is sent."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def strings(values: Mapping[str, Any]) -> dict[str, str]:
    """A mapping of quantities as it is sent."""
    return {key: quantity(value) for key, value in values.items()}
