"""What the page's server says of runs: as the commands do, and as it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ui_page import served

WORKFLOW = """
import aiflow_ext as af

@af.workflow
def watched():
    with af.job("first"):
        af.cmd("printf 'one\\\\ntwo\\\\n'; echo wrong >&2; until [ -e {gate} ]; do sleep 0.05; done; "
               "printf 'three\\\\nend'")
    with af.job("second"):
        af.cmd("test -e {gate}2")
    af.run_after("second", "first")
"""


class Gated:
    """A project whose first job waits for a file, and whose second one fails until there is another one."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root, self.gate = root, root / "gate"
        (root / "workflow.py").write_text(WORKFLOW.replace("{gate}", str(self.gate)))
        (root / "workflow.yaml").write_text('"*": {platform: local, retries: 1}\n')

    def start(self, command: Callable[..., str]) -> str:
        """Start a run, and return its id."""
        return str(json.loads(command("run", self.root, "--detach", "--json"))["run"])


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Gated:
    return Gated(tmp_path_factory.mktemp("gated") / "project")


@pytest.fixture(scope="module")
def ended(gated: Gated, page: Any, command: Callable[..., str]) -> str:
    """The id of a run that was looked at from its first job on: its events and its log are kept."""
    run = gated.start(command)
    gated.events = page.events(f"/api/runs/{run}/events")  # type: ignore[attr-defined]
    gated.seen = {}  # type: ignore[attr-defined]
    for name, data in gated.events:  # type: ignore[attr-defined]
        for row in data["jobs"]:
            gated.seen.setdefault(row[0], []).append(row[3])  # type: ignore[attr-defined]
            if row[:1] == ["first"] and row[3] == "RUNNING" and not gated.gate.exists():
                log = page.answer(f"/api/runs/{run}/log?job=first&attempt=1&stream=stdout&offset=0&follow=1")
                gated.early = log.read(8)  # type: ignore[attr-defined]
                gated.gate.touch()
                gated.late = log.read()  # type: ignore[attr-defined]
        if name == "run" and data["run"]["ended_at"] is not None:
            break
    return run


def test_lists_and_runs_are_those_that_the_commands_print(page: Any, command: Callable[..., str], ended: str) -> None:
    assert page.json("/api/runs") == json.loads(command("runs", "--json"))
    assert page.json(f"/api/runs/{ended}") == json.loads(command("status", ended, "--json", code=1))


def test_a_page_is_told_each_state_as_it_is_recorded(ended: str, gated: Any) -> None:
    assert gated.seen["first"][-1] == "FINISHED"
    assert "RUNNING" in gated.seen["first"]
    assert gated.seen["second"][0] == "INIT"
    assert gated.seen["second"][-1] == "FAILED"


def test_a_log_is_followed_from_its_first_byte_to_its_last(ended: str, gated: Any) -> None:
    assert gated.early == b"one\ntwo\n"
    assert gated.late == b"three\nend"


def test_a_log_is_read_from_any_byte(page: Any, ended: str) -> None:
    log = f"/api/runs/{ended}/log?job=first&attempt=1&stream="
    assert page.answer(f"{log}stderr&offset=0").read() == b"wrong\n"
    for offset, most, text, begin in ((4, 3, b"two", 4), (-3, 0, b"end", 14), (-999, 4, b"one\n", 0), (99, 0, b"", 99)):
        answer = page.answer(f"{log}stdout&offset={offset}&most={most}")
        assert (answer.read(), answer.getheader("X-Log-Begin"), answer.getheader("X-Log-Size")) == (
            text,
            str(begin),
            "17",
        )


def test_the_log_of_another_container_is_named_and_read(page: Any, ended: str) -> None:
    asked = f"/api/runs/{ended}/streams?job=first&attempt=1"
    assert page.json(asked) == ["stdout", "stderr"]
    folder = next(each for each in page.json(f"/api/runs/{ended}")["jobs"] if each["name"] == "first")["attempts"][0][
        "folder"
    ]
    Path(folder, "container-proxy.log").write_text("refused\n")
    assert page.json(asked) == ["stdout", "stderr", "proxy"]
    assert page.answer(f"/api/runs/{ended}/log?job=first&attempt=1&stream=proxy&offset=0").read() == b"refused\n"


@pytest.mark.parametrize(
    ("path", "words"),
    [("nothing", "there is no run"), ("../../etc", "Not Found"), ("{run}/log?job=none&attempt=1", "has no job 'none'"),
     ("{run}/log?job=first&attempt=7", "there is no attempt 7"), ("{run}/log?job=first&attempt=0", "no attempt 0"),
     ("{run}/log?job=first&attempt=x", "attempt is 'x'"),
     ("{run}/request?job=none", "has no job 'none'"), ("{run}/request?job=first&attempt=7", "there is no attempt 7"),
     ("{run}/request?job=first&attempt=-2", "no attempt -2"),
     ("{run}/log?job=first&attempt=1&stream=../../../state.db", "no log of a container"),
     ("{run}/log?job=first&attempt=1&stream=driver.log", "no log of a container")],
)  # fmt: skip
def test_what_a_run_has_not_is_refused_in_words(page: Any, ended: str, path: str, words: str) -> None:
    answer = page.answer(f"/api/runs/{path.format(run=ended)}")
    assert answer.status == 404
    assert words in answer.read().decode()


def test_a_run_is_resumed_and_stopped_and_outlives_the_page(
    page: Any, env: dict[str, str], command: Callable[..., str], ended: str, gated: Any
) -> None:
    gated.gate.unlink()
    with served(env) as second:
        driver = second.json(f"/api/runs/{ended}/resume", {"from": "first"})["driver"]
        assert (
            "drives this run"
            in second.json(f"/api/runs/{ended}/resume", {"failed": True})["error"]["problems"][0]["message"]
        )
    assert page.json(f"/api/runs/{ended}")["driver"] == driver
    for name, data in page.events(f"/api/runs/{ended}/events"):
        if any(row[0] == "first" and row[3] == "RUNNING" for row in data["jobs"]):
            page.json(f"/api/runs/{ended}/stop", {"job": "first"})
        if name == "run" and data["run"]["ended_at"] is not None:
            assert {row[0]: row[3] for row in data["jobs"]} == {"first": "STOPPED", "second": "SKIPPED"}
            break
    gated.gate.touch()
    Path(f"{gated.gate}2").touch()
    page.json(f"/api/runs/{ended}/resume", {"failed": True})
    for name, data in page.events(f"/api/runs/{ended}/events"):
        if name == "run" and data["run"]["state"] == "FINISHED":
            break


@pytest.mark.parametrize("asked", [[], "x", {"job": 1}, {"other": "x"}, {"job": "none"}])
def test_what_is_no_order_stops_nothing(page: Any, ended: str, asked: Any) -> None:
    answer = page.answer(f"/api/runs/{ended}/stop", asked)
    assert (answer.status, "error" in json.loads(answer.read())) == (404, True)


@pytest.mark.parametrize("name", ["\ud800", "a\0"])
@pytest.mark.parametrize(("what", "key"), [("stop", "job"), ("resume", "from"), ("ticket", "job")])
def test_a_job_whose_name_no_command_line_can_have_is_refused_in_words(
    page: Any, ended: str, what: str, key: str, name: str
) -> None:
    answer = page.answer(f"/api/runs/{ended}/{what}", {key: name})
    assert (answer.status, "error" in json.loads(answer.read())) == (404, True)


def test_a_removed_run_is_said_to_be_gone(page: Any, command: Callable[..., str], tmp_path: Path) -> None:
    project = Gated(tmp_path / "project")
    project.gate.touch()
    Path(f"{project.gate}2").touch()
    run = json.loads(command("run", project.root, "--json"))["run"]
    events = page.events(f"/api/runs/{run}/events")
    assert next(events)[0] == "run"
    command("gc", "--project", project.root, "--keep", "0")
    assert "gone" in (name for name, _ in events)
    assert page.answer(f"/api/runs/{run}").status == 404
