"""The startup probe of Flink's pods: the script is the real one; what it asks is a fake, for what no real one does on
demand."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from patience import PATIENCE

from aiflow_ext_kubernetes import flink_startup

ID = "0123456789abcdef0123456789abcdef"
OVERVIEW = {"taskmanagers": 1, "slots-total": 2, "slots-available": 0, "flink-version": "2.3.0"}
TASKS = dict.fromkeys(("running", "canceling", "created", "scheduled", "deploying", "finished", "failed"), 0)


def one(state: str, **tasks: int) -> dict[str, Any]:
    """What Flink says of one job: when it came into each state, and how many tasks are in each."""
    counts = {name.upper(): count for name, count in {**TASKS, **tasks}.items()}
    return {"jid": ID, "name": 'it is "RUNNING":1', "state": state, "timestamps": {"RUNNING": 1764, "FAILED": 0},
            "vertices": [{"id": "a", "status": "CREATED", "tasks": counts}], "status-counts": counts}  # fmt: skip


def all_jobs(*jobs: dict[str, int]) -> dict[str, Any]:
    """What Flink says of the jobs of a cluster, by the tasks of each."""
    return {"jobs": [{"jid": ID, "state": "RUNNING", "tasks": {**TASKS, **tasks}} for tasks in jobs]}


Probed = Callable[..., tuple[int, str]]


@pytest.fixture
def probed() -> Iterator[Probed]:
    """Runs the probe beside a Flink with these answers by path, each of them in turn; returns exit code and words."""
    servers: list[ThreadingHTTPServer] = []

    def probe(answers: dict[str, list[Any]], job: str | None = ID, looks: int = 1) -> tuple[int, str]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                left = answers.get(self.path, [None])
                found = left.pop(0) if len(left) > 1 else left[0]
                data = json.dumps(found or {"errors": ["not found"]}, separators=(",", ":")).encode()
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        argv = flink_startup.command("127.0.0.1", servers[-1].server_port, job, looks)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout

    yield probe
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize(
    ("job", "path", "waiting", "begun"),
    [
        (ID, f"/jobs/{ID}", one("RUNNING", created=1, scheduled=2), one("RUNNING", running=1)),
        (ID, f"/jobs/{ID}", one("CREATED", created=3), one("FINISHED", finished=3)),
        (None, "/jobs/overview", all_jobs({"scheduled": 2}), all_jobs({"scheduled": 1}, {"running": 1})),
    ],
)
def test_a_job_has_begun_once_a_task_of_it_has_a_slot(
    probed: Probed, job: str | None, path: str, waiting: Any, begun: Any
) -> None:
    words = "it waits for slots: of the 2 slots of 1 TaskManagers 0 are free"
    assert probed({path: [waiting], "/overview": [OVERVIEW]}, job) == (1, words)
    assert probed({path: [waiting, begun], "/overview": [OVERVIEW]}, job, looks=2) == (0, "")


@pytest.mark.parametrize(("job", "answers"), [(ID, {}), (None, {"/jobs/overview": [{"jobs": []}]})])
def test_a_program_that_has_submitted_nothing_yet_has_not_begun(
    probed: Probed, job: str | None, answers: dict[str, list[Any]]
) -> None:
    assert probed(answers, job) == (1, "its program has submitted no job yet")


def test_a_flink_that_does_not_answer_is_named_and_a_taskmanager_asks_none() -> None:
    argv = flink_startup.command("127.0.0.1", 1, None, 1)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "Flink does not answer at 127.0.0.1:1")
    helper = subprocess.run(argv, env={"PATH": "/usr/bin:/bin", "JOB_COMPLETION_INDEX": "1"}, timeout=PATIENCE)
    assert helper.returncode == 0
