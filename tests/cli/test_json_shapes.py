"""docs/json.md names every key that ``--json`` prints, and no key that is not printed."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
from dist_info import install

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
# Mappings whose keys are data: names of jobs, states, distributions, parameters.
BY_NAME = {"versions", "distributions", "jobs", "parameters"}
# Where the page refers to the shape of another section.
REFERS = {"run": ["ran-with.json"], "why": ["plugins", "Errors"], "doctor": ["plugins", "Errors"]}
SEVERAL = "logs, graph, artifacts, report, run --detach"
# Values that have a shape of their own: what a plugin sends, and what a user has configured.
OF_OTHERS = {"content", "value", "values"}

TOLD = """
import aiflow_ext as af

@af.hookimpl
def on_run_end(event): pass
"""
STEPS = "def count(n=1): return n\n"
BODY = """
with af.job("count"):
    n = af.python(count, af.property("n"))
with af.job("show"):
    af.cmd("echo {n} > {out}", n=n, out=af.output("shown"))
"""
CONFIG = '"*": {platform: local}\ncount: {engine: python, properties: {n: 1}}\nshow: {engine: cmd_line}\n'
CHANGED_BODY = """
with af.job("count"):
    af.python(count, af.property("n"))
    af.python(count)
"""
CHANGED_CONFIG = '"*": {platform: local}\ncount: {engine: python, properties: {n: 3}}\n'
CHANGED_STEPS = "def count(n=0): return n\n"


def sections():
    """The page's sections by heading; those paragraphs that are about a command of their own, by that command."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    parts = re.split(r"^`aiflow-ext ([^`]*) --json`", found.pop(SEVERAL), flags=re.MULTILINE)
    return found | dict(zip(parts[1::2], parts[2::2], strict=True))


def shaped(text):
    """The keys of the shapes in a section, without those that are data in its examples."""
    text = re.sub(rf'("(?:{"|".join(BY_NAME)})": )\{{[^{{}}]*\}}', r"\1", text)
    text = re.sub(r'("jobs": \{\s*)"[\w-]+":', r"\1", text)
    return set(re.findall(r'"([\w-]+)":', text))


def keys(value, of=""):
    """All keys in a document, at any depth, except those that are data."""
    if of in OF_OTHERS or not isinstance(value, (dict, list)):
        return set()
    if isinstance(value, list):
        return set().union(*map(keys, value))
    inner = set().union(*(keys(each, key) for key, each in value.items()))
    return inner if of in BY_NAME else inner | set(value)


def printed(project, cli, env):
    """By section of the page, the keys that the commands that it is about have printed."""
    found = defaultdict(set)

    def look(section, *args):
        done = cli(*args, "--json", env=env)
        assert done.stdout, (args, done.stderr)
        shown = [json.loads(line) for line in done.stdout.splitlines()] if "logs" in args else json.loads(done.stdout)
        assert ("error" in shown) == (section == "Errors"), done.stderr
        found[section] |= keys(shown)
        return shown

    folder, here = project.root, ("--project", project.root)
    project.jobs(BODY, CONFIG, STEPS)
    first = look("run", "run", folder, "-p", "n=2")["run"]
    look("run", "run", folder, "--only", "show")
    look("run", "stop", first, *here)
    look("run", "status", first, *here)
    found["ran-with.json"] = keys(look("run", "status", first, "count", *here)["attempts"][0]["ran_with"])
    look("render", "render", folder)
    look("plugins", "plugins", "--proof")
    look("why", "why", "local", "python", "--no-load")
    look("why", "why", folder, "count", "--no-load")
    look("doctor", "doctor", folder)
    look("config show", "config", "show", folder)
    for name in ("logs", "graph", "artifacts", "report"):
        look(f"{name} RUN", name, first, *here)
    project.jobs(CHANGED_BODY, CHANGED_CONFIG, CHANGED_STEPS)
    second = look("run", "run", folder)["run"]
    look("diff RUN RUN", "diff", first, second, *here)
    look("runs, gc", "runs", *here, "--params")
    look("runs, gc", "gc", "--keep", "0", "--dry-run", *here)
    look("run PROJECT --detach", "run", folder, "--detach")
    assert cli("status", "latest", *here, "--watch", env=env).returncode == 0
    look("Errors", "run", folder, "--only", "nothing")
    return found


@pytest.mark.slow
def test_the_page_names_the_keys_that_are_printed_and_no_others(project, cli, cli_env, tmp_path):
    site = tmp_path / "site"
    (site / "queue_jobs").mkdir(parents=True)
    install(site, "told", {"extensions": {"told": "told"}}, {"told.py": TOLD})
    unproven = {"queue_jobs/__init__.py": "", "queue_jobs/aiflow-certificate.json": "{}"}
    install(site, "queue", {"job_plugins": {"queue.cmd_line": "queue_jobs:Missing"}}, unproven)
    found = printed(project, cli, {**cli_env, "PYTHONPATH": str(site)})
    page = sections()
    assert found.keys() == page.keys()
    for section, text in page.items():
        others = REFERS.get(section, [])
        named = {*re.findall(r"`(\w+)`", text)}.union(shaped(text), *(shaped(page[each]) for each in others))
        assert found[section] - named == set(), f"{section}: printed, and not in docs/json.md"
        there = found[section].union(*(found[each] for each in others))
        assert shaped(text) - there == set(), f"{section}: in docs/json.md, and not printed"
