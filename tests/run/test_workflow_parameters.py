"""Parameters of a workflow: set by ``-p``, checked by annotation, they shape the graph."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import aiflow_ext as af

CONFIG = '"*": {platform: local, engine: python}\n'
STEPS = "def given(*args):\n    return list(args)\n"
HEAD = """\
from __future__ import annotations
from typing import Literal, Optional
import aiflow_ext as af
from steps import given

"""


@pytest.fixture
def sweep(project):
    """Writes a workflow whose function has these parameters, and gives them to a step."""

    def write(parameters: str, config: str = CONFIG, body: str = 'with af.job("fit"): af.python(given, x)'):
        project.write(steps_py=STEPS, workflow_yaml=config)
        (project.root / "workflow.py").write_text(f"{HEAD}@af.workflow\ndef sweep({parameters}):\n    {body}\n")
        return project.root

    return write


EACH = 'for x in sizes:\n        with af.job(f"fit-{x}"): af.python(given, x)'


def test_a_parameter_shapes_the_graph_of_run_render_and_graph(cli, sweep) -> None:
    root = sweep("sizes: list[int] = [1, 2]", body=EACH)
    shown = json.loads(cli("render", root, "--json").stdout)
    assert [job["job"] for job in shown] == ["fit-1", "fit-2"]
    more = ("-p", "sizes=[1, 2, 3]")
    assert [*json.loads(cli("graph", root, "--json", *more).stdout)["jobs"]] == ["fit-1", "fit-2", "fit-3"]
    assert [job["job"] for job in json.loads(cli("render", root, "--json", *more).stdout)] == [
        "fit-1",
        "fit-2",
        "fit-3",
    ]
    record = af.run_project(root, params={"sizes": [7]}, check=True)
    assert af.open_run(record.run_id, root).jobs["fit-7"].result == [7]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("int", "3", 3),
        ("float", "1", 1.0),
        ("str", "007", "007"),
        ("str", "1e5", "1e5"),
        ("bool", "true", True),
        ("list[float]", "[1, 2.5]", [1.0, 2.5]),
        ("dict[str, int]", "{a: 1}", {"a": 1}),
        ("Optional[int]", "null", None),
        ("Optional[int]", "4", 4),
        ("Literal['small', 'large']", "large", "large"),
        ("", "[1, a]", [1, "a"]),
    ],
)
def test_a_value_is_given_as_the_type_of_its_annotation(sweep, annotation: str, text: str, value: Any) -> None:
    root = sweep(f"x: {annotation}" if annotation else "x")
    record = af.run_project(root, params=[f"x={text}"], check=True)
    (found,) = af.open_run(record.run_id, root).jobs["fit"].result
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("annotation", "text", "words"),
    [
        ("int", "1.5", "must be a whole number, not the number 1.5"),
        ("int", "true", "must be a whole number, not true"),
        ("bool", "maybe", "must be true or false, not the text 'maybe'"),
        ("list[int]", "[1, a]", "must be a whole number, not the text 'a'"),
        ("Literal['small', 'large']", "larg", "must be one of 'small', 'large', not the text 'larg'"),
    ],
)
def test_a_value_of_another_type_is_a_sentence_with_the_option_and_the_place(
    sweep, annotation: str, text: str, words: str
) -> None:
    root = sweep(f"x: {annotation}")
    with pytest.raises(af.AiflowError) as raised:
        af.run_project(root, params=[f"x={text}"])
    (problem,) = raised.value.problems
    assert re.search(r"the parameter 'x(\[1\])?' of workflow 'sweep' \(.*workflow\.py:6\)", problem.message)
    assert problem.message.endswith(words)
    assert problem.where == f"-p x={text}"
    assert af.runs(root) == []


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("x: int = 'a'", "'x' of workflow 'sweep' must be a whole number, not the text 'a'"),
        ("x: list[int] = (1, 'b')", r"'x\[1\]' of workflow 'sweep' must be a whole number, not the text 'b'"),
        ("x: str = 5", "'x' of workflow 'sweep' must be text, not the number 5"),
    ],
)
def test_a_default_that_does_not_fit_its_annotation_is_a_mistake_of_the_workflow(
    cli, sweep, parameter: str, words: str
) -> None:
    done = cli("render", sweep(parameter))
    assert done.returncode == 3
    assert re.search(rf"workflow\.py:6: the default of the parameter {words}", done.stderr), done.stderr


@pytest.mark.parametrize(
    "parameter",
    ["x: int = None", "x: list[int] = (1, 2)", "x: dict[int, str] = {1: 'a'}", "x: float = 1", "x: object = 1",
     "x: Optional[int] = 4", "x: af.JobState = af.JobState.LOST", "x: 'unknown' = 3"],
)  # fmt: skip
def test_a_default_that_fits_or_that_no_option_could_give_is_taken_as_it_is(cli, sweep, parameter: str) -> None:
    done = cli("render", sweep(parameter))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("opt.rat=1", "did you mean 'opt.rate'"),
        ("rate=1", "did you mean 'opt.rate'"),
        ("opt.deep.layer=1", "did you mean 'opt.deep.layers'"),
        ("net.a=2", "give the whole of the parameter 'net': -p 'net={a: VALUE, ...}'"),
        ("net={a:3}", "write a space after the colon: a: 3"),
        ("sizes=[1,", "what has spaces needs quotes in a shell: -p 'sizes=[1, 2]'"),
        ("sizes=1,2", "write a list: [1,2]"),
    ],
)
def test_a_nested_name_and_a_list_that_are_wrong_get_a_hint(cli, sweep, option: str, hint: str) -> None:
    config = CONFIG + "fit: {properties: {opt: {rate: 0.1, deep: {layers: 3}}}}\n"
    body = "with af.job('fit'): af.python(given, sizes)"
    done = cli("render", sweep("sizes: list[int] = [1], net: dict[str, int] = {'a': 1}", config, body), "-p", option)
    assert done.returncode == 3
    assert hint in done.stderr


def test_mistakes_of_parameters_profile_files_and_settings_are_told_at_once(cli, sweep) -> None:
    done = cli("render", sweep("x: int = 1"), "-p", "x", "--profile", "none", "--config", "gone.yaml",
               "--config", "away.yaml", "--set", "nojob.retries=1", "-p", "unknown=1")  # fmt: skip
    assert done.returncode == 3
    for words in ("-p x: there is no =", "no profile 'none'", "gone.yaml: cannot be read", "away.yaml: cannot be read",
                  "there is no job 'nojob'"):  # fmt: skip
        assert words in done.stderr
    assert "unknown" not in done.stderr  # a file that cannot be read may have that property
    done = cli("render", sweep("x: int = 1"), "-p", "x=a", "--profile", "none", "-p", "lr")
    for words in ("must be a whole number", "no profile 'none'", "-p lr: there is no ="):
        assert words in done.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('af.property("lr") * 2', "stands for a value of the job's config"),
        ('1 - af.property("lr")', "compute in the function that gets it"),
        ('float(af.property("lr"))', "compute in the function that gets it"),
        ("f\"{af.property('lr'):.2f}\"", "compute in the function that gets it"),
        ('af.property("opt")["rate"]', 'af.property("optimizer.rate") names what is in it'),
    ],
)
def test_what_computes_with_a_property_in_the_workflow_is_told_what_it_is(cli, sweep, code: str, words: str) -> None:
    done = cli("render", sweep("x: int = 1", body=f"with af.job('fit'): af.python(given, {code})"))
    assert done.returncode == 3
    assert words in done.stderr
    assert "workflow.py:8" in done.stderr


def test_a_parameter_without_a_default_is_asked_for_with_the_workflows_place(cli, sweep) -> None:
    done = cli("run", sweep("x: int"))
    assert done.returncode == 3
    assert "the parameter 'x' of workflow 'sweep' was not given: a whole number" in done.stderr
    assert "workflow.py:6" in done.stderr
    assert "-p x=VALUE" in done.stderr


def test_a_name_that_is_neither_parameter_nor_property_is_named_with_those_that_are(cli, sweep) -> None:
    done = cli("run", sweep("x: int = 1", CONFIG + "fit: {properties: {lr: 0.1}}\n"), "-p", "nothing=1")
    assert done.returncode == 3
    assert "no job has a property 'nothing', and it is no parameter of the workflow" in done.stderr
    assert "the workflow's parameters are x" in done.stderr


def test_one_option_sets_the_parameter_and_the_property_of_its_name(sweep) -> None:
    root = sweep("x: float = 0.5", CONFIG + "fit: {properties: {x: 0.1}}\n",
                 'with af.job("fit"): af.python(given, x, af.property("x"))')  # fmt: skip
    record = af.run_project(root, params={"x": 2}, check=True)
    assert af.open_run(record.run_id, root).jobs["fit"].result == [2.0, 2]
    found = [(each["name"], each["value"], each["jobs"]) for each in record.provenance["parameters"]]
    assert found == [("x", 2.0, []), ("x", 2, ["fit"])]


def test_a_run_records_its_parameters_and_runs_that_differ_in_them_are_told_apart(cli, sweep) -> None:
    root = sweep("sizes: list[int] = [1, 2]", body=EACH)
    one, other = (af.run_project(root, params=params, check=True).run_id for params in ({}, {"sizes": [3]}))
    shown = json.loads(cli("diff", one, other, "--project", root, "--json").stdout)
    (found,) = shown["parameters"]
    assert found == {"name": "sizes", "values": [[1, 2], [3]], "where": ["workflow.py:6", "-p sizes=[3]"]}
    assert shown["graph"]["added"] == ["fit-3"]
    listed = json.loads(cli("runs", "--project", root, "--params", "--json").stdout)
    assert [run["parameters"]["sizes"] for run in listed] == [[3], [1, 2]]


def test_a_resumed_and_an_updated_run_have_the_parameters_that_were_recorded(sweep) -> None:
    root = sweep("sizes: list[int] = [1, 2]", body=EACH)
    record = af.run_project(root, params={"sizes": [3]}, check=True)
    again = af.run.resume_run(record.run_id, project=str(root), from_job="fit-3")
    assert [*again.jobs] == ["fit-3"]
    (root / "steps.py").write_text("def given(*args):\n    return 'new'\n")
    updated = af.run.resume_run(record.run_id, project=str(root), from_job="fit-3", update=True)
    assert [*updated.jobs] == ["fit-3"]
    opened = af.open_run(record.run_id, root)
    assert opened.jobs["fit-3"].result == "new"


def test_an_entry_for_a_job_that_other_parameters_make_is_no_mistake_and_is_named(sweep, caplog) -> None:
    root = sweep("sizes: list[int] = [1, 2]", f"{CONFIG}fit-2: {{retries: 3}}\n'big-*': {{retries: 1}}\n", EACH)
    assert af.run_project(root, check=True).state == "FINISHED"
    assert "no job of the workflow is called" not in caplog.text
    assert af.run_project(root, params={"sizes": [3]}, check=True).state == "FINISHED"
    assert "workflow.yaml:2: no job of the workflow is called 'fit-2', with these parameters" in caplog.text


def test_jobs_alone_do_not_read_from_runs_that_had_other_parameters(sweep) -> None:
    body = """
    with af.job("a"): x = af.python(given, n)
    with af.job("b"): y = af.python(given, n)
    with af.job("sum"): af.python(given, x, y)
    """
    root = sweep("n: int = 1", body=body)
    whole = af.run_project(root, check=True)
    af.run_project(root, params={"n": 2}, only=["a"], check=True)
    with pytest.raises(af.AiflowError, match=r"does not belong together: .*which had n=") as refused:
        af.run_project(root, only=["sum"])
    assert f"--from-run {whole.run_id}" in str(refused.value)
    assert af.run_project(root, only=["sum"], from_run=whole.run_id, check=True).state == "FINISHED"


def test_a_parameter_that_is_a_secrets_value_is_refused_before_the_run(sweep, monkeypatch) -> None:
    monkeypatch.setenv("HUB", "hunter2-hunter2")
    root = sweep("x: str", CONFIG + "fit: {env: {TOKEN: {secret: 'env:HUB'}}}\n",
                 'with af.job("fit"): af.python(given, len(x))')  # fmt: skip
    for in_process in (False, True):
        with pytest.raises(af.AiflowError, match="stands in what is recorded of the run"):
            af.run_project(root, params={"x": "hunter2-hunter2"}, in_process=in_process)
    assert af.runs(root) == []


def test_a_wrapper_that_gives_the_parameters_itself_is_left_to_do_so(project) -> None:
    project.write(steps_py=STEPS, workflow_yaml=CONFIG)
    (project.root / "workflow.py").write_text(
        HEAD + "import functools\n\ndef with_one(function):\n    @functools.wraps(function)\n"
        "    def wrapper(*args, **kwargs):\n        return function(1)\n    return wrapper\n\n"
        '@af.workflow\n@with_one\ndef sweep(x: int):\n    with af.job("fit"): af.python(given, x)\n'
    )
    assert af.run_project(project.root).state == "FINISHED"
