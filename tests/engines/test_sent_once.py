"""What a run's jobs share is sent once for each place and run, by each process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import PATIENCE

from aiflow_ext.plugin.engines import SentOnce


def test_a_thing_is_sent_once_for_each_place_run_and_name_until_its_run_is_forgotten() -> None:
    sent, calls = SentOnce[int](), list[tuple[str, ...]]()

    def send(*key: str) -> int:
        return sent.send(*key, lambda: calls.append(key) or len(calls))  # type: ignore[func-returns-value]

    keys = [("here", "run", "project"), ("here", "run", "payload"), ("there", "run", "project"),
            ("here", "other", "project")]  # fmt: skip
    assert [send(*key) for key in keys * 2] == [1, 2, 3, 4] * 2
    sent.forget("here", "run")
    sent.forget("here", "run")
    assert [send(*key) for key in keys] == [5, 6, 3, 4]
    assert calls == [*keys, *keys[:2]]


def test_what_could_not_be_sent_is_sent_by_the_next_job() -> None:
    sent = SentOnce[str]()

    def away() -> str:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        sent.send("here", "run", "project", away)
    assert sent.send("here", "run", "project", lambda: "sent") == "sent"


def test_a_thing_that_several_threads_send_at_once_is_sent_by_one_of_them() -> None:
    sent, calls, begin = SentOnce[int](), list[int](), threading.Barrier(8)

    def send(number: int) -> int:
        begin.wait(PATIENCE)
        return sent.send("here", "run", "project", lambda: calls.append(number) or number)  # type: ignore[func-returns-value]

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(send, range(8)))
    assert [got[0]] * 8 == got
    assert calls == got[:1]
