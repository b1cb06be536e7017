"""The conformance kit, both job plugins of examples/plugins/slurm, all levels, on real daemons."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from slurm_bed import Bed

from aiflow_ext.testing import ClusterConformance
from aiflow_ext.testing.cluster import Wrong

# Programs of Slurm's that note their arguments and are then the real ones.
TAP = '#!/bin/sh\necho "$0 $*" >> "{log}"\nexec {program} "$@"\n'


class OnTheBed(ClusterConformance):
    """What both have in common. The bed's node is this machine, so that marks are files."""

    platform = "slurm"
    config: ClassVar[dict[str, Any]] = {"python": sys.executable}
    patience = 60.0
    kills = 20
    bed: ClassVar[Bed]
    log: ClassVar[Path]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _place(cls, bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("slurm")
        cls.bed, cls.log = bed, folder / "calls"
        for name in ("squeue", "sbatch"):
            (folder / name).write_text(TAP.format(log=cls.log, program=shutil.which(name)))
            (folder / name).chmod(0o755)
        cls.env = {**bed.env, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        cls.artifacts = (folder / "artifacts").as_uri()

    def compare_sent(self, request: dict[str, Any]) -> None:
        """The job's own view of itself is what render shows, and Slurm has the script that render shows."""
        super().compare_sent({**request, "kind": "exec"})
        (name,) = [option.partition("=")[2] for option in request["content"]["submit"] if "--job-name=" in option]
        number = self.bed.call("squeue", "--noheader", "--states=all", f"--name={name}", "--format=%i").strip()
        assert self.bed.call("scontrol", "write", "batch_script", number, "-") == request["content"]["script"]

    # -- level cluster ----------------------------------------------------------------------------------------------

    @contextmanager
    def the_server_is_gone(self) -> Iterator[None]:
        self.bed.kill("slurmctld")
        try:
            yield
        finally:
            self.bed.restart_controller()

    def delete_native(self, native_id: str) -> None:
        """Slurm has no word for it: its controller is started without the jobs that it knew."""
        self.bed.kill("slurmctld")
        self.bed.restart_controller("-c")

    @contextmanager
    def count_requests(self) -> Iterator[dict[str, int]]:
        counted: dict[str, int] = {}
        before = len(self.log.read_text().splitlines()) if self.log.exists() else 0
        unpacked = len(list(self.root.rglob("runtime/run_job.py")))
        yield counted
        calls = self.log.read_text().splitlines()[before:]
        # A watch asks for all jobs in one call; look-ups name one.
        counted["watches"] = len({call for call in calls if "/squeue " in call and "--name=" not in call})
        counted["archives"] = len(list(self.root.rglob("runtime/run_job.py"))) - unpacked

    def the_wrong_address(self) -> Wrong:
        path = self.root / "wrong.conf"
        self.bed.write_conf(path, host="elsewhere", port=self.bed.base + 2)
        return Wrong({}, {"SLURM_CONF": str(path)}, "elsewhere")

    def the_refused_credential(self) -> Wrong:
        return Wrong({}, {"SLURM_CONF": str(self.bed.stranger())}, "munge")


class TestSlurmCommands(OnTheBed):
    engine = "cmd_line"


class TestSlurmPython(OnTheBed):
    engine = "python"
