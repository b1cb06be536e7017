"""The conformance kit, both job plugins, on real daemons."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from yarn_bed import Bed
from yarn_tap import Tap

from aiflow_ext.testing import JobPluginConformance


@pytest.fixture(scope="module")
def tapped(session_bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tap, str]]:
    """A proxy in front of the ResourceManager, and a Hadoop configuration folder that leads there."""
    tap = Tap(session_bed.rm)
    folder = tmp_path_factory.mktemp("hadoop") / "conf"
    shutil.copytree(session_bed.conf, folder)
    site = folder / "yarn-site.xml"
    site.write_text(site.read_text().replace(session_bed.rm.removeprefix("http://"), tap.url.removeprefix("http://")))
    yield tap, str(folder)
    tap.close()


class OnTheBed(JobPluginConformance):
    """What both have in common. The bed's node is this machine: it sees the same folders."""

    platform = "yarn"
    config: ClassVar[dict[str, Any]] = {"memory": 256, "python": sys.executable, "shared_folders": ["/"]}
    patience = 90.0
    tap: ClassVar[Tap]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _led_to_the_bed(cls, tapped: tuple[Tap, str]) -> None:
        cls.tap, conf = tapped
        cls.env = {"HADOOP_CONF_DIR": conf}

    def compare_sent(self, request: dict[str, Any]) -> None:
        """The body that went through the proxy is the one that render shows, with what it leaves open put in."""
        rendered = request["content"]["submission"]
        sent = self.tap.submissions[rendered["application-id"]]
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


class TestYarnCommands(OnTheBed):
    engine = "cmd_line"


class TestYarnPython(OnTheBed):
    engine = "python"
