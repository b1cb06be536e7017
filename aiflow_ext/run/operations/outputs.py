"""The files that a run has made, if they are on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiflow_ext.model.artifact_record import LONGEST, ArtifactRecord
from aiflow_ext.model.graph import OutputFile
from aiflow_ext.model.names import artifact_url, local_path
from aiflow_ext.model.states import JobState
from aiflow_ext.regular_file import read_regular
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.records import RunRecord

_FORMS = {"path": "file", "folder": "folder"}


def files_of(plan: Plan, record: RunRecord) -> list[dict[str, Any]]:
    """Each file or folder that a finished job keeps as an artifact: job, node, path, size, and its form, ``file`` or
    ``folder`` (the path is then a tar's). Empty for a remote artifacts URL."""
    base = local_path(plan.desc.artifacts.rstrip("/"))
    if base is None:
        return []
    run_url = f"{base}/{record.run_id}"
    found = []
    for name, planned in plan.jobs.items():
        job = record.jobs[name]
        if job.state is not JobState.FINISHED or job.last is None:
            continue
        for node in planned.sub_graph.nodes:
            named = node.properties.get("names", {}) if node.kind == "cmd_line" else {}
            outputs = [key for key, value in named.items() if isinstance(value, OutputFile)] or [None]
            for output in outputs:
                url = artifact_url(run_url, name, job.last.number, str(node.name), output)
                try:
                    artifact = _record(url)
                except (OSError, ValueError):
                    continue
                for each, kept in ((url, artifact), *_held(url, artifact)):
                    if kept.form in _FORMS:
                        path, form = str(Path(each) / kept.file), _FORMS[kept.form]
                        found.append({"job": name, "node": node.name, "path": path, "size": kept.size, "form": form})
    return found


def _held(url: str, artifact: ArtifactRecord) -> Iterator[tuple[str, ArtifactRecord]]:
    """The files that a value holds: their URLs and records, as far as they exist."""
    for number in range(artifact.files):
        try:
            yield f"{url}/files/{number}", _record(f"{url}/files/{number}")
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            continue


def _record(url: str) -> ArtifactRecord:
    return ArtifactRecord.from_bytes(read_regular(f"{url}.json", LONGEST + 1))
