"""What jobs make of their names, files and logs, and others of connections, does the page's server no harm."""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interrupted import until
from patience import PATIENCE
from ui_page import served

STEPS = """
import os
from pathlib import Path

def named():
    path = Path(os.fsdecode(b"\\xffname.txt"))
    path.write_text("words")
    return path
"""
WORKFLOW = """
import aiflow_ext as af
from steps import named

@af.workflow
def hostile():
    with af.job("named"):
        af.python(named)
    with af.job("log"):
        af.cmd("rm ../stdout && mkdir ../stdout")
"""


@pytest.fixture(scope="module")
def run(command: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a run of such jobs."""
    root = tmp_path_factory.mktemp("hostile") / "project"
    root.mkdir()
    (root / "steps.py").write_text(STEPS)
    (root / "workflow.py").write_text(WORKFLOW)
    (root / "workflow.yaml").write_text('"*": {platform: local, retries: 0}\nnamed: {properties: {rate: .nan}}\n')
    return str(json.loads(command("run", root, "--json"))["run"])


def test_a_file_whose_name_is_no_text_is_listed_and_previewed(page: Any, run: str) -> None:
    (row,) = page.json(f"/api/runs/{run}/artifacts?job=named")
    assert os.fsencode(row["path"]).endswith(b"/\xffname.txt")
    assert Path(row["path"]).is_file()
    assert page.json(f"/api/runs/{run}/preview?job=named&name=named") == {"text": "words", "cut": False}


def test_a_number_that_json_lacks_is_text(page: Any, run: str) -> None:
    settings = {
        tuple(each["path"]): each["value"] for each in page.json(f"/api/runs/{run}/settings?job=named")["settings"]
    }
    assert settings["properties", "rate"] == "nan"
    _, told = next(page.events(f"/api/runs/{run}/events"))
    assert told["run"]["provenance"]["parameters"][0]["value"] == "nan"


def test_no_copy_of_an_artifact_is_left_where_its_request_was_refused(env: Any, run: str, tmp_path: Path) -> None:
    with served({**env, "TMPDIR": str(tmp_path)}) as page:
        address = page.json(f"/api/runs/{run}/ticket", {"job": "named", "name": "named", "how": "file"})["url"]
        assert page.answer(address, Range="bytes=x").status == 400
        until(lambda: list(tmp_path.iterdir()) == [])


def test_a_log_that_a_job_has_made_a_folder_is_refused_in_words(page: Any, run: str) -> None:
    answer = page.answer(f"/api/runs/{run}/log?job=log&attempt=1&follow=1")
    assert answer.status == 409
    assert "the stdout of log cannot be read" in json.loads(answer.read())["error"]["problems"][0]["message"]


def test_nothing_of_what_is_sent_is_written_on_the_users_terminal(env: dict[str, str], run: str) -> None:
    with served(env) as page:
        with socket.create_connection(("127.0.0.1", page.port)) as there:  # by anybody on this machine
            there.sendall(b"\x1b[2J\r\n\r\n")
            assert b" 400 " in there.recv(100)
        connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE)
        nested = b"[" * 60_000
        connection.request("POST", f"/api/runs/{run}/stop", nested, {"Authorization": f"Bearer {page.token}"})
        assert connection.getresponse().status == 404
        page.answer(f"/api/runs/{run}/log?job=log&attempt=1").read()
        page.process.terminate()
        (told,) = page.process.communicate(timeout=PATIENCE)[1].splitlines()
    assert told.startswith("open this address")


@pytest.mark.slow
def test_a_value_of_any_size_is_saved_without_being_held_in_memory(
    env: dict[str, str], command: Callable[..., str], tmp_path: Path
) -> None:
    size = 96 << 20
    root = tmp_path / "large"
    root.mkdir()
    (root / "steps.py").write_text(f"def large():\n    return bytes({size})\n")
    (root / "workflow.py").write_text(
        "import aiflow_ext as af\nfrom steps import large\n\n@af.workflow\ndef big():\n"
        "    with af.job('make'):\n        af.python(large)\n"
    )
    (root / "workflow.yaml").write_text('"*": {platform: local}\n')
    run = json.loads(command("run", root, "--json"))["run"]
    with served(env) as page:
        asked = {"job": "make", "name": "large", "how": "file"}
        answer = page.answer(page.json(f"/api/runs/{run}/ticket", asked)["url"], Authorization=None)
        assert sum(map(len, iter(lambda: answer.read(1 << 20), b""))) == size
        status = Path(f"/proc/{page.process.pid}/status").read_text()
        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10
    assert peak < size


def test_connections_without_end_fill_no_terminal_and_the_page_answers_after_them(env: dict[str, str]) -> None:
    with served(env) as page:
        _, most = resource.prlimit(page.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(page.process.pid, resource.RLIMIT_NOFILE, (64, most))
        held = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(100)]
        until(lambda: len(os.listdir(f"/proc/{page.process.pid}/fd")) >= 64)
        for each in held:
            each.close()
        assert page.answer("/").status == 200
        page.process.terminate()
        told = page.process.communicate(timeout=PATIENCE)[1].splitlines()
    assert [line.partition(";")[0] for line in told] == ["open this address"], told
