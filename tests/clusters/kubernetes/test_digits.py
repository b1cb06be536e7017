"""examples/digits here and on clusters: one changed setting, and the same report."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from kubernetes_bed import Bed

sys.path.append(str(Path(__file__).resolve().parents[1] / "yarn"))

import yarn_bed

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "digits"
# Named once for all jobs and all platforms. YARN's node is this machine.
SHARED = """\
"*":
  platform: local
  engine: python
  retries: 0
  env: {env}
  platforms:
    kubernetes: {{image: "localhost/aiflow-digits:3.11", kubeconfig: {kubeconfig}, namespace: {namespace}}}
    yarn: {{python: {python}, memory: 1Gi}}
"""
YARN = pytest.param(["local", "kubernetes", "yarn"], marks=pytest.mark.thorough, id="yarn too")


@contextlib.contextmanager
def hadoop(is_needed: bool) -> Iterator[dict[str, str]]:
    """The bed of YARN, for as long as it is needed; the environment of its clients."""
    if not is_needed:
        yield {}
        return
    bed = yarn_bed.Bed.chosen()
    there = any(bed.status().values())
    bed.up()
    try:
        yield {"HADOOP_CONF_DIR": str(bed.conf), "HADOOP_USER_NAME": "root"}
    finally:
        if not there:
            bed.down()


@pytest.mark.parametrize("platforms", [pytest.param(["local", "kubernetes"], id="kubernetes"), YARN])
def test_the_report_is_the_same(
    bed: Bed,
    namespace: str,
    artifacts: str,
    tmp_path: Path,
    cli: Callable[..., subprocess.CompletedProcess[str]],
    cli_env: dict[str, str],
    platforms: list[str],
) -> None:
    """The project's files stay as they are: only ``--set`` names another platform."""
    project = tmp_path / "digits"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".aiflow", "__pycache__"))
    with open(project / "project.yaml", "a") as file:
        file.write(f"artifacts: {artifacts}\n")
    config = (project / "workflow.yaml").read_text()
    before = '"*": {platform: local, engine: python, retries: 1}\n'
    assert before in config
    shared = SHARED.format(
        env=json.dumps({name: {"secret": f"env:{name}"} for name in bed.s3_environment}),
        kubeconfig=bed.kubeconfig, namespace=namespace, python=sys.executable,
    )  # fmt: skip
    (project / "workflow.yaml").write_text(config.replace(before, shared))
    reports = {}
    with hadoop("yarn" in platforms) as hadoop_env:
        env = {**cli_env, **bed.s3_environment, **hadoop_env, "XDG_STATE_HOME": str(tmp_path / "state")}
        for platform in platforms:
            done = cli("run", project, "--set", f"*.platform={platform}", "--json", env=env)
            assert done.returncode == 0, done.stdout + done.stderr
            assert {job["platform"] for job in json.loads(done.stdout)["jobs"]} == {platform}
            files = fsspec.filesystem("s3", client_kwargs={"endpoint_url": bed.layout.s3}, use_listings_cache=False)
            (report,) = [path for path in files.find(artifacts) if path.endswith("report.html") and path not in reports]
            reports[report] = files.cat(report)
        page = tmp_path / "run.html"
        told = cli("report", "latest", "--project", project, "--output", page, env=env)
        assert b'alt="confusion-matrix.png of evaluate"' in page.read_bytes(), told.stderr  # from the URL
    (content,) = set(reports.values())
    assert b"accuracy 9" in content
