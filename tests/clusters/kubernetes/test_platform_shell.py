"""Commands by the shell that their job's config names, in images with and without a bash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES

from aiflow_ext.run import prepare_run

VALUE = 'it\'s "$HOME" $(id) $$\n-n'
BODY = f"""
for name in ('bash', 'none'):
    with af.job(f'shows-{{name}}'):
        af.cmd('printf "%s|" {{x}} "${{BASH_VERSION:+bash}}"', x={VALUE!r})
    with af.job(f'fails-{{name}}'):
        af.cmd('false | cat; echo on')
with af.job('lists'):
    af.cmd(['env', 'A=1', 'sh', '-c', 'printf "%s|" "$A" {{x}} "{{x}}" "$1"', 'sh', '{{x}}'], x={VALUE!r})
with af.job('misses-none'):
    af.cmd('echo on')
"""


def test_strict_is_the_images_bash_or_its_sh_and_a_shell_that_is_not_there_is_named(
    bed: Bed, namespace: str, project: Any
) -> None:
    kubernetes = {"kubeconfig": str(bed.kubeconfig), "namespace": namespace, "image": NAMES["busybox"]}
    config = {
        "*": {"platform": "kubernetes", "shell": "strict", "platforms": {"kubernetes": kubernetes}},
        "*-bash": {"platforms": {"kubernetes": {"image": NAMES["python"]}}},
        "misses-none": {"shell": "bash"},
    }
    run = prepare_run(project.jobs(BODY, json.dumps(config)).root)
    run.driver.run()
    run.close()
    last = {name: job.attempts[-1] for name, job in run.record.jobs.items()}

    def said(job: str) -> list[str]:
        return Path(run.record.folder, "jobs", job, "1", "stdout").read_text().split("|")

    assert said("shows-bash") == [VALUE, "bash", ""]
    assert said("shows-none") == [VALUE, "", ""]
    assert said("lists") == ["1", VALUE, VALUE, VALUE, ""]
    for job in ("fails-bash", "fails-none"):  # busybox's sh has pipefail
        assert (str(last[job].state), last[job].exit_code, said(job)) == ("FAILED", 1, [""])
    assert "the image has no such program" in str(last["misses-none"].reason)
