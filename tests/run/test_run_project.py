"""af.run_project, as scripts and notebooks call it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import aiflow_ext as af

STEPS = """
from pathlib import Path
import aiflow_ext as af

def show():
    Path("shown.txt").write_text(repr(dict(af.current_job().properties)))
    return Path("shown.txt").resolve()

def fail(): raise ValueError("no data today")
"""
CONFIG = '"*": {platform: local, engine: python}\n'


def test_parameters_by_name_reach_a_job_as_they_are(project) -> None:
    given: dict[str, Any] = {"rate": 1e-05, "yes": True, "none": None, "one": "1", "text": "yes: no",
                             "deep": {"a": [1e-05, "no", None]}}  # fmt: skip
    config = f"show: {{properties: {{{', '.join(f'{name}: 0.1' for name in given)}}}}}\n"
    project.jobs('with af.job("show"): af.python(show)', CONFIG + config, STEPS)
    record = af.run_project(project.root, params=given, check=True)
    shown: Path = af.open_run(record.run_id, project.root).jobs["show"].result
    assert shown.read_text() == repr(given)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"lr": float("nan")}, "the parameter 'lr' is no text, number, truth value, list or mapping"),
        ({"lr": {1, 2}}, "the parameter 'lr' is no text, number, truth value, list or mapping"),
        ({"a=b": 1}, "the parameter 'a=b' is no name of a property"),
        ({"rate": 1}, "no job has a property 'rate'"),
        ("lr=0.2", "params is a list of texts"),
    ],
    ids=str,
)
def test_a_parameter_that_cannot_be_one_is_refused_before_the_run(project, params: Any, words: str) -> None:
    project.jobs('with af.job("show"): af.python(show)', CONFIG + "show: {properties: {lr: 0.1}}\n", STEPS)
    with pytest.raises(af.AiflowError, match=words):
        af.run_project(project.root, params=params)
    assert af.runs(project.root) == []


def test_a_run_that_fails_raises_with_the_jobs_words_and_the_run_where_that_is_asked_for(project) -> None:
    project.jobs('with af.job("fit"): af.python(fail)\nwith af.job("after"): af.python(show)\n'
                 'af.run_after("after", "fit")', CONFIG, STEPS)  # fmt: skip
    with pytest.raises(af.RunFailedError) as raised:
        af.run_project(project.root, check=True)
    error = raised.value
    assert f"job 'fit' of run {error.run_id} is FAILED: ValueError: no data today" in str(error)
    assert error.record.jobs["after"].state == "SKIPPED"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_without_check_a_run_that_fails_is_a_record_and_records_are_shown_in_a_line(project) -> None:
    project.jobs('with af.job("fit"): af.python(fail)', CONFIG, STEPS)
    record = af.run_project(project.root)
    assert repr(record) == f"<run {record.run_id}: FAILED, 1 job>"
    assert repr(record.jobs["fit"]) == "<job fit: FAILED>"
    assert repr(record.jobs["fit"].attempts) == "[<attempt 1 of fit: FAILED>]"
