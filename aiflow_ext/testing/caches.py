"""Drops a platform's caches between two calls: without them it must be slower, but not wrong."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from aiflow_ext.host.specs import NINE, OPTIONAL

KEPT = (dict, list, set, deque, WeakKeyDictionary, WeakValueDictionary, WeakSet, threading.Event)


def drop_caches(package: str) -> None:
    """Empty the caches of the modules of ``package``: containers in variables of lower case, and functools caches.

    Variables in capitals are constants, and stay.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != package:
            continue
        for key, value in list(vars(module).items()):
            if hasattr(value, "cache_clear") and not isinstance(value, type):
                value.cache_clear()
            elif is_cache(key, value):
                value.clear()


def is_cache(name: str, value: object) -> bool:
    """Whether ``drop_caches`` empties a module's variable."""
    return name == name.lower() and not name.startswith("__") and isinstance(value, KEPT)


@contextlib.contextmanager
def forgetting(plugin: type[Any], package: str) -> Iterator[list[str]]:
    """A context manager: inside it, the caches of ``package`` and the attributes of a job plugin's objects are dropped
    before and after each hook. It yields the list of the hooks that were called.

    Hooks are called one at a time, so that none loses a cache in its midst: a platform may take several calls at once.

    Args:
        plugin: a class of job plugins; in subclasses it applies to the hooks that they do not override.
        package: the top-level package of the platform's modules.
    """
    called: list[str] = []
    one_at_a_time = threading.RLock()
    hooks = (NINE | OPTIONAL).keys() - {"job_type", "job_config_type", "platform", "engine"}
    own = {name: vars(plugin).get(name) for name in hooks if callable(getattr(plugin, name, None))}
    for name in own:
        setattr(plugin, name, _forgetting(getattr(plugin, name), package, called, one_at_a_time))
    try:
        yield called
    finally:
        for name, hook in own.items():
            if hook is None:
                delattr(plugin, name)  # it is a base's
            else:
                setattr(plugin, name, hook)


def _forgetting(
    hook: Callable[..., Any], package: str, called: list[str], one_at_a_time: AbstractContextManager[Any]
) -> Callable[..., Any]:
    @functools.wraps(hook)
    def forgets(self: Any, *args: Any, **kwargs: Any) -> Any:
        with one_at_a_time:
            drop_caches(package)
            vars(self).clear()
            try:
                return hook(self, *args, **kwargs)
            finally:
                called.append(hook.__name__)
                drop_caches(package)

    return forgets
