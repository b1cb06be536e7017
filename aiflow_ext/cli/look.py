"""Commands that show runs, from any process: their list, their states, their logs, their graph."""

from __future__ import annotations

import codecs
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from aiflow_ext.cli.escape import TerminalLog, one_line
from aiflow_ext.cli.output import console, keep_exit_code, print, stdout
from aiflow_ext.cli.show import (
    clock,
    duration,
    inputs_shown,
    kind_of,
    place_of,
    print_lines,
    print_table,
    run_table,
)
from aiflow_ext.model import errors
from aiflow_ext.model.names import container_log, path_shown
from aiflow_ext.model.spelling import near
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.logs import LogSource, iterate, kept_containers, sources, whole_lines
from aiflow_ext.run.operations.observe import Observed, list_runs, observe
from aiflow_ext.run.store.ledger import BEING_STOPPED
from aiflow_ext.run.store.lock import FILE, is_stopped
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.supervise.clock import Clock

if TYPE_CHECKING:
    from aiflow_ext.run.operations.start import AlreadyFiredError

CLEANED_BY = 10.0  # seconds after the end of a stop: a cleanup that fails is not waited for
PART = 1 << 20  # bytes of a log in one JSON object
SHOWN = 60  # jobs in a table on a terminal; the rest is counted
_UNDRIVEN = "it has no driver; to continue it: aiflow-ext resume "


def show_runs(project: str | None, *, as_json: bool) -> int:
    """``aiflow-ext runs``."""
    found = list_runs(project)
    if as_json:
        print(json.dumps(found, indent=1))
        return errors.OK
    rows = []
    for run in found:
        state = run["state"]
        if run["ended_at"] is None and run["driver"] is None:
            state = "not driven"
        jobs = ", ".join(f"{count} {name}" for name, count in sorted(run["jobs"].items()))
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run["started_at"]))
        rows.append((run["run"], state, began, duration(run["started_at"], run["ended_at"]), jobs,
                     path_shown(run["project"])))  # fmt: skip
    if not rows and stdout().isatty():
        print("no runs yet: aiflow-ext run PROJECT")
    else:
        print_table(("run", "state", "started", "took", "jobs", "project"), rows, coloured=1)
    return errors.OK


def show_status(run: str, project: str | None, *, watch: bool, as_json: bool) -> int:
    """``aiflow-ext status``; returns the exit code of the run's state: 0 while it goes on, NOT_OVER if a watch ends
    because the run has no driver."""
    keep_exit_code()
    observed = observe(run, project)
    observed.refresh()
    if watch and not as_json and stdout().isatty():
        _watch(observed)
    elif watch:
        for _ in _looks(observed):
            pass
    record = observed.record
    if as_json:
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
    print(f"run {record.run_id}: {_UNDRIVEN}{record.run_id}", file=sys.stderr)
    return errors.NOT_OVER


def _looks(observed: Observed) -> Iterator[None]:
    """Read the run's state in intervals, until it has ended or has no driver."""
    while observed.record.ended_at is None and observed.driver is not None:
        yield
        time.sleep(0.5)
        observed.refresh()


def _watch(observed: Observed) -> None:
    """Show the run until it has ended or has no driver. Only the store is read; no platform is asked."""
    from rich.console import Group
    from rich.live import Live

    now = Clock(observed.record.folder).now
    screen = console()
    with Live(
        console=screen, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False, transient=True
    ) as live:
        for _ in _looks(observed):
            live.update(Group(*run_table(observed.record, now(), screen.width, SHOWN, places=True)))


def _print_record(record: RunRecord, driver: int | None) -> None:
    if record.ended_at is not None:
        said = f"{record.state}, took {duration(record.started_at, record.ended_at)}"
    elif driver is not None:
        stopped = f", which is stopped (SIGSTOP); wake it: kill -CONT {driver}" if is_stopped(driver) else ""
        said = f"driven by pid {driver}{stopped}"
    else:
        said = f"{_UNDRIVEN}{record.run_id}"
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
            words = (last.reason if last else None) or job.reason or ""
            words = f"unreachable: {words}" if last is not None and last.unreachable else words
            took = duration(last.started_at, last.ended_at) if last else ""
            where = kind_of(job.platform, job.engine, job.defaults)
            rows.append((job.name, str(job.state), str(len(job.attempts)), took, words, where, *place_of(job)))
        print_table(("job", "state", "attempts", "took", "reason", "where", "node", "runs in"), rows)
    counts = Counter(str(job.state) for job in record.jobs.values())
    if stdout().isatty() and len(record.jobs) > SHOWN:
        print(", ".join(f"{count} {state}" for state, count in counts.items()))


def show_logs(
    run: str,
    jobs: tuple[str, ...],
    project: str | None,
    *,
    follow: bool,
    tail: int | None,
    attempt: int | None,
    stderr: bool,
    container: str | None,
    as_json: bool,
) -> int:
    """``aiflow-ext logs``: one job's bytes as they are, several jobs' lines with their names."""
    observed = observe(run, project)
    stream = "stderr" if stderr else "stdout"
    found = sources(observed, jobs, stream=stream, attempt=attempt, patient=follow)
    if container is not None:
        stream = container_log(container)
        found = _of_container(found, container)
    for source in found:
        if tail is not None:
            source.skip_to_tail(tail)
    if as_json and not follow:
        for source in found:
            _show_json(source, iterate(source))
    elif as_json:
        _several(observed, jobs, stream, found, _show_json, follow=follow, attempt=attempt)
    elif len(jobs) == 1:
        _one(observed, jobs[0], stream, found, follow=follow, attempt=attempt)
    else:
        width = max((len(name) for name in jobs or observed.record.jobs), default=0)
        _several(observed, jobs, stream, found, partial(_show_named, width), follow=follow, attempt=attempt)
    if container is None and not as_json:
        for source in found:
            for name in kept_containers(source.attempt):
                path = path_shown(os.path.join(source.attempt.folder, container_log(name)))
                print(one_line(f"{source.attempt.job}: container {name} has failed; its log: {path}"), file=sys.stderr)
    record = observed.record
    if follow and record.ended_at is None and not all(record.jobs[name].state.ended for name in jobs or record.jobs):
        print(f"run {record.run_id}: {_UNDRIVEN}{record.run_id}", file=sys.stderr)
        return errors.NOT_OVER
    return errors.OK


def _of_container(found: Iterable[LogSource], container: str) -> list[LogSource]:
    """The logs of a container beside these jobs' own. Raises ConfigError where none is kept."""
    kept = {source.attempt.folder: kept_containers(source.attempt) for source in found}
    chosen = [LogSource(source.observed, source.attempt, container_log(container)) for source in found
              if container in kept[source.attempt.folder]]  # fmt: skip
    if not chosen:
        names = sorted({name for each in kept.values() for name in each})
        hint = near(container, names) or (f"kept are those of {', '.join(names)}" if names else None)
        raise errors.ConfigError(f"there is no log of a container {container!r}: those that have failed are kept, "
                                 "once their attempt has ended", hint=hint)  # fmt: skip
    return chosen


def _show_json(source: LogSource, parts: Iterable[bytes]) -> None:
    """Print what a source has now as one object, or as several to be concatenated if it is more than ``PART``."""
    attempt, decode = source.attempt, codecs.getincrementaldecoder("utf-8")("replace").decode
    held = bytearray()
    written = False

    def write(*, end: bool) -> None:
        text = decode(bytes(held), end)
        print(json.dumps({"job": attempt.job, "attempt": attempt.number, "stream": source.stream, "text": text}))
        held.clear()

    for part in parts:
        held += part
        if len(held) >= PART:
            write(end=False)
            written = True
    if held or not written:
        write(end=True)


def _show_named(width: int, source: LogSource, lines: list[bytes]) -> None:
    """Each line with its job's name."""
    out = stdout()
    head = f"{one_line(source.attempt.job):{width}} | "
    if out.isatty():
        for line in lines:
            for part in TerminalLog().shown(line.rstrip(b"\r\n"), end=True).split("\n"):
                out.write(f"{head}{part}\n")
        return
    for line in lines:
        out.buffer.write(head.encode() + line + (b"" if line.endswith(b"\n") else b"\n"))


def _one(
    observed: Observed, job: str, stream: str, found: list[LogSource], *, follow: bool, attempt: int | None
) -> None:
    """Print a job's log unchanged, on a terminal escaped; with ``follow`` also those of its next attempts."""
    out = stdout()
    shown: dict[int, TerminalLog] = {}  # by attempt
    while True:
        ended = _is_over(observed, [job])  # asked before the read: what was written before the end is then read
        for source in found:
            number = source.attempt.number
            for data in iterate(source):
                if out.isatty():
                    out.write(shown.setdefault(number, TerminalLog()).shown(data))
                else:
                    out.buffer.write(data)
            if number in shown and (ended or not follow):
                out.write(shown.pop(number).shown(b"", end=True))
        out.flush()
        if not follow or ended:
            return
        time.sleep(0.2)
        observed.refresh()
        if attempt is None or not found:
            found = _grown(observed, [job], stream, found)


def _several(
    observed: Observed,
    jobs: tuple[str, ...],
    stream: str,
    found: list[LogSource],
    show: Callable[[LogSource, list[bytes]], None],
    *,
    follow: bool,
    attempt: int | None,
) -> None:
    """Print several jobs' logs line by line, as lines arrive."""
    rests: dict[tuple[str, int], bytearray] = {}
    while True:
        over = _is_over(observed, list(jobs) or list(observed.record.jobs))
        for source in found:
            key = source.attempt.job, source.attempt.number
            ended = over or not follow or observed.record.jobs[key[0]].attempts[key[1] - 1].state.ended
            for lines in whole_lines(source, rests.setdefault(key, bytearray()), ended=ended):
                show(source, lines)
        stdout().flush()
        if not follow or over:
            return
        time.sleep(0.2)
        observed.refresh()
        if attempt is None or not found:
            found = _grown(observed, list(jobs), stream, found)


def _grown(observed: Observed, jobs: list[str], stream: str, found: list[LogSource]) -> list[LogSource]:
    """The sources so far, and those of attempts that have begun since."""
    known = {(source.attempt.job, source.attempt.number) for source in found}
    fresh = sources(observed, jobs, stream=stream, patient=True)
    return found + [each for each in fresh if (each.attempt.job, each.attempt.number) not in known]


def _is_over(observed: Observed, jobs: list[str]) -> bool:
    """Whether these jobs can print nothing more: they have ended, or no driver is there to start another attempt."""
    states = [observed.record.jobs[name].state for name in jobs]
    if observed.record.ended_at is not None or observed.driver is None:
        return not observed.record.live() or all(state.ended for state in states)
    last = [observed.record.jobs[name].last for name in jobs]
    return all(state.ended for state in states) and all(each is None or each.cleaned for each in last)


def show_graph(run: str, project: str | None, *, workflow: str | None, as_json: bool) -> int:
    """``aiflow-ext graph``: a run, or the workflow of a project's folder."""
    from aiflow_ext.run.operations.diagram import mermaid

    if os.path.isdir(run) and not os.path.exists(os.path.join(run, FILE)):  # else it is a run's own folder
        from aiflow_ext.run.planning.make_plan import make_plan

        plan = make_plan(run, workflow=workflow, only=())  # a drawing needs no plugin
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


def _is_gone(observed: Observed, job: str | None, grace: float) -> bool:
    """Whether nothing is left of what was stopped. A run's end is recorded after all cleanups, a job's before its."""
    if job is None or observed.record.ended_at is not None:
        return observed.record.ended_at is not None
    last = observed.record.jobs[job].last
    if observed.driver is None or last is None or last.native_id is None or last.cleaned:
        return True
    return Clock(observed.record.folder).now() > (last.ended_at or 0.0) + grace + CLEANED_BY


def stop_run(run: str, job: str | None, project: str | None, *, grace: float, wait: bool, as_json: bool) -> int:
    """``aiflow-ext stop``: returns once it is gone, unless ``wait`` is False."""
    from aiflow_ext.run.operations.stop import stop

    keep_exit_code()
    observed = observe(run, project)
    stop(observed, job, grace)
    names = [job] if job is not None else list(observed.record.jobs)
    reported, told = False, set[str]()
    while True:
        observed.refresh()
        for words in _why_not_stopped(observed.record, names) - told:
            told.add(words)
            print(one_line(words), file=sys.stderr, flush=True)
        ended = all(observed.record.jobs[name].state.ended for name in names)
        if not wait or (ended and _is_gone(observed, job, grace)):
            break
        driver = observed.driver
        if driver is None:  # it died before it had done what it was asked for
            stop(observed, job, grace)
        elif is_stopped(driver) and not reported:
            reported = True
            print(f"pid {driver} drives the run and is stopped (SIGSTOP); it stops the run once it goes on: "
                  f"kill -CONT {driver}", file=sys.stderr, flush=True)  # fmt: skip
        time.sleep(0.1)
    if as_json:
        print(json.dumps(observed.record.summary(), indent=1))
    else:
        for name in names:
            each = observed.record.jobs[name]
            ended_at = each.last.ended_at if each.last is not None else None
            print(one_line(f"{clock(ended_at) if ended_at else '--:--:--'} {name} {each.state}"))
    return errors.OK


def _why_not_stopped(record: RunRecord, names: Iterable[str]) -> set[str]:
    """Why jobs that are to be stopped still run, in words: a call that stops them has failed, and is retried."""
    found = set()
    for name in names:
        last = record.jobs[name].last
        reason = last.reason if last is not None and last.stop_requested and last.may_run else None
        if last is not None and reason and not reason.endswith(BEING_STOPPED):
            found.add(f"{name} {last.state}: {reason}")
    return found
