"""Notebooks, with a real kernel: what runs, plans and plugins show, the live table, and what may be awaited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from pages import Page
from patience import PATIENCE

from tests.conftest import Project

STEPS = """
import os
from pathlib import Path

def wait():
    Path(os.environ["GATE"]).read_text()
    return 1
def fit(one): return one + 1
def bad(): raise ValueError("<img src=x onerror=alert(1)>")
"""
BODY = """
with af.job("wait"): w = af.python(wait)
with af.job("fit"): af.python(fit, w)
with af.job("bad"): af.python(bad)
"""


class Notebook:
    """A kernel, and what its cells have shown."""

    def __init__(self, folder: Path) -> None:
        env = {**os.environ, "IPYTHONDIR": str(folder / "ipython"), "XDG_STATE_HOME": str(folder / "state")}
        self.manager: KernelManager
        self.manager, self.client = start_new_kernel(kernel_name="python3", env=env, cwd=str(folder))

    def start(self, code: str) -> str:
        """Begin a cell."""
        return str(self.client.execute(code))

    def next_output(self, cell: str) -> tuple[str, dict[str, Any]]:
        """The kind and content of the next message of a cell."""
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == cell:
                return message["msg_type"], message["content"]

    def outputs(self, cell: str) -> list[tuple[str, dict[str, Any]]]:
        """What a cell shows until it has ended."""
        found = []
        while (output := self.next_output(cell)) != ("status", {"execution_state": "idle"}):
            found.append(output)
        errors = [content["traceback"] for kind, content in found if kind == "error"]
        assert not errors, "\n".join(errors[0])
        return [each for each in found if each[0] in ("display_data", "update_display_data", "execute_result")]

    def result(self, code: str) -> dict[str, Any]:
        """What the last expression of a cell shows, by media type."""
        kind, content = self.outputs(self.start(code))[-1]
        assert kind == "execute_result"
        shown: dict[str, Any] = content["data"]
        return shown


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    made = Notebook(tmp_path_factory.mktemp("notebook"))
    made.outputs(made.start("import aiflow_ext as af"))
    yield made
    made.client.stop_channels()
    made.manager.shutdown_kernel(now=True)


@pytest.fixture
def gated(project: Project) -> Project:
    os.mkfifo(project.root.parent / "gate")
    config = f'"*": {{platform: local, engine: python, env: {{GATE: {project.root.parent}/gate}}}}\n'
    return project.jobs(BODY, config, STEPS)


def html(output: dict[str, Any]) -> Page:
    page = Page(output["text/html"])
    assert page.harm() == []
    return page


def test_plugins_and_what_a_project_would_send_show_themselves(notebook: Notebook, gated: Project) -> None:
    page = html(notebook.result("af.plugins()"))
    assert "local.python" in page.text
    assert "available" in page.text
    page = html(notebook.result(f"af.render_project({str(gated.root)!r})"))
    assert len(page.of("svg")) == 1
    assert "fit" in page.text
    assert "local.python" in page.text
    assert notebook.result("len(af.plugins()) > 3, type(af.render_project)")["text/plain"].startswith("(True")


def test_a_run_is_a_live_table_while_it_goes_on_and_shows_itself_at_its_end(notebook: Notebook, gated: Project) -> None:
    cell = notebook.start(f"record = af.run_project({str(gated.root)!r})\nrecord")
    shown: list[Page] = []
    while not shown or "RUNNING" not in shown[-1].text or "ValueError" not in shown[-1].text:
        kind, content = notebook.next_output(cell)
        assert kind != "error", content
        if kind in ("display_data", "update_display_data"):
            shown.append(html(content["data"]))
            identity = content["transient"]["display_id"]
    assert "waiting" in shown[-1].text  # fit, which reads what wait returns
    (gated.root.parent / "gate").write_text("go")
    *updates, (_, result) = notebook.outputs(cell)
    assert {content["transient"]["display_id"] for _, content in updates} == {identity}
    last = html(updates[-1][1]["data"])
    assert "FAILED" in last.text
    assert "1 FAILED, 2 FINISHED" in last.text
    page = html(result["data"])
    assert len(page.of("svg")) == 1
    assert result["data"]["text/plain"].endswith(": FAILED, 3 jobs>")
    page = html(notebook.result("af.open_run(record)"))
    assert len(page.of("svg")) == 2
    assert "ValueError: <img" in page.text


def test_a_run_is_awaited_and_cells_of_other_tasks_go_on_meanwhile(notebook: Notebook, gated: Project) -> None:
    code = f"""
import asyncio
run = af.start_project({str(gated.root)!r})
async def open_later():
    while run.state != "RUNNING" or run.status()["jobs"][0]["state"] != "RUNNING":
        await asyncio.sleep(0.05)
    with open({str(gated.root.parent / "gate")!r}, "w") as gate:
        gate.write("go")
opening = asyncio.ensure_future(open_later())
await run
opening.done(), run.state
"""
    outputs = notebook.outputs(notebook.start(code))
    assert outputs[-1][1]["data"]["text/plain"].startswith("(True, <JobState.FAILED")
    assert outputs[0][0] == "display_data"


def test_a_run_that_is_driven_by_a_task_is_live_too(notebook: Notebook, project: Project) -> None:
    project.jobs('with af.job("a"): af.cmd("true")', '"*": {platform: local, engine: cmd_line}\n')
    for call in ("await af.run_project_async", "af.run_project"):
        more = ", in_process=True" if call == "af.run_project" else ""
        outputs = notebook.outputs(notebook.start(f"record = {call}({str(project.root)!r}{more})"))
        assert [kind for kind, _ in outputs][:1] == ["display_data"]
        assert "1 FINISHED" in html(outputs[-1][1]["data"]).text
