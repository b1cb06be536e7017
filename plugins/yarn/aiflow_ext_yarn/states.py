"""From an application's report to the state and the end of an attempt.

Sources: the ResourceManager's application states and final statuses, and the exit statuses of
org.apache.hadoop.yarn.api.records.ContainerExitStatus, which it writes into diagnostics.
"""

from __future__ import annotations

import re
import time
from typing import Any

from aiflow_ext.plugin import AttemptEvent, JobState, Usage
from aiflow_ext.plugin.engines import AWAY, AWAY_CODE, OUT_OF_MEMORY
from aiflow_ext_yarn.master import PERMANENT, STAGING_FAILED, UNUSABLE, outcome

Json = dict[str, Any]
_EXIT = re.compile(r"exit(?:Code|Status): (-?\d{1,9})\b", re.ASCII)
_KILLED_BY = re.compile(r"killed by user (\S+?)(?: at (\S+))?$", re.MULTILINE)
_LOST_NODE, _PREEMPTED, _DISKS, _LOCALISATION, _NOT_RUNNING = -100, -102, -101, -1000, -107
_VIRTUAL, _PHYSICAL, _LOGS = -103, -104, -109
_KILLED = 137
# ContainersMonitorImpl, and its CGroupElasticMemoryController.
_OVER_LIMIT = re.compile(r"beyond (?:the '\w+' |physical |virtual )memory limits?|under OOM|OOM killer", re.IGNORECASE)
MARKER_DELAY = 5.0  # seconds from an attempt's launch in which its start marker is usually made
_GIVEN_UP = "not found in AMRMTokenSecretManager"  # how the scheduler's port refuses the master of an ended attempt
EXPIRY = "yarn.am.liveness-monitor.expiry-interval-ms"  # how long YARN waits for a word of an application master
NO_REASON = "YARN does not say why"
_LOST_CONTAINER = 154  # ContainerExecutor.ExitCode.LOST: it was being launched as the NodeManager died
# Exit codes of a container whose config is to blame: python: cannot be executed, or is not there; the master's own.
_CONFIG = (126, 127, UNUSABLE)
_UNAVAILABLE = ("Connection refused", "safe mode", "No route to host", "Connection timed out", "SocketTimeout",
         "Could not obtain block", "StandbyException", "UnknownHostException", "Name node is in")  # fmt: skip
_NOISE = tuple(
    re.compile(each)
    for each in (
        r"Application application_\S+ failed \d+ times (?:\(global limit[^)]*\) )?due to ",
        r"AM Container for appattempt_\S+ exited with\s+exitCode: -?\d+",
        r"Failing this attempt\.\s*(?:Diagnostics:)?",
        r"\[\d{4}-\d\d-\d\d [\d:.]+\]",
        r"Last \d+ bytes of \S+ :",
        r"Error file: \S+",
    )
)
# Lines without information if there are others.
_EMPTY = re.compile(r"Exception from container-launch$|Container id: |Exit code: \d+$|Container exited with a non-zero")
# Lines of a Java stack trace.
_TRACE = re.compile(r"at [\w.$/@-]+\(|Caused by|(?:\.\.\. )?\d+ more|[=-]+$|[\w.$]+(?:Exception|Error)$")
# Before the sentence, which then occurs twice.
_CLASS = re.compile(r"(?:[\w.$]+(?:Exception|Error)(?: exitCode=\d+)?: )+")
_CAUSE = re.compile(r"Caused by: (?:[\w.$]+(?:Exception|Error): )*(\S.+)")
_UNPACKED = re.compile(r"/filecache/\d+_tmp/([^/'\s]+\.(?:tar\.gz|tgz|tar|zip|jar))(?=['/\s])")


def state_of(report: Json) -> JobState:
    """The state of an attempt whose application is ``report``."""
    state = report.get("state")
    if state in ("FINISHED", "FAILED", "KILLED"):
        return (
            JobState.FINISHED if state == "FINISHED" and report.get("finalStatus") == "SUCCEEDED" else JobState.FAILED
        )
    # RUNNING means that the application master has registered; the job starts once the start marker is made.
    return JobState.RUNNING if state == "RUNNING" and report.get("progress") != 0 else JobState.QUEUED


def silence_of(said: bytes | None) -> str:
    """Why an application master never registered, from what it has written on its node; None: it did not begin."""
    if said is None:
        return f"its files were not on the node before {EXPIRY} was over; send less, or have that raised"
    lines = said.decode("utf-8", "replace").splitlines()
    told = [line for line in lines if line.strip() and "Not started" not in line]  # with which each of them ends
    last = told[-1][:300] if told else "it does not say why"
    if _GIVEN_UP in last:
        return f"it began on its node after {EXPIRY} was over: the node is busy, or was sent much; have that raised"
    return f"it ran, and did not reach the scheduler's port ({last}): is scheduler: right, and open to nodes?"


def unheard(report: Json) -> bool:
    """Whether YARN has ended an application because its master was not heard of for too long, or never."""
    words = str(report.get("diagnostics") or "")
    return report.get("state") == "FAILED" and "timed out" in words and "ApplicationMaster for attempt" in words


def launched(report: Json) -> float | None:
    """When an application's container was launched, in seconds since the epoch; None: not known."""
    return _seconds(report.get("launchTime") or report.get("startedTime"))


def event_of(
    native_id: str,
    report: Json,
    ended: bytes | None = None,
    *,
    began: bool | None = True,
    silence: str | None = None,
) -> AttemptEvent:
    """The event of an attempt, from its application's report.

    Args:
        native_id: the application id.
        report: the ResourceManager's.
        ended: what the application master recorded of the end in the staging folder, if the report lacks it.
        began: whether it has started the job: False if there is no start marker; None: not known.
        silence: why its master never registered, if that is known.
    """
    recorded = outcome.parse(str(report.get("diagnostics") or ""))
    if recorded is None and ended is not None:
        recorded = _parse_end(ended)
    event = _event_of(native_id, report, recorded, began=began, silence=silence)
    if event.state.ended:
        event.usage = usage_of(report, recorded)
    return event


def usage_of(report: Json, recorded: outcome.Outcome | None) -> Usage:
    """What an application was given, as YARN has counted it, and what the child has used, as its master has told."""
    memory, cores = report.get("memorySeconds") or None, report.get("vcoreSeconds") or None
    used = recorded.usage if recorded is not None else {}
    peak = used.get("peak_memory")
    return Usage(
        None if peak is None else int(peak), used.get("cpu_seconds"), "process" if used else None,
        None if memory is None else int(memory) << 20, cores,
    )  # fmt: skip


def _event_of(
    native_id: str, report: Json, recorded: outcome.Outcome | None, *, began: bool | None, silence: str | None
) -> AttemptEvent:
    state = state_of(report)
    if not state.ended:
        since = launched(report) if state is JobState.RUNNING else None
        return AttemptEvent(
            native_id, state, time=since, reason=wait_reason(report) if state is JobState.QUEUED else None
        )
    words = str(report.get("diagnostics") or "")
    at = _seconds(report.get("finishedTime"))
    if recorded is not None and (recorded.stopped or recorded.kind in (outcome.BROKEN, outcome.NOT_STARTED)):
        reason, disruption = failure(str(report.get("state")), words)
        verdict = report.get("state") == "FAILED" and outcome.LABEL not in words and _exit_code(words) is not None
        if disruption or verdict:  # YARN ended it, for a reason of its own: how the job reacted does not matter
            return _ended_by_yarn(native_id, reason, disruption, at)
    if recorded is not None and recorded.kind == outcome.NOT_STARTED and report.get("state") != "KILLED":
        why = recorded.reason or "the application master does not say why"
        away = why.startswith(STAGING_FAILED) and not any(each in why for each in PERMANENT)
        return AttemptEvent(native_id, JobState.FAILED, time=at, reason=f"never started: {why}",
                            disruption=recorded.stopped or away)  # fmt: skip
    if recorded is not None:
        event = _event_of_outcome(native_id, recorded, at)
        if report.get("state") == "KILLED" and event.state is not JobState.FINISHED:
            event.reason = failure("KILLED", words)[0]
        return event
    if state is JobState.FINISHED:
        return AttemptEvent(native_id, state, time=at, exit_code=0)
    reason, disruption = failure(str(report.get("state")), words, began=began, silence=silence)
    return _ended_by_yarn(native_id, reason, disruption, at)


def _ended_by_yarn(native_id: str, reason: str, disruption: bool, at: float | None) -> AttemptEvent:
    return AttemptEvent(native_id, JobState.FAILED, time=at, reason=reason, disruption=disruption,
                        out_of_memory=reason.startswith(OUT_OF_MEMORY))  # fmt: skip


def was_stopped(ended: bytes) -> bool:
    """Whether the application master recorded that it was asked to stop."""
    recorded = _parse_end(ended)
    return recorded is not None and recorded.stopped


def _parse_end(ended: bytes) -> outcome.Outcome | None:
    return outcome.parse(f"aiflow-outcome: {ended.decode('utf-8', 'replace').strip()}")


def _event_of_outcome(native_id: str, recorded: outcome.Outcome, at: float | None) -> AttemptEvent:
    """The end of the child as the application master reported it."""
    if recorded.kind == outcome.EXIT and recorded.exit_code == 0 and not recorded.stopped:
        return AttemptEvent(native_id, JobState.FINISHED, time=at, exit_code=0)
    words = recorded.reason
    if recorded.kind == outcome.EXIT:
        words = words or f"exit code {recorded.exit_code}"
    elif recorded.kind == outcome.SIGNAL:
        words = words or f"ended by {_signal(recorded.signal)}"
    elif recorded.kind == outcome.REFUSED:
        words = f"not started a second time: {words or 'its start marker was there'}"
    elif recorded.kind == outcome.NOT_STARTED:
        words = f"never started: {words or 'the application master does not say why'}"
    else:
        words = f"its end is not known: {words or recorded.kind}"
    if recorded.stopped:
        words = f"told to stop; {words}"
    away = recorded.exit_code == AWAY_CODE and (recorded.reason or "").startswith(AWAY)
    hungry = (recorded.reason or "").startswith(OUT_OF_MEMORY)
    return AttemptEvent(native_id, JobState.FAILED, time=at, exit_code=recorded.exit_code, signal=recorded.signal,
                        reason=words, disruption=away, out_of_memory=hungry)  # fmt: skip


def failure(state: str, diagnostics: str, *, began: bool | None = True, silence: str | None = None) -> tuple[str, bool]:
    """Why YARN ended an application whose master could not report it, and whether the platform caused that.

    What ends an attempt before it has begun is not the job's failure, unless the config is to blame for it.
    """
    killed = _KILLED_BY.search(diagnostics.strip())
    if state == "KILLED":
        if "exceeded the lifetime" in diagnostics or "LIFETIME" in diagnostics:
            return "killed by YARN: it exceeded its lifetime", False
        if killed is not None:
            return f"killed by user {killed[1]}{f' from {killed[2]}' if killed[2] else ''}, not by this run", False
        return f"killed by YARN: {sentence(diagnostics)}", False
    code = _exit_code(diagnostics)
    words = sentence(diagnostics)
    if code == _LOST_NODE:
        return f"the node was lost: {words}", True
    if code == _PREEMPTED:
        return f"preempted: {words}", True
    if code == _LOST_CONTAINER:
        return f"its container was lost as its NodeManager restarted: {words}", True
    if code == _DISKS:
        return f"the node's disks failed: {words}", True
    if code in (_VIRTUAL, _PHYSICAL) or (code == _KILLED and _OVER_LIMIT.search(diagnostics)):
        cure = "give it more, memory: SIZE"
        if code == _VIRTUAL:  # of address space, what a job maps and never touches included
            cure += ", or have yarn.nodemanager.vmem-check-enabled switched off"
        return f"{OUT_OF_MEMORY}YARN ended it for the memory that it used{_usage(diagnostics)}: {cure}", False
    if code == _LOGS:
        return f"YARN ended it for the size of its logs: {words}", False
    if code == _LOCALISATION:
        away = any(each in diagnostics for each in _UNAVAILABLE)
        broken = _UNPACKED.search(diagnostics)
        if broken is not None and not away:
            return f"{broken[1]} cannot be unpacked on the node; is it an archive, and complete? {words}", False
        if words == NO_REASON:  # what LinuxContainerExecutor answers to a runtime that it does not allow
            words += (
                "; where container: asks for an image, yarn.nodemanager.runtime.linux.allowed-runtimes of the node "
                "does not have its runtime"
            )
        return f"its files could not be brought to the node: {words}", away
    if code == _NOT_RUNNING:
        return f"the node had ended this application before: {words}", False
    if unheard({"state": state, "diagnostics": diagnostics}):
        if (
            began is False
        ):  # its node died as it was launched; or nodes do not reach the scheduler, and it happens again
            more = f"or did bringing its files to the node take longer than {EXPIRY}?"
            why = silence or f"do nodes reach the scheduler's port, and is it right (scheduler:), {more}"
            return f"the application master was never heard of: {why} {words}", True
        return f"the application master was not heard of any more: {words}", True
    if code is not None and code > 128:
        return f"the application master was ended by {_signal(code - 128)}: {words}", began is not True
    if code is not None and words == NO_REASON:
        said = f"the application master ended with exit code {code} before it had said a word"
        return f"{said}: is what python: names a Python?", False
    ended_an_attempt = code is not None or "due to " in diagnostics  # else the scheduler refused the application
    return words, began is not True and ended_an_attempt and code not in _CONFIG


def _exit_code(diagnostics: str) -> int | None:
    """A container's exit status in YARN's diagnostics; None where there is none."""
    found = _EXIT.search(diagnostics)
    return int(found[1]) if found else None


def _usage(diagnostics: str) -> str:
    """``: 301.5 MB of 256 MB physical memory used``, from the diagnostics of a NodeManager that checks memory."""
    found = re.search(r"Current usage: (.+? physical memory used)(?:; (.+? virtual memory used))?", diagnostics)
    if found is None:
        return ""
    virtual = "VIRTUAL" in diagnostics.upper().partition("CURRENT USAGE")[0]
    return f": {found[2] if virtual and found[2] else found[1]}"


def wait_reason(report: Json) -> str | None:
    """Why an application does not run yet, as the scheduler reports it."""
    words = str(report.get("diagnostics") or "").strip()
    launched = _seconds(report.get("launchTime")) if report.get("state") == "RUNNING" else None
    if launched is not None and not words and time.time() - launched > MARKER_DELAY:
        return "its application master has not made the start marker yet: does HDFS accept writes?"
    words = re.sub(r"^\[[^\]]*\]\s*", "", words)
    words = words.partition("Details :")[0].strip().rstrip(";")
    return " ".join(words.split())[:300] or None


def sentence(diagnostics: str) -> str:
    """A Java diagnostics text without stack traces: its message, and the last output of the process."""
    text = diagnostics.partition("For more detailed output")[0]
    for noise in _NOISE:
        text = noise.sub("", text)
    causes = _CAUSE.findall(text)
    kept: list[str] = []
    for line in text.splitlines():
        line = _CLASS.sub("", line).strip(" .;\t")
        if not line or _TRACE.match(line):
            continue
        if line not in kept:
            kept.append(line)
    kept = [line for line in kept if not _EMPTY.match(line)] or causes[-1:]
    return " ".join(" ".join(kept).split())[:600] or NO_REASON


def _signal(number: int | None) -> str:
    import signal

    if number is None:
        return "a signal"

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _seconds(ms: Any) -> float | None:
    return float(ms) / 1000 if ms else None
