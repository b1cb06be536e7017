"""Runs Python that pages show: ``python run_snippets.py < SNIPPETS``, where SNIPPETS is JSON, [[PLACE, CODE], ...].

The snippets of one place share their names, as the cells of a notebook do. Ends at the first snippet that raises, with
its traceback.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiflow_ext as af
import aiflow_ext.plugin
import aiflow_ext.testing

# What a snippet may take for given: it goes on from text, or from code that its reader has.
GIVEN = {
    "af": af, "asyncio": asyncio, "contextmanager": contextlib.contextmanager, "subprocess": subprocess, "Path": Path,
    "JobPluginConformance": aiflow_ext.testing.JobPluginConformance, "Works": aiflow_ext.testing.works.Works,
}  # fmt: skip


async def main() -> None:
    names: dict[str, dict[str, Any]] = {}
    for place, code in json.load(sys.stdin):
        shared = names.setdefault(place, {**GIVEN, "__name__": place})
        found = eval(compile(code, place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), shared)
        if inspect.isawaitable(found):
            await found


if __name__ == "__main__":
    asyncio.run(main())
