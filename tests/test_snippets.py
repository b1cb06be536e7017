"""The Python that pages show runs: calls with the tutorial's project; graphs are rendered; classes are defined."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from patience import PATIENCE

HERE = Path(__file__).resolve().parent
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What is not run here, by page and first line, and why.
BY_OWN_ENGINE, BY_FIXTURE = "tests/hosted/test_own_engine.py runs it", "tests/testing/test_workflow_fixture.py runs it"
NOT_RUN = {
    ("plugin-engines.md", "# aiflow_ext_sqlite.py"): BY_OWN_ENGINE,
    ("plugin-engines.md", "# workflow.py"): BY_OWN_ENGINE,
    ("conformance-rules.md", "from aiflow_ext.plugin.engines import attempt_mark"): BY_OWN_ENGINE,
    ("testing.md", "# steps.py"): BY_FIXTURE,
    ("testing.md", "# workflow.py"): BY_FIXTURE,
    ("testing.md", "# tests/test_means.py"): BY_FIXTURE,
    ("conformance-rules.md", "    @contextmanager"): "it is a method of a class that is not shown",
}
# The functions of the tutorial's project, without what takes time.
QUICK_STEPS = """
from pathlib import Path

def kept(name):
    Path(name).write_text(name)
    return Path(name)

def prepare(): return "digits"
def train(data): return kept("model.joblib")
def evaluate(model, data): return {"accuracy": 1.0}
def draw(scores): return kept("confusion-matrix.png")
def report(scores, picture): return kept("report.html")
def validate(scores): ...
def predict(release, data): return kept("predictions.csv")
"""
# Where graphs are shown in part, the functions that they take for their reader's, and the nodes that they go on from.
STEPS = "def fetch(*given, **named): ...\nfit = load = read = sales = fetch\n"
BEGUN = """
@af.workflow
def shown_{number}():
    with af.job("prepare"):
        data = model = af.python(fetch)
    with af.job("report"):
        report = af.python(fit, data)
{code}
"""


def is_graph(code: str) -> bool:
    return re.search(r"^(@af\.workflow$|with af\.job\(|af\.run_after\()", code, re.MULTILINE) is not None


def whole(number: int, code: str) -> str:
    """A function that builds the graph which a snippet shows, or shows a part of."""
    return code if "@af.workflow" in code else BEGUN.format(number=number, code=textwrap.indent(code, "    "))


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    """A folder with the projects of the snippets: ``digits``, the tutorial's, and ``shown`` for the graphs."""
    shutil.copytree(HERE.parent / "examples" / "digits", tmp_path / "digits", ignore=shutil.ignore_patterns(".*"))
    (tmp_path / "digits" / "steps.py").write_text(QUICK_STEPS)
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "steps.py").write_text(STEPS)
    (shown / "totals.sql").write_text("{sales} {totals}")
    (shown / "workflow.yaml").write_text("'*': {properties: {lr: 0.1}}\n")
    return tmp_path


@pytest.mark.slow
def test_the_python_that_pages_show_runs(projects: Path) -> None:
    pages = {page.name: page.read_text("utf-8") for page in sorted((HERE.parent / "docs").glob("*.md"))}
    found = [(name, code) for name, page in pages.items() for code in SNIPPET.findall(page)]
    assert NOT_RUN.keys() <= {(name, code.split("\n")[0]) for name, code in found}
    found = [(name, code) for name, code in found if (name, code.split("\n")[0]) not in NOT_RUN]
    graphs = [whole(number, code) for number, (_, code) in enumerate(found) if is_graph(code)]
    text = "\n".join(["import aiflow_ext as af", "from steps import *", *graphs])
    (projects / "shown" / "workflow.py").write_text(text)
    rendered = [
        ("a graph", f"assert af.render_project('shown', workflow={name!r})")
        for name in re.findall(r"^@af\.workflow\ndef (\w+)", text, re.MULTILINE)
    ]
    assert len(rendered) == len(graphs)
    cells = [(name, code) for name, code in found if not is_graph(code)]
    cells.sort(key=lambda cell: cell[0] != "python.md")  # it begins with a run, which others read
    done = subprocess.run(
        [sys.executable, HERE / "helpers" / "run_snippets.py"], input=json.dumps([*rendered, *cells]), cwd=projects,
        env={**os.environ, "XDG_STATE_HOME": str(projects / "state")}, text=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
