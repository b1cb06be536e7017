"""The artifacts that a Flink job reads on YARN: Flink itself reads their files, where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from aiflow_ext.plugin import PlatformError, Problem
from aiflow_ext.plugin.authoring import InputRef
from aiflow_ext.plugin.engines import is_remote, parse_json, read_whole, retry
from aiflow_ext_yarn.flink_job import YarnFlinkJob
from aiflow_ext_yarn.lifecycle import STEP_TIMEOUT
from aiflow_ext_yarn.webhdfs import WebHdfs

_FILES = ("path", "str", "bytes", "bytearray")  # forms of artifacts whose file is what a program can read


def problems_of(job: YarnFlinkJob) -> Iterator[Problem]:
    """Inputs that Flink on the nodes cannot read, as far as this machine knows."""
    artifacts = job.bundle.project.artifacts
    if not any(isinstance(value, InputRef) for value in job.program.names.values()):
        return
    if is_remote(artifacts) and job.path_of(artifacts) is None:
        yield Problem(
            f"job {job.name!r} reads artifacts, which are kept at {artifacts}: Flink on the nodes reads the cluster's "
            "own file system, and folders that all nodes have",
            where=job.program.where,
            hint="name a folder there: artifacts: hdfs:///user/ada/artifacts in project.yaml",
        )


def located(job: YarnFlinkJob) -> dict[str, str]:
    """Where the file of each input is, by keyword: a URL, or a path that all nodes have.

    Raises PlatformError for an artifact that is not there, or is no file: a folder is kept as a tar, which no program
    expects.
    """
    given = job.program.inputs(job.bundle.sub_graph, job.context)
    return {keyword: _file_of(job, keyword, url) for keyword, url in given.items()}


def _file_of(job: YarnFlinkJob, keyword: str, url: str) -> str:
    title = f"job {job.name!r}: its input {keyword!r}"
    try:
        content = _record(job, f"{url}.json")
        told = None if content is None else parse_json(content)
    except (OSError, ValueError) as error:
        raise PlatformError(f"{title} cannot be read: the record of {url} is damaged: {error}") from error
    if not isinstance(told, dict):
        raise PlatformError(f"{title} is not there, or was never completed: {url}")
    form, file = told.get("form"), told.get("file")
    if form not in _FILES or not isinstance(file, str) or os.path.basename(file) != file or not file:
        what = "a folder" if form == "folder" else "no file"
        raise PlatformError(
            f"{title} is {what}, and on platform yarn Flink reads artifacts that are files",
            hint="pass on one file; or write to a folder of the cluster, hdfs:///data/in, and give both jobs its URL",
        )
    return f"{url}/{file}"


def _record(job: YarnFlinkJob, url: str) -> bytes | None:
    path = job.path_of(url)
    if path is not None:
        return retry(partial(WebHdfs(job.cluster).read, path), STEP_TIMEOUT)
    try:
        return read_whole(url.removeprefix("file://"))
    except FileNotFoundError:
        return None
