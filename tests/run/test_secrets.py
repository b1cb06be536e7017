"""Secrets: the job has the value, nothing else does."""

from __future__ import annotations

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
