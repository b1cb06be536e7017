"""The application master on a real cluster: what it runs, what it tells, and what it never leaves behind."""

from __future__ import annotations

import base64
import os
import signal
from pathlib import Path

import pytest
from yarn_bed import Bed
from yarn_jobs import get, masters, processes, running, submit


class TestEnds:
    def test_an_exit_code(self, bed: Bed) -> None:
        app = submit(bed, ["/bin/sh", "-c", "echo out; echo err >&2; exit 7"])
        state, final, outcome = app.end()
        assert (state, final) == ("FINISHED", "FAILED")
        assert (outcome.kind, outcome.exit_code, outcome.stopped, outcome.left) == ("exit", 7, False, [])
        assert (app.log("stdout"), app.log("stderr")) == ("out\n", "err\n")
        app.until(lambda: get(bed, f"{app.staging}/ended") is not None)
        assert get(bed, f"{app.staging}/ended") == outcome.to_json().encode()

    def test_success(self, bed: Bed) -> None:
        state, final, outcome = submit(bed, ["true"]).end()
        assert (state, final, outcome.exit_code) == ("FINISHED", "SUCCEEDED", 0)

    def test_a_signal(self, bed: Bed) -> None:
        _, final, outcome = submit(bed, ["/bin/sh", "-c", "kill -SEGV $$"]).end()
        assert (final, outcome.kind, outcome.signal, outcome.exit_code) == ("FAILED", "signal", 11, None)

    def test_no_such_command(self, bed: Bed) -> None:
        _, _, outcome = submit(bed, ["nonesuch", "x"]).end()
        assert (outcome.kind, outcome.exit_code) == ("exit", 127)
        assert outcome.reason == "nonesuch cannot be started: No such file or directory"

    def test_a_reason(self, bed: Bed) -> None:
        app = submit(
            bed, ["/bin/sh", "-c", 'echo "no – it’s broken" > $AIFLOW_REASON_FILE; exit 1'], reason_file="reason"
        )
        assert app.end()[2].reason == "no – it’s broken"

    def test_the_environment(self, bed: Bed) -> None:
        odd = 'a "b" $HOME `c` \\ é\nx'
        app = submit(
            bed,
            ["/usr/bin/printf", "%s|", odd, {"path": "x/y"}, {"secret": "s"}],
            env={"ODD": odd, "WHERE": {"path": "work"}, "TOKEN": {"secret": "s"}},
            secrets={"s": "geheim"},
        )
        app.wait()
        text = app.log()
        folder = text.split("|")[1][: -len("/x/y")]
        assert text == f"{odd}|{folder}/x/y|geheim|"
        assert app.container in folder

    def test_files_in_the_specification(self, bed: Bed) -> None:
        files = {"a/b.json": base64.b64encode(b"\0one\n").decode(), "c": {"text": "zwei “2”"}}
        app = submit(bed, ["/bin/cat", {"path": "a/b.json"}, {"path": "c"}], files=files)
        assert app.end()[2].exit_code == 0
        assert app.log() == "\0one\nzwei “2”"

    def test_secrets_are_not_in_what_a_node_manager_writes(self, bed: Bed) -> None:
        app = submit(
            bed, ["/bin/sh", "-c", "echo ${#TOKEN}; sleep 60"], env={"TOKEN": {"secret": "s"}}, secrets={"s": "g3heim"}
        )
        running(app)
        scripts = list(bed.folder.glob(f"data/nm-*/**/{app.container}/**/launch_container.sh"))
        assert scripts
        for script in scripts:
            assert "g3heim" not in script.read_text()
        app.kill()
        app.wait()

    def test_a_missing_secret(self, bed: Bed) -> None:
        app = submit(bed, ["true"], env={"TOKEN": {"secret": "nope"}})
        _, final, outcome = app.end()
        assert (final, outcome.kind) == ("FAILED", "not-started")
        assert "no secret 'nope'" in str(outcome.reason)

    def test_no_python_on_the_node(self, bed: Bed) -> None:
        report = submit(bed, ["true"], python="/no/such/python3").wait()
        assert report["state"] == "FAILED"
        assert "/no/such/python3: No such file or directory" in report["diagnostics"]

    @pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.13"])
    def test_other_pythons(self, bed: Bed, version: str) -> None:
        found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        if not found:
            pytest.skip(f"there is no Python {version} here")
        app = submit(bed, ["/bin/sh", "-c", "setsid sleep 1000 & exit 5"], python=str(found[0]), grace=0.5)
        assert app.end()[2].exit_code == 5
        assert processes(app.id) == []


class TestOnce:
    def test_a_marker_that_is_there(self, bed: Bed) -> None:
        first = submit(bed, ["true"])
        first.until(lambda: get(bed, f"{first.staging}/ended") is not None)
        second = submit(bed, ["/bin/sh", "-c", "echo twice"], staging=first.staging)
        _, final, outcome = second.end()
        assert (final, outcome.kind) == ("FAILED", "refused")
        assert "its start marker is of 20" in str(outcome.reason)
        assert b'"kind": "exit"' in (get(bed, f"{first.staging}/ended") or b"")

    def test_the_second_attempt_of_an_application(self, bed: Bed, tmp_path: Path) -> None:
        app = submit(bed, ["/bin/sh", "-c", f"echo >> {tmp_path}/marks; sleep 1000"], attempts=2)
        app.until((tmp_path / "marks").exists)
        os.kill(masters(app)[0], signal.SIGKILL)
        _, final, outcome = app.end()
        assert (final, outcome.kind) == ("FAILED", "refused")
        assert (tmp_path / "marks").read_text() == "\n"
        assert processes(app.id) == []


class TestStop:
    def test_a_graceful_stop(self, bed: Bed) -> None:
        app = submit(bed, ["/bin/sh", "-c", "trap 'echo bye; exit 9' TERM; while :; do sleep 0.1; done"])
        running(app)
        app.signal()
        state, final, outcome = app.end()
        assert (state, final, outcome.kind, outcome.exit_code, outcome.stopped) == (
            "FINISHED",
            "KILLED",
            "exit",
            9,
            True,
        )
        assert app.log() == "bye\n"

    def test_a_child_that_does_not_listen(self, bed: Bed) -> None:
        app = submit(bed, ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], grace=1.0)
        running(app)
        app.signal()
        _, final, outcome = app.end()
        assert (final, outcome.kind, outcome.signal, outcome.stopped) == ("KILLED", "signal", 9, True)
        assert processes(app.id) == []

    def test_a_kill(self, bed: Bed) -> None:
        restless = "trap '' TERM; setsid sh -c \"trap '' TERM; sleep 1000\" & sleep 1000 & wait"
        app = submit(bed, ["/bin/sh", "-c", restless])
        app.until(lambda: len(processes(app.id)) >= 3)
        app.kill()
        assert app.wait()["state"] == "KILLED"
        app.until(lambda: processes(app.id) == [], timeout=5)

    def test_the_master_is_killed(self, bed: Bed) -> None:
        app = submit(bed, ["/bin/sh", "-c", "setsid sleep 1000 & sleep 1000"])
        app.until(lambda: len(processes(app.id)) >= 3)
        os.kill(masters(app)[0], signal.SIGKILL)
        app.until(lambda: processes(app.id) == [], timeout=5)
        assert app.wait()["state"] == "FAILED"

    def test_the_keeper_is_killed(self, bed: Bed) -> None:
        app = submit(bed, ["/bin/sh", "-c", "setsid sleep 1000 & sleep 1000"])
        app.until(lambda: len(processes(app.id)) >= 3)
        os.kill(masters(app)[-1], signal.SIGKILL)
        _, final, outcome = app.end()
        assert (final, outcome.kind) == ("FAILED", "broken")
        assert processes(app.id) == []

    def test_what_a_job_leaves(self, bed: Bed) -> None:
        # A daemon that drops its mark and its parents: only the adoption by the keeper finds it.
        daemon = "import os,sys,time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
        daemon += "open(sys.argv[1],'w').write(str(os.getpid()))\nos.execve('/bin/sleep',['sleep','1000'],{})"
        told = bed.folder / "data" / "daemon"
        told.unlink(missing_ok=True)
        script = f'/usr/bin/python3 -c "$DAEMON" {told}; while [ ! -s {told} ]; do sleep 0.05; done; exit 4'
        app = submit(bed, ["/bin/sh", "-c", script], env={"DAEMON": daemon})
        assert app.end()[2].exit_code == 4
        assert not Path("/proc", told.read_text(), "stat").exists()


class TestFileSystem:
    def test_safe_mode_is_waited_for(self, bed: Bed) -> None:
        app = submit(bed, ["/bin/sh", "-c", "exit 3"])
        # Too late is no harm: the job then simply ends.
        bed.safe_mode(True)
        bed.safe_mode(False)
        assert app.end()[2].exit_code == 3

    def test_a_namenode_that_stays_away(self, bed: Bed) -> None:
        app = submit(bed, ["true"], namenodes=["http://127.0.0.1:9/webhdfs/v1"], staging_options={"patience": 1.0})
        _, final, outcome = app.end()
        assert (final, outcome.kind) == ("FAILED", "not-started")
        assert "Connection refused" in str(outcome.reason)

    def test_the_first_namenode_is_away(self, bed: Bed) -> None:
        app = submit(bed, ["true"], namenodes=["http://127.0.0.1:9/webhdfs/v1", "{}"])
        assert app.end()[2].exit_code == 0
        assert get(bed, f"{app.staging}/started") is not None


QOPS = {"authentication": "auth", "integrity": "auth-int", "privacy": "auth-conf"}


@pytest.fixture(params=QOPS)
def protected(request: pytest.FixtureRequest, session_bed: Bed) -> Bed:
    """A bed whose daemons demand one protection level: with what other tests need besides (conftest)."""
    if request.param == "authentication":
        session_bed.just()
    else:
        request.getfixturevalue({"integrity": "nodes", "privacy": "two"}[request.param])
        session_bed.up()
    assert session_bed.options["protection"] == request.param
    return session_bed


def test_protection(protected: Bed, tmp_path: Path) -> None:
    """Many heartbeats, and a ResourceManager that is killed and restarted meanwhile."""
    short = submit(protected, ["/bin/sh", "-c", "sleep 3; exit 6"], heartbeat=0.2)
    script = "while [ ! -e $1 ]; do sleep 0.1; done; exit 5"
    long = submit(protected, ["/bin/sh", "-c", script, "sh", str(tmp_path / "end")], heartbeat=0.2)
    running(long)
    assert short.end()[2].exit_code == 6
    protected.kill("rm")
    protected.up()
    (tmp_path / "end").touch()
    assert long.end()[2].exit_code == 5
    assert f"registered ({QOPS[protected.options['protection']]})" in long.log("am.stderr")
