"""The store of runs: whatever stands in its rows, readers return what they should, or an error in words."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fuzz import examples
from hypothesis import given
from hypothesis import strategies as st
from spoilt_store import run_once, spoil

from aiflow_ext.cli.commands import program
from aiflow_ext.cli.failures import run_guarded
from aiflow_ext.model.errors import StateError
from aiflow_ext.run.store.lock import DriverLock, holder
from aiflow_ext.run.store.store import Store

COMMANDS = ["runs", "status latest", "status latest --json", "logs latest", "graph latest", "graph latest --json",
            "gc --keep 0 --dry-run"]  # fmt: skip
# What commands show.
SHOWN = {
    "runs": ["run", "workflow", "project", "folder", "state", "started_at", "ended_at", "plan", "options", "firing"],
    "jobs": ["name", "place", "platform", "engine", "state", "reason"],
    "attempts": ["job", "number", "native_id", "folder", "state", "step", "started_at", "ended_at", "exit_code",
                 "signal", "reason", "stop_requested", "restarts", "instance", "node", "cleaned"],
    "planned": ["job", "place", "plan"],
    "transitions": ["seq", "job", "attempt", "state", "time", "reason"],
    "deliveries": ["extension", "seq", "problem"],
}  # fmt: skip
# What drivers and schedulers read besides.
KEPT = {
    "requests": ["run", "job", "what", "grace", "done"],
    "start_intents": ["job", "number", "native_id"],
    "firings": ["key", "last"],
    "untold": ["firing"],
    "transitions": ["seq", "job", "attempt", "state", "previous", "time", "native_id", "exit_code", "signal", "reason"],
    "deliveries": ["extension", "seq", "problem"],
    "runs": ["project", "folder", "plan", "options", "firing"],
    "planned": ["job", "plan"],
}
ROWS = ["insert into requests values (1, :run, 'a', 'stop', 1.0, 1.0, 0)",
        "insert into start_intents values (:run, 'a', 1, '/x')",
        "insert into deliveries values (:run, 'ext', 1, null)",
        "insert into firings values ('tested/a', 1.0)",
        "insert into untold values ('tested/a@1')"]  # fmt: skip
VALUES = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["", "..", "/", "RUNNING", "{}", "[]", "null", '{"jobs": 1}', "[" * 5000, "\x1b]0;x\x07", "\0"]),
)  # fmt: skip


def changes(tables: dict[str, list[str]]) -> st.SearchStrategy[list[tuple[tuple[str, str], Any]]]:
    """Up to three columns of these tables, and what to write into them; ``delete``: no row."""
    place = st.sampled_from([(table, column) for table, columns in tables.items() for column in columns])
    return st.lists(st.tuples(place, st.one_of(VALUES, st.just("delete"))), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project that has been run once, with a row in each table."""
    return run_once(tmp_path_factory.mktemp("spoilt"), ROWS)


@pytest.fixture
def quiet() -> Any:
    """No warnings: thousands of them would be kept."""
    logger = logging.getLogger("aiflow_ext")
    before, logger.level = logger.level, logging.CRITICAL
    yield
    logger.level = before


@pytest.mark.usefixtures("quiet")
@examples(50)
@given(spoilt=changes(SHOWN))
def test_no_command_raises_because_of_the_content_of_a_store(
    ended: Path, capsys: pytest.CaptureFixture[str], spoilt: list[Any]
) -> None:
    spoil(ended, spoilt)
    for command in COMMANDS:
        code = run_guarded(program, [*command.split(), "--project", str(ended)])
        said = capsys.readouterr()
        assert code in (0, 1, 3, 6, 7), (command, code, said.err)
        assert "Traceback" not in said.err
        assert "\x1b" not in said.out


@pytest.mark.usefixtures("quiet")
@examples(80)
@given(spoilt=changes(KEPT))
def test_rows_that_drivers_read_have_their_types_or_are_an_error(ended: Path, spoilt: list[Any]) -> None:
    spoil(ended, spoilt)
    store = Store(ended / ".aiflow", create=False)
    try:
        with contextlib.closing(sqlite3.connect(ended / "whole.db")) as db:
            ((run,),) = db.execute("select run from runs").fetchall()
        for transition in _read(store.transitions.of_run, run):
            assert type(transition.seq) is int
            assert 0 <= transition.time <= 1e11
        for request in _read(store.requests.pending, run):
            assert isinstance(request.what, str)
            assert request.grace is None or 0 <= request.grace <= 1e11
        for job, number, native_id in _read(store.start_intents, run):
            assert (type(job), type(number), type(native_id)) == (str, int, str)
        for delivery in _read(store.deliveries.of_run, run):
            assert (type(delivery.extension), type(delivery.offset), type(delivery.last)) == (str, int, int)
        for read in (store.transitions.last_seq, lambda run: store.deliveries.offset(run, "ext")):
            assert type(_read(read, run) or 0) is int
        moment = _read(store.firings.last, "tested/a")
        assert not moment or 0 <= moment <= 1e11
        for firing, of_run, _ in _read(lambda _: store.firings.untold(), run):
            assert (type(firing), type(of_run)) == (str, str)
        for read in (store.plan, store.planned, store.relocate, store.firings.run_of):
            _read(read, run)
    finally:
        store.close()


def _read(read: Any, *given: Any) -> Any:
    """What a reader returns; nothing where it raises an error in words."""
    try:
        return read(*given)
    except StateError:
        return ()


@examples(80)
@given(content=st.one_of(st.binary(max_size=40), st.integers().map(lambda pid: f"{pid} looking".encode())))
def test_whatever_stands_in_the_lock_of_a_driver_it_is_told_that_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("aiflow_ext.run.store.lock.time.sleep", lambda seconds: None)  # for who has just begun
    for patience in ("PATIENCE", "PATIENCE_DEAD"):
        monkeypatch.setattr(f"aiflow_ext.run.store.lock.{patience}", 0.0)
    lock = DriverLock(tmp_path)
    try:
        (tmp_path / "driver.lock").write_bytes(content)
        pid = holder(tmp_path)
        assert pid is None or type(pid) is int
        with pytest.raises(StateError, match="another process drives this run"):
            DriverLock(tmp_path)
    finally:
        lock.release()
    assert holder(tmp_path) is None
