"""Extensions in a real run: refusing, being told in order, asking for another attempt, wrapping the nine."""

from __future__ import annotations

import json
import textwrap

import pytest

CMD = '"*": {platform: local, engine: cmd_line}\n'


@pytest.fixture
def extended(tmp_path, cli_env):
    """Advertises an extension module with this source; returns the environment that has it."""

    def make(source: str) -> dict[str, str]:
        site = tmp_path / "site"
        info = site / "tested_extension-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "tested_extension.py").write_text("import aiflow_ext as af\n" + textwrap.dedent(source))
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tested-extension\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[aiflow_ext.extensions]\ntested = tested_extension\n")
        return {**cli_env, "PYTHONPATH": str(site), "SEEN": str(tmp_path / "seen")}

    return make


def test_an_extension_may_refuse_a_job_before_anything_is_sent(project, run_json, extended):
    env = extended("""
        @af.hookimpl
        def before_submit(job):
            if job.job_context.job_name == "bad":
                raise PermissionError("not on a Friday")
        """)
    project.jobs(
        'with af.job("bad"): af.cmd("echo ran")\nwith af.job("good"): af.cmd("true")', CMD + "bad: {}\ngood: {}\n"
    )
    record = run_json(project, env=env)
    assert record["jobs"]["bad"]["state"] == "FAILED"
    assert "not on a Friday" in record["jobs"]["bad"]["attempts"][0]["reason"]
    assert record["jobs"]["bad"]["attempts"][0]["native_id"] is None
    assert record["jobs"]["good"]["state"] == "FINISHED"
    assert not list(project.run_folder.glob("jobs/bad/1/std*"))


def test_every_transition_is_told_in_order_with_its_number(project, run_json, extended, tmp_path):
    env = extended("""
        import json, os
        @af.hookimpl
        def on_transition(event):
            with open(os.environ["SEEN"], "a") as file:
                file.write(json.dumps([event.seq, event.job, event.attempt, str(event.state)]) + "\\n")
        """)
    project.jobs(
        'with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("false")\nwith af.job("c"): af.cmd("true")\n'
        'af.run_after("c", "b")',
        CMD + "a: {}\nb: {}\nc: {}\n",
    )
    run_json(project, env=env)
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    assert [item[0] for item in seen] == list(range(1, len(seen) + 1))
    order = [state for _, job, _, state in seen if job == "a"]
    assert order == sorted(order, key=["SUBMITTING", "QUEUED", "RUNNING", "FINISHED"].index)
    assert ["c", None, "SKIPPED"] in [item[1:] for item in seen]


def test_an_extension_that_raises_when_told_fails_no_job(project, run_json, extended):
    env = extended("""
        @af.hookimpl
        def on_transition(event):
            raise RuntimeError("broken listener")
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert run_json(project, env=env)["exit"] == 0


def test_an_extension_may_ask_for_another_attempt(project, run_json, extended):
    env = extended("""
        @af.hookimpl
        def should_retry(attempt, outcome):
            return 0.0 if attempt.exit_code == 75 and attempt.number < 3 else None
        """)
    project.jobs(
        'with af.job("busy"): af.cmd("exit 75")\nwith af.job("bad"): af.cmd("exit 1")', CMD + "busy: {}\nbad: {}\n"
    )
    record = run_json(project, env=env)
    assert len(record["jobs"]["busy"]["attempts"]) == 3
    assert len(record["jobs"]["bad"]["attempts"]) == 1


def test_an_extension_wraps_the_submission_of_every_plugin(project, run_json, extended, tmp_path):
    env = extended("""
        import os
        @af.hookimpl(wrapper=True)
        def submit_job(job):
            with open(os.environ["SEEN"], "a") as file:
                file.write("before ")
            handler = yield
            with open(os.environ["SEEN"], "a") as file:
                file.write("after")
            return handler
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert run_json(project, env=env)["exit"] == 0
    assert (tmp_path / "seen").read_text() == "before after"


def test_neither_listing_nor_render_imports_an_extension(project, cli, extended):
    env = extended("raise SystemExit('imported')")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert cli("plugins", env=env).returncode == 0
    assert cli("render", project.root, env=env).returncode == 0


def test_a_driver_that_is_killed_while_it_catches_up_has_only_that_transition_told_again(
    project, cli, extended, tmp_path
):
    env = extended("""
        import os
        @af.hookimpl
        def on_transition(event):
            with open(os.environ["SEEN"], "a") as file:
                file.write(f"{event.seq} ")
            if event.seq == 2 and "KILL" in os.environ:
                os.kill(os.getpid(), 9)
        """)
    deadly = {**env, "KILL": ""}
    seen = tmp_path / "seen"
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert cli("run", project.root, env=deadly).returncode == -9
    seen.unlink()
    with project.database() as db:  # as if the first had not been told of either
        db.execute("delete from told")
    assert cli("resume", "latest", "--project", project.root, env=deadly).returncode == -9
    assert seen.read_text() == "1 2 "
    assert cli("resume", "latest", "--project", project.root, env=env).returncode == 0
    numbers = [int(number) for number in seen.read_text().split()]
    assert numbers == [1, 2, *range(2, numbers[-1] + 1)]


def test_nothing_runs_without_an_extension_that_the_project_requires(project, cli, extended):
    env = extended("raise RuntimeError('no licence')")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    project.write(project_yaml="extensions: {require: [tested]}\n")
    for command in ([], ["--detach"]):
        refused = cli("run", project.root, *command, env=env)
        assert refused.returncode == 5
        assert "no licence" in refused.stderr
        assert "extensions.require" in refused.stderr
    assert not list(project.root.glob(".aiflow/runs/*"))
    assert cli("render", project.root, env=env).returncode == 0
    project.write(project_yaml="extensions: {require: [tset]}\n")
    refused = cli("run", project.root, env=env)
    assert refused.returncode == 4
    assert "did you mean 'tested'" in refused.stderr


def test_a_run_is_not_resumed_without_an_extension_that_it_was_started_with_as_required(project, cli, extended):
    env = extended("""
        import os
        if "BROKEN" in os.environ:
            raise RuntimeError("no licence")
        @af.hookimpl
        def before_submit(job): pass
        """)
    project.jobs('with af.job("a"): af.cmd("false")', CMD + "a: {}\n")
    project.write(project_yaml="extensions: {require: [tested]}\n")
    assert cli("run", project.root, env=env).returncode == 1
    again = ("resume", "latest", "--project", project.root, "--failed")
    refused = cli(*again, env={**env, "BROKEN": ""})
    assert refused.returncode == 5
    assert "no licence" in refused.stderr
    with project.database() as db:
        assert db.execute("select count(*) from attempts").fetchone() == (1,)
    assert cli(*again, env=env).returncode == 1


def test_a_scheduler_does_not_begin_without_a_required_extension(project, cli, extended):
    env = extended("")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {periodic: {interval: 1h}}\n")
    project.write(project_yaml="extensions: {require: [budget]}\n")
    refused = cli("schedule", project.root, env=env)
    assert refused.returncode == 4
    assert "'budget' is not installed" in refused.stderr


def test_an_extension_that_is_left_out_is_told_of_and_the_run_goes_on(project, cli, extended):
    env = extended("""
        @af.hookimpl
        async def before_submit(job):
            raise PermissionError
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    done = cli("run", project.root, env=env)
    assert done.returncode == 0
    assert "before_submit is async" in done.stderr
    assert "the run goes on without it" in done.stderr
