"""The key ``ready``: what it may hold, and how its check is made."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import processes_marked

LIVES = ": > $MARKS/start-serve-$AIFLOW_ATTEMPT-x; exec sleep 1000"


def test_a_port_is_ready_once_it_takes_connections(bench):
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    server = f"{sys.executable} -m http.server {port} --bind localhost"
    client = f"""{sys.executable} -c 'import urllib.request as u; u.urlopen("http://localhost:{port}")'"""
    config = f"serve: {{exec_mode: STREAM, ready: {port}}}\nask: {{}}\n"
    bench.workflow({"serve": server, "ask": client}, ("ask", "serve"), config=config)
    code, said = bench.call("run", str(bench.project.root))
    assert code == 0, said
    assert f"not ready yet: port {port}: Connection refused" in said
    assert bench.ends == {"serve": ("FINISHED", 1), "ask": ("FINISHED", 1)}


def test_a_check_that_hangs_does_not_keep_the_run_from_its_limit(bench):
    config = "serve: {exec_mode: STREAM, ready: {command: sleep 1000, within: 500ms}}\nask: {}\n"
    bench.workflow({"serve": LIVES, "ask": "true"}, ("ask", "serve"), config=config)
    assert bench.call("run", str(bench.project.root))[0] == 1
    assert bench.record.jobs["serve"].reason == "it was not ready (sleep 1000) within 0.5 s"


@pytest.mark.parametrize(
    ("written", "line", "words"),
    [
        ("exec_mode: BATCH\n  ready: 80", 4, "ready is for a STREAM job"),
        ("exec_mode: STREAM\n  ready: 0", 4, "must be a port, from 1 to 65535"),
        ("exec_mode: STREAM\n  ready: {port: 80, command: x}", 4, "has both command and port"),
        ("exec_mode: STREAM\n  ready: {within: 3s}", 4, "has neither command nor port"),
        ("exec_mode: STREAM\n  ready: {prot: 3}", 4, "is not a key of ready"),
        ("exec_mode: STREAM\n  ready: {port: 3, within: 0}", 4, "must be longer than 0"),
        ("exec_mode: STREAM\n  ready: {port: 3, every: 1ms}", 4, "must be from 0.1s to 1h"),
        ("exec_mode: STREAM\n  ready: true", 4, "must be a command or a port"),
        (
            "exec_mode: STREAM\n  ready: 'nc -z localhost {properties.port}'",
            4,
            "is replaced in the job's commands alone",
        ),
        ("exec_mode: STREAM\n  ready: ['']", 4, "has an empty command"),
    ],
)
def test_what_ready_cannot_hold_is_told_with_its_line(bench, written, line, words):
    bench.workflow({"serve": "true"}, config=f"\nserve:\n  {written}\n".lstrip("\n"))
    code, said = bench.call("run", str(bench.project.root))
    assert code == 3
    assert words in said
    assert f"workflow.yaml:{line}" in said


def test_nothing_of_a_check_is_left_when_the_server_has_ended_by_itself(bench):
    config = "serve: {exec_mode: STREAM, ready: {command: 'setsid sleep 1000 & sleep 1000'}}\nask: {}\n"
    bench.workflow({"serve": "sleep 1; exit 3", "ask": "true"}, ("ask", "serve"), config=config)
    assert bench.call("run", str(bench.project.root))[0] == 1
    assert bench.ends == {"serve": ("FAILED", 1), "ask": ("SKIPPED", 0)}
    assert not processes_marked(bench.attempt("serve").native_id)


def test_what_a_check_leaves_in_the_background_ends_with_it(bench, until):
    check = f"echo x >> {bench.folder}/checks; sleep 1000 & printf '%070000d\\\\n\\\\033[31mno' 1; exit 3"
    config = f'serve: {{exec_mode: STREAM, ready: {{command: "{check}", every: 0.1}}}}\nask: {{}}\n'
    bench.workflow({"serve": LIVES, "ask": "true"}, ("ask", "serve"), config=config)
    driver = bench.drive()
    bench.up("serve")
    until(lambda: (bench.folder / "checks").exists() and len((bench.folder / "checks").read_text()) > 6, "no checks")
    sleeping = [pid for pid in processes_marked(bench.attempt("serve").native_id)
                if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]  # fmt: skip
    assert len(sleeping) <= 2, "more than the server's own and that of a check which is going on"
    assert bench.call("stop", "latest", "--project", str(bench.project.root))[0] == 0
    assert "its check ended with exit code 3: \\x1b[31mno" in "".join(driver.communicate(timeout=60))


@pytest.mark.parametrize("only", [(), ("ask", "watch", "plain")])
def test_render_says_that_a_job_starts_when_it_is_ready(bench, only):
    config = "serve: {exec_mode: STREAM, ready: 80}\nfeed: {exec_mode: STREAM}\n" + "ask: {}\nwatch: {}\nplain: {}\n"
    jobs = dict.fromkeys(("serve", "feed", "ask", "watch", "plain"), "true")
    bench.workflow(jobs, ("ask", "serve"), ("watch", "feed"), ("plain", "ask"), config=config)
    code, said = bench.call("render", str(bench.project.root), *only)
    assert code == 0, said
    assert [line for line in said.splitlines() if line.startswith("# after ")] == [
        "# after serve is ready", "# after feed is running", "# after ask is finished",
    ]  # fmt: skip
