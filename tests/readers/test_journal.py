"""The journal of a run's processes, and the files beside it: damaged lines are left out, and no reader dies of them."""

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from fuzz import JSON, examples, spoilt
from hypothesis import given
from hypothesis import strategies as st

from aiflow_ext.run.platforms.supervised import event_of
from aiflow_ext.supervise import ProcessSpec, Supervisor, SupervisorError, proc
from aiflow_ext.supervise.clock import Clock

NOBODY = 4_000_000  # a pid that no process has
CHANGES: list[dict[str, Any]] = [
    {"id": "a", "state": "starting", "mark": "no-such-mark", "boot_id": proc.boot_id(), "seq": 1},
    {"id": "a", "state": "running", "pid": NOBODY, "start_time": 1, "started_at": 1.5e9, "seq": 2},
    {"id": "a", "stop_requested": True, "grace": 1.0, "seq": 3},
    {"id": "a", "state": "ended", "ended_at": 1.5e9, "exit_code": 3, "signal": None, "seq": 4,
     "rusage": {"user": 0.1, "system": 0.1, "max_rss_kb": 1}},
]  # fmt: skip
STATES = ("starting", "running", "ended", "not_started", "cancelled", "lost")
LINES = st.one_of(
    st.sampled_from(CHANGES),
    st.sampled_from(CHANGES).flatmap(spoilt),
    JSON,
).map(lambda change: json.dumps(change).encode("utf-8", "surrogatepass"))
JOURNALS = st.lists(st.one_of(LINES, st.binary(max_size=30), st.just(b"[" * 9000)), max_size=6).map(b"\n".join)


@examples(80)
@given(text=JOURNALS, clock=st.one_of(st.binary(max_size=60), st.just(proc.boot_id().encode() + b" nan")))
def test_a_record_is_of_the_types_that_it_should_have(text: bytes, clock: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "processes.jsonl").write_bytes(text + b"\n")
        Path(folder, "clock").write_bytes(clock)
        assert 0 < Clock(folder).now() < 1e12
        with Supervisor(folder) as supervisor:
            for id, record in supervisor.records().items():
                assert record == supervisor.record(id)
                assert record.state in STATES
                assert record.pid is None or 0 < record.pid <= 1 << 22
                assert record.state != "running", "it has no process that could be it"
                event = event_of(f"{folder}/{id}", record)
                assert event is None or event.time is None or 0 <= event.time < 1e11


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", ["processes.jsonl", "supervisor.lock", "supervisor.log", "clock"])
def test_what_is_no_file_in_the_place_of_one_is_not_waited_for(tmp_path: Path, make: Any, name: str) -> None:
    make(tmp_path / name)
    with Supervisor(tmp_path) as supervisor:
        assert supervisor.of_this_boot()
        if name == "processes.jsonl":
            with pytest.raises(SupervisorError, match="it is no regular file"):
                supervisor.records()
        else:
            assert supervisor.records() == {}
        if name in ("processes.jsonl", "supervisor.log"):
            with pytest.raises((SupervisorError, OSError)):
                supervisor.start(ProcessSpec("a", ["true"], {}, str(tmp_path), f"{tmp_path}/o", f"{tmp_path}/e", "m"))


def test_a_journal_of_one_endless_line_is_not_kept_in_memory(tmp_path: Path) -> None:
    line = json.dumps(CHANGES[3] | {"seq": 9}).encode()
    (tmp_path / "processes.jsonl").write_bytes(b"x" * (4 << 20) + b"\n" + line + b"\n")
    with Supervisor(tmp_path) as supervisor:
        tracemalloc.start()
        try:
            assert supervisor.records()["a"].exit_code == 3
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def test_a_journal_without_an_end_is_an_error_and_not_read_for_ever(tmp_path: Path) -> None:
    (tmp_path / "processes.jsonl").touch()
    os.truncate(tmp_path / "processes.jsonl", 1 << 40)
    with Supervisor(tmp_path) as supervisor, pytest.raises(SupervisorError, match="a line without an end"):
        supervisor.records()
