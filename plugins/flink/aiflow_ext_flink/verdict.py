"""What Flink says of jobs and applications, as states of ours with the reason that matters."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiflow_ext.plugin import JobState, PlatformError
from aiflow_ext.plugin.engines import parse_json, read_whole

# org.apache.flink.api.common.JobStatus. What restarts, fails or is cancelled still runs, as far as we are concerned.
STATES: Mapping[str, JobState] = {
    "INITIALIZING": JobState.QUEUED,
    "CREATED": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "FAILING": JobState.RUNNING,
    "CANCELLING": JobState.RUNNING,
    "RESTARTING": JobState.RUNNING,
    "RECONCILING": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
    "FINISHED": JobState.FINISHED,
    "FAILED": JobState.FAILED,
    "CANCELED": JobState.STOPPED,
}
_SIZE = 8 << 20  # bytes of a summary that is read
_CAUSED = re.compile(r"^[ \t]*Caused by: (.*)$", re.MULTILINE)  # \s* would take line ends, from each line on
_LINE = 20_000  # characters of a line that are looked at
# Exceptions that only wrap another one, or say that a job has failed.
_WRAPPERS = (
    "org.apache.flink.runtime.JobException: Recovery is suppressed",
    "org.apache.flink.client.program.ProgramInvocationException: The main method caused an error",
    "org.apache.flink.util.SerializedThrowable",
    "java.util.concurrent.CompletionException",
    "java.util.concurrent.ExecutionException",
    "java.lang.RuntimeException: org.apache",
    "java.io.IOException: error=",  # the one around it has the program that cannot be run
)
_RESTORES = "CheckpointCoordinator.restoreSavepoint("  # in a stack trace: a job was to get its state
_RESTORABLE = "restore_from names a savepoint or checkpoint that is complete, can be read, and fits the program"
_OPTION = "you can set the --allowNonRestoredState option on the CLI"
_REMOTE = re.compile(r"^(?:[\w.$]+\.)?RemoteException\((?=[\w.$]+\): )([\w.$]+)\)")
SUBMITS_TWICE = (
    "the program of a STREAM job submits a second Flink job, and may submit one: make two jobs of it, put INSERTs of "
    "SQL into one STATEMENT SET, or take exec_mode: STREAM away"
)
# The second one is told of a script that has ended before Flink looks whether it runs.
_SCRIPT_ENDED = ("Python process exits with code", "Failed to start Python process")
_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} .*\n?", re.MULTILINE)
_PRINTED, _LONGEST_LOG = 256 << 10, 64 << 20  # bytes at the end of a log that are looked at; of one that is read
_NO_PYTHON = re.compile(
    r'^  File "([^"\n]+)", line (\d+)\n(?: .*\n){0,8}((?:Syntax|Indentation|Tab)Error: .*)', re.MULTILINE
)
_PACKAGES = re.compile(r"^(?:[a-z_][\w$]*\.)+(?=[A-Z])")


class Verdict(NamedTuple):
    """How an application has ended.

    Attributes:
        state: FINISHED, FAILED or STOPPED (cancelled).
        reason: the root cause, in one line; None where there is none.
    """

    state: JobState
    reason: str | None


def root_cause(trace: str) -> str:
    """The line of a Java stack trace that matters: the last cause, without its package; '' where there is none.

    Of a Python exception in it (PyFlink), the line that Python prints last; where that ends in a colon, with the last
    cause in Java.
    """
    text = trace.strip()
    if not text:
        return ""
    causes = [match.strip() for match in _CAUSED.findall(text)]
    if "Traceback (most recent call last)" in text and (line := _python_line(text)):
        more = _PACKAGES.sub("", causes[-1])[:_LINE] if causes and line.endswith(":") else ""
        return f"{line} {more}".strip()[:2000]
    first = text.partition("\n")[0].strip()
    # The innermost first: a wrapper is only taken where nothing else is said.
    said = [each for each in (*reversed(causes), first) if each and not each.startswith(_WRAPPERS)]
    chosen = (said[0] if said else (causes[-1] if causes else first))[:_LINE]
    while (match := re.match(r"^[\w.$]+(?:Exception|Error): (?=[\w.$]+(?:Exception|Error): )", chosen)) is not None:
        chosen = chosen[match.end() :]
    chosen = _REMOTE.sub(r"\1", chosen)
    return _PACKAGES.sub("", chosen)[:2000]


def reason_of(trace: str) -> str:
    """Why an application has failed, from its stack trace: the root cause, or what to do where that is a second job, or
    a savepoint or checkpoint that cannot be restored."""
    cause = root_cause(trace)
    if submits_twice(cause):
        return SUBMITS_TWICE
    if cause and _RESTORES in trace:
        words = cause.replace(_OPTION, "say allow_non_restored_state: true")
        return f"what it was to begin from cannot be restored: {words} ({_RESTORABLE})"
    return cause


def _python_line(text: str) -> str:
    """The line with the exception at the end of the last traceback."""
    lines = text.rpartition("Traceback (most recent call last)")[2].split("\n")[1:]
    line = next((each for each in lines if each and not each[0].isspace()), "")
    return line.strip()[:2000] if re.match(r"[A-Za-z_][\w.]*(?:: |$)", line) else ""


def python_error(log: str) -> str | None:
    """The last Python exception of what a program has printed, in one line; None where there is none.

    Lines of Flink's log between them, which may repeat it, are left out.
    """
    text = _LOG_LINE.sub("", log)
    if "Traceback (most recent call last)" in text:
        return _python_line(text) or None
    wrong = _NO_PYTHON.findall(text)  # of a script that is no Python there is no traceback
    return f"{wrong[-1][2]} ({os.path.basename(wrong[-1][0])}, line {wrong[-1][1]})"[:2000] if wrong else None


def is_told_by_program(reason: str) -> bool:
    """Whether a script has failed, of which Flink tells the exit code alone."""
    return any(each in reason for each in _SCRIPT_ENDED)


def told_by_program(reason: str, logs: Callable[[str, int], bytes | None]) -> str:
    """The reason of a failure. Of a script that has ended early Flink tells the exit code alone: then its exception,
    or what it has printed last.

    Args:
        reason: what Flink tells.
        logs: the attempt's, as ``AbstractJobHandler.logs``. PlatformError of it is as if nothing had been printed.
    """
    if not is_told_by_program(reason):
        return reason
    printed, offset = b"", 0
    with contextlib.suppress(PlatformError):
        while offset < _LONGEST_LOG and (piece := logs("stdout", offset)):
            printed, offset = (printed + piece)[-_PRINTED:], offset + len(piece)
    text = printed.decode("utf-8", "replace")
    return python_error(text) or _ended_early(reason, text)


def _ended_early(reason: str, printed: str) -> str:
    """The reason of a script that has ended itself, as by ``sys.exit("no month is given")``."""
    code = re.search(r"Python process exits with code: (\d+)", reason)
    if code is None:
        return reason
    lines = [line for each in _LOG_LINE.sub("", printed).splitlines() if (line := each.strip())]
    return f"the script has ended with exit code {code[1]}" + (f"; its last line: {lines[-1][:1000]}" if lines else "")


def submits_twice(words: str) -> bool:
    """Whether what Flink says of a failure is that the program submits two jobs, and may submit one."""
    said = ("DuplicateJobSubmission", "has already been submitted", "Cannot have more than 1 ")
    return any(each in words for each in said)


def state_of(statuses: Iterable[str]) -> JobState:
    """The state of an attempt from those of its jobs, while its program runs: RUNNING once one of them runs.

    One that has failed may never have run: Flink makes one where the program fails before it submits its own.
    """
    states = [STATES.get(status, JobState.QUEUED) for status in statuses]
    waiting = (JobState.QUEUED, JobState.FAILED)
    return JobState.RUNNING if any(state not in waiting for state in states) else JobState.QUEUED


def restarts_of(exceptions: Mapping[str, Any]) -> tuple[int, str]:
    """How often a job has failed and was restarted, as far as Flink remembers, and why it was last: from
    ``FlinkRest.exceptions``."""
    history = exceptions.get("exceptionHistory")
    entries = history.get("entries") if isinstance(history, Mapping) else None
    found = [each for each in entries if isinstance(each, Mapping)] if isinstance(entries, list) else []
    return len(found), root_cause(str(found[0].get("stacktrace") or found[0].get("exceptionName"))) if found else ""


def archived(archive: Path, cluster_id: str, application_id: str) -> Verdict | None:
    """How an application has ended, from what its cluster has archived; None where it has archived nothing.

    Args:
        archive: the folder ``jobmanager.archive.fs.dir``.
        cluster_id: ``cluster.id``.
        application_id: ``$internal.application.id``.
    """
    folder = archive / cluster_id / "applications" / application_id
    try:
        return summarised(read_whole(folder / "application-summary", _SIZE))
    except (OSError, ValueError):
        return None


def summarised(content: bytes) -> Verdict | None:
    """How an application has ended, from its ``application-summary``; None where that is none that has ended."""
    found = parse_json(content)
    status, causes = _status(found), _causes(found)
    state = STATES.get(status)
    if state not in (JobState.FINISHED, JobState.FAILED, JobState.STOPPED):
        return None
    return Verdict(state, (reason_of(causes) or None) if state is JobState.FAILED else None)


def _status(item: Any) -> str:
    """The first ``status`` in what is nested: the summary holds the answers of the REST API as texts."""
    for each in _mappings(item):
        if isinstance(status := each.get("status"), str):
            return status
    return ""


def _causes(item: Any) -> str:
    for each in _mappings(item):
        for key in ("stacktrace", "stackTrace", "stack-trace", "root-exception", "exception"):
            if isinstance(text := each.get(key), str) and text.strip():
                return text
    return ""


def _mappings(item: Any, depth: int = 0) -> Iterable[Mapping[str, Any]]:
    if depth > 12:
        return
    if isinstance(item, str) and item[:1] in ("{", "["):
        try:
            item = parse_json(item.encode())
        except ValueError:
            return
    if isinstance(item, Mapping):
        yield item
        for each in item.values():
            yield from _mappings(each, depth + 1)
    elif isinstance(item, list):
        for each in item:
            yield from _mappings(each, depth + 1)
