"""What is printed at the end of a run: which jobs have failed and why, the files that were made, how long it took."""

from __future__ import annotations

import os

from aiflow_ext.cli.escape import indented, one_line
from aiflow_ext.cli.output import print, stdout
from aiflow_ext.cli.show import counted, duration
from aiflow_ext.model.names import container_log, local_path, path_pasted, path_shown
from aiflow_ext.model.states import JobState
from aiflow_ext.regular_file import read_regular
from aiflow_ext.run.operations.outputs import artifacts_of, files_of
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.records import RunRecord

MOST_TOLD = 10  # jobs whose ends are listed at the end of a run


def say_how_it_ended(plan: Plan, record: RunRecord, printed: set[str], *, tails: bool = True) -> None:
    """Print what has failed and what was made.

    Args:
        plan: the run's.
        record: the run's.
        printed: jobs whose end was printed as a line; for a job without logs that line says everything.
        tails: whether the last lines of a failed job's stderr are printed.
    """
    bad = [job for job in record.jobs.values() if job.state.failed]
    for job in bad[:MOST_TOLD]:
        last = job.last
        has_logs = last is not None and os.path.exists(os.path.join(last.folder, "stdout"))
        if not has_logs and job.name in printed:
            continue
        print(f"\n{one_line(job.name)} {job.state}: {indented(job.why or '')}")
        if last is not None and has_logs:
            from aiflow_ext.run.operations.logs import kept_containers

            said = _tail(os.path.join(last.folder, "stderr")) if tails else []
            for line in said:
                print(f"    {line}")
            if tails and not said and last.exit_code and _is_strict(plan, job.name):
                print("    its stderr is empty: set -x as the first line of the command shows which command has failed")
            beside = "".join(f", {container_log(name)}" for name in kept_containers(last))
            print(one_line(f"    logs: {_nearer(os.path.join(last.folder, 'stdout'))}, stderr{beside}"))
    failed = next((job for job in bad if job.engine == "python" and job.last and job.last.exit_code), None)
    if failed is not None and stdout().isatty():
        print(one_line(f"    to debug it here: aiflow-ext reproduce {record.run_id} {path_pasted(failed.name)} --pdb"))
    if len(bad) > MOST_TOLD:
        print(f"\nand {counted(len(bad) - MOST_TOLD, 'more job')}: aiflow-ext status {record.run_id}")
    files = files_of(plan, record)
    for found in files:
        kind = " (a folder)" if found["form"] == "folder" else ""
        print(one_line(f"{found['job']} wrote {_nearer(found['path'])}{kind}"))
    if local_path(plan.desc.artifacts) is None:
        print(one_line(f"its artifacts are below {artifacts_of(plan, record)}"))
    if any(job.state is JobState.LOST for job in bad):
        print(
            "LOST: the platform cannot tell how the job ended. It may have done its work. Look at what it has written, "
            f"then run it again and go on: aiflow-ext resume {record.run_id} --failed"
        )
    took = duration(record.started_at, record.ended_at)
    print(f"run {record.run_id} {record.state} in {took}; its folder is {_nearer(record.folder)}")


def _is_strict(plan: Plan, job: str) -> bool:
    """Whether a job has a script that ends with the first command that fails: any of them, and most say nothing."""
    nodes = plan.jobs[job].sub_graph.nodes if job in plan.jobs else ()
    return any(node.properties.get("shell") == "strict" and isinstance(node.properties.get("command"), str)
               for node in nodes)  # fmt: skip


def _tail(path: str, lines: int = 10, width: int = 500) -> list[str]:
    """The last lines of a log, whatever bytes it holds; of a longer line its last ``width`` characters."""
    try:
        text = read_regular(path, 8192, max(0, os.path.getsize(path) - 8192)).decode("utf-8", "replace")
    except OSError:
        return []
    last = text.removesuffix("\n").split("\n")[-lines:] if text else []
    return [one_line(line if len(line) <= width else f"...{line[-width:]}") for line in last]


def _nearer(path: str) -> str:
    if local_path(path) is None:
        return path
    try:
        near = os.path.relpath(path)
    except FileNotFoundError:  # the folder that this process is in was removed
        near = path
    return path_shown(path if near.startswith("..") else near)
