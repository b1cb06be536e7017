"""What our own platforms keep between two calls is what the kit can drop: caches, and nothing else."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import sys
import threading
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any

import pytest

from aiflow_ext.testing.caches import drop_caches, is_cache
from aiflow_ext_kubernetes.single_flight import SingleFlight

# What a module may hold under a name in lower case and that remembers nothing of a call.
HARMLESS = (type, FunctionType, ModuleType, str, int, float, tuple, frozenset, re.Pattern, PurePath, logging.Logger,
            type(threading.Lock()), threading.BoundedSemaphore, threading.local, SingleFlight)  # fmt: skip


@pytest.mark.parametrize("package", ["aiflow_ext_local", "aiflow_ext_kubernetes", "aiflow_ext_yarn"])
def test_a_platform_keeps_nothing_in_its_modules_that_cannot_be_dropped(package: str) -> None:
    found = importlib.import_module(package)
    modules = [importlib.import_module(each.name) for each in pkgutil.walk_packages(found.__path__, f"{package}.")
               if ".master" not in each.name]  # fmt: skip
    kept = [f"{module.__name__}.{name} is a {type(value).__name__}" for module in modules
            for name, value in vars(module).items()
            if name == name.lower() and not name.startswith("__") and not isinstance(value, HARMLESS)
            and not is_cache(name, value) and not hasattr(value, "cache_clear")
            and type(value).__module__ not in ("typing", "__future__")]  # fmt: skip
    assert kept == []


def test_caches_are_emptied_and_constants_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("kept_here.inside")
    module.sent, module.TABLE, module.name = {"run": 1}, {"a": 1}, "kept_here"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    drop_caches("kept_here")
    assert (module.sent, module.TABLE, module.name) == ({}, {"a": 1}, "kept_here")
