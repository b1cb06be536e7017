"""docs/json.md tells each key that ``--json`` prints, with the types of its values, and no key that is not printed."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from dist_info import install

from aiflow_ext.model.ran_with import RanWith
from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.records import AttemptRecord

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
# Mappings whose keys are data: names of jobs, states, distributions, parameters.
BY_NAME = {"versions", "distributions", "jobs", "parameters"}
KINDS = {str: "text", JobState: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list",
         dict: "an object", Mapping[str, str]: "an object", type(None): "null"}  # fmt: skip
ANYTHING = "any type"
ALSO = re.compile(rf"(?:^|; )or ({ANYTHING}|{'|'.join(KINDS.values())})\b")

TOLD = """
import aiflow_ext as af

@af.hookimpl
def on_run_end(event): raise OSError("nobody listens")
"""
STEPS = "def count(n=1): return n\n"
BODY = """
with af.job("count"):
    n = af.python(count, af.property("n"))
with af.job("show"):
    af.cmd("echo {n} > {out}", n=n, out=af.output("shown"))
with af.job("mourn"):
    af.cmd("false")
af.run_after("mourn", "count", when="ended")
"""
CONFIG = '"*": {platform: local, cpu: 0.5}\ncount: {engine: python, properties: {n: 1}}\n'
CHANGED_BODY = """
with af.job("count"):
    af.python(count, af.property("n"))
    af.python(count)
"""
CHANGED_CONFIG = '"*": {platform: local}\ncount: {engine: python, properties: {n: 3}}\n'
CHANGED_STEPS = "def count(n=0): return n\n"


def shapes():
    """The page's shapes by heading, as JSON; what else a value may be is in its key: ``signal|a whole number``."""
    headings, texts = (
        re.split(r"^## (.*)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)[start::2] for start in (1, 2)
    )
    blocks = [re.search(r"^    \{\n(.*\n)+?    \}\n", text, re.MULTILINE) for text in texts]
    return {
        heading: json.loads("".join(map(without_words, block[0].splitlines())))
        for heading, block in zip(headings, blocks, strict=True)
    }


def without_words(line):
    """A line of a shape as JSON: ``...`` is replaced by an entry with the shape that it stands for."""
    json_part, _, words = line.strip().partition("  ")
    if line.startswith(" " * 30):  # the words go on
        return ""
    also = "".join(f"|{kind}" for kind in ALSO.findall(words.strip()))
    json_part = re.sub(r'"([\w-]+)":(?!.*":)', rf'"\1{also}":', json_part)
    other = re.match(r"as in ([^;,]+)", words.strip())
    if other is None:
        return json_part
    entry = f'"...": "{other[1]}"'
    return json_part.replace("[...]", f"[{{{entry}}}]").replace("{...}", f"{{{entry}}}").replace("...,", f"{entry},")


def inside(value, path):
    """The values in a document, each with the step that leads to it: a key, ``[]`` in a list, ``*`` for a name."""
    if isinstance(value, list):
        yield from (("[]", each) for each in value)
    elif isinstance(value, dict):
        for key, each in value.items():
            name, *also = key.split("|")
            yield "|".join(["*" if path and path[-1] in BY_NAME else name, *also]), each


def told(page, value, path=(), origin=()):
    """The path of each value in a shape, the kinds that it may have, and the shape and the path in it that tell so."""
    for key, each in inside(value, path):
        step, *also = key.split("|")
        if step == "...":
            yield from told(page, page[each], path, (each,))
        else:
            yield (*path, step), {KINDS[type(each)], *also}, (*origin, step)
            yield from told(page, each, (*path, step), (*origin, step))


def seen(value, path=()):
    """The path of each value in a document, and its kind."""
    for step, each in inside(value, path):
        yield (*path, step), KINDS[type(each)]
        yield from seen(each, (*path, step))


def workflow(project, *files, times):
    """Write the project's files; its workflow has a parameter."""
    source = project.jobs(*files).root / "workflow.py"
    source.write_text(source.read_text().replace("tested()", f"tested({times=})"))


def printed(project, cli, env):
    """By heading of the page, what the commands that it is about have printed."""
    found = defaultdict(list)

    def look(heading, *args):
        done = cli(*args, "--json", env=env)
        assert done.stdout, (args, done.stderr)
        shown = [json.loads(line) for line in done.stdout.splitlines()] if "logs" in args else json.loads(done.stdout)
        assert ("error" in shown) == (heading == "Errors"), done.stderr
        found[heading] += shown if isinstance(shown, list) else [shown]
        return shown

    folder, here = project.root, ("--project", project.root)
    workflow(project, BODY, CONFIG, STEPS, times=1)
    first = look("run", "run", folder, "-p", "n=2")["run"]
    look("run", "run", folder, "--only", "show")
    look("run", "stop", first, *here)
    look("run", "status", first, *here)
    (attempt,) = look("status RUN JOB", "status", first, "count", *here)["attempts"]
    found["ran-with.json"] = [json.loads(Path(attempt["folder"], "ran-with.json").read_text())]
    look("render", "render", folder)
    look("plugins", "plugins")
    look("plugins --proof", "plugins", "--proof")
    look("why PLATFORM ENGINE", "why", "local", "python", "--no-load")
    look("why PROJECT JOB", "why", folder, "count", "--no-load")
    look("doctor", "doctor", folder)
    look("config show", "config", "show", folder)
    for name in ("logs", "graph", "artifacts", "report"):
        look(name, name, first, *here)
    workflow(project, CHANGED_BODY, CHANGED_CONFIG, CHANGED_STEPS, times=2)
    second = look("run", "run", folder)["run"]
    look("diff", "diff", first, second, *here)
    look("runs, gc", "runs", *here, "--params")
    look("runs, gc", "gc", "--keep", "0", "--dry-run", *here)
    look("run --detach", "run", folder, "--detach")
    assert cli("status", "latest", *here, "--watch", env=env).returncode == 0
    look("Errors", "run", folder, "--only", "nothing")
    return found


@pytest.mark.slow
def test_the_page_tells_the_keys_and_types_that_are_printed_and_no_others(project, cli, cli_env, tmp_path):
    site = tmp_path / "site"
    (site / "queue_jobs").mkdir(parents=True)
    install(site, "told", {"extensions": {"told": "told"}}, {"told.py": TOLD})
    unproven = {"queue_jobs/__init__.py": "", "queue_jobs/aiflow-certificate.json": "{}"}
    install(site, "queue", {"job_plugins": {"queue.cmd_line": "queue_jobs:Missing"}}, unproven)
    page = shapes()
    unseen = {origin for heading in page for _, _, origin in told(page, page[heading], origin=(heading,))}
    for heading, documents in printed(project, cli, {**cli_env, "PYTHONPATH": str(site)}).items():
        kinds, origins = defaultdict(set), {}
        for path, those, origin in told(page, page[heading], origin=(heading,)):
            kinds[path] |= those
            origins[path] = origin
        opaque = {path for path in kinds if ANYTHING in kinds[path]}
        for path, kind in (each for document in documents for each in seen(document)):
            if not opaque.intersection(path[: length + 1] for length in range(len(path))):
                assert kind in with_whole(kinds[path]), f"{heading}: {'.'.join(path)} is {kind}: not so in docs/json.md"
            unseen.discard(origins.get(path))
    assert {".".join(origin) for origin in unseen if origin[-1] not in "[]*"} == set(), (
        "in docs/json.md, and not printed"
    )


def test_the_types_of_an_attempt_are_those_of_its_record():
    page, wall = shapes(), {"wall_seconds": get_type_hints(AttemptRecord.wall_seconds.fget)["return"]}
    for heading, hints in {
        "attempt": get_type_hints(AttemptRecord) | wall,
        "ran-with.json": get_type_hints(RanWith),
    }.items():
        for (key, *inner), kinds, _ in told(page, page[heading]):
            if not inner:
                assert kinds == {KINDS[each] for each in choices(hints[key])}, key


def choices(hint):
    return get_args(hint) if type(None) in get_args(hint) else [hint]


def with_whole(kinds):
    return kinds | {"a whole number"} if "a number" in kinds else kinds
