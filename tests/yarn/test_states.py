"""What YARN says of applications, as it said it on real clusters, and what is made of it."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from aiflow_ext.model.errors import PlatformError
from aiflow_ext.model.resources import Usage
from aiflow_ext.model.states import JobState
from aiflow_ext_yarn import tokens
from aiflow_ext_yarn.http import Response
from aiflow_ext_yarn.logs import FrameReader, container_of, frame_of
from aiflow_ext_yarn.master.outcome import Outcome
from aiflow_ext_yarn.states import event_of, sentence, silence_of, wait_reason

ID = "application_1_0001"
EXITED = "Application application_1_0001 failed 1 times due to AM Container for appattempt_1_0001_000001 exited with  "
MORE = "For more detailed output, check the application tracking page: http://rm:8088/x Then click on links to logs."
LOST = (
    f"{EXITED}exitCode: -100\nFailing this attempt.Diagnostics: Container released on a *lost* node{MORE}\n"
    ". Failing the application."
)
ABSENT = "File does not exist: hdfs://nn:8020/x"
MISSING = (
    f"{EXITED}exitCode: -1000\nFailing this attempt.Diagnostics: [2026-11-24 00:00:00.000]{ABSENT}\n"
    f"java.io.FileNotFoundException: {ABSENT}\n\tat org.apache.X.y(X.java)\n"
)
NO_PYTHON = (
    "[2026-11-24 00:00:00.000]Container exited with a non-zero exit code 127. Error file: prelaunch.err.\n"
    "Last 4096 bytes of prelaunch.err :\nLast 4096 bytes of am.stderr :\n"
    "/bin/bash: line 1: python9: No such file or directory\n"
)
HUNGRY = (
    f"{EXITED}exitCode: -104\nFailing this attempt.Diagnostics: [2026-11-25 22:39:25.200]Container [pid=5809,"
    "containerID=container_1_0001_01_000001] is running 225587200B beyond the 'PHYSICAL' memory limit. Current usage: "
    "343.1 MB of 128 MB physical memory used; 364.6 MB of 268.8 MB virtual memory used. Killing container.\n"
    "Dump of the process-tree for container_1_0001_01_000001 :\n"
    "\t|- PID PPID PGRPID SESSID CMD_NAME USER_MODE_TIME(MILLIS) FULL_CMD_LINE\n\t|- 5810 5809 /bin/sh -c password=x\n"
)
NO_ARCHIVE = (
    f"{EXITED}exitCode: -1000\nFailing this attempt.Diagnostics: [2026-11-25 22:41:56.732]\n"
    "java.lang.reflect.UndeclaredThrowableException\n"
    "\tat org.apache.hadoop.yarn.util.FSDownload.call(FSDownload.java:430)\n"
    "\tat java.base/java.util.concurrent.FutureTask.run(FutureTask.java:264)\n"
    "Caused by: org.apache.hadoop.yarn.exceptions.YarnException: Download and unpack failed\n\t... 10 more\n"
    "Caused by: java.io.IOException: Error executing command. gzip -dc | "
    "(cd '/nm/usercache/ada/filecache/23_tmp/env.tar.gz' && tar -x ) Process exited with exit code 2.\n\t... 18 more\n"
)
MUTE = (
    f"{EXITED}exitCode: 0\nFailing this attempt.Diagnostics: [2026-11-25 22:58:00.000]Exception from container-launch\n"
    f"Container id: container_1_0001_01_000001\nExit code: 0\n\n{MORE}\n. Failing the application."
)
UNHEARD = (
    "Application application_1_0001 failed 1 times (global limit =2; local limit is =1) due to ApplicationMaster "
    "for attempt appattempt_1_0001_000001 timed out. Failing the application."
)


def test_states_on_the_way() -> None:
    for state in ("NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED"):
        assert event_of(ID, {"state": state}).state is JobState.QUEUED
    running = event_of(ID, {"state": "RUNNING", "launchTime": 5000})
    assert (running.state, running.time, running.reason) == (JobState.RUNNING, 5.0, None)


def test_the_schedulers_words_while_it_waits() -> None:
    first = "Application is added to the scheduler and is not yet activated. Queue's AM resource limit exceeded."
    words = f"[Tue Nov 24 00:00:00 +0000 2026] {first}  Details : AM Partition = <DEFAULT_PARTITION>;"
    assert wait_reason({"diagnostics": words}) == first


@pytest.mark.parametrize(
    ("ended", "state", "code", "signal", "reason"),
    [
        (Outcome("exit", exit_code=0), JobState.FINISHED, 0, None, None),
        (Outcome("exit", exit_code=3), JobState.FAILED, 3, None, "exit code 3"),
        (Outcome("signal", signal=9), JobState.FAILED, None, 9, "ended by SIGKILL"),
        (Outcome("exit", exit_code=1, reason="ValueError: x"), JobState.FAILED, 1, None, "ValueError: x"),
        (Outcome("not-started", reason="no marker"), JobState.FAILED, None, None, "never started: no marker"),
    ],
)
def test_the_application_masters_own_word(
    ended: Outcome, state: JobState, code: int | None, signal: int | None, reason: str | None
) -> None:
    words = f"Attempt recovered after RM restartThe command ended.\naiflow-outcome: {ended.to_json()}"
    final = "SUCCEEDED" if state is JobState.FINISHED else "FAILED"
    found = event_of(ID, {"state": "FINISHED", "finalStatus": final, "diagnostics": words})
    assert (found.state, found.exit_code, found.signal, found.reason) == (state, code, signal, reason)
    assert not found.disruption


@pytest.mark.parametrize(
    ("words", "told", "disruption"),
    [
        (LOST, "the node was lost: Container released on a *lost* node", True),
        (LOST.replace("-100", "-102"), "preempted", True),
        (LOST.replace("-100", "154"), "lost as its NodeManager restarted", True),
        (MISSING, "its files could not be brought to the node: File does not exist: hdfs://nn:8020/x", False),
        (MISSING.replace("File does not exist", "Connection refused"), "its files could not be brought", True),
        (NO_PYTHON, "python9: No such file or directory", False),
        (HUNGRY, "for the memory that it used: 343.1 MB of 128 MB physical memory used: give it more, memory:", False),
        (HUNGRY.replace("-104", "-103").replace("PHYSICAL", "VIRTUAL"), "364.6 MB of 268.8 MB virtual memory", False),
        (HUNGRY.replace("-104", "137"), "out of memory: YARN ended it for the memory", False),
        (NO_ARCHIVE, "env.tar.gz cannot be unpacked on the node; is it an archive, and complete?", False),
        (NO_ARCHIVE, "tar -x ) Process exited with exit code 2", False),
        (MUTE.replace("exitCode: 0", "exitCode: -1000"), "of the node does not have its runtime", False),
        (MUTE, "exit code 0 before it had said a word: is what python: names a Python?", False),
        (UNHEARD, "the application master was not heard of any more", True),
        ("org.apache.X.AccessControlException: Queue root.small is STOPPED. No.", "Queue root.small is STOPPED", False),
        ("submitted by user ada to unknown queue: nope", "unknown queue: nope", False),
    ],
)
def test_ends_that_yarn_alone_tells(words: str, told: str, disruption: bool) -> None:
    found = event_of(ID, {"state": "FAILED", "finalStatus": "FAILED", "diagnostics": words})
    assert found.state is JobState.FAILED
    assert told in str(found.reason)
    assert found.disruption is disruption
    assert found.out_of_memory is ("physical memory used" in words)
    assert str(found.reason).startswith("out of memory: ") is found.out_of_memory
    assert "\n" not in str(found.reason)
    assert "java" not in str(found.reason)
    assert "password" not in str(found.reason)  # command lines of a job are its own


def test_killed_by_somebody() -> None:
    words = "Application application_1_0001 was killed by user eve at 10.0.0.1"
    found = event_of(ID, {"state": "KILLED", "diagnostics": words})
    assert (found.state, found.reason) == (JobState.FAILED, "killed by user eve from 10.0.0.1, not by this run")


def test_an_end_that_was_only_written_down() -> None:
    found = event_of(ID, {"state": "FAILED", "diagnostics": ""}, Outcome("exit", exit_code=5).to_json().encode())
    assert (found.state, found.exit_code) == (JobState.FAILED, 5)


def test_a_lost_node_is_lost_whatever_was_written_last() -> None:
    found = event_of(ID, {"state": "FAILED", "diagnostics": LOST}, Outcome("broken").to_json().encode())
    assert found.disruption


def test_what_yarn_ends_for_a_reason_is_not_the_jobs_end() -> None:
    """A node that is shut down in order, and preemption, begin with SIGTERM: the job's answer to it is no failure."""
    answer = Outcome("signal", signal=15, stopped=True).to_json().encode()
    for words, disruption in ((LOST, True), (LOST.replace("-100", "-102"), True), (HUNGRY, False)):
        found = event_of(ID, {"state": "FAILED", "diagnostics": words}, answer)
        assert (found.disruption, found.signal) == (disruption, None)
        assert "told to stop" not in str(found.reason)
    # What it had said before is true all the same.
    done = event_of(ID, {"state": "FAILED", "diagnostics": LOST}, Outcome("exit", exit_code=0).to_json().encode())
    assert (done.state, done.exit_code) == (JobState.FINISHED, 0)


def test_a_master_that_never_got_through() -> None:
    """Its node may have died as it was launched: nobody's failure. Where it happens again, here is why."""
    found = event_of(ID, {"state": "FAILED", "diagnostics": UNHEARD}, began=False)
    assert found.disruption
    assert "scheduler:" in str(found.reason)


LAUNCH = (
    "Application application_1_0001 failed 1 times due to Error launching appattempt_1_0001_000001. Got exception: "
    "java.net.ConnectException: Call From rm/10.0.0.1 to node:8041 failed on connection exception: java.net."
    "ConnectException: Connection refused; For more details see:  http://wiki.apache.org/hadoop/ConnectionRefused\n"
)
RESOURCES = (
    f"{EXITED}exitCode: -1\nFailing this attempt.Diagnostics: [2026-11-24 00:00:00.000]Unable to get local resources "
    "when Container container_1_0001_01_000001 is at LOCALIZING\n"
)
ENDED = f"{EXITED}exitCode: 143\nFailing this attempt.Diagnostics: [2026-11-24 00:00:00.000]Killed by external signal\n"


@pytest.mark.parametrize("words", [LAUNCH, RESOURCES, ENDED])
@pytest.mark.parametrize(("began", "disruption"), [(False, True), (None, True), (True, False)])
def test_what_ends_an_attempt_before_it_has_begun_is_not_the_jobs_failure(words, began, disruption) -> None:
    found = event_of(ID, {"state": "FAILED", "finalStatus": "FAILED", "diagnostics": words}, began=began)
    assert (found.state, found.disruption) == (JobState.FAILED, disruption)


@pytest.mark.parametrize("words", [MISSING, NO_PYTHON, NO_ARCHIVE, HUNGRY, MUTE, "Queue root.small is STOPPED"])
def test_a_config_that_keeps_an_attempt_from_beginning_is_not_tried_again(words: str) -> None:
    found = event_of(ID, {"state": "FAILED", "finalStatus": "FAILED", "diagnostics": words}, began=False)
    assert not found.disruption


@pytest.mark.parametrize(
    ("reason", "stopped", "disruption"),
    [
        ("the staging folder cannot be used: SafeModeException: Name node is in safe mode", False, True),
        ("the staging folder cannot be used: AccessControlException: Permission denied", False, False),
        ("the submission's credentials hold no secret 'x'", False, False),
        ("it was stopped first", True, True),  # by YARN: what this run stops is STOPPED
    ],
)
def test_a_master_that_could_not_start_the_job(reason: str, stopped: bool, disruption: bool) -> None:
    ended = Outcome("not-started", reason=reason, stopped=stopped)
    report = {"state": "FINISHED", "finalStatus": "FAILED", "diagnostics": ended.diagnostics()}
    found = event_of(ID, report)
    assert (found.state, found.reason, found.disruption) == (JobState.FAILED, f"never started: {reason}", disruption)


def test_a_sentence_of_nothing() -> None:
    assert sentence("") == "YARN does not say why"


def test_the_place_of_a_containers_logs() -> None:
    found = container_of({"amContainerLogs": "http://node:8042/node/containerlogs/container_e01_1_0001_01_000001/ada"})
    assert found is not None
    assert (found.id, found.node) == ("container_e01_1_0001_01_000001", "http://node:8042")
    assert container_of({}) is None


FRAME = b"Container: c on node\nLogAggregationType: LOCAL\n=====\nLogType:stdout\nLogLength:10\nLogContents:\n"


@pytest.mark.parametrize(
    ("body", "size", "wanted"),
    [
        (FRAME + b"0123456789End of LogType:stdout", -10, (10, 0, b"0123456789")),
        (FRAME + b"789End of LogType:stdout", -3, (10, 7, b"789")),
        (FRAME + b"0123456789End of LogType:stdout", -99, (10, 0, b"0123456789")),
        (FRAME + b"LogLengt", -10, (10, 0, b"LogLengt")),
        (b"Can not find logs for container", -10, None),
        (b"", -10, None),
    ],
)
def test_a_frame_of_a_log(body: bytes, size: int, wanted: tuple[int, int, bytes] | None) -> None:
    found = frame_of(Response("http://node", 200, {}, body), size)
    assert (None if found is None else (found.length, found.start, found.data)) == wanted


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(("body", "wanted"), [(b"0123456789End of LogType", b"0123456789"), (b"01234", None)])
def test_a_whole_log_piece_by_piece(size: int, body: bytes, wanted: bytes | None) -> None:
    whole, file = FRAME + body, io.BytesIO()
    log = FrameReader(file, 100)
    for place in range(0, len(whole), size):
        log.feed(whole[place : place + size])
    assert (file.getvalue() if log.complete else None) == wanted


def test_a_token_for_hdfs() -> None:
    identifier, password = bytes(range(256)), b"p" * 20
    text = tokens.base64.urlsafe_b64encode(
        tokens.length(256) + identifier + tokens.length(20) + password + b"\x06WEBFOO" + b"\x03a:1"
    ).decode()
    made = tokens.for_nodes(text.rstrip("="), "hdfs://127.0.0.1:8020")
    assert tokens.decoded(made) == (identifier, password, b"HDFS_DELEGATION_TOKEN", b"127.0.0.1:8020")
    assert tokens.decoded(tokens.for_nodes(text, "hdfs://ns"))[3] == b"ha-hdfs:ns"
    assert tokens.for_nodes(text, "webhdfs://nn:9870") == text


@pytest.mark.parametrize("text", ["", "!", "AAAA", "gA"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(PlatformError):
        tokens.decoded(text)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "its files were not on the node before"),
        (b"x InvalidToken: appattempt_1_0047_000001 not found in AMRMTokenSecretManager.\nNot started\n",
         "it began on its node after"),
        (b"x [Errno 111] Connection refused\nNot started\n",
         r"did not reach the scheduler's port \(x \[Errno 111\] Connection refused\)"),
        (b"Not started\n", r"did not reach the scheduler's port \(it does not say why\)"),
    ],
)  # fmt: skip
def test_why_a_master_was_never_heard_of(said: bytes | None, words: str) -> None:
    assert re.search(words, silence_of(said))


USED = {"peak_memory": 209715200, "cpu_seconds": 1.5}


@pytest.mark.parametrize(("used", "told"), [
    (USED, (209715200, 1.5, "process")), ({}, (None, None, None)), ({"cpu_seconds": 1}, (None, 1, "process")),
    ({"peak_memory": float("inf"), "cpu_seconds": float("nan")}, (None, None, None)),
    ({"peak_memory": "1", "cpu_seconds": -1, "more": [1]}, (None, None, None)),
])  # fmt: skip
@pytest.mark.parametrize("code", [0, 3])
def test_what_the_child_has_used_and_what_yarn_has_kept_for_it(used: dict[str, Any], told: Any, code: int) -> None:
    ended = Outcome("exit", exit_code=code, usage=used)
    report = {"state": "FINISHED", "finalStatus": "SUCCEEDED" if code == 0 else "FAILED", "memorySeconds": 512,
              "vcoreSeconds": 3}  # fmt: skip
    assert event_of(ID, {**report, "diagnostics": ended.diagnostics()}).usage == Usage(*told, 512 << 20, 3)
    by_staging = {**report, "state": "FAILED", "diagnostics": LOST, "memorySeconds": 0, "vcoreSeconds": 0}
    assert event_of(ID, by_staging, ended.to_json().encode()).usage == Usage(*told)


def test_what_a_master_of_an_earlier_version_does_not_tell_is_not_known() -> None:
    said = json.loads(Outcome("exit", exit_code=3).to_json())
    del said["usage"], said["ran_with"]
    event = event_of(ID, {"state": "FAILED", "diagnostics": LOST}, json.dumps(said).encode())
    assert event.usage == Usage()
