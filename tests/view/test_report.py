"""The report as a page: what it tells, that it needs nothing else, and that nothing of what others wrote runs in it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pages import Page

from aiflow_ext.view.log import log_html
from aiflow_ext.view.report import LogEnd, Picture, Report, report_html
from aiflow_ext.view.seen import Edge

HOSTILE = "</script></pre><img src=//evil onerror=alert(1)><script>alert(2)</script>\"' \x1b]0;t\x07\u202e\x00"


def attempt(number: int = 1, state: str = "FINISHED", **facts: Any) -> dict[str, Any]:
    return {"number": number, "state": state, "submitted_at": 10.0, "started_at": 12.0, "ended_at": 20.0,
            "reason": None, "node": None, "instance": None, "unreachable": False, **facts}  # fmt: skip


def job(name: str, state: str = "FINISHED", *attempts: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"name": name, "platform": "local", "engine": "python", "state": state, "reason": reason,
            "attempts": list(attempts)}  # fmt: skip


def run(*jobs: dict[str, Any], state: str = "FINISHED", **facts: Any) -> dict[str, Any]:
    return {"run": "digits-1", "workflow": "digits", "project": "/work/digits", "folder": "/work/r", "state": state,
            "started_at": 10.0, "ended_at": 30.0, "driver": None, "inputs": [], "provenance": None, "jobs": list(jobs),
            "extensions": [], **facts}  # fmt: skip


def test_a_report_tells_states_reasons_logs_versions_and_the_commands_to_repeat_it() -> None:
    failed = attempt(2, "FAILED", reason="ValueError: no", node="node-7")
    shown = run(
        job("fetch", "FINISHED", attempt()),
        job("fit", "FAILED", attempt(1, "FAILED", reason="first"), failed),
        job("tell", "SKIPPED", reason="waits for fit to be finished; it is FAILED"),
        state="FAILED",
        provenance={"parameters": [{"name": "alpha", "value": 0.2, "from": "-p alpha=0.2", "jobs": ["fit"]}],
                    "layers": ["workflow.yaml", "-p alpha=0.2", "--set fit.env.TOKEN=..."], "code": "9f86",
                    "versions": {"python": "3.12.4", "aiflow-ext-local": "0.1.0"}},
    )  # fmt: skip
    logs = [LogEnd("fit", 2, "stderr", b"Traceback\nValueError: no\n", 1000)]
    page = Page(report_html(Report(shown, [Edge("fetch", "fit", data=True)], 100.0, logs, version="0.1.0")))
    for words in (
        "took 20.0 s", "1 failed job", "ValueError: no", "Traceback", "first", "node-7", "waits for fit",
        "stderr of attempt 2, its last 25 bytes of 1,025", "alpha", "3.12.4", "9f86",
        "aiflow-ext run /work/digits --workflow digits -p alpha=0.2 --set fit.env.TOKEN=...",
        "aiflow-ext resume digits-1 --failed",
        "aiflow-ext logs digits-1 fit --stderr",
    ):  # fmt: skip
        assert words in page.text, words
    assert len(page.of("svg")) == 2
    assert page.harm() == []


@pytest.mark.parametrize(
    ("driver", "command"),
    [(7, "follow it to its end{} status digits-1 --watch"), (None, "nothing drives it{} resume digits-1")],
)
def test_a_report_of_a_run_that_has_not_ended_says_how_to_follow_it_or_how_to_go_on(
    driver: int | None, command: str
) -> None:
    shown = run(job("a", "FAILED"), state="RUNNING", ended_at=None, driver=driver)
    assert command.format("aiflow-ext") in Page(report_html(Report(shown, [], 40.0))).text


def test_the_page_allows_itself_no_script_and_no_address() -> None:
    (policy,) = [each["content"] for each in Page(report_html(Report(run(job("a")), [], 40.0))).of("meta")
                 if "http-equiv" in each]  # fmt: skip
    assert policy == ("default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
                      "form-action 'none'")  # fmt: skip


def test_links_lead_to_rows_of_the_same_page() -> None:
    page = Page(report_html(Report(run(job("a"), job(HOSTILE), job("a b")), [], 40.0)))
    targets = {each["id"] for _, each in page.elements if "id" in each}
    assert {each["href"] for each in page.of("a")} == {f"#{target}" for target in targets}
    assert len(targets) == 3


def test_nothing_that_others_wrote_runs_or_loads_anything() -> None:
    bad = job(HOSTILE, "FAILED", attempt(1, "LOST", reason=HOSTILE, node=HOSTILE, instance=HOSTILE),
              attempt(2, "FAILED", reason=HOSTILE), reason=HOSTILE)  # fmt: skip
    shown = run(bad, state="FAILED", workflow=HOSTILE, project=HOSTILE, folder=HOSTILE, run=HOSTILE,
                inputs=[{"job": HOSTILE, "reads": HOSTILE, "run": HOSTILE, "attempt": 1}],
                provenance={"parameters": [{"name": HOSTILE, "value": HOSTILE, "from": HOSTILE, "jobs": [HOSTILE]}],
                            "layers": [HOSTILE, f"-p {HOSTILE}"], "code": HOSTILE, "versions": {HOSTILE: HOSTILE}},
                )  # fmt: skip
    html = report_html(
        Report(shown, [Edge(HOSTILE, HOSTILE, HOSTILE)], 40.0,
               [LogEnd(HOSTILE, 1, HOSTILE, HOSTILE.encode() + b"\xff\x1b[31m<b>", 0)],
               {HOSTILE: HOSTILE},
               [Picture(HOSTILE, HOSTILE, "image/svg+xml", b"<svg onload='alert(1)'/>", HOSTILE)], [HOSTILE], HOSTILE)
    )  # fmt: skip
    page = Page(html)
    assert page.harm() == []
    assert [each["src"][:26] for each in page.of("img")] == ["data:image/svg+xml;base64,"]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)
    assert "alert(2)" in page.text


def test_a_run_that_goes_on_says_since_when_and_that_it_does() -> None:
    going = job("a", "RUNNING", attempt(1, "RUNNING", ended_at=None))
    page = Page(report_html(Report(run(going, job("b", "INIT"), state="RUNNING", ended_at=None, driver=7), [], 70.0)))
    assert "1 min 0 s so far" in page.text
    assert "it has not ended" in page.text
    assert "aiflow-ext status digits-1 --watch" in page.text


def test_a_report_of_a_thousand_jobs_that_have_all_failed_is_smaller_than_two_megabytes() -> None:
    reason = "x" * 2000
    jobs = [job(f"train-{number}", "FAILED", attempt(1, "FAILED", reason=reason), attempt(2, "FAILED", reason=reason))
            for number in range(1000)]  # fmt: skip
    logs = [LogEnd(f"train-{number}", 2, "stderr", b"y" * (16 << 10), 0) for number in range(20)]
    html = report_html(Report(run(*jobs, state="FAILED"), [], 40.0, logs))
    assert len(html.encode()) < 2_000_000
    assert "980 more failed jobs" in html
    assert "aiflow-ext ui</code> has the timeline of all jobs" in html


def test_of_ten_thousand_jobs_the_table_shows_those_of_interest_and_counts_the_rest() -> None:
    jobs = [job(f"j{number}", "FAILED" if number == 9999 else "FINISHED", attempt()) for number in range(10_000)]
    html = report_html(Report(run(*jobs), [], 40.0))
    assert "and 8,000 more jobs" in Page(html).text
    assert ">j9999<" in html
    assert len(html) < 2_000_000


def test_colours_of_a_log_stay_and_other_commands_to_a_terminal_are_left_out() -> None:
    log = b"\x1b[1;31mred\x1b[0m plain\x1b[2J\x1b]0;title\x07 \x1b[38;5;31mother\x1b[92mlight\x1b[39mend\nnext \x07"
    assert log_html(log) == ('<span class="c1 bold">red</span> plain other<span class="c2">light</span>end\nnext \\x07')
    assert log_html(b"10%\r50%\r\n100%") == "10%\n50%\n100%"
    assert log_html(b"\x1b[31mx\ny") == '<span class="c1">x</span>\ny'
    assert log_html(b"\x1b[38;2;1;2;3;31mz\x1b[999999999999mw") == '<span class="c1">z</span>w'
