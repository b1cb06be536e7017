"""Names of a module that are imported from elsewhere when they are first used."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def lazily(
    module: str, homes: Mapping[str, Sequence[str]], other: Callable[[str], object] | None = None
) -> tuple[list[str], Callable[[str], object], Callable[[], list[str]]]:
    """``__all__``, ``__getattr__`` and ``__dir__`` of a module.

    Args:
        module: the module's ``__name__``.
        homes: full name of a module or package -> the names that it provides; a package's modules are such names too.
        other: what any other name is; it raises AttributeError for one that it does not know. None: there are none.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    namespace = vars(sys.modules[module])

    def get(name: str) -> object:
        home = home_of.get(name)
        if home is None:
            if other is None:
                raise AttributeError(f"module {module!r} has no attribute {name!r}")
            value = namespace[name] = other(name)
            return value
        import importlib

        found = importlib.import_module(home)
        value = getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{home}.{name}")
        namespace[name] = value
        return value

    return list(home_of), get, lambda: sorted({*namespace, *home_of})
