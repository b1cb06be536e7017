"""The process in which a job plugin is loaded for trial: what :mod:`~aiflow_ext.host.trial` starts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.loading import shown
from aiflow_ext.host.policy import Policy
from aiflow_ext.host.trial import MOST, REPORT
from aiflow_ext.model.errors import INTERRUPTED, PluginError


def answer(spec: Mapping[str, Any]) -> None:
    """Load the plugin that ``spec`` names, report the result, and exit at once."""
    os.set_inheritable(spec["answer"], False)
    write, leave = os.write, os._exit
    try:
        host = PluginHost(Policy(spec["allow"], spec["deny"]), spec["pins"])
        result: dict[str, Any] = {"remarks": host.resolve(spec["platform"], spec["engine"]).remarks}
    except PluginError as error:
        result = {"problem": error.message[:MOST], "hint": error.problems[0].hint, "exit_code": error.exit_code,
                "error": shown(error.__cause__ or error)[:MOST]}  # fmt: skip
    except KeyboardInterrupt as error:  # this process gets no Ctrl-C: the plugin raises it
        result = {"problem": f"{error}: it raises KeyboardInterrupt", "hint": REPORT, "exit_code": INTERRUPTED}
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # whatever the plugin has made of them
            pass
    write(spec["answer"], json.dumps(result).encode())
    leave(0)
