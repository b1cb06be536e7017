"""Secrets: the job has the value, nothing else does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dist_info import install

from aiflow_ext.model.errors import SecretError
from aiflow_ext.run.operations.schedule import Schedule

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin-nohup" / "aiflow_ext_nohup.py"
VALUE = "tops3cret-value-that-nobody-prints"
CONFIG = '"*": {platform: local, engine: cmd_line}\njob: {env: {TOKEN: {secret: "env:THE_TOKEN"}}}\n'


SOURCES = """
from pathlib import Path
from aiflow_ext.plugin import AbstractSecretSource, SecretError, UnreachableError


class Vault(AbstractSecretSource):
    def problem(self, rest):
        return None if "/" in rest else "is not of the form vault:FOLDER/NAME"

    def read(self, rest):
        path = Path(__file__).parent / "vault" / rest
        if path.with_name("count").exists():
            with path.with_name("count").open("a") as file:
                print(rest, file=file)
        if path.with_name("sealed").exists():
            with path.with_name("asked").open("a") as file:
                print(rest, file=file)
            raise UnreachableError("the vault is sealed")
        if not path.exists():
            raise KeyError(rest)
        return path.read_text()


class Moon(AbstractSecretSource):
    platforms = ("moon",)

    def read(self, rest):
        raise AssertionError("asked on the client's machine")
"""


@pytest.fixture
def vault(tmp_path, cli_env):
    """The environment of commands in which a stranger's sources are installed; the value is at vault:team/token."""
    site = tmp_path / "site"
    found = {"vault": "Vault", "moon": "Moon", "nothing": "Path", "nohow": "Gone"}
    advertised = {
        "secret_sources": {name: f"stranger_vault:{attribute}" for name, attribute in found.items()},
        "job_plugins": {"nohup.cmd_line": "aiflow_ext_nohup:NohupJobPlugin"},
    }
    install(site, "stranger-vault", advertised, {"stranger_vault.py": SOURCES, EXAMPLE.name: EXAMPLE})
    (site / "vault" / "team").mkdir(parents=True)
    (site / "vault" / "team" / "token").write_text(VALUE)
    return {**cli_env, "PYTHONPATH": str(site)}


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


@pytest.mark.parametrize("platform", ["local", "nohup"])
def test_a_strangers_source_is_read_for_jobs_of_every_platform(project, run_json, vault, platform):
    config = CONFIG.replace("env:THE_TOKEN", "vault:team/token").replace("platform: local", f"platform: {platform}")
    project.jobs("""with af.job("job"): af.cmd('test ${#TOKEN} = 34')""", config)
    record = run_json(project, env=vault)
    assert record["exit"] == 0
    assert VALUE.encode() not in everything_below(project.root)


def test_a_reference_is_read_once_a_check_however_many_jobs_name_it(project, cli, vault):
    count = Path(vault["PYTHONPATH"], "vault", "team", "count")
    count.touch()
    jobs = "\n".join(f'with af.job("j{number}"): af.cmd("true")' for number in range(20))
    env = '"*": {platform: local, engine: cmd_line, env: {TOKEN: {secret: "vault:team/token"}}}\n'
    project.jobs(jobs, env)
    done = cli("render", project.root, env=vault)
    assert done.returncode == 0, done.stderr
    # whether it can be read, and whether its value would be printed
    assert count.read_text().splitlines() == ["team/token"] * 2


def test_a_source_that_gives_no_answer_is_asked_again_with_pauses(project, run_json, vault):
    team = Path(vault["PYTHONPATH"], "vault", "team")
    project.jobs(
        f"""with af.job("seal"): af.cmd("touch '{team}/sealed'")
with af.job("job"): af.cmd('test ${{#TOKEN}} = 34')
with af.job("open"): af.cmd("sleep 1; rm '{team}/sealed'")
af.run_after("job", "seal")
af.run_after("open", "seal")""",
        CONFIG.replace("env:THE_TOKEN", "vault:team/token"),
    )
    record = run_json(project, "--jobs", "2", env=vault)
    assert record["exit"] == 0
    assert 0 < len((team / "asked").read_text().splitlines()) < 20


def test_every_secret_that_no_source_can_read_is_told_before_anything_runs(project, cli, vault):
    told = {
        "vault:token": "secret 'vault:token' is not of the form vault:FOLDER/NAME",
        "vault:team/tokn": "secret 'vault:team/tokn': reading it raised KeyError",
        "moon:token": "secret 'moon:token' is read by platform moon alone, and not on this machine",
        "valt:token": "a reference names no source of secrets that is installed\n    did you mean 'vault'?",
        "nothing:token": "secret source 'nothing' of stranger-vault 1.0 (stranger_vault:Path) is no source of secrets",
        "nohow:token": "secret source 'nohow' of stranger-vault 1.0 (stranger_vault:Gone)",
    }
    jobs = "\n".join(f'with af.job("j{number}"): af.cmd("true")' for number in range(len(told)))
    references = [f'j{number}: {{env: {{TOKEN: {{secret: "{each}"}}}}}}' for number, each in enumerate(told)]
    project.jobs(jobs, "\n".join([CONFIG.splitlines()[0], *references]))
    done = cli("run", project.root, env=vault)
    assert done.returncode == 3
    for number, words in enumerate(told.values()):
        assert f"workflow.yaml:{number + 2}: job 'j{number}': variable TOKEN: {words}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.root / ".aiflow").exists()


def test_a_plugin_of_nine_methods_is_refused_what_only_a_platform_can_read(project, cli, vault):
    config = CONFIG.replace("env:THE_TOKEN", "moon:token").replace("platform: local", "platform: nohup")
    project.jobs('with af.job("job"): af.cmd("true")', config)
    done = cli("run", project.root, env=vault)
    assert done.returncode == 3
    assert "secret 'moon:token' is read by platform moon alone" in done.stderr
    assert not (project.root / ".aiflow").exists()


def test_a_reference_whose_source_is_unknown_is_not_shown(project, cli):
    project.jobs('with af.job("job"): af.cmd("true")', CONFIG.replace("env:THE_TOKEN", f"{VALUE}:{VALUE}"))
    done = cli("run", project.root)
    assert done.returncode == 3
    assert "here there are env, file" in done.stderr
    assert VALUE not in done.stdout + done.stderr


def test_a_list_of_plugins_that_may_be_used_leaves_the_variables_and_files_of_this_machine(project, run_json, vault):
    project.jobs("""with af.job("job"): af.cmd('test ${#TOKEN} = 34')""", CONFIG)
    env = {**vault, "THE_TOKEN": VALUE, "AIFLOW_PLUGINS_ALLOW": "distribution:aiflow-ext-local"}
    assert run_json(project, env=env)["exit"] == 0


def test_a_source_that_the_policy_denies_is_refused_before_anything_runs(project, cli, vault):
    project.jobs('with af.job("job"): af.cmd("true")', CONFIG.replace("env:THE_TOKEN", "vault:team/token"))
    done = cli("run", project.root, env={**vault, "AIFLOW_PLUGINS_DENY": "name:vault"})
    assert done.returncode == 5
    assert "is disabled: the policy denies it" in done.stderr


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
