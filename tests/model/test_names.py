"""The public names: the design's vocabulary is there, costs nothing to import, and is safe in file systems."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import aiflow_ext as af
from aiflow_ext.model.names import artifact_url, safe_name

VOCABULARY = {
    "AbstractEngine", "AbstractJob", "AbstractJobConfig", "AbstractJobGenerator", "AbstractJobHandler",
    "AbstractJobPlugin", "AbstractJobSubmitter", "AbstractPlatform", "AIGraph", "AINode", "AISubGraph", "BaseJob",
    "BaseJobConfig", "BaseNode", "ControlEdge", "DataEdge", "ExecutionMode", "JobContext", "JobState", "Jsonable",
    "PeriodicConfig", "PluginHost", "ProjectDesc", "register_engine", "register_job_plugin", "register_platform",
    "plugins", "hookimpl", "workflow", "job", "node", "python", "cmd", "output", "run_after", "current_job",
}  # fmt: skip


def test_every_word_of_the_vocabulary_is_importable_from_the_package() -> None:
    code = f"from aiflow_ext import {', '.join(VOCABULARY)}"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(dir(af)) >= VOCABULARY


def test_every_public_name_is_what_its_home_holds() -> None:
    for name in af.__all__:
        assert getattr(af, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = af.Nonsense  # type: ignore[attr-defined]


def test_aliases_are_the_same_objects() -> None:
    assert af.AbstractJob is af.BaseJob
    assert af.AbstractJobConfig is af.BaseJobConfig
    assert issubclass(af.BaseJob, af.BaseNode)


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert brought_by("aiflow_ext") <= {"__future__", "aiflow_ext", "aiflow_ext._lazy"}


def test_the_model_and_the_runner_need_the_standard_library_alone() -> None:
    brought = brought_by("aiflow_ext.model.authoring, aiflow_ext.model.plugin, aiflow_ext.engines.runner")
    assert {name.partition(".")[0] for name in brought} - sys.stdlib_module_names == {"aiflow_ext"}


def brought_by(modules: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); import {modules}; print(*set(sys.modules) - before)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_a_handler_that_overrides_nothing_cannot_tell() -> None:
    handler = af.AbstractJobHandler()
    assert (handler.state(), handler.wait(0), handler.logs(), handler.stop()) == (None, None, None, None)


def test_a_period_is_one_of_cron_and_interval() -> None:
    for wrong in ({}, {"cron": "* * * * *", "interval": 1.0}):
        with pytest.raises(ValueError, match="either cron or interval"):
            af.PeriodicConfig(**wrong)  # type: ignore[arg-type]


@given(st.text(max_size=60))
@example("..")
@example("A" * 300)
def test_a_safe_name_is_a_dns_label_whatever_the_name(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", safe_name(name))
    assert safe_name(safe_name(name)) == safe_name(name)


@given(st.lists(st.text(max_size=20), unique=True, max_size=10))
@example(["train", "Train", "TRAIN", "tr ain", "tr_ain", "train-", "é", "è"])
def test_two_names_never_meet_in_one(names: list[str]) -> None:
    assert len({safe_name(name) for name in names}) == len(names)
    assert len({artifact_url("s3://b/r", name, 1, "n") for name in names}) == len(names)
