"""What the documentation shows authors of plugins: an engine of one's own, and how marked processes are ended."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

from dist_info import install
from interrupted import until
from patience import PATIENCE

import aiflow_ext as af
from aiflow_ext.supervise.proc import mark_of

DOCS = Path(__file__).parents[2] / "docs"


def shown(page: str, beginning: str) -> str:
    """The code of that page that begins so."""
    (block,) = [
        text
        for text in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.S)
        if text.startswith(beginning)
    ]
    return block


def test_the_engine_that_the_docs_show_reads_and_writes_artifacts(project, run_json, cli_env, tmp_path):
    site = tmp_path / "site"
    plugin = {"job_plugins": {"local.sqlite": "aiflow_ext_sqlite:SqliteJobPlugin"}}
    install(
        site,
        "aiflow-ext-sqlite",
        plugin,
        {"aiflow_ext_sqlite.py": shown("plugin-engines.md", "# aiflow_ext_sqlite.py")},
    )
    python = "{platform: local, engine: python}"
    config = f"fetch: {python}\nsum: {{platform: local, engine: sqlite}}\nshow: {python}\n"
    project.write(workflow_py=shown("plugin-engines.md", "# workflow.py"), workflow_yaml=config)
    record = run_json(project, env={**cli_env, "PYTHONPATH": str(site)})
    assert record["exit"] == 0, record
    assert project.log("show") == b"[(8,)]\n"


def test_the_lines_of_the_docs_end_what_carries_an_attempts_mark(tmp_path):
    context = af.JobContext(run_id="run", native_id=str(tmp_path))
    env = {**os.environ, "AIFLOW_MARK": f"run:{tmp_path}"}
    with subprocess.Popen(["sleep", "1000"], env=env, start_new_session=True) as process:
        try:
            until(lambda: mark_of(process.pid) is not None)  # its exec may not have got so far
            exec(
                shown("conformance-rules.md", "from aiflow_ext.plugin.engines import"),
                {"job": SimpleNamespace(job_context=context)},
            )
            assert process.wait(PATIENCE) < 0
        finally:
            process.kill()
