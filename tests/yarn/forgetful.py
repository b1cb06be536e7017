"""Imported by a workflow: before each call of a hook, the modules of platform yarn lose all that they hold.

The hooks that were called are written to the file that HOOKS_CALLED names.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from aiflow_ext_yarn.plugin import YarnJobPlugin

HOOKS = ("generate", "generate_job_resource", "submit_job", "stop_job", "cleanup_job", "allocate_id", "render",
         "lookup", "attach", "watch", "cleanup_run", "check_platform")  # fmt: skip

HELD = (dict, list, set, threading.Event)


def forget() -> None:
    """Empty every container that is a module's, and every cache of a function; constants are in capitals."""
    for module in [each for name, each in list(sys.modules.items()) if name.startswith("aiflow_ext_yarn")]:
        for name, value in list(vars(module).items()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()
            elif name == name.lower() and not name.startswith("__") and isinstance(value, HELD):
                value.clear()


def forgetting(hook: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(hook)
    def call(*args: Any, **kwargs: Any) -> Any:
        forget()
        with open(os.environ["HOOKS_CALLED"], "a", encoding="utf-8") as file:
            file.write(f"{hook.__name__}\n")
        return hook(*args, **kwargs)

    return call


for each in HOOKS:
    setattr(YarnJobPlugin, each, forgetting(getattr(YarnJobPlugin, each)))
