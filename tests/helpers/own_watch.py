"""A job plugin of a platform ``cluster`` that runs its jobs as local.cmd_line does, and has a watch of its own."""

from __future__ import annotations

import textwrap

_PLUGIN = """\
import json
import os

import aiflow_ext.plugin as af
from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin


class Cluster(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "cluster"


class Plugin(LocalCmdLineJobPlugin):
    said = False

    def platform(self):
        return Cluster

    @af.hookimpl
    def watch(self, jobs, since):
"""


def plugin_that_watches(body: str) -> str:
    """The text of its module, whose class is ``Plugin``.

    Args:
        body: of the method ``watch(self, jobs, since)``; the local plugin's is ``super().watch(jobs, since)``.
    """
    return _PLUGIN + textwrap.indent(textwrap.dedent(body), " " * 8)
