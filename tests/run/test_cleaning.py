"""What a platform was sent once a run is removed: at the run's end, after a stop without a driver, and by gc."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

PLUGIN = """
    import os
    import aiflow_ext as af
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    class Kept(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "kept"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Kept

        def generate(self, sub_graph, project_desc):
            if sub_graph.name == "gone" and os.path.exists(os.environ["SEEN"] + ".gone"):
                raise af.model.errors.ConfigError("its file is gone")
            return super().generate(sub_graph, project_desc)

        @af.hookimpl
        def cleanup_run(self, run_id, jobs):
            with open(os.environ["SEEN"], "a") as file:
                file.write(f"{run_id} {[job.job_context.run_id == run_id for job in jobs]}\\n")
            if os.path.exists(os.environ["SEEN"] + ".away"):
                raise af.model.errors.UnreachableError("nobody answers")
"""


@pytest.fixture
def kept(stranger):
    """The platform ``kept``, whose cleanup_run writes into a file; the file."""
    return stranger("kept", PLUGIN, {"kept.cmd_line": "Plugin"})


def _runs(cli, project):
    return json.loads(cli("runs", "--project", project.root, "--json").stdout)


def test_a_job_that_cannot_be_generated_any_more_does_not_keep_what_others_left(project, cli, kept):
    project.jobs(
        'with af.job("gone"): af.cmd(\'touch "$SEEN.gone"\')\nwith af.job("stays"): af.cmd("true")',
        "gone: {platform: kept, engine: cmd_line}\nstays: {platform: kept, engine: cmd_line}\n",
    )
    done = cli("run", project.root)
    assert done.returncode == 0, done.stderr
    assert "job gone is left out of what is cleaned up: its file is gone" in done.stderr
    (run,) = _runs(cli, project)
    assert kept.read_text() == f"{run['run']} [True]\n"


def test_at_the_end_and_again_by_gc(project, cli, kept):
    project.jobs('with af.job("job"): af.cmd("true")', "job: {platform: kept, engine: cmd_line}\n")
    assert cli("run", project.root).returncode == 0
    (run,) = _runs(cli, project)
    assert kept.read_text() == f"{run['run']} [True]\n"
    (kept.parent / "seen.away").touch()
    done = cli("gc", "--project", project.root, "--keep", "0")
    assert "stays until its platform can be reached" in done.stderr
    assert len(_runs(cli, project)) == 1
    (kept.parent / "seen.away").unlink()
    assert cli("gc", "--project", project.root, "--keep", "0").returncode == 0
    assert kept.read_text() == f"{run['run']} [True]\n" * 3
    assert _runs(cli, project) == []


def test_after_a_stop_without_a_driver(project, cli, cli_env, kept):
    project.jobs('with af.job("job"): af.cmd("sleep 600")', "job: {platform: kept, engine: cmd_line}\n")
    driver = subprocess.Popen([sys.executable, "-m", "aiflow_ext", "run", str(project.root)], env=cli_env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert driver.stdout is not None
    while "RUNNING" not in driver.stdout.readline():
        pass
    driver.kill()
    driver.communicate()
    (run,) = _runs(cli, project)
    assert cli("stop", run["run"], "--project", project.root).returncode == 0
    assert kept.read_text() == f"{run['run']} [True]\n"


@pytest.mark.parametrize("command", ["status", "logs", "stop", "resume --failed", "gc --keep 0", "run"])
def test_a_distribution_that_was_denied_since_is_imported_by_nobody(project, cli, cli_env, stranger, command):
    seen = stranger(
        "strange",
        """
        import os
        import aiflow_ext as af
        from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

        open(os.environ["SEEN"], "a").close()

        class Strange(af.AbstractPlatform):
            @staticmethod
            def platform():
                return "strange"

        class Plugin(LocalCmdLineJobPlugin):
            def platform(self):
                return Strange
        """,
        {"strange.cmd_line": "Plugin"},
    )
    project.jobs('with af.job("a"): af.cmd("false")', "a: {platform: strange, engine: cmd_line}\n")
    assert cli("run", project.root).returncode == 1
    assert seen.exists()
    if command == "stop":
        with project.database() as db:  # as if its driver had been killed
            db.execute("update attempts set state = 'RUNNING', ended_at = null")
            db.execute("update runs set ended_at = null")
    seen.unlink()
    name, *options = command.split()
    where = [project.root] if name == "run" else [*([] if name == "gc" else ["latest"]), "--project", project.root]
    done = cli(name, *where, *options, env={**cli_env, "AIFLOW_PLUGINS_DENY": "strange"})
    assert not seen.exists()
    assert "Traceback" not in done.stderr
    if name in ("stop", "resume", "run"):
        assert done.returncode == 5, done
        assert "AIFLOW_PLUGINS_DENY" in done.stderr


# -- artifacts at a URL -----------------------------------------------------------------------------------------------

PASSES = """
with af.job("a"):
    made = af.cmd("echo far > {out}", out=af.output("f.txt"))
with af.job("b"):
    af.cmd("cat {made}", made=made)
"""


@pytest.fixture
def far(project, cli, tmp_path):
    """A folder that is reached by a URL, in which a run has artifacts; and the run's id."""
    project.jobs(PASSES, '"*": {platform: local, engine: cmd_line}\n')
    project.write(project_yaml=f"artifacts: local://{tmp_path}/far\n")
    done = cli("run", project.root)
    assert done.returncode == 0, done.stderr
    return tmp_path / "far", _runs(cli, project)[0]["run"]


def test_artifacts_at_a_url_are_removed_with_their_run_where_asked(project, cli, far):
    folder, run = far
    assert list((folder / run).rglob("f.txt"))
    assert cli("run", project.root).returncode == 0
    done = cli("gc", "--project", project.root, "--keep", "1", "--artifacts")
    assert (done.returncode, done.stdout) == (0, f"removed {run}\n"), done.stderr
    (kept,) = _runs(cli, project)
    assert [each.name for each in folder.iterdir()] == [kept["run"]]
    assert cli("gc", "--project", project.root, "--keep", "0").returncode == 0
    assert list((folder / kept["run"]).rglob("f.txt"))  # not asked


def test_what_no_job_of_the_run_has_made_stays_at_a_url(project, cli, far):
    folder, run = far
    (folder / run / "notes").mkdir()
    (folder / run / "notes/mine.txt").write_text("mine")
    (folder / run / "checkpoints/a").mkdir(parents=True)
    (folder / run / "checkpoints/a/1.pt").write_text("weights")
    done = cli("gc", "--project", project.root, "--keep", "0", "--artifacts")
    assert (done.returncode, done.stdout) == (0, f"removed {run}\n"), done.stderr
    assert f"far/{run} stays: no job of the run has made notes there" in done.stderr
    assert [each.name for each in (folder / run).rglob("*")] == ["notes", "mine.txt"]


@pytest.mark.parametrize("where", ["", "a", "checkpoints", "checkpoints/a"])
def test_no_link_that_another_user_has_put_at_a_url_is_followed(project, cli, far, tmp_path, where):
    folder, run = far
    precious = tmp_path / "precious"
    for name in ("a", "b", "checkpoints/a"):
        (precious / name).mkdir(parents=True)
        (precious / name / "thesis.txt").write_text("years of work")
    link = folder / run / where
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(precious)
    done = cli("gc", "--project", project.root, "--keep", "0", "--artifacts")
    assert (done.returncode, done.stdout) == (0, f"removed {run}\n"), done.stderr
    assert f"{run} stays: no job of the run has made {where.partition('/')[0] or run} there" in done.stderr
    assert len(list(precious.rglob("thesis.txt"))) == 3
    assert link.is_symlink()


def test_a_run_whose_artifacts_cannot_be_removed_now_stays_for_the_next_time(project, cli, cli_env, far, tmp_path):
    """The file system's package is away, then the file system."""
    folder, run = far
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "fsspec.py").write_text("raise ImportError('no fsspec here')")
    command = ("gc", "--project", project.root, "--keep", "0", "--artifacts")
    env = {**cli_env, "PYTHONPATH": str(broken)}
    done = cli(*command, env=env)
    assert (done.returncode, done.stdout) == (6, ""), done.stderr
    assert f"run {run} stays: artifacts at local://{folder}/{run} cannot be removed from here" in done.stderr
    assert [each["run"] for each in _runs(cli, project)] == [run]
    (broken / "fsspec.py").unlink()
    (broken / "sitecustomize.py").write_text(
        "import fsspec.implementations.local as local\n"
        "def rm(*_, **__):\n"
        "    raise ConnectionError('nobody answers')\n"
        "local.LocalFileSystem.rm = rm\n"
    )
    done = cli(*command, env=env)
    assert (done.returncode, done.stdout) == (6, ""), done.stderr
    assert "ConnectionError: nobody answers" in done.stderr
    assert cli(*command).stdout == f"removed {run}\n"
    assert not (folder / run).exists()
