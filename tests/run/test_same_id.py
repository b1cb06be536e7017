"""Attempts that their plugin gives one name cannot be told apart: all but the first are refused."""

from __future__ import annotations

import os
import textwrap

PLUGIN = """
    import aiflow_ext as af
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    class Same(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "same"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Same

        @af.hookimpl
        def allocate_id(self, job):
            return f"{job.job_context.run_folder}/jobs/one/1"
"""


def test_a_native_id_that_another_live_attempt_has_is_refused(project, run_json, tmp_path, cli_env):
    site = tmp_path / "site"
    info = site / "same-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "same_plugin.py").write_text(textwrap.dedent(PLUGIN))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: same\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[aiflow_ext.job_plugins]\nsame.cmd_line = same_plugin:Plugin\n")
    cli_env["PYTHONPATH"] = str(site)
    project.jobs(
        f"""
        with af.job("a"): af.cmd("read x < {tmp_path}/go")
        with af.job("b"): af.cmd("true")
        with af.job("c"): af.cmd("echo go > {tmp_path}/go")
        af.run_after("c", "b", when="ended")
        """,
        '"*": {platform: same, engine: cmd_line}\na: {}\nb: {}\nc: {platform: local}\n',
    )
    os.mkfifo(tmp_path / "go")
    record = run_json(project, "--jobs", "3")
    assert record["exit"] == 1
    assert {name: job["state"] for name, job in record["jobs"].items()} == {
        "a": "FINISHED", "b": "FAILED", "c": "FINISHED",
    }  # fmt: skip
    assert "native id of a (attempt 1)" in record["jobs"]["b"]["reason"]
