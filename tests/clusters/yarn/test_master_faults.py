"""The application master while the cluster's daemons die and come back: it tells the true end, once."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import pytest
from yarn_bed import Bed
from yarn_jobs import get, processes, running, submit

from aiflow_ext_yarn.master.outcome import from_json


def until_file(text: str = "exit 5") -> str:
    """A shell script that goes on until the file $1 is there."""
    return f"while [ ! -e $1 ]; do sleep 0.1; done; {text}"


def test_the_resource_manager_dies_while_it_runs(bed: Bed, tmp_path: Path) -> None:
    app = submit(bed, ["/bin/sh", "-c", until_file(), "sh", str(tmp_path / "end")])
    running(app)
    bed.kill("rm")
    bed.up()
    (tmp_path / "end").touch()
    state, final, outcome = app.end()
    assert (state, final, outcome.exit_code) == ("FINISHED", "FAILED", 5)


def test_a_job_ends_while_the_resource_manager_is_away(bed: Bed, tmp_path: Path) -> None:
    app = submit(bed, ["/bin/sh", "-c", until_file(), "sh", str(tmp_path / "end")])
    running(app)
    bed.kill("rm")
    (tmp_path / "end").touch()
    app.until(lambda: get(bed, f"{app.staging}/ended") is not None)
    bed.up()
    state, final, outcome = app.end()
    assert (state, final, outcome.exit_code) == ("FINISHED", "FAILED", 5)
    assert app.container.endswith("_01_000001")


def test_the_node_manager_dies_while_it_runs(bed: Bed, tmp_path: Path) -> None:
    app = submit(bed, ["/bin/sh", "-c", until_file(), "sh", str(tmp_path / "end")])
    running(app)
    bed.kill("nm")
    bed.up()
    (tmp_path / "end").touch()
    assert app.end()[2].exit_code == 5


def test_all_daemons_die(bed: Bed, tmp_path: Path) -> None:
    app = submit(bed, ["/bin/sh", "-c", until_file(), "sh", str(tmp_path / "end")])
    running(app)
    for name in bed.daemons:
        bed.kill(name)
    (tmp_path / "end").touch()
    bed.up()
    assert app.end()[2].exit_code == 5


def test_a_namenode_in_safe_mode_at_the_start(bed: Bed) -> None:
    """The marker cannot be made: the job waits for that, alive, and starts once."""
    app = submit(bed, ["/bin/sh", "-c", "exit 5"], before=lambda: bed.safe_mode(True))
    app.wait("RUNNING")
    assert processes(app.id) == []
    bed.safe_mode(False)
    assert app.end()[2].exit_code == 5


def test_a_stop_before_the_start(bed: Bed) -> None:
    app = submit(bed, ["true"], namenodes=["http://127.0.0.1:9/webhdfs/v1"])
    app.wait("RUNNING")
    app.signal()
    state, final, outcome = app.end()
    assert (state, final, outcome.kind, outcome.stopped) == ("FINISHED", "KILLED", "not-started", True)


def test_the_namenode_is_away_at_the_start(bed: Bed) -> None:
    app = submit(bed, ["/bin/sh", "-c", "exit 5"])
    bed.kill("nn")
    with contextlib.suppress(AssertionError):
        app.wait(timeout=3)
    bed.up()
    report = app.wait()
    # The node may have failed to fetch the master itself: that is YARN's own word, and nothing has run.
    assert report["state"] in ("FINISHED", "FAILED")
    if report["state"] == "FINISHED":
        assert app.end()[2].exit_code == 5
    else:
        assert get(bed, f"{app.staging}/started") is None


def test_a_hanging_resource_manager(bed: Bed, tmp_path: Path) -> None:
    """The end is on record beside it: when it goes on, it may find that the master was silent for too long (20 s)."""
    app = submit(bed, ["/bin/sh", "-c", until_file(), "sh", str(tmp_path / "end")])
    running(app)
    bed.kill("rm", signal.SIGSTOP)
    (tmp_path / "end").touch()
    app.until(lambda: bool(get(bed, f"{app.staging}/ended")), timeout=60)  # a call is given 10 s
    bed.kill("rm", signal.SIGCONT)
    app.wait()
    outcome = from_json(get(bed, f"{app.staging}/ended") or b"")
    assert outcome is not None
    assert outcome.exit_code == 5


class TestFailover:
    def test_by_command(self, two: Bed, tmp_path: Path) -> None:
        two.up()
        if two.active() != two.rm:
            two.transition("rm")
            two.wait_ready()
        app = submit(two, ["/bin/sh", "-c", until_file(), "sh", str(tmp_path / "end")])
        running(app)
        two.transition("rm2")
        two.wait_ready()
        (tmp_path / "end").touch()
        assert app.end()[2].exit_code == 5

    def test_the_active_one_dies(self, two: Bed, tmp_path: Path) -> None:
        two.up()
        if two.active() != two.rm2:
            two.transition("rm2")
        two.wait_ready()
        app = submit(two, ["/bin/sh", "-c", until_file(), "sh", str(tmp_path / "end")])
        running(app)
        two.kill("rm2")
        (tmp_path / "end").touch()
        two.transition("rm")
        assert app.end()[2].exit_code == 5
        two.up()


@pytest.mark.thorough
def test_the_token_rolls(session_bed: Bed) -> None:
    """Three master keys later, a new connection still authenticates. Takes four minutes."""
    session_bed.just(sites={"yarn": {"yarn.resourcemanager.am-rm-tokens.master-key-rolling-interval-secs": "65"}})
    app = submit(session_bed, ["/bin/sh", "-c", "sleep 220; exit 5"])
    running(app)
    time.sleep(205)  # the keys roll by the clock
    session_bed.kill("rm")
    session_bed.up()
    assert app.end(timeout=60)[2].exit_code == 5
