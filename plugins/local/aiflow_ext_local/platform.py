"""The platform ``local``."""

from __future__ import annotations

from aiflow_ext import AbstractPlatform


class LocalPlatform(AbstractPlatform):
    """This machine."""

    @staticmethod
    def platform() -> str:
        return "local"
