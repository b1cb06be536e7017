"""Some jobs of a workflow alone: what they read of earlier runs belongs together, and it is told where it came from."""

from __future__ import annotations

import json
import shutil

import pytest

import aiflow_ext as af
from aiflow_ext.model.errors import ConfigError
from aiflow_ext.run import prepare_run

STEPS = """
    def seed(): return af.current_job().properties["seed"]
    def split(): return {"split": seed()}
    def fit(split): return {"fit": seed(), "from": split}
    def tune(): return {"tune": seed()}
    def evaluate(fit, split, tune): print(fit["from"] == split, tune["tune"] == split["split"], seed())
"""


@pytest.fixture(autouse=True)
def own_list(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def seeds(project):
    """A fit reads a split, tune reads nothing, and the evaluation reads all three; each has a seed."""
    steps = "import aiflow_ext as af\n" + "\n".join(line.strip() for line in STEPS.splitlines())
    return project.jobs(
        """
        with af.job("split"): one = af.python(split)
        with af.job("fit"): two = af.python(fit, one)
        with af.job("tune"): three = af.python(tune)
        with af.job("evaluate"): af.python(evaluate, two, one, three)
        """,
        '"*": {platform: local, engine: python, properties: {seed: 1}}\nsplit: {}\nfit: {}\ntune: {}\nevaluate: {}\n',
        steps,
    )


def run(seeds, *only, **options):
    record = af.run_project(seeds.root, only=only, **options)
    assert record.state == "FINISHED"
    return record


def told(record):
    return {(each["job"], each["reads"]): each["run"] for each in record.summary()["inputs"]}


def said(seeds, record):
    return (seeds.root / f".aiflow/runs/{record.run_id}/jobs/evaluate/1/stdout").read_text().split()


def test_what_was_made_from_something_else_is_refused_with_the_runs_named(seeds, cli):
    whole = run(seeds)
    assert told(whole) == {}
    other = run(seeds, "split", params=["seed=2"])
    done = cli("run", seeds.root, "--only", "evaluate")
    assert done.returncode == 3
    assert f"'fit' of run {whole.run_id} was made from 'split' of run {whole.run_id}" in done.stderr
    assert f"it reads 'split' of run {other.run_id}" in done.stderr
    assert f"--from-run {whole.run_id}" in done.stderr
    assert sorted(seeds.root.glob(".aiflow/runs/*")) == sorted(
        seeds.root / ".aiflow" / "runs" / each.run_id for each in (whole, other)
    )


def test_a_run_that_is_named_gives_everything_and_that_is_reported_and_on_record(seeds, cli):
    whole = run(seeds)
    run(seeds, "split", params=["seed=2"])
    done = cli("run", seeds.root, "--only", "evaluate", "--from-run", whole.run_id)
    assert done.returncode == 0, done.stderr
    assert f"evaluate reads fit, split, tune of run {whole.run_id}\n" in done.stdout
    assert f"evaluate reads fit, split, tune of run {whole.run_id}" in cli("status", "latest").stdout
    inputs = json.loads(cli("status", "latest", "--json").stdout)["inputs"]
    assert {"job": "evaluate", "reads": "fit", "run": whole.run_id, "attempt": 1} in inputs
    assert len(inputs) == 3


def test_chains_of_single_jobs_belong_together_where_each_was_made_from_the_last(seeds):
    first = run(seeds, params=["seed=2"])
    split = run(seeds, "split", params=["seed=2"])
    fit = run(seeds, "fit", params=["seed=2"])
    assert told(fit) == {("fit", "split"): split.run_id}
    last = run(seeds, "evaluate")
    assert told(last) == {
        ("evaluate", "fit"): fit.run_id, ("evaluate", "split"): split.run_id, ("evaluate", "tune"): first.run_id
    }  # fmt: skip
    assert said(seeds, last)[0] == "True"
    # A run that is named also gives what it has read itself.
    again = run(seeds, "evaluate", from_run=last.run_id)
    assert told(again) == told(last)


def test_what_is_made_in_the_same_run_belongs_together_too(seeds):
    run(seeds)
    with pytest.raises(ConfigError, match="'split' is made in this run") as error:
        run(seeds, "split", "evaluate")
    assert "add 'fit' to --only" in str(error.value)
    both = run(seeds, "split", "fit", "evaluate")
    assert set(told(both)) == {("evaluate", "tune")}


def test_a_parameter_that_jobs_share_has_one_value_in_what_is_read_together(seeds):
    whole = run(seeds)
    tuned = run(seeds, "tune", params=["seed=3"])
    with pytest.raises(ConfigError) as error:
        run(seeds, "evaluate")
    assert f"'tune' of run {tuned.run_id}, which had seed=3" in str(error.value).replace(" is of ", " of ")
    assert whole.run_id in str(error.value)
    again = run(seeds, "tune")
    assert told(run(seeds, "evaluate"))["evaluate", "tune"] == again.run_id


def test_another_attempt_of_the_same_run_is_something_else(seeds, cli):
    whole = run(seeds)
    fit = run(seeds, "fit")
    assert cli("resume", whole.run_id, "--from", "split").returncode == 0
    with pytest.raises(ConfigError) as error:
        run(seeds, "evaluate")
    assert f"'fit' of run {fit.run_id} was made from 'split' of run {whole.run_id}\n" in str(error.value)
    assert f"'split' of run {whole.run_id} (attempt 2)" in str(error.value)


def test_what_a_run_was_made_from_is_known_after_that_is_gone(seeds, cli):
    first, split = run(seeds), run(seeds, "split")
    fit = run(seeds, "fit")
    third = run(seeds, "split")
    shutil.rmtree(seeds.root / ".aiflow" / "artifacts" / split.run_id)
    assert first.run_id in cli("gc", "--keep", "2").stdout
    run(seeds, "tune")
    with pytest.raises(ConfigError) as error:
        run(seeds, "evaluate")
    assert f"'fit' of run {fit.run_id} was made from 'split' of run {split.run_id}" in str(error.value)
    assert third.run_id in str(error.value)


def test_gc_keeps_what_a_run_that_has_not_ended_reads(seeds, cli):
    whole = run(seeds)
    waits = prepare_run(seeds.root, only=["evaluate"])
    waits.close()
    assert whole.run_id not in cli("gc", "--keep", "0").stdout
    assert cli("resume", waits.record.run_id).returncode == 0
    assert whole.run_id in cli("gc", "--keep", "0").stdout


def test_a_project_that_was_moved_still_finds_what_its_run_reads(seeds, cli, tmp_path):
    run(seeds)
    waits = prepare_run(seeds.root, only=["evaluate"])
    waits.close()
    seeds.root.rename(tmp_path / "moved")
    done = cli("resume", waits.record.run_id, "--project", tmp_path / "moved")
    assert done.returncode == 0, done.stderr


def test_a_run_is_not_resumed_where_what_it_reads_of_an_earlier_one_is_gone(seeds, cli):
    whole = run(seeds)
    waits = prepare_run(seeds.root, only=["evaluate"])
    waits.close()
    shutil.rmtree(seeds.root / ".aiflow" / "artifacts" / whole.run_id)
    done = cli("resume", waits.record.run_id)
    assert done.returncode == 3
    assert "what job 'evaluate' reads of an earlier run is gone" in done.stderr
    assert json.loads(cli("status", "latest", "--json").stdout)["jobs"][0]["attempts"] == []


def test_a_job_alone_needs_nothing_that_other_jobs_need_of_this_machine(project, cli):
    """Neither the plugins of the others, nor what those look for while they generate a job."""
    broken = """
        import aiflow_ext as af
        from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

        class Far(af.AbstractPlatform):
            @staticmethod
            def platform(): return "far"

        class FarPlugin(LocalCmdLineJobPlugin):
            def platform(self): return Far
            def generate(self, sub_graph, project_desc): raise OSError("no kubeconfig")

        af.register_job_plugin(FarPlugin())
    """
    body = """
        with af.job("missing"): one = af.cmd("echo 1 > {out}", out=af.output("1"))
        with af.job("raises"): af.cmd("true")
        with af.job("job"): af.cmd("echo alone")
        with af.job("reads"): af.cmd("cat {one}", one=one)
    """
    config = (
        '"*": {platform: local, engine: cmd_line}\nmissing: {platform: nowhere}\nraises: {platform: far, retries: 1}\n'
    )
    project.jobs(body, config).write(steps_py=broken)
    for command in (["run", project.root, "--only", "job"], ["render", project.root, "job"], ["graph", project.root]):
        done = cli(*command)
        assert done.returncode == 0, done.stderr
    # What such a job reads of them is still looked for, and their mistakes are still told.
    reads = cli("run", project.root, "--only", "reads")
    assert "job 'missing' has not finished in any earlier run" in reads.stderr
    unknown = cli("run", project.root, "--only", "mising")
    assert "did you mean 'missing'?" in unknown.stderr
    assert cli("run", project.root, "--only", "missing").returncode == 4
    assert "no kubeconfig" in cli("run", project.root, "--only", "raises").stderr
    project.jobs(body, config.replace("retries: 1", "retries: often"))
    mistaken = cli("run", project.root, "--only", "job")
    assert mistaken.returncode == 3
    assert "'retries' must be" in mistaken.stderr
