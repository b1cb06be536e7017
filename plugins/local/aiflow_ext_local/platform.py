"""The platform ``local``."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractPlatform


class LocalPlatform(AbstractPlatform):
    """This machine."""

    outlives_power_loss = False
    answers_at_once = True

    @staticmethod
    def platform() -> str:
        return "local"
