"""Properties of a job as arguments of its functions: ``af.property``."""

from __future__ import annotations

import re

import pytest

import aiflow_ext as af

CONFIG = '"*": {platform: local, engine: python}\n'
STEPS = "def given(*args, **kwargs):\n    return [args, kwargs]\n"
FIT = """\
fit:
  properties: {lr: 0.1, sizes: [1, two], text: "7", deep: {rate: 1e-3, on: true}, "a.b": 5}
"""


def test_a_property_is_an_argument_of_its_own_type_and_p_is_laid_over_it(project) -> None:
    call = ('af.python(given, af.property("sizes"), [af.property("deep.rate")], lr=af.property("lr"), '
            'more={"text": af.property("text"), "deep": af.property("deep"), "ab": af.property("a.b")})')  # fmt: skip
    project.jobs(f'with af.job("fit"): {call}', CONFIG + FIT, STEPS)
    record = af.run_project(project.root, params={"lr": 7}, check=True)
    assert af.open_run(record.run_id, project.root).jobs["fit"].result == [
        ([1, "two"], [0.001]), {"lr": 7, "more": {"text": "7", "deep": {"rate": 0.001, "on": True}, "ab": 5}},
    ]  # fmt: skip


def test_a_property_is_a_keyword_of_a_command(project) -> None:
    call = 'af.cmd("echo {lr} {sizes} > {out}", lr=af.property("lr"), sizes=af.property("sizes"), out=af.output("out"))'
    project.jobs(f'with af.job("fit"): {call}', CONFIG.replace("python", "cmd_line") + FIT)
    record = af.run_project(project.root, check=True)
    assert af.open_run(record.run_id, project.root).jobs["fit"].result.read_text() == '0.1 [1, "two"]\n'


@pytest.mark.parametrize("name", ["rl", "deep.nothing", "lr.deeper"])
def test_a_property_that_the_job_lacks_is_named_with_the_line_of_the_call(project, name: str) -> None:
    project.jobs(f'with af.job("fit"):\n    af.python(given, af.property("{name}"))', CONFIG + FIT, STEPS)
    with pytest.raises(af.AiflowError) as raised:
        af.run_project(project.root)
    (problem,) = raised.value.problems
    assert problem.message == f"node 'given' takes the property '{name}', which job 'fit' lacks"
    assert re.search(r"workflow\.py:7$", str(problem.where))


@pytest.mark.parametrize(
    ("used", "words"),
    [
        ('f"{af.property("lr")}"', "the property 'lr' was made a text"),
        ('1 if af.property("lr") else 2', "the property 'lr' was asked whether it is true"),
        ("af.property(3)", "a property's name is a non-empty string, not 3"),
    ],
)
def test_a_property_has_no_value_while_the_graph_is_built(project, used: str, words: str) -> None:
    used = used.replace('{af.property("lr")}', "{af.property('lr')}")
    project.jobs(f'with af.job("fit"): af.python(given, {used})', CONFIG + FIT, STEPS)
    with pytest.raises(af.AiflowError, match=words):
        af.run_project(project.root)


def test_a_star_import_keeps_the_built_in_property() -> None:
    names: dict[str, object] = {}
    exec("from aiflow_ext import *", names)
    assert "property" not in names
    assert "job" in names
