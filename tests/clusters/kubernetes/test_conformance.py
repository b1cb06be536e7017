"""The platform kubernetes under the kit, on a real cluster, with no more rights than its own Role gives."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_bed import Bed

from aiflow_ext.testing import ClusterConformance, Marks
from aiflow_ext.testing.cluster import Wrong
from aiflow_ext_kubernetes.access import RULES


def role() -> list[dict[str, Any]]:
    """The rules that ``aiflow-ext render --rbac`` prints."""
    return [{"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)} for rule in RULES]


class OnTheBed(ClusterConformance):
    """A namespace of the class's own; marks in a folder that the pods mount under the same path."""

    platform = "kubernetes"
    patience = 90.0
    kills = 12  # a seeded sample; --aiflow-kills=all: every line next to I/O, and fifty others
    at_once = 6
    bed: Bed
    namespace: str
    shared: Path

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _place(cls, bed_session: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        bed = bed_session
        shared = tmp_path_factory.mktemp("shared")
        shared.chmod(0o777)  # a pod's user is somebody else
        with bed.namespace() as namespace:
            bed.api.create(f"/api/v1/namespaces/{namespace}/secrets",
                           {"metadata": {"name": "s3"}, "stringData": dict(bed.s3_environment)})  # fmt: skip
            kubeconfig = bed.service_account(namespace, role(), tmp_path_factory.mktemp("account"))
            cls.bed, cls.namespace, cls.shared = bed, namespace, shared
            cls.env = {"KUBECONFIG": str(kubeconfig), **bed.s3_environment}
            cls.artifacts = f"{bed.artifacts}/{namespace}"
            cls.config = {
                "image": bed.environment()["images"]["python_s3"],
                "pull_policy": "IfNotPresent",
                "namespace": namespace,
                "env_from": [{"secret": "s3"}],
                "volumes": [{"mount": str(shared), "host_path": str(shared)}],
                "start_within": 80,
            }
            yield

    def marks(self, folder: Path) -> Marks:
        place = self.shared / secrets.token_hex(6)
        place.mkdir()
        place.chmod(0o777)
        return Marks(place)

    def compare_sent(self, request: dict[str, Any]) -> None:
        """The objects as the server has them hold all that was rendered."""
        content, run = request["content"], self.trial.runs[-1]
        name = content["job"]["metadata"]["name"]
        jobs = self.bed.api.get(f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}")
        assert jobs["metadata"]["labels"]["aiflow-ext/run"] == run
        wanted = json.loads(json.dumps(content["job"]))
        wanted["spec"]["suspend"] = content["start"]["spec"]["suspend"]
        assert not missing(wanted, jobs)
        if content["secret"] is not None:
            secret = self.bed.api.get(f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
            assert set(secret["data"]) == set(content["secret"]["stringData"])

    def _compare_logs(self, what: str, wanted: bytes, found: bytes) -> None:
        """containerd leaves a carriage return out that stands before a newline (readLine of its pkg/cri/io)."""
        super()._compare_logs(what, wanted.replace(b"\r\n", b"\n"), found)

    # -- level cluster ----------------------------------------------------------------------------------------------

    @contextmanager
    def the_server_is_gone(self) -> Iterator[None]:
        self.bed.cut()
        try:
            yield
        finally:
            self.bed.join()

    def delete_native(self, native_id: str) -> None:
        self.bed.kubectl("--namespace", self.namespace, "delete", "job", native_id, "--wait=false")

    @contextmanager
    def count_requests(self) -> Iterator[dict[str, int]]:
        counted: dict[str, int] = {}
        before = {each["auditID"] for each in self._requests()}  # a watch is in the log again at its end
        yield counted
        log = [each for each in self._requests() if each["auditID"] not in before]
        counted["watches"] = sum(each["verb"] == "watch" for each in log)
        made = [each["objectRef"] for each in log if each["verb"] == "create"]
        counted["archives"] = sum(str(each.get("name")).endswith("-project") for each in made)

    def _requests(self) -> list[dict[str, Any]]:
        return self.bed.audit_log(namespace=self.namespace, agent="aiflow-ext")

    def the_wrong_address(self) -> Wrong:
        return self._wrong("server", "https://127.0.0.1:9", "127.0.0.1:9")

    def the_refused_credential(self) -> Wrong:
        return self._wrong("token", "nobody", "401")

    def _wrong(self, key: str, value: str, named: str) -> Wrong:
        content = yaml.safe_load(Path(self.env["KUBECONFIG"]).read_text())
        content["clusters" if key == "server" else "users"][0]["cluster" if key == "server" else "user"][key] = value
        wrong = self.root / f"{key}.kubeconfig"
        wrong.write_text(yaml.safe_dump(content))
        return Wrong({}, {"KUBECONFIG": str(wrong)}, named)


def missing(wanted: Any, there: Any, where: str = "") -> list[str]:
    """What is not in ``there`` as it is in ``wanted``: the server adds defaults, and changes nothing."""
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return [words for key, value in wanted.items() for words in missing(value, there.get(key), f"{where}.{key}")]
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        return [words for number, (one, other) in enumerate(zip(wanted, there, strict=True))
                for words in missing(one, other, f"{where}[{number}]")]  # fmt: skip
    same = wanted == there or (wanted in ({}, "") and there is None)
    return [] if same else [f"{where}: {wanted!r} was rendered, {there!r} is there"]


class TestKubernetesCommand(OnTheBed):
    engine = "cmd_line"


class TestKubernetesPython(OnTheBed):
    engine = "python"
