"""What jobs ask of the machine: cpu, memory and GPUs, and when a job that asks for them starts."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tracemalloc

import pytest

from aiflow_ext_local.machine import gpus
from tests.run.test_interrupts import start
from tests.run.test_observe import gate_of

LOCAL = '"*": {platform: local, engine: cmd_line, timeout: 300}\n'
MEETS = "touch {0}/$AIFLOW_JOB; while test $(ls {0} | wc -l) -lt {1}; do sleep 0.05; done"
FAR = """
from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin
import aiflow_ext.plugin as af


class Far(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "far"


class Config(af.BaseJobConfig):
    def __init__(self, memory: int = 5, **rest):
        super().__init__(**rest)
        self.own = memory


class FarPlugin(LocalCmdLineJobPlugin):
    def platform(self):
        return Far


class TakesMemory(FarPlugin):
    def job_config_type(self):
        return Config

    @af.hookimpl
    def render(self, job):
        return af.Request("far", {"memory": job.job_config.memory, "own": job.job_config.own})
"""


@pytest.fixture
def machine(cli_env):
    """Sets what local jobs may use of the machine."""

    def say(text: str) -> None:
        cli_env["AIFLOW_MACHINE"] = text

    return say


def spans_of(record):
    """When each job's attempts ran: (start, end)."""
    return {
        name: [(each["started_at"], each["ended_at"]) for each in job["attempts"]]
        for name, job in record["jobs"].items()
    }


def one_after_the_other(spans) -> bool:
    return all(before[1] <= after[0] for before, after in itertools.pairwise(sorted(spans)))


def finished(record) -> bool:
    return {job["state"] for job in record["jobs"].values()} == {"FINISHED"}


@pytest.mark.parametrize(("has", "asks"), [("memory=100Mi", "memory: 60Mi"), ("cpu=0.5", "cpu: 300m")])
@pytest.mark.parametrize("options", [(), ("--jobs", "8")])
def test_jobs_that_do_not_fit_beside_each_other_run_one_after_the_other(project, run_json, machine, has, asks, options):
    machine(has)
    project.jobs('for n in range(3):\n    with af.job(f"j{n}"): af.cmd("true")', LOCAL + f'"j*": {{{asks}}}\n')
    project.write(project_yaml="jobs: {local: 8}\n")
    record = run_json(project, *options)
    assert finished(record)
    assert one_after_the_other(span for spans in spans_of(record).values() for span in spans)


@pytest.mark.parametrize(("has", "asks"), [("memory=100Mi", "memory: 50Mi"), ("cpu=0.6", "cpu: 0.3")])
def test_jobs_that_fit_beside_each_other_run_together(project, run_json, machine, tmp_path, has, asks):
    machine(has)
    (tmp_path / "met").mkdir()
    meets = MEETS.format(tmp_path / "met", 2)
    project.jobs(f'for n in range(2):\n    with af.job(f"j{{n}}"): af.cmd({meets!r})', LOCAL + f'"j*": {{{asks}}}\n')
    project.write(project_yaml="jobs: {local: 8}\n")
    assert finished(run_json(project))


def test_a_large_job_is_not_overtaken_by_small_ones_and_holds_up_none_that_asks_for_nothing(
    project, run_json, machine, tmp_path
):
    machine("memory=100Mi")
    (tmp_path / "met").mkdir()
    meets = MEETS.format(tmp_path / "met", 2)
    project.jobs(
        f"""
        with af.job("first"): af.cmd({meets!r})
        with af.job("large"): af.cmd("true")
        with af.job("small"): af.cmd("true")
        with af.job("free"): af.cmd({meets!r})
        """,
        LOCAL + "first: {memory: 60Mi}\nlarge: {memory: 90Mi}\nsmall: {memory: 20Mi}\nfree: {}\n",
    )
    project.write(project_yaml="jobs: {local: 8}\n")
    record = run_json(project)
    assert finished(record)
    ran = {name: spans[0] for name, spans in spans_of(record).items()}
    assert ran["first"][1] <= ran["large"][0]
    assert ran["large"][1] <= ran["small"][0]


def test_a_retry_waits_until_it_fits_too(project, run_json, machine):
    machine("memory=100Mi")
    project.jobs(
        """
        with af.job("fails"): af.cmd("test $AIFLOW_ATTEMPT = 2")
        with af.job("other"): af.cmd("sleep 1")
        """,
        LOCAL + '"*i*": {memory: 60Mi, retries: 1, retry_delay: 50ms}\nother: {memory: 60Mi}\n',
    )
    record = run_json(project)
    assert finished(record)
    spans = [span for spans in spans_of(record).values() for span in spans]
    assert len(spans) == 3
    assert one_after_the_other(spans)


def test_a_resumed_run_counts_what_still_runs(project, cli, cli_env, machine):
    machine("memory=100Mi")
    project.jobs(
        """
        with af.job("runs"): af.cmd("cd $AIFLOW_CHECKPOINT_DIR; mkfifo gate; read x < gate")
        with af.job("waits"): af.cmd("true")
        with af.job("free"): af.cmd("echo go on > $AIFLOW_CHECKPOINT_DIR/../runs/gate")
        """,
        LOCAL + "runs: {memory: 60Mi}\nwaits: {memory: 60Mi}\nfree: {}\n",
    )
    run = start(project, cli_env, "--jobs", "1", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate_of(project, "runs")
    run.kill()
    run.wait()
    done = cli("resume", "latest", "--project", project.root, "--jobs", "8", "--json")
    record = {"jobs": {job["name"]: job for job in json.loads(done.stdout)["jobs"]}}
    assert finished(record)
    ran = {name: spans[0] for name, spans in spans_of(record).items()}
    assert ran["runs"][1] <= ran["waits"][0]


def test_a_stream_job_does_not_keep_one_from_starting_that_can_never_fit_beside_it(project, run_json, machine):
    machine("memory=100Mi")
    project.jobs(
        f"""
        with af.job("serves"): af.cmd("sleep 1000")
        with af.job("large"): af.cmd("{sys.executable} -m aiflow_ext stop latest serves --project {project.root}")
        af.run_after("large", "serves", when="running")
        """,
        LOCAL + "serves: {memory: 60Mi, exec_mode: STREAM}\nlarge: {memory: 60Mi}\n",
    )
    record = run_json(project)
    assert {name: job["state"] for name, job in record["jobs"].items()} == {"serves": "STOPPED", "large": "FINISHED"}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("memory: 200Mi", "job 'a' asks for 200Mi of memory; this machine has 100Mi of memory"),
        ("cpu: 1.5", "job 'a' asks for 1500m cpu; this machine has 1 cpu"),
        ("memory: 1024", "'memory' must be a size with its unit, such as 1024Mi, not the number 1024"),
        ("memory: 4gb", "'memory' must be a size with its unit, such as 4Gi, not the text '4gb'"),
        ("memory: 0Mi", "'memory' must be more than nothing"),
        ("cpu: two", "'cpu' must be a number of cores such as 2 or 0.5"),
        ("cpu: -1", "'cpu' must be a number of cores"),
        ("cpu: 0", "'cpu' must be at least a thousandth of a core"),
        ("gpu: 3", "job 'a' asks for 3 gpu; this machine has 2 gpu"),
        ("gpu: 0.5", "'gpu' must be a whole number"),
        ("gpu: -1", "'gpu' must be 0 or more"),
        (f"gpu: {10**400}", "'gpu' is more devices than exist"),
    ],
)
@pytest.mark.parametrize("command", ["render", "run"])
def test_what_is_no_amount_or_larger_than_the_machine_is_refused_with_its_line(
    project, cli, cli_env, machine, command, key, words
):
    machine("cpu=1,memory=100Mi")
    cli_env["CUDA_VISIBLE_DEVICES"] = "0,1"
    project.jobs('with af.job("a"): af.cmd("true")', LOCAL + f"a:\n  {key}\n")
    done = cli(command, project.root)
    assert done.returncode == 3
    assert words in done.stderr
    assert "workflow.yaml:3" in done.stderr


def test_a_block_of_the_platform_overrides_what_a_job_asks_for(project, cli, machine):
    machine("memory=100Mi")
    config = "a: {memory: 200Gi, platforms: {local: {memory: 50Mi}}}\n"
    project.jobs('with af.job("a"): af.cmd("true")', LOCAL + config)
    assert cli("render", project.root).returncode == 0


def test_a_platform_that_cannot_give_what_a_job_asks_for_says_so_before_the_run(project, cli, stranger):
    stranger("far", FAR, {"far.cmd_line": "FarPlugin"})
    project.jobs('with af.job("a"): af.cmd("true")', '"*": {engine: cmd_line}\na:\n  platform: far\n  memory: 1Gi\n')
    done = cli("render", project.root)
    assert done.returncode == 3
    assert "job 'a' asks for memory, which platform 'far' does not give to jobs" in done.stderr
    assert "workflow.yaml:4" in done.stderr
    assert "platforms: {NAME: {memory: ...}}" in done.stderr


def test_a_plugin_whose_config_takes_the_key_gives_it_to_jobs_and_finds_bytes(project, cli, stranger):
    stranger("far", FAR, {"far.cmd_line": "TakesMemory"})
    project.jobs('with af.job("a"): af.cmd("true")', "a: {engine: cmd_line, platform: far, memory: 1.5Ki}\n")
    done = cli("render", project.root, "--json")
    (shown,) = json.loads(done.stdout)
    assert shown["content"] == {"memory": 1536, "own": 1536}


@pytest.mark.parametrize("said", ["memory", "memory=lots", "disk=4Gi", "cpu=0", "gpu=many"])
def test_a_machine_that_is_said_in_no_units_is_named(project, cli, machine, said):
    machine(said)
    project.jobs('with af.job("a"): af.cmd("true")', LOCAL + "a: {memory: 1Mi}\n")
    done = cli("run", project.root)
    assert done.returncode == 3
    assert "AIFLOW_MACHINE" in done.stderr


SAYS = 'echo "got $CUDA_VISIBLE_DEVICES"; '


def gpus_of(project, *jobs):
    """The GPUs that each job has found in its environment."""
    return [project.log(job).decode().removeprefix("got ").strip() for job in jobs]


def test_each_job_has_gpus_of_its_own(project, run_json, cli_env, tmp_path):
    cli_env["CUDA_VISIBLE_DEVICES"] = "GPU-a,GPU-b"
    (tmp_path / "met").mkdir()
    meets = SAYS + MEETS.format(tmp_path / "met", 2)
    project.jobs(
        f"""
        with af.job("one"): af.cmd({meets!r})
        with af.job("other"): af.cmd({meets!r})
        with af.job("both"): af.cmd({SAYS!r})
        with af.job("last"): af.cmd({SAYS!r})
        with af.job("idle"): af.cmd({SAYS!r})
        """,
        LOCAL + "one: {gpu: 1}\nother: {gpu: 1}\nboth: {gpu: 2}\nlast: {gpu: 1}\nidle: {gpu: 0}\n",
    )
    project.write(project_yaml="jobs: {local: 8}\n")
    record = run_json(project)
    assert finished(record)
    assert sorted(gpus_of(project, "one", "other")) == ["GPU-a", "GPU-b"]
    assert gpus_of(project, "both") == ["GPU-a,GPU-b"]
    assert gpus_of(project, "last") == ["GPU-a"]
    assert record["jobs"]["both"]["attempts"][0]["gpus"] == "GPU-a,GPU-b"
    assert record["jobs"]["idle"]["attempts"][0]["gpus"] is None
    ran = {name: spans[0] for name, spans in spans_of(record).items()}
    assert max(ran["one"][1], ran["other"][1]) <= ran["both"][0]
    assert ran["both"][1] <= ran["last"][0]


def test_a_resumed_run_gives_nobody_the_gpu_of_a_job_that_still_runs(project, cli, cli_env):
    cli_env["CUDA_VISIBLE_DEVICES"] = "0,1"
    project.jobs(
        f"""
        with af.job("runs"): af.cmd({SAYS + "cd $AIFLOW_CHECKPOINT_DIR; mkfifo gate; read x < gate"!r})
        with af.job("next"): af.cmd({SAYS + "echo go on > $AIFLOW_CHECKPOINT_DIR/../runs/gate"!r})
        """,
        LOCAL + "runs: {gpu: 1}\nnext: {gpu: 1}\n",
    )
    run = start(project, cli_env, "--jobs", "1", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate_of(project, "runs")
    run.kill()
    run.wait()
    assert cli("resume", "latest", "--project", project.root, "--jobs", "8").returncode == 0
    assert gpus_of(project, "runs", "next") == ["0", "1"]


@pytest.mark.parametrize(("allowed", "names"), [("", "GPU-x,GPU-y"), ("gpu=1", "GPU-x")])
def test_the_gpus_of_the_machine_are_those_that_nvidia_smi_shows_when_it_is_asked_once(
    project, run_json, cli_env, tmp_path, machine, allowed, names
):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho asked >> $0.log\necho GPU-x\nprintf '\\377\\n'\necho GPU-y\n")
    tool.chmod(0o755)
    cli_env.pop("CUDA_VISIBLE_DEVICES", None)
    cli_env["PATH"] = f"{tool.parent}:{cli_env['PATH']}"
    machine(allowed)
    project.jobs(f'with af.job("all"): af.cmd({SAYS!r})', LOCAL + f"all: {{gpu: {names.count('G')}}}\n")
    assert finished(run_json(project))
    assert gpus_of(project, "all") == [names]
    assert tool.with_name("nvidia-smi.log").read_text() == "asked\n"


def test_a_nvidia_smi_that_prints_without_an_end_is_ended(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec yes GPU-x\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("AIFLOW_MACHINE", raising=False)
    tracemalloc.start()
    try:
        assert "GPU-x" not in gpus()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")


def test_a_machine_without_gpus_says_so(project, cli, cli_env):
    cli_env["CUDA_VISIBLE_DEVICES"] = ""
    project.jobs('with af.job("a"): af.cmd("true")', LOCAL + "a: {gpu: 1}\n")
    done = cli("render", project.root)
    assert done.returncode == 3
    assert "job 'a' asks for 1 gpu; this machine has no gpu" in done.stderr


def test_render_shows_that_gpus_are_given_at_the_start(project, cli, cli_env):
    cli_env["CUDA_VISIBLE_DEVICES"] = "0"
    project.jobs('with af.job("a"): af.cmd("true")', LOCAL + "a: {gpu: 1}\n")
    (shown,) = json.loads(cli("render", project.root, "--json").stdout)
    assert shown["content"]["env"]["CUDA_VISIBLE_DEVICES"] == "${gpus}"
