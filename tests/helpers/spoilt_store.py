"""A project that has been run once, whose store is spoilt again and again."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiflow_ext.run import run_project

WORKFLOW = """
import aiflow_ext as af

@af.workflow
def tested():
    with af.job("a"): a = af.cmd("echo > {o}", o=af.output("o"))
    with af.job("b"): af.cmd("cat {a}", a=a)
    with af.job("c"): af.cmd("exit 1")
"""
Change = tuple[tuple[str, str], Any]  # a table's column, and the value that all rows get there; "delete": no row


def run_once(root: Path, rows: Iterable[str] = ()) -> Path:
    """Run a project in ``root`` and keep a copy of its store; returns ``root``.

    Args:
        root: an empty folder.
        rows: statements that add rows to the store, with ``:run`` for the run's id.
    """
    (root / "workflow.py").write_text(WORKFLOW)
    run_project(root)
    state = root / ".aiflow" / "state.db"
    with contextlib.closing(sqlite3.connect(state)) as db, db:
        ((run,),) = db.execute("select run from runs").fetchall()
        for statement in rows:
            db.execute(statement, {"run": run})
    with contextlib.closing(sqlite3.connect(state)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    shutil.copy(state, root / "whole.db")
    return root


def spoil(root: Path, changes: Iterable[Change]) -> None:
    """Make the store whole again, and change it; what its constraints refuse is left out."""
    # Not by a copy of the file: commands of this process may have it open.
    with (
        contextlib.closing(sqlite3.connect(root / "whole.db")) as whole,
        contextlib.closing(sqlite3.connect(root / ".aiflow" / "state.db")) as db,
    ):
        whole.backup(db)
        for (table, column), value in changes:
            with contextlib.suppress(sqlite3.IntegrityError), db:
                if value == "delete":
                    db.execute(f"delete from {table}")
                else:
                    db.execute(f"update {table} set {column} = ?", (value,))
