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
from tests.run.test_interrupts import start
from tests.run.test_observe import gate_of

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


class Here(Moon):
    platforms = ("local", "nohup", "handing")
"""
# Each of the four hooks that are called without a driver needs the secret.
NEEDY = """
import os
import aiflow_ext.plugin as af
from aiflow_ext.plugin import secrets
from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin


class Handing(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "handing"


class HandsOn(LocalCmdLineJobPlugin):
    secret_sources = ("here",)

    def platform(self):
        return Handing

    def submit_job(self, job):
        job.job_config.env = {}
        return super().submit_job(job)


class Needing(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "needing"


class Plugin(LocalCmdLineJobPlugin):
    def platform(self):
        return Needing

    def note(self, hook, job):
        with open(os.environ["SEEN"], "a") as file:
            print(hook, *secrets.resolve(job.job_config.env).values(), file=file)

    @af.hookimpl
    def attach(self, job):
        self.note("attach", job)
        return super().attach(job)

    def cleanup_job(self, job):
        self.note("cleanup_job", job)
        super().cleanup_job(job)

    @af.hookimpl
    def cleanup_run(self, run_id, jobs):
        for job in jobs:
            self.note("cleanup_run", job)


class Hosted(af.AbstractJobPlugin):
    def generate(self, sub_graph, project_desc):
        return af.BaseJob(af.JobContext(), sub_graph.config)

    def generate_job_resource(self, job):
        pass

    def submit_job(self, job):
        print(*secrets.resolve(job.job_config.env).values())

    def stop_job(self, job):
        pass

    def cleanup_job(self, job):
        pass

    def job_type(self):
        return af.BaseJob

    def job_config_type(self):
        return af.BaseJobConfig

    def platform(self):
        return Needing

    def engine(self):
        return Hosting


class Hosting(af.AbstractEngine):
    @staticmethod
    def engine():
        return "hosted"
"""


@pytest.fixture
def vault(tmp_path, cli_env):
    """The environment of commands in which a stranger's sources are installed; the value is at vault:team/token."""
    site = tmp_path / "site"
    found = {"vault": "Vault", "moon": "Moon", "here": "Here", "nothing": "Path", "nohow": "Gone"}
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


def test_a_secret_that_this_platform_cannot_read_is_reported_before_anything_runs(project, cli):
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


def test_every_secret_that_no_source_can_read_is_reported_before_anything_runs(project, cli, vault):
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


NINE_ALONE = "nohup.cmd_line of stranger-vault, which offers no lookup and attach, runs its jobs from this machine"


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("local", "local.cmd_line of aiflow-ext-local does not hand on secrets of source 'here'"),
        ("nohup", NINE_ALONE),
    ],
)
def test_what_only_a_platform_can_read_is_refused_to_its_plugins_that_do_not_hand_it_on(
    project, cli, vault, platform, words
):
    config = CONFIG.replace("env:THE_TOKEN", "here:token").replace("platform: local", f"platform: {platform}")
    project.jobs('with af.job("job"): af.cmd("true")', config)
    done = cli("run", project.root, env=vault)
    assert done.returncode == 3
    told = "workflow.yaml:2: job 'job': variable TOKEN: secret 'here:token' is read by platform"
    assert (
        f"{told} {platform} alone, and the job plugin {words}\n    name one that is read on this machine" in done.stderr
    )
    assert not (project.root / ".aiflow").exists()


def test_a_plugin_that_hands_a_source_on_may_have_it(project, run_json, needy):
    config = CONFIG.replace("env:THE_TOKEN", "here:token").replace("platform: local", "platform: handing")
    project.jobs('with af.job("job"): af.cmd("true")', config)
    assert run_json(project, env=needy)["exit"] == 0


@pytest.fixture
def needy(vault, stranger, tmp_path, cli_env):
    """The environment as ``vault``'s, with the platform ``needing`` and with another distribution that has a source of
    that name."""
    stranger(
        "needing", NEEDY, {"needing.cmd_line": "Plugin", "needing.hosted": "Hosted", "handing.cmd_line": "HandsOn"}
    )
    install(tmp_path / "site", "rival", {"secret_sources": {"vault": "rival:Gone"}}, {"rival.py": ""})
    return cli_env


PINS = "plugins: {pins: {vault: stranger-vault}}\n"


def test_a_projects_pin_settles_who_reads_secrets_where_nobody_drives_the_run(project, cli, needy, tmp_path):
    project.jobs(
        'with af.job("job"): af.cmd("cd $AIFLOW_CHECKPOINT_DIR; mkfifo gate; read x < gate")',
        CONFIG.replace("env:THE_TOKEN", "vault:team/token").replace("platform: local", "platform: needing"),
    ).write(project_yaml=PINS)
    run = start(project, needy, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate_of(project, "job")
    run.kill()
    run.wait()
    for command, hooks in (
        (["status", "latest"], ["attach"]),
        (["stop", "latest", "--grace", "0"], ["attach", "attach", "cleanup_job", "cleanup_run"]),
        (["gc", "--keep", "0"], ["cleanup_run"]),
    ):
        (tmp_path / "seen").write_text("")
        done = cli(*command, "--project", project.root, env=needy)
        assert done.returncode == 0, done.stderr
        assert sorted((tmp_path / "seen").read_text().splitlines()) == [f"{hook} {VALUE}" for hook in hooks]


def test_a_projects_pin_settles_who_reads_secrets_in_an_attempt_host(project, run_json, needy):
    config = CONFIG.replace("env:THE_TOKEN", "vault:team/token")
    project.jobs(
        'with af.job("job"): af.node("anything")',
        config.replace("platform: local, engine: cmd_line", "platform: needing, engine: hosted"),
    ).write(project_yaml=PINS)
    assert run_json(project, env=needy)["exit"] == 0
    assert project.log("job").decode().strip() == VALUE


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
    assert [item.name for item in Schedule(str(project.root)).due.values()] == ["other"]
    project.jobs(body, CONFIG.replace("job: {", "job: {periodic: {interval: 1h}, ") + "other: {}\n")
    with pytest.raises(SecretError, match="env:THE_TOKEN"):
        Schedule(str(project.root))


READS = """
import os
def names():
    import workflow
    home = os.path.dirname(workflow.__file__)
    return sorted(os.path.relpath(os.path.join(at, name), home) for at, _, found in os.walk(home) for name in found)
def show(names): print(names)
"""


@pytest.mark.parametrize("named", ["relative", "absolute", "set", "other", "link", "include"])
def test_files_of_secrets_stay_on_this_machine_and_that_is_reported_once(project, cli, named):
    home = project.root
    (home / "keys").mkdir()
    (home / "keys" / "token").write_text(VALUE)
    (home / ".env").write_text(f"TOKEN={VALUE}\n")
    path = {"relative": "keys/token", "link": "alias"}.get(named, f"{home}/keys/token")
    if named == "link":
        (home / "alias").symlink_to("keys/token")
    secret = f'{{platform: local, engine: cmd_line, env: {{T: {{secret: "file:{path}"}}}}}}'
    project.jobs(
        'with af.job("a"): found = af.python(names)\nwith af.job("b"): af.python(show, found)\n'
        'with af.job("c"): af.cmd("echo $T")',
        '"*": {platform: local, engine: python}\n'
        + ("c: {engine: cmd_line}\n" if named == "set" else f"c: {secret}\n"),
        READS,
    )
    if named == "include":
        project.write(project_yaml='include: [.env, "keys/*"]\n')
    options = ["--set", f"c.env.T.secret=file:{path}"] if named == "set" else []
    told = [cli("render", home, *options, cwd=home)]
    told += [cli("run", home, *options, *(["--only", "a", "--only", "b"] if named == "other" else []), cwd=home)]
    for done in told:
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("which may hold secrets") == (named != "include"), done.stderr
    found = project.log("b").decode()
    assert "steps.py" in found
    assert (".env" in found) == ("keys/token" in found) == (named == "include")
    if named == "include":
        return
    files = [path for path in (home / ".aiflow").rglob("*") if path.is_file()]
    assert not [path for path in files if VALUE.encode() in path.read_bytes() and path.name != "stdout"]
    # What was left out is no change of the project, and a run that goes on has it no more than before.
    again = cli("resume", "latest", "--project", home, cwd=home.parent)
    assert again.returncode == 0
    assert "changed" not in again.stderr
