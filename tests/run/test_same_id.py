"""Attempts that their plugin gives one name cannot be told apart: all but the first are refused."""

from __future__ import annotations

import os

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


def test_a_native_id_that_another_live_attempt_has_is_refused(project, run_json, tmp_path, stranger):
    stranger("same", PLUGIN, {"same.cmd_line": "Plugin"})
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
