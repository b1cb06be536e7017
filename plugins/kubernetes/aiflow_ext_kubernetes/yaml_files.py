"""YAML files that others may have written (kubeconfigs, pod templates): read to a limit, however they are made."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aiflow_ext.plugin.engines import read_whole

MAX_DEPTH = 100  # PyYAML's C composer overflows the stack on text made to be deep
LARGEST = 16 << 20  # characters, with each alias written out: as a file may have; a "billion laughs" file has more


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """The content of a YAML file; what an alias repeats is the same object. Raises OSError and ValueError."""
    import yaml

    try:
        found = yaml.load(read_whole(path).decode(), _loader())  # noqa: S506 (a safe loader, in C)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error
    _check_size(found)
    return found


@cache
def _loader() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class BoundedLoader(base):  # type: ignore[misc]
        depth = 0

        def descend_resolver(self, parent: Any, index: Any) -> None:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise ValueError(f"nested more than {MAX_DEPTH} levels deep")

        def ascend_resolver(self) -> None:
            self.depth -= 1

    return BoundedLoader


def _check_size(content: Any) -> None:
    """Check that what aliases repeat is bounded: whoever shows or copies the content writes it out."""
    size, left = 0, [content]
    while left:
        each = left.pop()
        size += 16  # so that values without text count, and an alias inside what it names comes to the limit
        if isinstance(each, (str, bytes)):
            size += len(each)
        elif isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, (list, tuple, set)):
            left += each
        if size > LARGEST:
            raise ValueError(f"it has more than {LARGEST >> 20} MiB, with its aliases written out")
