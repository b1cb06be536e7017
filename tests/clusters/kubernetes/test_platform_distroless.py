"""A command whose image has no shell, or whose shell is not used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES

from aiflow_ext.run import prepare_run

BODY = """
with af.job('lists'):
    af.cmd(['/bin/busybox', 'ls', '/bin/busybox', '/nothing'])
with af.job('waits'):
    af.cmd(['/pause'])
with af.job('misses'):
    af.cmd(['/none'])
"""


def test_a_command_runs_in_an_image_without_a_shell(bed: Bed, namespace: str, project: Any) -> None:
    kubernetes = {"kubeconfig": str(bed.kubeconfig), "namespace": namespace, "distroless": True}
    config = {"*": {"platform": "kubernetes", "engine": "cmd_line", "platforms": {"kubernetes": kubernetes}},
              "lists": {"image": NAMES["busybox"]}, "waits": {"image": NAMES["pause"], "timeout": 2},
              "misses": {"image": NAMES["pause"]}}  # fmt: skip
    run = prepare_run(project.jobs(BODY, json.dumps(config)).root)
    run.driver.run()
    run.close()
    last = {name: job.attempts[-1] for name, job in run.record.jobs.items()}
    assert (str(last["lists"].state), last["lists"].exit_code) == ("FAILED", 1)
    folder = Path(run.record.folder, "jobs", "lists", "1")
    lines = (folder / "stdout").read_text().splitlines()
    assert sorted(lines) == ["/bin/busybox", "ls: /nothing: No such file or directory"]
    assert (folder / "stderr").read_bytes() == b""
    assert last["waits"].reason == "it ran into its timeout of 2 s"
    assert "no such file or directory" in str(last["misses"].reason)
