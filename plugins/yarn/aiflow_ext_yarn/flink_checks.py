"""Offline checks of a Flink job on YARN, before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from aiflow_ext.plugin import ConfigError, Problem
from aiflow_ext.plugin.secrets import is_secret, plain
from aiflow_ext_flink.artifacts import stream_problems
from aiflow_ext_flink.program import Program, is_url
from aiflow_ext_yarn.flink_config import YarnFlinkJobConfig
from aiflow_ext_yarn.flink_job import YarnFlinkJob
from aiflow_ext_yarn.flink_request import files

_ON_HDFS = ("hdfs", "webhdfs", "swebhdfs")
_IN_SCRIPTS = "\"'$`\\;\n"  # characters that YARN's or Flink's scripts would not leave as they are


def check(job: YarnFlinkJob) -> None:
    """Raise ConfigError with everything that this machine can tell to be wrong; CodeError for the program."""
    problems = [*key_problems(str(job.name), job.config, job.program), *_environment(job), *_files(job)]
    problems = problems or [*_names(job)]
    if problems:
        raise ConfigError(problems=problems)
    job.words("application")


def key_problems(name: str, config: YarnFlinkJobConfig, program: Program) -> Iterator[Problem]:
    """What is wrong with the keys of a job, also where this machine has no Flink.

    Args:
        name: the job's.
        config: its config.
        program: what it runs.
    """
    if config.session is not None:
        yield Problem(
            f"job {name!r}: jobmanager names a session cluster, and each job on platform yarn has its own cluster",
            program.where,
            "to submit to a session cluster: platform: local, or kubernetes where it is one there; for a cluster of "
            "its own take the address away, or give jobmanager: {memory: 1Gi}",
        )
    if config.restore_from is not None and "/" not in config.restore_from:
        yield Problem(
            f"job {name!r}: restore_from must be the path or URL of a savepoint or checkpoint, not "
            f"{config.restore_from!r}",
            hint="the reason of an attempt that was stopped with a savepoint has its path: aiflow-ext status RUN",
        )
    if config.container is not None:
        yield Problem(
            f"job {name!r}: container is for other engines: Flink itself asks for its task managers' containers",
            hint="take container away; Java is on the nodes: java_home",
        )
    yield from stream_problems(name, config.exec_mode, program)
    if config.memory is not None:
        yield Problem(
            f"job {name!r}: memory says nothing about Flink's processes",
            hint="give jobmanager: {memory: 1Gi} and taskmanagers: {memory: 2Gi}",
        )


def _environment(job: YarnFlinkJob) -> Iterator[Problem]:
    for name, value in job.config.env.items():
        if is_secret(value):
            yield Problem(
                f"job {job.name!r}: env has a secret for {name}; Flink keeps its processes' variables in its "
                "configuration, which its web page shows",
                hint="read the secret in the program: from a file of the nodes, or a credential provider of Hadoop",
            )
        elif set(plain(value)) & set(_IN_SCRIPTS):
            yield Problem(
                f"job {job.name!r}: env has {plain(value)[:60]!r} for {name}; Flink's scripts do not keep quotes, "
                "dollar signs, backslashes, semicolons and ends of lines",
                hint="give it as an argument of the program, which can have any character",
            )


def _files(job: YarnFlinkJob) -> Iterator[Problem]:
    program = job.program
    local = [*job.config.jars, *program.py_files]
    for each in local:
        if is_url(each):
            if urlsplit(each).scheme not in _ON_HDFS:
                yield _elsewhere(job, each)
        elif not Path(job.local_file(each)).is_file():
            what = "is a folder" if Path(job.local_file(each)).is_dir() else "is not there"
            yield Problem(
                f"job {job.name!r}: {each} is to be sent, and {what}",
                where=program.where,
                hint="name a file; of a folder of Python files, a zip of it",
            )
    if program.file is not None and is_url(program.file) and urlsplit(program.file).scheme not in _ON_HDFS:
        yield _elsewhere(job, program.file)


def _names(job: YarnFlinkJob) -> Iterator[Problem]:
    """Names that files cannot have on the nodes. Raises ConfigError where a jar of Flink's own is not there."""
    placed = files(job, "application")
    for name, count in Counter(each.name for each in placed).items():
        if count > 1:
            yield Problem(f"job {job.name!r}: {count} files would have the name {name!r} on the nodes",
                          hint="rename one of them")  # fmt: skip
    for each in placed:
        if set(each.name + (each.uri or each.path or "")) & set(_IN_SCRIPTS):
            yield Problem(f"job {job.name!r}: the file {each.name!r} cannot have that name or path on the nodes",
                          hint="use letters, digits and _ . - +")  # fmt: skip


def _elsewhere(job: YarnFlinkJob, url: str) -> Problem:
    return Problem(
        f"job {job.name!r}: {url} is on another file system than the cluster's own, from which nodes get files",
        where=job.program.where,
        hint="copy it to the cluster's HDFS and give hdfs:///path, or give a local file",
    )
