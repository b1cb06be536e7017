"""Offline checks of a job, before anything is sent."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from aiflow_ext.plugin import Problem
from aiflow_ext.plugin.engines import artifact_problems
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.layout import ARCHIVES

SHARE = "name a folder that every node has under the same path (shared_folders: in workflow.yaml)"


def job_problems(job: YarnJob) -> list[Problem]:
    """Local files that cannot be sent, artifacts that the nodes cannot reach."""
    bundle, shared = job.bundle, job.config.shared_folders
    unreached = artifact_problems(bundle.sub_graph, bundle.project, shared, who="nodes of platform yarn", cure=SHARE)
    return [*_file_problems(job), *unreached]


def _file_problems(job: YarnJob) -> Iterator[Problem]:
    """What is wrong with the local files that are to be sent."""
    ca = job.cluster.ca
    if ca is not None and not Path(ca).is_file():
        yield Problem(f"job {job.name!r}: ca names {ca}, which is no file", where=ca,
                      hint="give the file with the certificates of the authorities to trust")  # fmt: skip
    keytab = job.cluster.keytab
    if keytab is not None and not Path(keytab).is_file():
        yield Problem(f"job {job.name!r}: keytab names {keytab}, which is no file", where=keytab,
                      hint="give the file with the principal's keys on this machine; ktutil or the KDC's administrator "
                      "makes it")  # fmt: skip
    for key, names in (("files", job.config.files), ("archives", job.config.archives)):
        for name, source in names.items():
            if "://" in source:
                if urlsplit(source).scheme not in ("hdfs", "webhdfs", "swebhdfs"):
                    yield Problem(
                        f"job {job.name!r}: {key} has {source} for {name!r}; of a URI on another file system than the "
                        "cluster's own the size and time that YARN wants cannot be asked for",
                        hint="copy it to the cluster's HDFS and give hdfs:///path, or give a local file",
                    )
                suffix = source
            else:
                path = job.local_file(source)
                if not path.is_file():
                    what = "is a folder" if path.is_dir() else "is not there"
                    yield Problem(
                        f"job {job.name!r}: {key} names {source} for {name!r}, which {what}",
                        where=str(path),
                        hint=f"correct {key}.{name} in workflow.yaml; a folder is sent as an archive of it",
                    )
                    continue
                suffix = path.name
                if key == "archives" and suffix.endswith(ARCHIVES) and not _is_archive(path):
                    yield Problem(
                        f"job {job.name!r}: archives names {source} for {name!r}, which is no archive, whatever its "
                        "name says",
                        where=str(path),
                        hint="is it complete? tar tf, or unzip -l, shows it",
                    )
            if key == "archives" and not suffix.endswith(ARCHIVES):
                yield Problem(
                    f"job {job.name!r}: archives names {source} for {name!r}; YARN unpacks by the name's end, and "
                    f"knows {', '.join(ARCHIVES)}",
                    hint="pack it as one of these, or send it under files",
                )


_archives: dict[tuple[str, int, int], bool] = {}


def _is_archive(path: Path) -> bool:
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    found = _archives.get(key)
    if found is None:
        is_archive = zipfile.is_zipfile if path.name.endswith((".zip", ".jar")) else tarfile.is_tarfile
        found = _archives[key] = is_archive(path)
    return found
