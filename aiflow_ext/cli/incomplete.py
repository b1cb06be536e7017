"""The error of an installation, or of a Python, that lacks a module that aiflow-ext needs. Imports none of them."""

from __future__ import annotations

import sys

from aiflow_ext.model.errors import NOT_INSTALLED, AiflowError


def incomplete(error: ModuleNotFoundError) -> AiflowError | None:
    """What to tell the user of a module that is missing; None where it is one of aiflow-ext itself, a defect."""
    top = (error.name or "").partition(".")[0]
    if top in ("", "aiflow_ext"):
        return None
    if top in sys.stdlib_module_names:
        words = f"this Python ({sys.executable}) lacks the module {error.name!r} of the standard library"
        hint = "use another Python, or install what your system keeps apart (such as the package python3-full)"
    else:
        words = f"aiflow-ext is not installed completely: the module {error.name!r} is missing"
        hint = "pip install --force-reinstall aiflow-ext  (or the folder or file that it was installed from)"
    missing = AiflowError(words, hint=hint)
    missing.exit_code = NOT_INSTALLED
    return missing
