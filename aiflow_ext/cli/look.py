"""Commands that show runs and stop them, from any process: their list, their states, their graph."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiflow_ext.cli.escape import one_line
from aiflow_ext.cli.output import console, keep_exit_code, print, stdout
from aiflow_ext.cli.show import (
    UNDRIVEN,
    clock,
    duration,
    inputs_shown,
    kind_of,
    moment,
    place_of,
    print_lines,
    print_table,
    run_table,
)
from aiflow_ext.model import errors
from aiflow_ext.model.names import path_shown
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.observe import Observed, list_runs, observe, until_over
from aiflow_ext.run.store.lock import FILE, is_stopped
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.supervise.clock import Clock

if TYPE_CHECKING:
    from aiflow_ext.run.operations.start import AlreadyFiredError

LOOK = 0.5  # seconds between two looks at a run that is watched
SHOWN = 60  # jobs in a table on a terminal; the rest is counted


def show_runs(project: str | None, *, parameters: bool, as_json: bool) -> int:
    """``aiflow-ext runs``."""
    found = list_runs(project, parameters=parameters)
    if as_json:
        print(json.dumps(found, indent=1))
        return errors.OK
    rows = []
    names = [*dict.fromkeys(name for run in found for name in run.get("parameters", ()))]
    for run in found:
        state = run["state"]
        if run["ended_at"] is None and run["driver"] is None:
            state = "not driven"
        jobs = ", ".join(f"{count} {name}" for name, count in sorted(run["jobs"].items()))
        began = moment(run["started_at"])
        values = [_value_shown(run["parameters"][name]) if name in run["parameters"] else "" for name in names]
        rows.append((run["run"], state, *values, began, duration(run["started_at"], run["ended_at"]), jobs,
                     path_shown(run["project"])))  # fmt: skip
    if not rows and stdout().isatty():
        print("no runs yet: aiflow-ext run PROJECT")
    else:
        print_table(("run", "state", *names, "started", "took", "jobs", "project"), rows, coloured=1)
    return errors.OK


def _value_shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def show_status(run: str, project: str | None, job: str | None = None, *, watch: bool, as_json: bool) -> int:
    """``aiflow-ext status``, of a run or of one ``job``; returns the exit code of the run's state: 0 while it goes on,
    NOT_OVER if a watch ends because the run has no driver."""
    keep_exit_code()
    observed = observe(run, project)
    observed.refresh()
    if watch and not as_json and stdout().isatty():
        _watch(observed)
    elif watch:
        for _ in until_over(observed):
            time.sleep(LOOK)
    record = observed.record
    if job is not None:
        from aiflow_ext.cli.attempts import show_job

        show_job(record, job, as_json=as_json)
    elif as_json:
        print(json.dumps({**record.summary(), "driver": observed.driver}, indent=1))
    else:
        _print_record(record, observed.driver)
    if record.ended_at is None:
        return errors.NOT_OVER if watch else errors.OK
    return record.state.exit_code


def show_fired(firing: AlreadyFiredError, project: str, *, as_json: bool) -> int:
    """``aiflow-ext run --firing-id`` of a firing that has had its run: show that run, and return its exit code."""
    keep_exit_code()
    print(firing.message, file=sys.stderr)
    observed = observe(firing.run_id, project)
    observed.refresh()
    record, driver = observed.record, observed.driver
    if as_json:
        from aiflow_ext.run.operations.outputs import files_of

        files = files_of(observed.plan, record) if record.ended_at is not None else []
        print(json.dumps({**record.summary(), "driver": driver, "files": files}, indent=1))
    if record.ended_at is not None:
        return record.state.exit_code
    if driver is not None:
        return errors.OK
    print(f"run {record.run_id}: {UNDRIVEN}{record.run_id}", file=sys.stderr)
    return errors.NOT_OVER


def _watch(observed: Observed) -> None:
    """Show the run until it has ended or has no driver. Only the store is read; no platform is asked."""
    from rich.console import Group
    from rich.live import Live

    now = Clock(observed.record.folder).now
    screen = console()
    with Live(
        console=screen, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False, transient=True
    ) as live:
        for _ in until_over(observed):
            live.update(Group(*run_table(observed.record, now(), screen.width, SHOWN, places=True)))
            time.sleep(LOOK)


def _print_record(record: RunRecord, driver: int | None) -> None:
    if record.ended_at is not None:
        said = f"{record.state}, took {duration(record.started_at, record.ended_at)}"
    elif driver is not None:
        stopped = f", which is stopped (SIGSTOP); wake it: kill -CONT {driver}" if is_stopped(driver) else ""
        said = f"driven by pid {driver}{stopped}"
    else:
        said = f"{UNDRIVEN}{record.run_id}"
    said = "; ".join([said, *inputs_shown(record)])
    behind = [
        (each, f"received {each.offset} of {each.last} transitions")
        for each in record.deliveries
        if each.problem or (record.ended_at is not None and each.offset < each.last)
    ]
    if stdout().isatty():
        print(one_line(f"run {record.run_id}: {said}"))
        for each, words in behind:
            print(one_line(f"extension {each.extension}: {words}{f'; {each.problem}' if each.problem else ''}"))
        print_lines(run_table(record, Clock(record.folder).now(), console().width, SHOWN, places=True))
    else:
        print("\t".join(map(one_line, ("run", record.run_id, said))))
        for each, words in behind:
            print("\t".join(map(one_line, ("extension", each.extension, words, each.problem or ""))))
        rows = []
        for job in record.jobs.values():
            last = job.last
            words = job.why or ""
            words = f"unreachable: {words}" if last is not None and last.unreachable else words
            took = duration(last.started_at, last.ended_at) if last else ""
            where = kind_of(job.platform, job.engine, job.defaults)
            rows.append((job.name, str(job.state), str(len(job.attempts)), took, words, where, *place_of(job)))
        print_table(("job", "state", "attempts", "took", "reason", "where", "node", "runs in"), rows)
    counts = Counter(str(job.state) for job in record.jobs.values())
    if stdout().isatty() and len(record.jobs) > SHOWN:
        print(", ".join(f"{count} {state}" for state, count in counts.items()))


def show_graph(run: str, project: str | None, *, workflow: str | None, params: Sequence[str], as_json: bool) -> int:
    """``aiflow-ext graph``: a run, or the workflow of a project's folder."""
    from aiflow_ext.run.operations.diagram import mermaid

    if os.path.isdir(run) and not os.path.exists(os.path.join(run, FILE)):  # else it is a run's own folder
        from aiflow_ext.run.planning.make_plan import make_plan

        plan = make_plan(run, workflow=workflow, params=params, only=())  # a drawing needs no plugin
        states = dict.fromkeys(plan.names, JobState.INIT)
    else:
        observed = observe(run, project)
        observed.refresh()
        plan = observed.plan
        states = {name: job.state for name, job in observed.record.jobs.items()}
    edges = [edge for job in plan.jobs.values() for edge in job.edges]
    edges += [edge for job in plan.left_out.values() for edge in job.edges]
    if as_json:
        shown: list[dict[str, Any]] = [
            {"source": edge.source, "target": edge.target, "when": edge.when, "data": edge.data} for edge in edges
        ]
        print(json.dumps({"jobs": {name: str(state) for name, state in states.items()}, "edges": shown}, indent=1))
    else:
        print(mermaid(states, edges))
    return errors.OK


def stop_run(run: str, job: str | None, project: str | None, *, grace: float, wait: bool, as_json: bool) -> int:
    """``aiflow-ext stop``: returns once it is gone, unless ``wait`` is False."""
    from aiflow_ext.run.operations.stop import until_stopped

    keep_exit_code()
    observed = observe(run, project)
    for told in until_stopped(observed, job, grace, wait=wait):
        for words in told:
            print(one_line(words), file=sys.stderr, flush=True)
        if not told:
            time.sleep(0.1)
    names = [job] if job is not None else list(observed.record.jobs)
    if as_json:
        print(json.dumps(observed.record.summary(), indent=1))
    else:
        for name in names:
            each = observed.record.jobs[name]
            ended_at = each.last.ended_at if each.last is not None else None
            print(one_line(f"{clock(ended_at) if ended_at else '--:--:--'} {name} {each.state}"))
    return errors.OK
