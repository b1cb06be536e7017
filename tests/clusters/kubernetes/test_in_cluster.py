"""The driver itself in a pod: by its service account alone it finds the cluster, and runs jobs there."""

from __future__ import annotations

import importlib
import shutil
from importlib import metadata
from pathlib import Path

from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES
from kubernetes_bed.waiting import until

from aiflow_ext_kubernetes.access import RULES

PROJECT = {
    "steps.py": "def greet(name):\n    print('hello', name)\n",
    "workflow.py": """\
import aiflow_ext as af
from steps import greet

@af.workflow
def inside():
    with af.job("a"):
        af.python(greet, "from a pod")
    with af.job("b"):
        af.cmd("echo and its neighbour")
    af.run_after("b", "a")
""",
    "workflow.yaml": f"""\
"*": {{platform: kubernetes, image: "{NAMES["python"]}"}}
a: {{engine: python}}
b: {{engine: cmd_line}}
""",
}
DRIVE = """\
cp -rL /project /work/project &&
python3 -m aiflow_ext run /work/project &&
python3 -m aiflow_ext logs latest --project /work/project
"""


def site(folder: Path) -> Path:
    """aiflow-ext and the platform, as they are here and with their metadata, in a folder for PYTHONPATH."""
    folder.mkdir()
    for name, package in (("aiflow-ext", "aiflow_ext"), ("aiflow-ext-kubernetes", "aiflow_ext_kubernetes")):
        source = Path(str(importlib.import_module(package).__file__)).parent
        shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        found = metadata.distribution(name)
        info = folder / f"{package}-{found.version}.dist-info"
        info.mkdir()
        for file in ("METADATA", "entry_points.txt"):
            (info / file).write_text(found.read_text(file) or "")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    for path in (folder.parent, folder.parent.parent):  # the pod's user must come through
        path.chmod(0o755)
    return folder


def test_a_driver_in_a_pod_needs_only_its_service_account(bed: Bed, namespace: str, tmp_path: Path) -> None:
    rules = [{"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)} for rule in RULES]
    bed.service_account(namespace, rules, tmp_path, "driver")
    core = f"/api/v1/namespaces/{namespace}"
    bed.api.create(f"{core}/configmaps", {"metadata": {"name": "project"}, "data": PROJECT})
    volumes = {"site": {"hostPath": {"path": str(site(tmp_path / "site"))}}, "work": {"emptyDir": {}},
               "project": {"configMap": {"name": "project"}}}  # fmt: skip
    container = {
        "name": "driver",
        "image": NAMES["driver"],
        "command": ["sh", "-c", DRIVE],
        # An emptyDir can be written by everybody, which in this pod is the driver alone.
        "env": [
            {"name": "PYTHONPATH", "value": "/site"},
            {"name": "HOME", "value": "/work"},
            {"name": "AIFLOW_TRUST", "value": "*"},
        ],
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in volumes],
    }
    mark = bed.audit_mark()
    bed.api.create(f"{core}/pods", {
        "metadata": {"name": "driver"},
        "spec": {"restartPolicy": "Never", "serviceAccountName": "driver", "securityContext": {"runAsUser": 1000},
                 "containers": [container], "volumes": [{"name": name, **what} for name, what in volumes.items()]},
    })  # fmt: skip

    def phase() -> str:
        return str(bed.api.get(f"{core}/pods/driver")["status"]["phase"])

    assert until(lambda: phase() in ("Succeeded", "Failed"), 120)
    log = bed.kubectl("logs", "-n", namespace, "driver")
    assert phase() == "Succeeded", log
    assert "hello from a pod" in log
    assert "and its neighbour" in log
    made = [each["user"]["username"] for each in bed.audit_log(mark, namespace=namespace, agent="aiflow-ext")
            if each["verb"] == "create" and each["objectRef"]["resource"] == "jobs"]  # fmt: skip
    assert set(made) == {f"system:serviceaccount:{namespace}:driver"}
    assert bed.api.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"] == []
