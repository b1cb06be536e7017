"""A project's folder and its project.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aiflow_ext.model.errors import ConfigError, Problem, ProjectError
from aiflow_ext.translate.project import load_project

Make = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.chdir(tmp_path)

    def make(**files: str) -> Path:
        folder = tmp_path / "digits"
        folder.mkdir(exist_ok=True)
        for name, text in {"workflow_py": "", **files}.items():
            (folder / name.replace("_", ".")).write_text(text)
        return Path("digits")

    return make


def test_a_folder_with_a_workflow_is_a_project(project: Make) -> None:
    found = load_project(project())
    root = Path.cwd() / "digits"
    assert (found.name, found.root, found.workflow_py, found.workflow_yaml) == (
        "digits",
        root,
        root / "workflow.py",
        None,
    )
    assert (found.desc.root, found.desc.python_paths) == (str(root), (".",))
    assert found.desc.artifacts == ""
    assert (found.plugins.allow, found.plugins.deny, dict(found.plugins.pins)) == ((), (), {})


def test_everything_that_project_yaml_says_is_read(project: Make) -> None:
    folder = project(
        workflow_yaml="a: {}\n",
        project_yaml="""\
name: numbers
python_paths: [., src/]
artifacts: s3://bucket/numbers
exclude: ["*.csv", data]
resources: {labels: labels.txt}
plugins:
  allow: ["kind:platform"]
  deny: [evil]
  pins: {kubernetes.python: aiflow-ext-kubernetes}
""",
    )
    (folder / "src").mkdir()
    (folder / "labels.txt").touch()
    found = load_project(folder)
    assert found.name == found.desc.name == "numbers"
    assert found.desc.python_paths == (".", "src")
    assert found.desc.artifacts == "s3://bucket/numbers"
    assert found.desc.exclude == ("*.csv", "data")
    assert found.desc.resources == {"labels": str(found.root / "labels.txt")}
    assert (found.plugins.allow, found.plugins.deny) == (("kind:platform",), ("evil",))
    assert found.plugins.pins == {"kubernetes.python": "aiflow-ext-kubernetes"}
    assert found.workflow_yaml == found.root / "workflow.yaml"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("out", "{root}/out"), ("../out", "{parent}/out"), ("file:///x", "file:///x"), ("a::b", "a::b"), ("/x/y", "/x/y")],
)
def test_a_local_artifacts_path_is_the_projects_not_the_current_folders(
    project: Make, given: str, expected: str
) -> None:
    found = load_project(project(project_yaml=f"artifacts: {given}\n"))
    assert found.desc.artifacts == expected.format(root=found.root, parent=found.root.parent)


@pytest.mark.parametrize("name", ["workflow.py", "workflow.yaml", "project.yaml"])
def test_a_file_of_the_project_stands_for_its_folder(project: Make, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(workflow_yaml="", project_yaml="")
    assert load_project(folder / name).name == "digits"
    monkeypatch.chdir(folder)
    assert load_project(name).name == "digits"
    assert load_project(".").name == "digits"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("digist", "there is no such folder\n    did you mean 'digits'"),
        ("nowhere", "there is no such folder"),
        ("digits/steps.py", "this is a file, not a project's folder"),
        ("empty", "this folder has no workflow.py\n    write one"),
        (".", "this folder has no workflow.py\n    name one of the projects in it: digits"),
    ],
)
def test_what_is_no_project_is_reported_with_what_to_do(project: Make, given: str, words: str) -> None:
    folder = project(steps_py="")
    (folder.parent / "empty").mkdir()
    with pytest.raises(ProjectError) as error:
        load_project(given)
    assert words in str(error.value)
    assert error.value.problems[0].where == given


@pytest.mark.parametrize("given", ["digits", "elsewhere/digits"])
def test_who_is_in_the_project_already_is_told_so(project: Make, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project())
    with pytest.raises(ProjectError, match="the current folder is called so, and is a project"):
        load_project(given)


@pytest.mark.parametrize("name", ["workflow", "project"])
def test_a_yml_is_not_silently_left_out(project: Make, name: str) -> None:
    folder = project()
    (folder / f"{name}.yml").touch()
    with pytest.raises(ProjectError, match=f"mv digits/{name}.yml digits/{name}.yaml"):
        load_project(folder)


def test_everything_wrong_in_project_yaml_is_reported_at_once(project: Make) -> None:
    folder = project(
        project_yaml="""\
nam: x
name: 3
python_paths: [src, ../lib, workflow.py]
exclude: "*.csv"
resources: {a: missing.txt}
plugins:
  alow: [x]
  pins: [x]
name: y
"""
    )
    with pytest.raises(ConfigError) as error:
        load_project(folder)
    found = sorted((problem.where or "", problem.message) for problem in error.value.problems)
    assert [(where.removeprefix("digits/project.yaml:"), message) for where, message in found] == [
        ("1", "'nam' is not a key of project.yaml"),
        ("3", "python path '../lib' is outside the project"),
        ("3", "python path 'src' is not there"),
        ("3", "python path 'workflow.py' is a file"),
        ("4", "'exclude' must be a list of text, not the text '*.csv'"),
        ("5", "resource 'a' is not there: missing.txt"),
        ("7", "'plugins.alow' is not a key of this mapping"),
        ("8", "'plugins.pins' must be a mapping, not a list"),
        ("9", "the key 'name' is given twice, first at digits/project.yaml:2"),
    ]


def test_problems_can_be_gathered_with_those_of_workflow_yaml(project: Make) -> None:
    problems: list[Problem] = []
    found = load_project(project(project_yaml="nam: x\nexclude: [a]\n"), problems)
    assert found.desc.exclude == ("a",)
    assert len(problems) == 1


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "name:\nexclude:\n"])
def test_an_empty_project_yaml_is_all_defaults(project: Make, text: str) -> None:
    assert load_project(project(project_yaml=text)).name == "digits"


def test_a_workflow_yaml_that_is_a_folder_is_not_taken_for_none(project: Make) -> None:
    folder = project()
    (folder / "workflow.yaml").mkdir()
    assert load_project(folder).workflow_yaml is not None
