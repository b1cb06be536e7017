"""What the page's server says of one job: settings, request, artifacts; and what a hostile job can make of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from starlette.responses import Response

from aiflow_ext.ui.artifacts import Wanted, answer_with
from aiflow_ext.ui.runs import Runs


def picture(width: int = 2, height: int = 2) -> bytes:
    """A PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x20\x60\xc0" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


STEPS = """
from pathlib import Path

def plot():
    print("\\x1b[31mred\\x1b[0m <img src=x onerror=alert(1)>")
    Path("plot.png").write_bytes(bytes.fromhex("{picture}"))
    return Path("plot.png")

def report():
    Path("report.html").write_text("<h1>made</h1><script>alert(1)</script>")
    return Path("report.html")

def evil():
    Path("evil.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    return Path("evil.svg")

def rows():
    Path("rows.csv").write_text("a,b\\n1,\\"x, y\\"\\n" + "2,3\\n" * 300)
    return Path("rows.csv")

def value():
    return [1, 2]

def words():
    return "some \\x1b[2J words"

def same(made):
    return made.name

def folder():
    Path("kept").mkdir()
    Path("kept/file.txt").write_text("inside")
    return Path("kept")
"""
WORKFLOW = """
import aiflow_ext as af
from steps import *

@af.workflow
def kept():
    with af.job("make"):
        for each in (plot, report, rows, evil, value):
            af.python(each)
    with af.job("words"):
        af.python(words)
    with af.job("folder"):
        made = af.python(folder)
    with af.job("reads"):
        af.python(same, made)
    with af.job("<b>evil</b>"):
        af.cmd("false")
"""
CONFIG = """
"*": {platform: local, retries: 0}
make:
  env: {TOKEN: {secret: "env:KEPT_TOKEN"}}
"""


@pytest.fixture(scope="module")
def run(env: dict[str, str], command: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a run that has kept things, and has a job with a hostile name."""
    root = tmp_path_factory.mktemp("kept") / "project"
    root.mkdir()
    (root / "steps.py").write_text(STEPS.format(picture=picture().hex()))
    (root / "workflow.py").write_text(WORKFLOW)
    (root / "workflow.yaml").write_text(CONFIG)
    env["KEPT_TOKEN"] = "very-secret-value"
    return str(json.loads(command("run", root, "--set", "words.retries=2", "--json", code=1))["run"])


def test_settings_have_their_origins(page: Any, run: str) -> None:
    found = page.json(f"/api/runs/{run}/settings?job=words")
    by_path = {tuple(each["path"]): each for each in found["settings"]}
    assert found["remark"] is None
    assert (by_path["retries",]["value"], by_path["retries",]["where"]) == (2, "--set words.retries=2")
    assert by_path["platform",]["where"] == "workflow.yaml:2"
    assert by_path["timeout",]["layer"] == "default"


def test_the_request_is_what_was_sent_and_has_no_secret(page: Any, run: str) -> None:
    text = page.answer(f"/api/runs/{run}/request?job=make").read().decode()
    found = json.loads(text)
    assert (found["kind"], found["content"]["env"]["AIFLOW_RUN"]) == ("exec", run)
    assert "env:KEPT_TOKEN" in text
    assert "very-secret-value" not in text


def test_artifacts_are_listed_as_by_the_command_and_with_how_they_are_shown(
    page: Any, run: str, command: Callable[..., str]
) -> None:
    found = page.json(f"/api/runs/{run}/artifacts?job=make")
    shown = [each.pop("shown") for each in found]
    assert found == json.loads(command("artifacts", run, "make", "--json"))
    assert shown == ["picture", "page", "table", "picture", None]


def test_the_artifacts_of_a_job_that_reads_anothers_are_listed(page: Any, run: str) -> None:
    assert [each["name"] for each in page.json(f"/api/runs/{run}/artifacts?job=reads")] == ["same"]
    assert page.json(f"/api/runs/{run}/preview?job=reads&name=same") == {"text": "kept", "cut": False}


def ticket(page: Any, run: str, name: str, how: str, job: str = "make") -> Any:
    return page.answer(
        page.json(f"/api/runs/{run}/ticket", {"job": job, "name": name, "how": how})["url"], Authorization=None
    )


def test_pictures_pages_and_files_are_handed_out_without_any_rights(page: Any, run: str) -> None:
    for name, how, kind in (("plot", "picture", "image/png"), ("report", "page", "text/html; charset=utf-8"),
                            ("evil", "picture", "image/svg+xml")):  # fmt: skip
        answer = ticket(page, run, name, how)
        policy = answer.getheader("Content-Security-Policy").split("; ")
        assert (answer.status, answer.getheader("Content-Type")) == (200, kind)
        assert "sandbox" in policy
        assert "default-src 'none'" in policy
        assert not [each for each in policy if each.startswith("script-src")]
    answer = ticket(page, run, "folder", "file", "folder")
    assert answer.getheader("Content-Disposition") == 'attachment; filename="kept.tar"'
    assert answer.getheader("Content-Type") == "application/octet-stream"
    assert ticket(page, run, "words", "file", "words").read() == b"some \x1b[2J words"


def test_a_ticket_answers_once_and_is_made_with_the_token_alone(page: Any, run: str) -> None:
    asked = {"job": "make", "name": "plot", "how": "picture"}
    url = page.json(f"/api/runs/{run}/ticket", asked)["url"]
    assert page.answer(url, Authorization=None, Host="evil.example").status == 403
    assert page.answer(url, Authorization=None, Sec_Fetch_Site="cross-site").status == 403
    assert page.answer(url, Authorization=None).read() == picture()
    assert page.answer(url, Authorization=None).status == 404
    assert page.answer("/ticket/guessed", Authorization=None).status == 404
    assert page.answer(f"/api/runs/{run}/ticket", asked, Authorization=None).status == 401


@pytest.mark.parametrize(
    ("name", "how"),
    [("plot", "page"), ("value", "page"), ("value/files/0", "file"), ("make", "file"),
     ("../../../steps.py", "file"), ("", "file"),
     ("plot/files/../../..", "file")],
)  # fmt: skip
def test_nothing_else_than_what_was_kept_is_handed_out(page: Any, run: str, name: str, how: str) -> None:
    assert ticket(page, run, name, how).status == 404


def test_the_file_that_was_checked_is_sent_whatever_is_at_its_path_by_then(
    page: Any, run: str, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", env["XDG_STATE_HOME"])
    path = Path(
        next(each for each in page.json(f"/api/runs/{run}/artifacts?job=make") if each["name"] == "plot")["path"]
    )
    with Runs().observed(run) as observed:
        answer = answer_with(observed, Wanted("make", "plot", "picture"))
    path.rename(path.with_name("checked"))
    path.write_bytes(b"put there since")
    try:
        got = sent(answer)
    finally:
        path.with_name("checked").replace(path)
    assert got == picture()


def sent(answer: Response) -> bytes:
    """The body of an answer."""
    got = b""

    async def send(message: Any) -> None:
        nonlocal got
        got += message.get("body", b"")

    async def receive() -> Any:
        await asyncio.get_running_loop().create_future()  # the other end stays

    asyncio.run(answer({"type": "http", "method": "GET", "headers": []}, receive, send))
    return got


def test_texts_and_tables_are_previewed(page: Any, run: str) -> None:
    assert page.json(f"/api/runs/{run}/preview?job=words&name=words") == {"text": "some \x1b[2J words", "cut": False}
    table = page.json(f"/api/runs/{run}/preview?job=make&name=rows")
    assert table["rows"][:2] == [["a", "b"], ["1", "x, y"]]
    assert (len(table["rows"]), table["cut"]) == (200, True)


@pytest.mark.parametrize("kind", ["graph", "timeline"])
def test_a_hostile_name_is_text_in_the_pictures(page: Any, run: str, kind: str) -> None:
    answer = page.answer(f"/api/runs/{run}/{kind}.svg")
    assert answer.getheader("Content-Type") == "image/svg+xml"
    root = ElementTree.fromstring(answer.read())
    tags = {each.tag.rpartition("}")[2] for each in root.iter()}
    assert not tags & {"b", "script", "foreignObject", "style", "image", "use"}
    assert any("<b>evil</b>" in (each.text or "") for each in root.iter())
    links = {value for each in root.iter() for name, value in each.attrib.items() if name.endswith("href")}
    assert f"#/runs/{run}/{kind}?job={quote('<b>evil</b>', safe='')}" in links


@pytest.mark.parametrize(
    ("asked", "jobs"),
    [("", ["make", "words", "folder", "reads", "<b>evil</b>"]), ("state=FAILED", ["<b>evil</b>"]), ("page=1", []),
     ("words=LOCAL+Python+ol", ["folder"]), ("words=code", ["<b>evil</b>"]),
     ("state=FAILED&words=make", []), ("state=NONE", []), ("page=-1&words=make", ["make"])],
)  # fmt: skip
def test_a_timeline_has_the_jobs_of_a_page_in_a_state_and_with_the_words_that_are_asked_for(
    page: Any, run: str, asked: str, jobs: list[str]
) -> None:
    root = ElementTree.fromstring(page.answer(f"/api/runs/{run}/timeline.svg?{asked}").read())
    assert [each.get("data-job") for each in root.iter() if each.get("data-job")] == jobs


def test_a_job_is_shown_whatever_the_records_of_other_jobs_are(page: Any, run: str) -> None:
    folder = Path(next(each for each in page.json("/api/runs") if each["run"] == run)["folder"])
    shown = page.json(f"/api/runs/{run}/job?job=make")

    def set_number(now: int, then: int) -> None:
        with contextlib.closing(sqlite3.connect(folder.parents[1] / "state.db")) as db, db:
            db.execute("update attempts set number = ? where job = 'folder' and number = ?", (then, now))

    set_number(1, 7)
    try:
        assert page.answer(f"/api/runs/{run}").status != 200
        assert page.json(f"/api/runs/{run}/job?job=make") == shown
        assert page.answer(f"/api/runs/{run}/streams?attempt=1&job=words").status == 200
    finally:
        set_number(7, 1)
    assert page.json(f"/api/runs/{run}/job?job=none")["error"]["problems"][0]["hint"].startswith("its jobs are make, ")


def test_a_spoilt_artifact_is_refused_in_words(page: Any, run: str) -> None:
    path = Path(
        next(each for each in page.json(f"/api/runs/{run}/artifacts?job=make") if each["shown"] == "table")["path"]
    )
    path.chmod(0o644)
    path.write_text("other")
    answer = page.answer(f"/api/runs/{run}/preview?job=make&name=rows")
    assert answer.status == 404
    assert "is not what its producer recorded" in answer.read().decode()


def test_the_inventory_and_its_explanations_are_the_commands(page: Any, command: Callable[..., str]) -> None:
    assert page.json("/api/plugins") == json.loads(command("plugins", "--proof", "--json"))
    why = json.loads(command("why", "local", "python", "--no-load", "--json"))
    assert page.json("/api/why?platform=local&engine=python") == why
