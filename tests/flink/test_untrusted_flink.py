"""A Flink server gone wrong: what it answers that is odd or has no end is an error in words, in little time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hostile_server import NO_HTTP, Answer, Asked, HostileServer

from aiflow_ext.model.errors import AiflowError, PlatformError
from aiflow_ext_flink.rest import FlinkRest
from aiflow_ext_flink.verdict import root_cause


def ask(rest: FlinkRest) -> list[Any]:
    """What each call returns, or its error in words; any other exception is raised."""
    calls = [
        rest.overview, rest.jobs, rest.config, lambda: rest.job("\ud800/../x"), lambda: rest.job_status("j"),
        lambda: rest.exceptions("j"), lambda: rest.checkpoints("j"), lambda: rest.application("a"),
        lambda: rest.cancel("j"), lambda: rest.stop("j", None), lambda: rest.savepoint("j", "r"),
        lambda: rest.upload("a.jar", b"x"), lambda: rest.run("\ud800", {}), lambda: rest.remove_jar("a"),
    ]  # fmt: skip
    found = []
    for call in calls:
        try:
            found.append(call())
        except AiflowError as error:
            found.append(str(error))
    return found


ODD = [b"[]", b"5", b"null", b'"x"', b"\xff", b"{" * 9000, b'{"status": 5, "operation": [], "jobs": {}}',
       b'{"status": {"id": "COMPLETED"}, "operation": "x"}', b'{"status": "x", "filename": [1], "jobid": {}}',
       b'{"status": {"id": "COMPLETED"}, "operation": {"failure-cause": [1]}}',
       b'{"status": ["\\ud800"], "jobid": "\\ud800", "request-id": "../..", "errors": 3, "jobs": [1, []]}']  # fmt: skip


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("body", ODD)
def test_an_answer_of_another_shape_is_an_error_in_words(body: bytes, status: int) -> None:
    with HostileServer(lambda asked: Answer(status, body)) as server:
        assert len(ask(FlinkRest(server.url))) == 14
        assert not any("/../" in asked.path for asked in server.asked), "an id is one part of a path"


def test_a_job_without_an_id_and_a_number_without_an_end_count_for_nothing() -> None:
    jobs = {"jobs": [{"state": "RESTARTING"}, {"jid": 5, "state": "RUNNING"}, {"jid": "x", "state": "RUNNING"}]}
    counts = [{"id": "numRestarts", "value": "9" * 5000}]

    def answer(asked: Asked) -> Answer:
        return Answer(body=json.dumps(counts if "metrics" in asked.path else jobs).encode())

    with HostileServer(answer) as server:
        rest = FlinkRest(server.url)
        assert rest.jobs() == [{"jid": "x", "state": "RUNNING"}]
        assert rest.restarts("x") == 0


@pytest.mark.parametrize("answer", [each for each, _ in NO_HTTP])
def test_an_answer_that_is_no_http_is_an_error_in_words(answer: Answer) -> None:
    with HostileServer(lambda asked: answer) as server, pytest.raises(PlatformError):
        FlinkRest(server.url).overview()


def test_an_answer_that_comes_a_byte_at_a_time_has_a_deadline_as_a_whole() -> None:
    slow = Answer(body=b" " * 100_000, slow=True)
    with HostileServer(lambda asked: slow) as server, pytest.raises(PlatformError, match="does not answer"):
        FlinkRest(server.url, seconds=0.3).overview()


@pytest.mark.parametrize(
    "trace",
    ["x\n" + "\n" * 2_000_000 + "Caused by: y.Error: z", "AError: " * 500_000 + "x", "a" * 3_000_000, " " * 3_000_000],
)
def test_the_cause_in_a_long_text_is_found_in_little_time(trace: str) -> None:
    assert len(root_cause(trace)) <= 2000
