"""What aiflow-ext has to know of platform ``slurm`` as a whole."""

from __future__ import annotations

import aiflow_ext.plugin as af


class SlurmPlatform(af.AbstractPlatform):
    """The Slurm cluster that this machine's slurm.conf, or the variable SLURM_CONF, names."""

    calls_at_once = 8
    jobs_at_once = 100
    resources = ("cpu", "memory", "gpu")

    @staticmethod
    def platform() -> str:
        return "slurm"
