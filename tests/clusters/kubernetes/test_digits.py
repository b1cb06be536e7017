"""examples/digits here and on the cluster: one changed setting, and the same report."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import fsspec
from kubernetes_bed import Bed

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "digits"
PLATFORMS = """\
  platforms:
    kubernetes:
      image: localhost/aiflow-digits:3.11
      kubeconfig: {kubeconfig}
      namespace: {namespace}
      env_from: [{{secret: s3}}]
"""


def test_the_report_is_the_same(
    bed: Bed,
    namespace: str,
    artifacts: str,
    tmp_path: Path,
    cli: Callable[..., subprocess.CompletedProcess[str]],
    cli_env: dict[str, str],
) -> None:
    credentials = {"metadata": {"name": "s3"}, "stringData": bed.s3_environment}
    bed.api.create(f"/api/v1/namespaces/{namespace}/secrets", credentials)
    project = tmp_path / "digits"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".aiflow", "__pycache__"))
    with open(project / "project.yaml", "a") as file:
        file.write(f"artifacts: {artifacts}\n")
    config = (project / "workflow.yaml").read_text()
    shared = '"*": {platform: local, engine: python, retries: 1}\n'
    assert shared in config
    block = '"*":\n  platform: local\n  engine: python\n  retries: 0\n'
    platforms = PLATFORMS.format(kubeconfig=bed.kubeconfig, namespace=namespace)
    (project / "workflow.yaml").write_text(config.replace(shared, block + platforms))
    env = {**cli_env, **bed.s3_environment, "XDG_STATE_HOME": str(tmp_path / "state")}
    reports = {}
    for platform in ("local", "kubernetes"):
        done = cli("run", project, "--set", f"*.platform={platform}", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        files = fsspec.filesystem("s3", client_kwargs={"endpoint_url": bed.layout.s3}, use_listings_cache=False)
        (report,) = [path for path in files.find(artifacts) if path.endswith("report.html") and path not in reports]
        reports[report] = files.cat(report)
    here, there = reports.values()
    assert b"accuracy 9" in here
    assert here == there
