"""The artifacts of a Flink job on a cluster: how its pods get them, and how they become those of other jobs.

The JobManager's pod does what the pod of a command does: aiflow-ext's runner brings the inputs, runs Flink as its
command, and keeps the outputs once that has ended well. All of it is in a folder of the attempt's own where a volume is
mounted, because TaskManagers, in other pods, read the inputs and write the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import aiflow_ext.plugin as af
from aiflow_ext.plugin import Problem, safe_name
from aiflow_ext.plugin.engines import is_reached, is_remote
from aiflow_ext_flink.artifacts import names_of, stream_problems
from aiflow_ext_flink.program import Program
from aiflow_ext_kubernetes.config import KubernetesJobConfig

LONGEST_SQL = 120_000  # bytes: Linux's limit of one argument is 128 KiB


def work_folder(exchange: str | None, context: af.JobContext) -> str:
    """The folder of an attempt that all of its pods see; its parent is of the job in this run alone.

    Args:
        exchange: the config's; None where the artifacts themselves are in a mounted folder.
        context: of the attempt.
    """
    job, attempt = safe_name(str(context.job_name)), context.attempt or 1
    if exchange is not None:
        return f"{exchange.rstrip('/')}/{context.run_id}/{job}/{attempt}"
    return f"{_path(context.artifacts_url or '').rstrip('/')}/.flink/{job}/{attempt}"


def problems_of(
    name: str, config: KubernetesJobConfig, exchange: str | None, program: Program, artifacts: str
) -> Iterator[Problem]:
    """What is wrong with a job that reads or writes artifacts, as far as this machine knows.

    Args:
        name: the job's.
        config: its config.
        exchange: the config's.
        program: what it runs.
        artifacts: the project's.
    """
    shared = [each.mount for each in config.volumes if (each.claim or each.host_path) and not each.read_only]
    if exchange is not None and config.pod_template is None and not is_reached(exchange, shared):
        yield Problem(f"job {name!r}: exchange: {exchange} is in no volume that its pods share and may write to",
                      hint=f"mount one under volumes: {{mount: {exchange}, claim: NAME}}")  # fmt: skip
    if not names_of(program):
        return
    if exchange is None and is_remote(artifacts):
        yield Problem(
            f"job {name!r}: its artifacts are at {artifacts}, and its JobManager and TaskManagers are several pods: "
            "there is no folder that all of them see",
            where=program.where,
            hint="mount a volume (ReadWriteMany) and name a folder in it: exchange: /mnt/exchange",
        )
    if "'" in (exchange or artifacts):
        yield Problem(f"job {name!r}: {exchange or artifacts} has a quote, which would end the path in SQL",
                      hint="take another folder")  # fmt: skip
    yield from stream_problems(name, config.exec_mode, program)
    if program.kind == "sql" and program.sql is not None and len(program.sql.encode()) > LONGEST_SQL:
        size = len(program.sql.encode())
        yield Problem(f"job {name!r}: SQL with artifacts has at most {LONGEST_SQL:,} bytes, and this {size:,}",
                      where=program.where, hint="divide it into several jobs")  # fmt: skip


def _path(url: str) -> str:
    return url.removeprefix("file://")
