"""Secrets: the job has the value, nothing else does."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aiflow_ext.model.errors import SecretError
from aiflow_ext.run.schedule import Schedule

VALUE = "tops3cret-value-that-nobody-prints"
CONFIG = '"*": {platform: local, engine: cmd_line}\njob: {env: {TOKEN: {secret: "env:THE_TOKEN"}}}\n'


def everything_below(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_job_gets_the_value_and_no_file_of_ours_holds_it(project, run_json, cli_env):
    project.jobs("""with af.job("job"): af.cmd('test ${#TOKEN} = 34')""", CONFIG)
    record = run_json(project, env={**cli_env, "THE_TOKEN": VALUE})
    assert record["exit"] == 0
    assert VALUE.encode() not in everything_below(project.root)


def test_a_secret_from_a_file_is_read_when_the_job_is_sent(project, run_json, tmp_path):
    (tmp_path / "token").write_text(VALUE + "\n")
    project.jobs(
        """with af.job("job"): af.cmd('test ${#TOKEN} = 34')""",
        CONFIG.replace("env:THE_TOKEN", f"file:{tmp_path}/token"),
    )
    assert run_json(project)["exit"] == 0
    assert VALUE.encode() not in everything_below(project.root)


def test_render_shows_the_reference_alone(project, cli, cli_env):
    project.jobs('with af.job("job"): af.cmd("true")', CONFIG)
    done = cli("render", project.root, env={**cli_env, "THE_TOKEN": VALUE})
    assert "${secret:env:THE_TOKEN}" in done.stdout
    assert VALUE not in done.stdout + done.stderr


def test_a_secret_whose_source_is_missing_is_named_before_anything_runs(project, cli, cli_env):
    project.jobs('with af.job("job"): af.cmd("true")', CONFIG)
    env = {key: value for key, value in cli_env.items() if key != "THE_TOKEN"}
    for command in ("run", "render"):
        done = cli(command, project.root, env=env)
        assert done.returncode == 3
        assert "TOKEN" in done.stderr
        assert "env:THE_TOKEN" in done.stderr
    assert not (project.root / ".aiflow").exists()


def test_a_secrets_value_in_a_command_is_refused_and_not_shown(project, cli, cli_env):
    project.jobs(f'with af.job("job"): af.cmd("curl -H {VALUE} x")', CONFIG)
    for command in ("run", "render"):
        done = cli(command, project.root, env={**cli_env, "THE_TOKEN": VALUE})
        assert done.returncode == 3
        assert "job.env.TOKEN" in done.stderr
        assert VALUE not in done.stdout + done.stderr
    assert not (project.root / ".aiflow").exists()


def test_a_secret_that_this_platform_cannot_read_is_told_before_anything_runs(project, cli):
    project.jobs('with af.job("job"): af.cmd("true")', CONFIG.replace("env:THE_TOKEN", "kubernetes:name/key"))
    done = cli("run", project.root)
    assert done.returncode == 3
    assert "kubernetes:name/key" in done.stderr
    assert "env:NAME" in done.stderr


def test_a_run_is_not_resumed_without_a_secret_that_a_job_of_it_needs(project, cli, cli_env):
    body = """
        with af.job("first"): af.cmd("true")
        with af.job("job"): af.cmd("true")
        with af.job("last"): af.cmd("false")
        af.run_after("job", "first")
        af.run_after("last", "job")
    """
    project.jobs(body, CONFIG + "first: {}\nlast: {}\n")
    with_it = {**cli_env, "THE_TOKEN": VALUE}
    without = {key: value for key, value in cli_env.items() if key != "THE_TOKEN"}
    assert cli("run", project.root, env=with_it).returncode == 1
    assert cli("resume", "latest", "--failed", "--project", project.root, env=without).returncode == 1  # only last
    for more in (["--from", "first"], ["--from", "job"], ["--from", "job", "--detach"]):
        done = cli("resume", "latest", "--project", project.root, *more, env=without)
        assert done.returncode == 3
        assert "job 'job': variable TOKEN: secret 'env:THE_TOKEN': the variable is not set" in done.stderr
    record = json.loads(cli("status", "latest", "--project", project.root, "--json", env=without).stdout)
    assert [len(job["attempts"]) for job in record["jobs"]] == [1, 1, 2]
    assert (record["state"], record["jobs"][1]["state"]) == ("FAILED", "FINISHED")
    assert cli("resume", "latest", "--from", "job", "--project", project.root, env=with_it).returncode == 1


def test_a_run_whose_driver_died_is_not_taken_up_without_the_secret_of_a_job_that_is_left(project, cli, cli_env):
    project.jobs('with af.job("job"): af.cmd("true")', CONFIG)
    (project.root / "prepare.py").write_text(
        "import sys\nfrom aiflow_ext.run import prepare_run\nprepare_run(sys.argv[1]).close()\n"
    )
    argv = [sys.executable, str(project.root / "prepare.py"), str(project.root)]
    subprocess.run(argv, env={**cli_env, "THE_TOKEN": VALUE}, check=True)
    without = {key: value for key, value in cli_env.items() if key != "THE_TOKEN"}
    assert cli("resume", "latest", "--project", project.root, env=without).returncode == 3
    done = cli("resume", "latest", "--project", project.root, "--json", env={**cli_env, "THE_TOKEN": VALUE})
    assert [len(job["attempts"]) for job in json.loads(done.stdout)["jobs"]] == [1]


def test_a_job_alone_asks_for_its_own_secrets(project, cli, cli_env):
    project.jobs('with af.job("job"): af.cmd("true")\nwith af.job("other"): af.cmd("true")', CONFIG + "other: {}\n")
    env = {key: value for key, value in cli_env.items() if key != "THE_TOKEN"}
    for job, code in ("job", 3), ("other", 0):
        for command in (["render", project.root, job], ["run", project.root, "--only", job]):
            done = cli(*command, env=env)
            assert done.returncode == code, done.stderr
            assert ("env:THE_TOKEN" in done.stderr) == bool(code)
    assert cli("graph", project.root, env=env).returncode == 0  # sends nothing


def test_a_schedule_asks_for_the_secrets_of_the_jobs_that_it_fires(project, monkeypatch):
    monkeypatch.delenv("THE_TOKEN", raising=False)
    body = 'with af.job("job"): af.cmd("true")\nwith af.job("other"): af.cmd("true")'
    project.jobs(body, CONFIG + "other: {periodic: {interval: 1h}}\n")
    assert list(Schedule(str(project.root)).jobs) == ["other"]
    project.jobs(body, CONFIG.replace("job: {", "job: {periodic: {interval: 1h}, ") + "other: {}\n")
    with pytest.raises(SecretError, match="env:THE_TOKEN"):
        Schedule(str(project.root))
