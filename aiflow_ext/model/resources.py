"""What a job asks of the machine that it runs on, in the same units on every platform, and what it has used of it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_SUFFIXES = {
    "Ti": 1024**4, "T": 1000**4, "Gi": 1024**3, "G": 1000**3, "Mi": 1024**2, "M": 1000**2, "Ki": 1024, "k": 1000,
}  # fmt: skip
_NUMBER = r"(\d{1,18}(?:\.\d{1,18})?|\.\d{1,18})"
# Not compiled here: most commands read none.
_MEMORY = rf"{_NUMBER}\s*({'|'.join(_SUFFIXES)})"
_CPU = rf"{_NUMBER}(m?)"
_MOST_CPU, MOST_GPU, MOST_MEMORY = 1_000_000, 1_000_000, 1024**5


class Resources(NamedTuple):
    """Processors, memory and GPUs.

    Attributes:
        cpu: in cores; a fraction is a share of one.
        memory: in bytes.
        gpu: how many devices.

    None: not said, or not known.
    """

    cpu: float | None = None
    memory: int | None = None
    gpu: int | None = None


RESOURCES = Resources._fields


class Usage(NamedTuple):
    """What an attempt has used, as its platform has measured it. None: not known.

    Attributes:
        peak_memory: the most that it had at once, in bytes.
        cpu_seconds: of all its processors, user and system together.
        source: in a word or two, whose numbers these are. ``container``: all its processes; of memory, with the files
            that the kernel keeps in it. ``process``: the job's process and those that it has waited for; of memory, the
            largest of them alone. Or another of the platform's own.
        reserved_memory_seconds: what the platform has kept for it, as bytes times seconds.
        reserved_core_seconds: likewise, as cores times seconds.
    """

    peak_memory: int | None = None
    cpu_seconds: float | None = None
    source: str | None = None
    reserved_memory_seconds: int | None = None
    reserved_core_seconds: float | None = None


class Capacity(NamedTuple):
    """What the jobs of a platform share of the client's machine.

    Attributes:
        resources: how much of each.
        gpus: the names of its GPUs.
    """

    resources: Resources
    gpus: tuple[str, ...] = ()


def parse_cpu(value: Any) -> float:
    """Cores, from a number (``0.5``) or a text (``"2"``, ``"500m"``). Raises ValueError for anything else."""
    match = None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        match = re.fullmatch(_CPU, str(value).strip(), re.ASCII)
    if match is None:
        raise ValueError('must be a number of cores such as 2 or 0.5, or a text such as "500m" (thousandths)')
    digits, scale = _exact(match[1])
    cores = digits / (scale * (1000 if match[2] else 1))
    if not 0.001 <= cores <= _MOST_CPU:
        raise ValueError('must be at least a thousandth of a core ("1m")' if cores < 1 else "is more cores than exist")
    return round(cores, 3)


def parse_memory(value: Any) -> int:
    """Bytes, from a text with a unit: ``512Mi``, ``2Gi``, ``1.5G``. Raises ValueError for anything else.

    The units are Ki, Mi, Gi, Ti (powers of 1024) and k, M, G, T (powers of 1000). A bare number is refused: it would be
    bytes to one platform and MiB to another.
    """
    match = re.fullmatch(_MEMORY, value.strip(), re.ASCII) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be a size with its unit, such as {_meant(value)}")
    digits, scale = _exact(match[1])
    size = -(-digits * _SUFFIXES[match[2]] // scale)  # rounded up
    if not 1 <= size <= MOST_MEMORY:
        raise ValueError("must be more than nothing" if size < 1 else "is more memory than exists")
    return size


def _exact(number: str) -> tuple[int, int]:
    """A decimal number as a numerator and a denominator."""
    whole, _, fraction = number.partition(".")
    return int(whole + fraction), 10 ** len(fraction)


def _meant(value: Any) -> str:
    """The text that was probably meant: ``4Gi`` for ``4gb``, ``1024Mi`` for 1024."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return f"{value}Mi or {memory_text(value)}" if value % 1024 == 0 and value > 1024**2 else f"{value}Mi"
    match = re.fullmatch(rf"{_NUMBER}\s*([kmgt])i?b?", str(value).strip().lower(), re.ASCII)
    return f"{match[1]}{match[2].upper()}i" if match else "512Mi, 2Gi or 1.5G"


def cpu_text(cores: float) -> str:
    """Cores as Kubernetes and workflow.yaml write them: ``2``, ``500m``."""
    thousandths = round(cores * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def memory_text(size: int) -> str:
    """Bytes, exactly, with the unit that makes the shortest text: ``512Mi``, ``1500M``; without one if none fits."""
    texts = [f"{size // unit}{suffix}" for suffix, unit in _SUFFIXES.items() if size and size % unit == 0]
    return min(texts, key=len) if texts else str(size)
