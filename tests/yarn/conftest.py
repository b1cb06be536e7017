"""Fixtures of the tests of platform yarn that need no cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


class HadoopFolder:
    """A Hadoop configuration folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **files: dict[str, str]) -> HadoopFolder:
        """``yarn={...}`` is yarn-site.xml with these properties."""
        for name, values in files.items():
            lines = [f"<property><name>{key}</name><value>{value}</value></property>" for key, value in values.items()]
            text = f'<?xml version="1.0"?>\n<configuration>{"".join(lines)}</configuration>\n'
            (self.folder / f"{name}-site.xml").write_text(text)
        return self


@pytest.fixture
def hadoop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HadoopFolder:
    """An empty configuration folder, which HADOOP_CONF_DIR names."""
    folder = tmp_path / "hadoop"
    folder.mkdir()
    monkeypatch.setenv("HADOOP_CONF_DIR", str(folder))
    for name in ("YARN_CONF_DIR", "HADOOP_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HADOOP_USER_NAME", "ada")
    return HadoopFolder(folder)
