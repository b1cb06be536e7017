"""A run as one HTML file that stands alone: it needs no network, and nothing in it runs.

The page's own policy (CSP) forbids all but its style and the pictures that are in it: so nothing runs either that
gets past the escapes.
"""

from __future__ import annotations

import base64
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext.view.graph import graph_svg
from aiflow_ext.view.html import lines, scrolled, sign_and_word, table, text
from aiflow_ext.view.log import log_html
from aiflow_ext.view.seen import Edge, Job, jobs_of
from aiflow_ext.view.style import PAGE, STYLE
from aiflow_ext.view.table import jobs_table
from aiflow_ext.view.timeline import MOST, timeline_svg
from aiflow_ext.view.words import counted, duration, shortened, totals

MOST_FAILED = 20  # failed jobs that are told of at length, with the ends of their logs
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


class LogEnd(NamedTuple):
    """The end of a log of a failed job.

    Attributes:
        job, attempt: the job's key and the attempt's number.
        stream: ``stdout``, ``stderr`` or ``container-NAME.log``.
        data: the last bytes of it.
        left_out: how many bytes were before them.
    """

    job: str
    attempt: int
    stream: str
    data: bytes
    left_out: int


class Picture(NamedTuple):
    """A picture that a job has kept.

    Attributes:
        job: the job's key.
        name: what the picture is called, for people.
        kind: its media type: ``image/png``.
        data: the whole file; None where it is not shown.
        words: why it is not shown.
    """

    job: str
    name: str
    kind: str
    data: bytes | None
    words: str = ""


class Report(NamedTuple):
    """What a report is made from.

    Attributes:
        run: the run in the shape of ``aiflow-ext status --json`` (docs/json.md).
        edges: between its jobs.
        now: the present moment, seconds since the epoch.
        logs: of failed jobs.
        ran_with: by failed job, what it ran with, in words.
        pictures: among the artifacts.
        remarks: what could not be read, in sentences.
        version: of aiflow-ext.
    """

    run: Mapping[str, Any]
    edges: Sequence[Edge]
    now: float
    logs: Sequence[LogEnd] = ()
    ran_with: Mapping[str, str] = {}
    pictures: Sequence[Picture] = ()
    remarks: Sequence[str] = ()
    version: str = ""


def report_html(report: Report) -> str:
    """The report, as a whole HTML document."""
    run, jobs = report.run, jobs_of(report.run)
    place = {job.name: f"#job-{number}" for number, job in enumerate(jobs)}
    parts = [
        *_head(run, jobs, report.now),
        *(f'<p class="remark">{text(each)}</p>' for each in report.remarks),
        *_failures(report, jobs, place),
        *_section("Graph", _legend(), scrolled(graph_svg(jobs, report.edges, now=report.now, link=place.__getitem__))),
        *_section("Timeline", "<p>In the platforms' own times: dotted, waiting; outlined, queued; filled, running.</p>",
                  *_timeline(report, jobs, place.__getitem__)),
        *_section("Jobs", scrolled(jobs_table(run["jobs"], now=report.now, anchor=lambda name: place[name][1:]))),
        *_pictures(report.pictures),
        *_made_of(run.get("provenance") or {}),
        *_again(run, jobs),
        f"<footer>aiflow-ext {text(report.version)}; written {text(moment(report.now))}</footer>",
    ]  # fmt: skip
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{text(run['run'])}: {text(run['state'])}</title><style>{PAGE}{STYLE}</style></head>"
        f'<body><div class="aiflow-ext page">{"".join(parts)}</div></body></html>\n'
    )


def moment(seconds: float) -> str:
    """A moment in this machine's local time, with its distance from UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))


def _section(title: str, *parts: str) -> Iterator[str]:
    yield f"<section><h2>{text(title)}</h2>"
    yield from parts
    yield "</section>"


def _head(run: Mapping[str, Any], jobs: Sequence[Job], now: float) -> Iterator[str]:
    goes_on = run["ended_at"] is None
    took = duration(run["started_at"], now if goes_on else run["ended_at"])
    state = f"{took} so far" if goes_on else f"took {took}"
    yield f"<header><h1>{text(run['workflow'])}</h1><p>{sign_and_word(run['state'])} {text(state)}</p><dl>"
    facts = {
        "run": run["run"],
        "jobs": totals(Counter(job.state for job in jobs)),
        "started": moment(run["started_at"]),
        "ended": "it has not ended: this is how it was when the report was written" if goes_on
                 else moment(run["ended_at"]),
        "project": run["project"],
        "folder": run["folder"],
    }  # fmt: skip
    for read in run.get("inputs", ()):
        facts[f"{read['job']} reads"] = f"{read['reads']} of run {read['run']}, attempt {read['attempt']}"
    for name, value in facts.items():
        yield f"<dt>{text(name)}</dt><dd>{text(value)}</dd>"
    yield "</dl></header>"


def _legend() -> str:
    return "<p>A thick arrow carries data; a dashed one waits for what it names instead of a success.</p>"


def _timeline(report: Report, jobs: Sequence[Job], link: Callable[[str], str]) -> Iterator[str]:
    until = report.now if report.run["ended_at"] is None else report.run["ended_at"]
    yield scrolled(timeline_svg(jobs, report.edges, started_at=report.run["started_at"], until=until, link=link))
    if len(jobs) > MOST:
        yield "<p>The page of <code>aiflow-ext ui</code> has the timeline of all jobs.</p>"


def _failures(report: Report, jobs: Sequence[Job], place: Mapping[str, str]) -> Iterator[str]:
    failed = [job for job in jobs if job.state.failed]
    if not failed:
        return
    ends: dict[str, list[LogEnd]] = {}
    for log in report.logs:
        ends.setdefault(log.job, []).append(log)
    yield f"<section><h2>{text(counted(len(failed), 'failed job'))}</h2>"
    for job in failed[:MOST_FAILED]:
        yield f'<article><h3><a href="{place[job.name]}">{text(job.name)}</a> {sign_and_word(job.state)}'
        yield f" <small>{text(job.where)}</small></h3>"
        yield f'<pre class="reason">{lines(job.reason or "it does not say why")}</pre>'
        if found := report.ran_with.get(job.name):
            yield f"<p>It ran with {text(found)}.</p>"
        for log in ends.get(job.name, ()):
            yield _log(log)
        if not ends.get(job.name):
            yield "<p>Its logs are not on this machine, or it has printed nothing.</p>"
        yield "</article>"
    if len(failed) > MOST_FAILED:
        yield f"<p>{text(counted(len(failed) - MOST_FAILED, 'more failed job'))}: see the table of jobs.</p>"
    yield "</section>"


def _log(log: LogEnd) -> str:
    what = f"{log.stream} of attempt {log.attempt}"
    before = f", its last {counted(len(log.data), 'byte')} of {log.left_out + len(log.data):,}" if log.left_out else ""
    opened = " open" if log.stream == "stderr" else ""
    return (f"<details{opened}><summary>{text(what + before)}</summary>"
            f'<pre class="log" tabindex="0">{log_html(log.data)}</pre></details>')  # fmt: skip


def _pictures(pictures: Sequence[Picture]) -> Iterator[str]:
    if not pictures:
        return
    yield '<section><h2>Pictures</h2><div class="pictures">'
    for each in pictures:
        yield "<figure>"
        if each.data is not None:
            data = base64.b64encode(each.data).decode()
            yield f'<img alt="{text(each.name)} of {text(each.job)}" src="data:{text(each.kind)};base64,{data}">'
        words = f": {each.words}" if each.words else ""
        yield f"<figcaption>{text(each.job)}: {text(each.name)}{text(words)}</figcaption></figure>"
    yield "</div></section>"


def _made_of(provenance: Mapping[str, Any]) -> Iterator[str]:
    if not provenance:
        return
    yield "<section><h2>Made of</h2>"
    if parameters := provenance.get("parameters"):
        rows = []
        for each in parameters:
            of = ", ".join(each.get("jobs") or ("the workflow",))
            cells = (each["name"], shortened(str(each["value"]), 300), each.get("from") or "", shortened(of, 200))
            rows.append([text(cell) for cell in cells])
        yield scrolled(table(("parameter", "value", "from", "jobs"), rows))
    yield "<dl>"
    for name, version in (provenance.get("versions") or {}).items():
        yield f"<dt>{text(name)}</dt><dd>{text(version)}</dd>"
    yield f"<dt>config</dt><dd>{text(', '.join(provenance.get('layers') or ()) or 'none')}</dd>"
    yield f"<dt>code (sha256)</dt><dd>{text(provenance.get('code') or 'it could not be read')}</dd></dl></section>"


def _again(run: Mapping[str, Any], jobs: Sequence[Job]) -> Iterator[str]:
    """The commands that look at the run, go on with it, and run it again."""
    failed = next((job for job in jobs if job.state.failed), None)
    options = [word for layer in (run.get("provenance") or {}).get("layers") or () if layer.startswith("-")
               for word in layer.split(" ", 1)]  # fmt: skip
    commands = [
        ("run it again, as the project is today", ("run", run["project"], "--workflow", run["workflow"], *options)),
        ("what has changed since", ("diff", run["run"], "latest")),
        ("its state now", ("status", run["run"])),
        ("copy its results to a folder", ("artifacts", run["run"], "--fetch", "results")),
    ]
    if failed is not None:
        commands[2:2] = [
            ("give what did not finish another attempt", ("resume", run["run"], "--failed")),
            ("a log as a whole", ("logs", run["run"], failed.name, "--stderr")),
        ]
        if failed.where.endswith(".python"):
            again = ("reproduce", run["run"], failed.name, "--pdb")
            commands.insert(2, ("run a failed job again here, under a debugger", again))
    if run["ended_at"] is None and run["driver"] is None:
        commands[2:2] = [("go on with it: nothing drives it", ("resume", run["run"]))]
    elif run["ended_at"] is None:
        commands[2:2] = [("follow it to its end", ("status", run["run"], "--watch"))]
    yield "<section><h2>Again</h2><dl>"
    for words, command in commands:
        yield f"<dt>{text(words)}</dt><dd><code>aiflow-ext {text(shlex.join(map(str, command)))}</code></dd>"
    yield "</dl></section>"
