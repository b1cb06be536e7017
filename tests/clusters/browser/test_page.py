"""The page in a browser, on real runs: what a person sees and does."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from webdriver import Browser

from aiflow_ext.view.notebook import plugins_html

ROOT = Path(__file__).parents[3]
SEEN = 0.5  # seconds between the record of a state and its showing: the bar


def project(root: Path, workflow: str, config: str = '"*": {platform: local}\n') -> Path:
    """A project's folder with this workflow.py."""
    root.mkdir()
    (root / "workflow.py").write_text("import aiflow_ext as af\n" + workflow)
    (root / "workflow.yaml").write_text(config)
    return root


def open_run(browser: Browser, page: Any, run: str, view: str = "jobs", **values: str) -> None:
    """Open the page of a run."""
    browser.open(page.url)
    browser.see("Runs")
    asked = "&".join(f"{key}={value}" for key, value in values.items())
    browser.run("location.hash = arguments[0]", f"#/runs/{run}/{view}?{asked}")
    browser.see(run)


def open_talk(browser: Browser, page: Any, command: Any, folder: Path, begins: str, ends: str) -> tuple[str, Path]:
    """Open the log of a job that runs one command, waits for a file, and runs another: the run, and that file."""
    gate = folder / "gate"
    body = f"{begins}; until [ -e {gate} ]; do sleep 0.05; done; {ends}"
    workflow = f'@af.workflow\ndef talks():\n    with af.job("talk"):\n        af.cmd("""{body}""")\n'
    run = command("run", project(folder / "project", workflow), "--detach")["run"]
    open_run(browser, page, run, job="talk")
    return run, gate


def test_a_real_run_is_seen_in_every_view(
    browser: Browser, page: Any, command: Any, tmp_path: Path, shot: Callable[[Browser, str], None]
) -> None:
    digits = tmp_path / "digits"
    shutil.copytree(ROOT / "examples" / "digits", digits, ignore=shutil.ignore_patterns(".aiflow", "__pycache__"))
    browser.open(page.url)
    browser.see("No runs yet")
    assert page.token not in browser.url
    run = command("run", digits, "--detach")["run"]
    browser.click(".rows a", run)
    browser.see("evaluate", ".rows")
    shot(browser, "run-that-goes-on")
    browser.until(lambda: "FINISHED" in browser.text("h1"), "its end")
    browser.click(".row .name", "evaluate")
    browser.see("accuracy", ".log")
    browser.see("complete", ".log")
    shot(browser, "log")
    for tab, words in (("About", "peak memory"), ("Artifacts", "confusion-matrix.png"), ("Config", "workflow.yaml"),
                       ("Request", "AIFLOW_RUN")):  # fmt: skip
        browser.click(".panel [role=tab]", tab)
        browser.see(words, ".panel")
        if tab == "Artifacts":
            browser.until_true(
                "[...document.querySelectorAll('.artifact img')].some((each) => each.naturalWidth > 100)"
            )
        shot(browser, f"job-{tab.lower()}")
    browser.click(".panel [aria-label=Close]")
    for view in ("Graph", "Timeline"):
        browser.click("[role=tab]", view)
        browser.see("evaluate", ".picture")
        shot(browser, view.lower())
    browser.click(".picture [data-job=evaluate] a")
    browser.see("evaluate", ".panel h2")
    browser.click("[aria-label=Views] [role=tab]", "About")
    browser.see("aiflow-ext-local", ".sheet-page")
    browser.run("location.hash = '#/plugins'")
    browser.click(".row .name", "local.python")
    browser.see("What decides so", ".panel")
    shot(browser, "plugins")
    browser.run("location.hash = '#/runs'")
    browser.see(run)
    shot(browser, "runs")
    browser.resize(480, 800)
    browser.run("location.hash = arguments[0]", f"#/runs/{run}/jobs?job=evaluate")
    browser.see("accuracy", ".log")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    shot(browser, "narrow")


def test_a_report_s_table_can_be_read_where_a_reason_is_one_long_word(
    browser: Browser, command: Any, tmp_path: Path, shot: Callable[[Browser, str], None]
) -> None:
    workflow = "@af.workflow\ndef fails():\n    with af.job('evaluate'):\n        af.python(exit, 'w' * 400)\n"
    run = command("run", project(tmp_path / "project", workflow), "--in-process")["run"]
    command("report", run, "--output", tmp_path / "report.html")
    browser.open((tmp_path / "report.html").as_uri())
    browser.see("evaluate", "tbody th")
    shot(browser, "report")
    heads = "return document.querySelector('thead tr').offsetHeight"
    assert browser.run(heads) < 40  # pixels: one line, and no word is broken
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def test_a_table_in_a_notebook_has_its_own_colours_and_alignment_whatever_the_notebook_has(
    browser: Browser, tmp_path: Path
) -> None:
    jupyter = """<!DOCTYPE html><style>
      :not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon td { text-align: right; }
      .jp-RenderedHTMLCommon tbody tr:nth-child(odd) { background: #424242; }
    </style><div class="jp-RenderedHTMLCommon">"""  # as JupyterLab's own
    shown = plugins_html([{"kind": "engine", "name": "python", "status": "available", "distribution": "aiflow-ext",
                           "version": "1", "entry_point": "a:B", "reason": None}])  # fmt: skip
    (tmp_path / "notebook.html").write_text(jupyter + shown)
    browser.open((tmp_path / "notebook.html").as_uri())
    style = """const style = getComputedStyle(document.querySelector(arguments[0]));
               return [style.textAlign, style.backgroundColor]"""
    assert browser.run(style, "tbody td")[0] == "left"
    assert browser.run(style, "tbody tr")[1] == "rgba(0, 0, 0, 0)"


def test_a_run_that_ends_while_its_picture_is_on_its_way_is_drawn_again(
    browser: Browser, page: Any, command: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    body = f"until [ -e {gate} ]; do sleep 0.05; done; exit 3"
    workflow = f"@af.workflow\ndef waits():\n    with af.job('one'):\n        af.cmd('{body}')\n"
    run = command("run", project(tmp_path / "project", workflow), "--detach")["run"]
    open_run(browser, page, run)
    browser.see("RUNNING", ".rows")
    browser.run("""
      const send = XMLHttpRequest.prototype.send;
      XMLHttpRequest.prototype.send = function () {
        const loaded = this.onload;
        this.onload = () => { window.arrive = loaded; };
        XMLHttpRequest.prototype.send = send;
        send.call(this);
      };
    """)
    browser.click("[role=tab]", "Graph")
    browser.until_true("window.arrive !== undefined")
    gate.touch()
    browser.see("Retry failed", ".actions")  # the page was told the last that there is to tell
    browser.run("window.arrive()")
    browser.until_true("document.querySelector('.picture .FAILED') !== null")


def test_it_is_dark_where_its_user_likes_it_dark(
    chromium: None, page: Any, command: Any, tmp_path: Path, shot: Callable[[Browser, str], None]
) -> None:
    root = project(
        tmp_path / "project", "@af.workflow\ndef short():\n    with af.job('one'):\n        af.cmd('true')\n"
    )
    run = command("run", root)["run"]
    browser = Browser(dark=True)
    try:
        open_run(browser, page, run, "graph")
        browser.see("one", ".picture")
        shades = browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert max(shades) < 60
        shot(browser, "dark")
    finally:
        browser.close()


def test_a_state_is_seen_within_half_a_second_of_its_record(
    browser: Browser, page: Any, command: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    steps = """
    for number in range(10):
        with af.job(f"job-{number}"):
            af.cmd("until [ -e GATE ]; do sleep 0.1; done; sleep 0.4")
        if number:
            af.run_after(f"job-{number}", f"job-{number - 1}")
""".replace("GATE", str(gate))
    run = command("run", project(tmp_path / "project", f"@af.workflow\ndef steps():\n{steps}"), "--detach")["run"]
    open_run(browser, page, run)
    browser.see("RUNNING", ".rows")
    browser.run("""
      window.seen = {};
      const look = () => {
        for (const row of document.querySelectorAll(".row")) {
          const name = row.querySelector(".name").textContent, state = row.querySelector(".state").textContent;
          const key = `${name} ${state}`;
          if (!(key in window.seen)) window.seen[key] = Date.now() / 1000;
        }
      };
      look();
      const all = { subtree: true, childList: true, characterData: true, attributes: true };
      new MutationObserver(look).observe(document.body, all);
    """)  # fmt: skip
    gate.touch()
    browser.until(lambda: "FINISHED" in browser.text("h1"), "its end")
    seen = browser.run("return window.seen")
    ends = {job["name"]: job["attempts"][-1]["ended_at"] for job in page.json(f"/api/runs/{run}")["jobs"]}
    delays = [seen[f"{name} FINISHED"] - ended for name, ended in ends.items()]
    print("from its record to its showing:", " ".join(f"{each:.2f}" for each in sorted(delays)), "s")
    assert statistics.median(delays) <= SEEN


def test_a_long_log_is_followed_to_its_last_byte_and_read_from_its_first(
    browser: Browser, page: Any, command: Any, tmp_path: Path
) -> None:
    begins = "seq -f 'line %06.0f' 60000"
    _, gate = open_talk(browser, page, command, tmp_path, begins, "printf 'the last byte is here.'")
    browser.see("line 060000", ".log pre")
    browser.see("following", ".log")
    assert "line 000001" not in browser.text(".log pre")  # of a long log the end is read first
    gate.touch()
    browser.see("the last byte is here.", ".log pre")
    browser.see("complete", ".log")
    box = "document.querySelector('.log .box')"
    assert browser.run(f"return {box}.scrollHeight - {box}.scrollTop - {box}.clientHeight < 30")
    length = "document.querySelector('.log pre').textContent.length"
    while "Earlier" in browser.text(".log .tools"):
        before = browser.run(f"return {length}")
        browser.click(".log button", "Earlier")
        browser.until_true(f"{length} > {before}")
    text = browser.run("return document.querySelector('.log pre').textContent")
    assert text == "".join(f"line {number:06}\n" for number in range(1, 60001)) + "the last byte is here."


def test_eight_tabs_follow_the_same_run_and_each_is_up_to_date_once_it_is_seen(
    browser: Browser, page: Any, command: Any, tmp_path: Path
) -> None:
    run, gate = open_talk(browser, page, command, tmp_path, "echo begun", "echo ended")
    browser.see("begun", ".log pre")
    tabs = []
    for _ in range(8):
        tabs.append(browser.open_tab(f"{page.url.partition('#')[0]}#/runs/{run}/jobs?job=talk"))
        browser.see("RUNNING", "h1")
        browser.see("begun", ".log pre")
    gate.touch()
    for tab in tabs:
        browser.show_tab(tab)
        browser.see("FINISHED", "h1")
        browser.see("complete", ".log")
        assert browser.run("return document.querySelector('.log pre').textContent") == "begun\nended\n"


def test_a_page_that_follows_a_large_log_keeps_its_end_alone_and_can_go_back(
    browser: Browser, page: Any, command: Any, tmp_path: Path
) -> None:
    _, gate = open_talk(browser, page, command, tmp_path, "echo begun", "seq -f 'line %07.0f' 900000")
    browser.see("begun", ".log pre")
    gate.touch()
    browser.until_true("document.querySelector('.log pre').textContent.endsWith('line 0900000\\n')")
    browser.see("complete", ".log")
    assert browser.run("return document.querySelector('.log pre').textContent.length") < 6 << 20
    begin = browser.run("return document.querySelector('.log pre').textContent.slice(0, 13)")
    browser.click(".log button", "Earlier")
    browser.until_true(f"!document.querySelector('.log pre').textContent.startsWith({begin!r})")
    text = browser.run("return document.querySelector('.log pre').textContent")
    numbers = [int(line[5:]) for line in text.splitlines()[1:]]
    assert numbers == list(range(numbers[0], 900001))


def test_a_run_whose_driver_was_killed_is_resumed_stopped_and_retried_by_buttons(
    browser: Browser, page: Any, command: Any, tmp_path: Path, shot: Callable[[Browser, str], None]
) -> None:
    gate = tmp_path / "gate"
    root = project(tmp_path / "project", f"""
@af.workflow
def killed():
    with af.job("first"):
        af.cmd("until [ -e {gate} ]; do sleep 0.05; done")
    with af.job("second"):
        af.cmd("echo done")
    af.run_after("second", "first")
""")  # fmt: skip
    started = command("run", root, "--detach")
    run = started["run"]
    open_run(browser, page, run)
    browser.see("RUNNING", ".rows")
    os.kill(started["driver"], signal.SIGKILL)
    browser.see("NOT DRIVEN", "h1")
    shot(browser, "not-driven")
    browser.click(".actions button", "Resume")
    browser.see(f"aiflow-ext resume {run}", "dialog")
    shot(browser, "question")
    browser.click("dialog button", "Cancel")
    assert page.json(f"/api/runs/{run}")["driver"] is None
    browser.click(".actions button", "Resume")
    browser.click("dialog button.act")
    browser.see("pid", ".facts")
    assert page.json(f"/api/runs/{run}")["driver"] not in (None, started["driver"])
    browser.click(".actions button", "Stop")
    browser.click("dialog button.act")
    browser.see("STOPPED", "h1")
    browser.see("SKIPPED", ".rows")
    gate.touch()
    browser.click(".actions button", "Retry failed")
    browser.click("dialog button.act")
    browser.see("FINISHED", "h1")
    assert {job["name"]: len(job["attempts"]) for job in page.json(f"/api/runs/{run}")["jobs"]} == {
        "first": 2,
        "second": 1,
    }


HOSTILE = """
import steps

@af.workflow
def hostile():
    with af.job("<img src=x onerror=alert(1)>"):
        af.cmd("printf '<script>alert(2)</script> \\\\033[31mred\\\\033[0m \\\\033]0;title\\\\007 end'; exit 3")
    with af.job("it's $(x); \u202e"):
        af.cmd("true")
    with af.job("</script><script>alert(3)</script>"):
        af.python(steps.page)
"""


def test_nothing_that_a_job_is_called_prints_or_keeps_runs_in_the_page(
    browser: Browser, page: Any, command: Any, tmp_path: Path
) -> None:
    root = project(tmp_path / "project", HOSTILE)
    (root / "steps.py").write_text(
        "from pathlib import Path\n\ndef page():\n    Path('page.html').write_text('<p>a page of a job</p>"
        '<script>parent.postMessage(1, "*"); document.title = "ran"</script><img src=x onerror=alert(4)>\')\n'
        "    return Path('page.html')\n"
    )
    run = command("run", root)["run"]
    open_run(browser, page, run)
    browser.run("window.heard = 0; addEventListener('message', () => { window.heard += 1; })")
    browser.click(".row .name", "<img src=x")
    text = browser.see("<script>alert(2)</script> red", ".log pre")
    assert text.endswith("end")
    assert "\x1b" not in text
    assert "title" not in text
    for view in ("Graph", "Timeline", "Jobs"):
        browser.click("[role=tab]", view)
        browser.see("</script><scrip", ".split > :first-child")
    browser.click(".row .name", "it's $(x)")
    browser.click(".panel .actions button", "Run from here")
    browser.see("""aiflow-ext resume RUN '--from=it'"'"'s $(x); \\u202e' --detach""".replace("RUN", run), "dialog code")
    browser.click("dialog button", "Cancel")
    browser.click(".row .name", "</script>")
    browser.click(".panel [role=tab]", "Artifacts")
    browser.click(".artifact button", "Show")
    browser.until_true("document.querySelectorAll('.artifact iframe').length === 1")
    # It may not be loaded yet.
    text = browser.until(
        lambda: browser.in_frame(".artifact iframe", "return document.body && document.body.innerText"), "the page"
    )
    assert text == "a page of a job"
    assert browser.in_frame(".artifact iframe", "return document.title") == ""
    assert browser.run("return window.heard") == 0
    assert browser.run("return document.querySelectorAll('script').length") == 1
    for complaint in browser.complaints():  # what the frame tried
        assert "Content Security Policy" in complaint or "sandboxed" in complaint, complaint


def test_keys_choose_open_and_close_and_roles_say_what_things_are(
    browser: Browser, page: Any, command: Any, tmp_path: Path
) -> None:
    jobs = "".join(f"    with af.job('job-{number:03}'):\n        af.cmd('true')\n" for number in range(40))
    run = command("run", project(tmp_path / "project", f"@af.workflow\ndef keys():\n{jobs}"))["run"]
    open_run(browser, page, run)
    browser.see("job-000", ".rows")
    browser.run("document.querySelector('.rows').focus()")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        browser.type(key)
    browser.see("job-001", ".panel h2")
    browser.run("document.querySelector('.rows').focus()")
    browser.type("End")
    browser.type("Enter")
    browser.see("job-039", ".panel h2")
    browser.type("Escape")
    browser.until(lambda: not browser.text(".panel"), "the panel closed")
    browser.type("/")
    assert browser.run("return document.activeElement.type") == "search"
    browser.type("7", "input[type=search][aria-label='Filter jobs']")
    browser.until(lambda: "job-001" not in browser.text(".rows"), "only the jobs with a 7")
    roles = browser.run("return [...document.querySelectorAll('[role]')].map((each) => each.getAttribute('role'))")
    assert {"grid", "row", "gridcell", "columnheader", "tablist", "tab", "group"} <= set(roles)
    assert browser.run("return document.querySelector('[role=grid]').getAttribute('aria-rowcount')") == "5"


def test_without_its_token_the_page_says_so_and_shows_nothing(browser: Browser, page: Any) -> None:
    browser.open(page.url.partition("#")[0])
    browser.see("This address lacks its token")
    browser.open(page.url[:-4] + "beef")
    browser.see("open the address that aiflow-ext ui has printed")
    assert [each for each in browser.complaints() if "401" not in each] == []
