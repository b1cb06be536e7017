"""``aiflow-ext logs``: what jobs print, from any process, while they run and afterwards."""

from __future__ import annotations

import codecs
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial

from aiflow_ext.cli.escape import TerminalLog, one_line
from aiflow_ext.cli.output import print, stdout
from aiflow_ext.cli.show import UNDRIVEN
from aiflow_ext.model import errors
from aiflow_ext.model.names import container_log, path_shown
from aiflow_ext.model.spelling import near
from aiflow_ext.run.operations.follow import follow_lines, grown, is_over
from aiflow_ext.run.operations.logs import LogSource, iterate, kept_containers, sources
from aiflow_ext.run.operations.observe import Observed, observe

PART = 1 << 20  # bytes of a log in one JSON object
LOOK = 0.2  # seconds between two looks at logs that are followed


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
        print(f"run {record.run_id}: {UNDRIVEN}{record.run_id}", file=sys.stderr)
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
        ended = is_over(observed, [job])  # asked before the read: what was written before the end is then read
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
        time.sleep(LOOK)
        observed.refresh()
        if attempt is None or not found:
            found = grown(observed, [job], stream, found)


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
    for parts in follow_lines(observed, jobs, stream, found, follow=follow, attempt=attempt):
        for source, lines in parts:
            show(source, lines)
        if not parts:
            stdout().flush()
            time.sleep(LOOK)
    stdout().flush()
