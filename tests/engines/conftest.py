"""Runs a project's jobs as a platform does: from the archive's tar, by a python without installed packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

import aiflow_ext as af
from aiflow_ext.engines.bundle import build_bundle
from aiflow_ext.engines.environment import job_environment
from aiflow_ext.model.current import UNFINISHED
from aiflow_ext.model.names import artifact_key, artifact_url
from aiflow_ext.translate.check import check_graph
from aiflow_ext.translate.functions import freeze
from aiflow_ext.translate.load import built_graph, imported_workflow
from aiflow_ext.translate.project import load_project
from aiflow_ext.translate.split import JobGraph, split


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter without any package."""
    home = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    for name in ("aiflow_ext", "cloudpickle", "fsspec", "attr"):
        done = subprocess.run([home / "bin/python", "-I", "-c", f"import {name}"], capture_output=True, check=False)
        assert b"No module named" in done.stderr
    return str(home / "bin" / "python")


class Ended:
    """How a job ended: exit code (negative: by that signal), what it printed, and the reason that it left."""

    def __init__(self, done: subprocess.CompletedProcess[str], reason: str) -> None:
        self.code, self.out, self.err, self.reason = done.returncode, done.stdout, done.stderr, reason

    def __repr__(self) -> str:
        return f"exit {self.code}, reason {self.reason!r}\n{self.out}\n{self.err}"


class Jobs:
    """The jobs of one workflow; each is run by a call."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.python = folder, python
        self.root = folder / "project"
        self.artifacts = str(folder / "artifacts")
        self.properties: dict[str, Any] = {}
        self.env: dict[str, str] = {}
        self.change_payload: Callable[[dict[str, Any]], None] = lambda payload: None
        self.parts = JobGraph()

    def write(self, body: str, steps: str = "", above: str = "", first: str = "", **files: str) -> Jobs:
        """The body of the workflow's function, steps.py, and what stands above it, and first of all, in workflow.py."""
        self.root.mkdir(exist_ok=True)
        head = first + "import aiflow_ext as af\nfrom steps import *\n"
        text = head + textwrap.dedent(above) + "\n@af.workflow\ndef w():\n"
        (self.root / "workflow.py").write_text(text + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n")
        (self.root / "steps.py").write_text(textwrap.dedent(steps))
        for name, content in files.items():
            (self.root / name).write_text(content)
        self.project = load_project(self.root)
        with imported_workflow(self.project) as module:
            graph = built_graph(self.project, module)
            assert check_graph(graph) == []
            assert freeze(graph, self.project.root, module, self.project.desc.python_paths) == []
        self.parts = split(graph)
        return self

    def run(self, name: str, attempt: int = 1) -> Ended:
        part = self.parts.sub_graphs[name]
        kinds = {node.kind for node in part.nodes}
        part.config = af.BaseJobConfig("test", kinds.pop(), name, properties=self.properties)
        bundle = build_bundle(part, self.project.desc)
        home = self.folder / "unpacked" / bundle.archive.sha256
        if not home.exists():
            home.mkdir(parents=True)
            bundle.archive.write(home / "archive.tgz")
            with tarfile.open(home / "archive.tgz") as tar:
                tar.extractall(home)
        url = f"{self.artifacts}/run-1"
        inputs = {}
        for edge in part.inputs:
            upstream, _, node = edge.source.rpartition("/")
            inputs[artifact_key(edge.source, edge.output)] = artifact_url(url, upstream, 1, node, edge.output)
        context = af.JobContext("run-1", name, attempt, "n", None, url, inputs)
        work = self.folder / "work" / name
        work.mkdir(parents=True, exist_ok=True)
        payload = json.loads(bundle.payload(context))
        self.change_payload(payload)
        (work / "payload.json").write_text(json.dumps(payload))
        job = af.BaseJob(context, part.config)
        env = job_environment(job, work_folder=str(work), project_folder=str(home / "project"))
        env |= {"AIFLOW_REASON_FILE": str(work / "reason"), "PATH": os.environ["PATH"], **self.env}
        done = subprocess.run(
            [self.python, "-B", str(home / "runtime" / "run_job.py"), str(work / "payload.json")],
            env=env, cwd=work, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        reason = (work / "reason").read_text() if (work / "reason").exists() else ""
        if reason == UNFINISHED:  # as every platform reads it
            done.returncode, reason = (1, reason) if done.returncode == 0 else (done.returncode, "")
        return Ended(done, reason)

    def fine(self, *names: str) -> Ended:
        """Run these jobs, all of which must finish; returns the last one."""
        for name in names:
            ended = self.run(name)
            assert ended.code == 0, ended
        return ended

    def artifact(self, job: str, node: str, output: str | None = None) -> tuple[dict[str, Any], bytes]:
        """The record and the content of what a job has written."""
        url = artifact_url(f"{self.artifacts}/run-1", job, 1, node, output)
        record = json.loads(Path(f"{url}.json").read_bytes())
        return record, Path(url, record["file"]).read_bytes()


@pytest.fixture
def jobs(tmp_path: Path, bare_python: str) -> Jobs:
    return Jobs(tmp_path, bare_python)
