"""What Flink says, as states and reasons: from answers and summaries as Flink 2.3.0 writes them."""

from __future__ import annotations

import json

import pytest

from aiflow_ext.model.errors import PlatformError
from aiflow_ext.model.states import JobState
from aiflow_ext_flink.verdict import (
    archived,
    python_error,
    reason_of,
    restarts_of,
    root_cause,
    state_of,
    submits_twice,
    summarised,
    told_by_program,
)

FAILED = """\
org.apache.flink.runtime.JobException: Recovery is suppressed by NoRestartBackoffTimeStrategy
\tat org.apache.flink.runtime.executiongraph.failover.ExecutionFailureHandler.handle(ExecutionFailureHandler.java:219)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.lang.ArithmeticException: / by zero
\tat com.acme.Main.lambda$main$0(Main.java:12)
\t... 3 more
"""
MAIN = """\
org.apache.flink.client.program.ProgramInvocationException: The main method caused an error: no table 'sales'
\tat org.apache.flink.client.program.PackagedProgram.callMainMethod(PackagedProgram.java:372)
Caused by: java.util.concurrent.CompletionException: java.io.FileNotFoundException: /data/x (No such file)
\t... 12 more
Caused by: java.io.FileNotFoundException: /data/x (No such file)
\tat java.base/java.io.FileInputStream.open0(Native Method)
"""
PYTHON = """\
Traceback (most recent call last):
  File "/p/job.py", line 3, in <module>
    raise ValueError("no such table: sales")
ValueError: no such table: sales
org.apache.flink.client.program.ProgramAbortException: java.lang.RuntimeException: Python process exits with code: 1
\tat org.apache.flink.client.python.PythonDriver.main(PythonDriver.java:134)
"""
PLANNER = """\
Traceback (most recent call last):
  File "/p/job.py", line 9, in <module>
    table.execute()
pyflink.util.exceptions.TableException: Cannot generate a valid execution plan for the given query:

FlinkLogicalSink(table=[x])

This exception indicates that the query uses an unsupported SQL feature.
\tat org.apache.flink.table.planner.plan.optimize.program.FlinkVolcanoProgram.optimize(FlinkVolcanoProgram.scala:70)
Caused by: org.apache.calcite.plan.RelOptPlanner$CannotPlanException: There are not enough rules
\tat org.apache.calcite.plan.volcano.RelSubset$CheapestPlanReplacer.visit(RelSubset.java:709)
"""


@pytest.mark.parametrize(
    ("trace", "line"),
    [
        (FAILED, "ArithmeticException: / by zero"),
        (MAIN, "FileNotFoundException: /data/x (No such file)"),
        (PYTHON, "ValueError: no such table: sales"),
        (
            PLANNER,
            (
                "pyflink.util.exceptions.TableException: Cannot generate a valid execution plan for the given query: "
                "RelOptPlanner$CannotPlanException: There are not enough rules"
            ),
        ),
        ("java.lang.IllegalStateException: no slots", "IllegalStateException: no slots"),
        (
            'java.io.IOException: Cannot run program "/python3": error=2\nCaused by: java.io.IOException: error=2, No',
            'IOException: Cannot run program "/python3": error=2',
        ),
        (
            "Caused by: org.apache.hadoop.ipc.RemoteException(org.apache.AccessControlException): Permission denied",
            "AccessControlException: Permission denied",
        ),
        ("", ""),
    ],
)
def test_the_reason_is_the_line_that_matters(trace, line):
    assert root_cause(trace) == line


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("java.io.EOFException", "what it was to begin from cannot be restored: EOFException (restore_from names"),
        (
            "java.lang.IllegalStateException: you can set the --allowNonRestoredState option on the CLI.",
            "IllegalStateException: say allow_non_restored_state: true.",
        ),
    ],
)  # fmt: skip
def test_a_savepoint_that_cannot_be_restored_is_told_as_that(cause, words):
    frame = "\tat org.apache.flink.runtime.checkpoint.CheckpointCoordinator.restoreSavepoint(X.java:1912)"
    assert words in reason_of(f"org.apache.flink.util.FlinkException: no\nCaused by: {cause}\n{frame}\n")
    assert words not in reason_of(f"org.apache.flink.util.FlinkException: no\nCaused by: {cause}\n")


def test_the_last_exception_of_a_python_log_is_found():
    assert python_error(f"INFO x\n{PYTHON}\nINFO y") == "ValueError: no such table: sales"
    assert python_error("INFO x") is None
    log = "2026-11-30 13:32:14,662 INFO  PythonDriver [] - "
    printed = "".join(f"{line}\n{log}{line}\n" for line in PYTHON.splitlines())
    assert python_error(f"{printed}{log}Terminating\n") == "ValueError: no such table: sales"


@pytest.mark.parametrize("words", ["Python process exits with code: 1", "Failed to start Python process."])
def test_a_script_s_exception_is_taken_from_what_it_has_printed_where_flink_tells_its_end_alone(words):
    log = f"{'x' * 300_000}\n{PYTHON}\n".encode()
    code = f"RuntimeException: {words}"

    def unreachable(stream, offset):
        raise PlatformError("away")

    assert (
        told_by_program(code, lambda stream, offset: log[offset : offset + 1000]) == "ValueError: no such table: sales"
    )
    silent = "the script has ended with exit code 1" if "code: 1" in words else code
    assert told_by_program(code, lambda stream, offset: None) == silent
    assert told_by_program(code, unreachable) == silent
    assert told_by_program("ArithmeticException: / by zero", unreachable) == "ArithmeticException: / by zero"


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ('  File "/p/job.py", line 3\n    def x(:\n          ^\nSyntaxError: invalid syntax\n',
         "SyntaxError: invalid syntax (job.py, line 3)"),
        ("reading\nthe month is missing: --month 2026-01\n\n",
         "the script has ended with exit code 2; its last line: the month is missing: --month 2026-01"),
    ],
)  # fmt: skip
def test_a_script_that_is_no_python_or_ends_itself_is_told_by_what_it_has_printed(printed, reason):
    log = printed.encode()
    assert told_by_program("RuntimeException: Python process exits with code: 2", lambda _, at: log[at:]) == reason


def test_the_attempt_runs_once_one_of_its_jobs_does():
    assert state_of([]) is JobState.QUEUED
    assert state_of(["CREATED", "INITIALIZING"]) is JobState.QUEUED
    assert state_of(["RESTARTING"]) is JobState.RUNNING
    assert state_of(["FAILED"]) is JobState.QUEUED, "it may have failed before it ran"
    assert state_of(["FINISHED", "CREATED"]) is JobState.RUNNING, "between two jobs of a batch program"


def test_restarts_are_counted_with_the_last_cause():
    history = {"entries": [{"exceptionName": "x", "stacktrace": FAILED}, {"stacktrace": MAIN}], "truncated": False}
    assert restarts_of({"exceptionHistory": history}) == (2, "ArithmeticException: / by zero")
    assert restarts_of({}) == (0, "")


def test_the_end_of_an_application_is_read_from_its_archive(tmp_path):
    folder = tmp_path / "c" / "applications" / "a"
    folder.mkdir(parents=True)
    assert archived(tmp_path, "c", "a") is None
    answers = [{"path": "/applications/a", "json": json.dumps({"id": "a", "status": "FAILED"})},
               {"path": "/applications/a/exceptions", "json": json.dumps(
                   {"exceptionHistory": {"entries": [{"exceptionName": "x", "stacktrace": FAILED}]}})}]  # fmt: skip
    (folder / "application-summary").write_text(json.dumps({"archive": answers}))
    assert archived(tmp_path, "c", "a") == (JobState.FAILED, "ArithmeticException: / by zero")


def test_a_program_that_submits_two_jobs_is_told_what_to_do():
    twice = {"status": "FAILED", "exception": "a.DuplicateJobSubmissionException: Job has already been submitted."}
    assert "put INSERTs of SQL into one STATEMENT SET" in str(summarised(json.dumps(twice).encode()))


@pytest.mark.parametrize("content", [b"{}", b'{"status": "RUNNING"}', b'{"status": 3}', b"[]"])
def test_a_summary_of_no_end_gives_no_verdict(content):
    assert summarised(content) is None


def test_a_summary_that_is_damaged_gives_no_verdict(tmp_path):
    folder = tmp_path / "c" / "applications" / "a"
    folder.mkdir(parents=True)
    (folder / "application-summary").write_text("{")
    assert archived(tmp_path, "c", "a") is None


@pytest.mark.parametrize(
    ("words", "is_so"),
    [
        ("DuplicateJobSubmissionException: Job has already been submitted.", True),
        ("FlinkRuntimeException: Cannot have more than 1 jobs in a single environment.", True),
        ("FlinkRuntimeException: Cannot have more than 1 streaming jobs in a single environment.", True),
        ("ArithmeticException: / by zero", False),
    ],
)
def test_a_program_that_submits_two_jobs_is_known_by_what_flink_says(words, is_so):
    assert submits_twice(words) is is_so
