"""The files that a run has made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from aiflow_ext.model.artifact_record import LONGEST, ArtifactRecord
from aiflow_ext.model.graph import AISubGraph, outputs_of
from aiflow_ext.model.names import artifact_url, local_path
from aiflow_ext.model.states import JobState
from aiflow_ext.regular_file import read_regular
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.records import RunRecord

_FORMS = {"path": "file", "folder": "folder"}
T = TypeVar("T")
_Reader = Callable[[str], ArtifactRecord]
PATIENCE = 10.0  # seconds for a remote file system to answer


class Place(NamedTuple):
    """Where a finished job keeps an artifact, if it has made it: an output of a node, or the node's one value."""

    job: str
    node: str
    output: str | None
    url: str

    @property
    def name(self) -> str:
        """As it is listed: the node's name, or ``NODE.OUTPUT``."""
        return self.node if self.output is None else f"{self.node}.{self.output}"


def places_of(plan: Plan, record: RunRecord) -> Iterator[Place]:
    """The places of all artifacts of a run's finished jobs, in the workflow's order."""
    run_url = artifacts_of(plan, record)
    run_url = local_path(run_url) or run_url
    for name, planned in plan.jobs.items():
        job = record.jobs[name]
        if job.state is not JobState.FINISHED or job.last is None:
            continue
        yield from places_in(planned.sub_graph, name, job.last.number, run_url)


def places_in(graph: AISubGraph, job: str, attempt: int, run_url: str) -> Iterator[Place]:
    """The places of all artifacts that an attempt may make.

    Args:
        graph: the job's.
        job: the job's key.
        attempt: the attempt's number.
        run_url: below which the run's artifacts are.
    """
    for node in graph.nodes:
        named = outputs_of(node)
        outputs: Sequence[str | None] = [None] if named is None else named  # None: a node of one value
        for output in outputs:
            yield Place(job, str(node.name), output, artifact_url(run_url, job, attempt, str(node.name), output))


def files_of(plan: Plan, record: RunRecord) -> list[dict[str, Any]]:
    """Each file or folder that a finished job keeps as an artifact: job, node, path, size, sha256, and its form,
    ``file`` or ``folder`` (the path is then a tar's).

    For a remote artifacts URL the path is a URL, and what its file system does not answer within PATIENCE is missing.
    """
    return _read(plan, record, _files)


def kept_of(plan: Plan, record: RunRecord) -> list[tuple[Place, ArtifactRecord]]:
    """Each artifact of a finished job with its record; what cannot be read, within PATIENCE, is missing."""
    return _read(plan, record, _kept)


def _read(plan: Plan, record: RunRecord, look: Callable[[Plan, RunRecord, _Reader], Iterator[T]]) -> list[T]:
    run_url = artifacts_of(plan, record)
    if local_path(run_url) is not None:
        return list(look(plan, record, _record))
    found: list[T] = []
    # A daemon: a client of a file system may wait for ever, and the command ends all the same.
    asking = threading.Thread(target=_ask, args=(plan, record, run_url, look, found), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return list(found)


def read_remote(system: Any, path: str, most: int) -> bytes:
    """The first bytes of a file of an fsspec file system, at most so many.

    Not by ``cat_file`` with a range: some S3 servers refuse one that is longer than the file.
    """
    with system.open(path, "rb", block_size=most) as file:
        return bytes(file.read(most))


def artifacts_of(plan: Plan, record: RunRecord) -> str:
    """The folder or URL below which a run's artifacts are."""
    return f"{plan.desc.artifacts.rstrip('/')}/{record.run_id}"


def _ask(
    plan: Plan, record: RunRecord, run_url: str, look: Callable[[Plan, RunRecord, _Reader], Iterator[T]], found: list[T]
) -> None:
    """Append what is looked for to ``found``; nothing where the remote file system cannot be asked from here."""
    try:
        from fsspec.core import url_to_fs

        system, _ = url_to_fs(run_url)

        def read(url: str) -> ArtifactRecord:
            return ArtifactRecord.from_bytes(read_remote(system, f"{url}.json", LONGEST + 1))

        for each in look(plan, record, read):
            found.append(each)  # one by one: what has come when patience ends is shown
    except Exception:  # no fsspec, no credentials, no answer: the run's URL is named, and that is all that is known
        return


def _kept(plan: Plan, record: RunRecord, read: _Reader) -> Iterator[tuple[Place, ArtifactRecord]]:
    for place in places_of(plan, record):
        try:
            yield place, read(place.url)
        except (OSError, ValueError):
            continue


def _files(plan: Plan, record: RunRecord, read: _Reader) -> Iterator[dict[str, Any]]:
    for place, artifact in _kept(plan, record, read):
        for each, kept in ((place.url, artifact), *_held(place.url, artifact, read)):
            if kept.form in _FORMS:
                path, form = f"{each}/{kept.file}", _FORMS[kept.form]
                yield {"job": place.job, "node": place.node, "path": path, "size": kept.size, "form": form,
                       "sha256": kept.sha256}  # fmt: skip


def _held(url: str, artifact: ArtifactRecord, read: _Reader) -> Iterator[tuple[str, ArtifactRecord]]:
    """The files that a value holds: their URLs and records, to the first that is not there or cannot be read."""
    for number in range(artifact.files):  # as many as a job says: 10**18 too
        try:
            yield f"{url}/files/{number}", read(f"{url}/files/{number}")
        except OSError:
            return
        except ValueError:
            continue


def _record(url: str) -> ArtifactRecord:
    return ArtifactRecord.from_bytes(read_regular(f"{url}.json", LONGEST + 1))
