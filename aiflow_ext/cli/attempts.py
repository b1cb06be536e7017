"""``aiflow-ext status RUN JOB``: all attempts of one job, with what each asked for, used and ran with."""

from __future__ import annotations

import json
from collections.abc import Iterator

from aiflow_ext.cli.escape import one_line
from aiflow_ext.cli.output import print
from aiflow_ext.cli.show import duration, kind_of, moment
from aiflow_ext.model.ran_with import RanWith
from aiflow_ext.model.resources import cpu_text
from aiflow_ext.run.store.find import job_of
from aiflow_ext.run.store.ran_with import ran_with_of
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext.view.words import size_text


def show_job(record: RunRecord, name: str, *, as_json: bool) -> None:
    """Print a job of a run. Raises ConfigError where it has none of this name."""
    job = job_of(record, name)
    if as_json:
        shown = job.summary()
        for attempt in shown["attempts"]:
            found = ran_with_of(attempt["folder"])
            attempt["ran_with"] = None if found is None else found._asdict()
        print(json.dumps({"run": record.run_id, **shown}, indent=1))
        return
    where = kind_of(job.platform, job.engine, job.defaults)
    print(one_line(f"{job.name}: {job.state}, {where}{f': {job.reason}' if job.reason else ''}"))
    for attempt in job.attempts:
        for line in _lines(attempt):
            print(one_line(line))


def _lines(attempt: AttemptRecord) -> Iterator[str]:
    ended = f", {attempt.reason}" if attempt.reason else ""
    yield f"attempt {attempt.number}: {attempt.state}{ended}"
    rows = {"native id": attempt.native_id, "node": attempt.node, "runs in": attempt.instance}
    moments = {"submitted": attempt.submitted_at, "started": attempt.started_at, "ended": attempt.ended_at}
    rows |= {name: None if at is None else moment(at) for name, at in moments.items()}
    rows["took"] = duration(attempt.started_at, attempt.ended_at)
    rows |= {"cpu": "; ".join(_cpu(attempt)), "memory": "; ".join(_memory(attempt))}
    rows |= {"measured by": attempt.usage_source, "ran with": _ran_with(ran_with_of(attempt.folder))}
    rows["folder"] = attempt.folder
    for name, text in rows.items():
        if text:
            yield f"    {name:<12}{text}"


def _cpu(attempt: AttemptRecord) -> Iterator[str]:
    used, wall = attempt.cpu_seconds, attempt.wall_seconds
    if used is not None:
        yield f"{used:.2f} s" + (f", {used / wall:.2f} cores at a mean" if wall else "")
    if attempt.cpu_asked is not None:
        yield f"asked for {cpu_text(attempt.cpu_asked)}"
    if attempt.reserved_core_seconds is not None:
        yield f"the platform kept {attempt.reserved_core_seconds:.0f} core-seconds for it"


def _memory(attempt: AttemptRecord) -> Iterator[str]:
    asked = attempt.memory_asked
    if attempt.peak_memory is not None:
        share = f", {attempt.peak_memory / asked:.0%} of what it asked for" if asked else ""
        yield f"{size_text(attempt.peak_memory)} at its peak{share}"
    if asked is not None:
        yield f"asked for {size_text(asked)}"
    if attempt.reserved_memory_seconds is not None:
        yield f"the platform kept {size_text(attempt.reserved_memory_seconds)}-seconds for it"


def _ran_with(found: RanWith | None) -> str | None:
    return None if found is None else found.in_words()
