"""The platform ``local``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiflow_ext.plugin import AbstractPlatform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiflow_ext.plugin import Resources


class LocalPlatform(AbstractPlatform):
    """This machine."""

    outlives_power_loss = False
    answers_at_once = True
    resources = ("cpu", "memory", "gpu")

    @staticmethod
    def platform() -> str:
        return "local"

    @classmethod
    def capacity(cls) -> Resources:
        from aiflow_ext_local.machine import capacity

        return capacity()

    @classmethod
    def gpus(cls) -> Sequence[str]:
        from aiflow_ext_local.machine import gpus

        return gpus()
