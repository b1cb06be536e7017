"""The conformance kit, both job plugins, all levels, on real daemons."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from yarn_bed import Bed
from yarn_refusal import answering
from yarn_tap import Tap

from aiflow_ext.testing import ClusterConformance
from aiflow_ext.testing.cluster import Wrong


class Tapped:
    """Proxies in front of the ResourceManager and the NameNode, and a Hadoop configuration folder that leads there."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self.rm, self.nn = Tap(bed.rm), Tap(bed.webhdfs)
        shutil.copytree(bed.conf, folder)
        for name, tap in (("yarn-site.xml", self.rm), ("hdfs-site.xml", self.nn)):
            site = folder / name
            site.write_text(site.read_text().replace(tap.target.netloc, urlsplit(tap.url).netloc))
        self.conf = str(folder)

    def close(self) -> None:
        """Stop listening."""
        self.rm.close()
        self.nn.close()


class OnTheBed(ClusterConformance):
    """What both have in common. The bed's node is this machine, so that marks are files."""

    platform = "yarn"
    # A stop tells of a ResourceManager that is away within the kit's own patience.
    config: ClassVar[dict[str, Any]] = {"memory": "256Mi", "python": sys.executable, "patience": "10s"}
    patience = 90.0
    kills = 16  # --aiflow-kills=all: some 150 each, at every line next to I/O and at fifty others
    bed: ClassVar[Bed]
    tapped: ClassVar[Tapped]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _place(cls, session_bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        cls.bed, cls.tapped = session_bed, Tapped(session_bed, tmp_path_factory.mktemp("hadoop") / "conf")
        cls.env = {"HADOOP_CONF_DIR": cls.tapped.conf, "HADOOP_USER_NAME": "root"}
        cls.artifacts = f"webhdfs://root@{urlsplit(session_bed.webhdfs).netloc}/conformance/{cls.engine}"
        yield
        cls.tapped.close()

    def compare_sent(self, request: dict[str, Any]) -> None:
        """The body that went through the proxy is the one that render shows, with what it leaves open put in."""
        rendered = request["content"]["submission"]
        sent = self.tapped.rm.submissions[rendered["application-id"]]
        container = sent["am-container-spec"]
        for entry in container["environment"]["entry"]:
            if entry["key"] == "AIFLOW_AM_SPEC":
                assert json.loads(base64.b64decode(entry["value"])) == request["content"]["spec"]
                entry["value"] = "${base64:spec}"
        for entry in container["local-resources"]["entry"]:
            assert entry["value"]["size"] > 0
            assert entry["value"]["timestamp"] > 0
            entry["value"] |= {"size": "${server:size}", "timestamp": "${server:timestamp}"}
        assert sent == rendered

    # -- level cluster ----------------------------------------------------------------------------------------------

    @contextmanager
    def the_server_is_gone(self) -> Iterator[None]:
        self.bed.kill("rm")
        try:
            yield
        finally:
            self.bed.up()

    def delete_native(self, native_id: str) -> None:
        """YARN has no word for it: the application is taken out of the ResourceManager's store while that is down."""
        self.bed.kill("rm")
        for path in (self.bed.folder / "data").rglob(native_id):
            if "RMAppRoot" in path.parts:
                shutil.rmtree(path)
        self.bed.up()

    @contextmanager
    def count_requests(self) -> Iterator[dict[str, int]]:
        counted: dict[str, int] = {}
        rm, nn = len(self.tapped.rm.requests), len(self.tapped.nn.requests)
        yield counted
        polled = [parse_qs(urlsplit(path).query).get("applicationTags") for _, _, path in self.tapped.rm.requests[rm:]]
        counted["watches"] = len({tags[0] for tags in polled if tags})  # a run's polls all ask for its one tag
        sent = [path for _, method, path in self.tapped.nn.requests[nn:] if method == "PUT" and "op=CREATE" in path]
        counted["archives"] = sum("/project-" in path for path in sent)

    def the_wrong_address(self) -> Wrong:
        return Wrong({"resource_manager": "http://127.0.0.1:9"}, {}, "127.0.0.1:9")

    def the_refused_credential(self) -> Wrong:
        return Wrong({"resource_manager": self.refusing}, {}, "401")

    @pytest.fixture(autouse=True)
    def _refusing(self) -> Iterator[None]:
        """A server that accepts nobody: the bed's, with simple authentication, accept everybody."""
        with answering(401) as address:
            self.refusing = address
            yield


class TestYarnCommands(OnTheBed):
    engine = "cmd_line"


class TestYarnPython(OnTheBed):
    engine = "python"
