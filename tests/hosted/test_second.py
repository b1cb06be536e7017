"""What a plugin has besides the nine counts too: extensions around it, and optional hooks."""

from __future__ import annotations

import json

FACTORY = {"one": {"platform": "shapes", "engine": "factory", "timeout": 9}}


def test_an_extension_wraps_the_nine_in_the_attempt_host(run, act_config):
    job = act_config(submit_job="print('during')")
    job["properties"]["wrapped"] = True
    ran = run({"one": job})
    assert ran.file("one", "stdout") == "before\nduring\nafter\n"


def test_a_platform_that_cannot_be_used_is_reported_before_the_first_job(run):
    ran = run(FACTORY, env={"SHAPES_DOWN": "the moon is down"})
    assert ran.exit == 6
    assert "the moon is down" in ran.err
    assert not any(job["attempts"] for job in ran.jobs.values())


def test_its_own_request_is_shown_with_that_of_its_attempt_host(environment, write_project, tmp_path):
    root = write_project(tmp_path / "project", FACTORY)
    done = environment.call("-m", "aiflow_ext", "render", root, "--json")
    (request,) = json.loads(done.stdout)
    assert request["kind"] == "attempt host"
    assert request["content"]["sends"] == {"kind": "shape", "limit": 9}


def test_its_run_is_cleaned_up_once_when_all_is_over(run):
    ran = run(FACTORY)
    assert ran.err.count(f"run {ran.folder.name} is over") == 1


DURABLE = """
import sys
from zoo_act import Act, Config, Job, Part, Plugin
import aiflow_ext as af

class Durable(Plugin):
    @af.hookimpl
    def lookup(self, job):
        return af.Lookup.NEVER_STARTED

    @af.hookimpl
    def attach(self, job):
        return None

    def submit_job(self, job):
        sys.exit("no licence")

af.register_job_plugin(Durable)
record = af.run_project(sys.argv[1])
print(record.jobs["one"].state, record.jobs["one"].reason)
"""


def test_a_durable_plugin_that_exits_fails_its_job_and_not_the_drivers_thread(
    environment, write_project, act_config, tmp_path
):
    root = write_project(tmp_path / "project", {"one": act_config()})
    (root / "project.yaml").write_text("plugins: {pins: {act.part: in process}}\n")
    (tmp_path / "script.py").write_text(DURABLE)
    done = environment.call(tmp_path / "script.py", root)
    assert done.stdout == "FAILED submit_job called sys.exit('no licence')\n", done.stdout + done.stderr


UNMARKED = """
import sys
from zoo_act import Plugin
import aiflow_ext as af

class Unmarked(Plugin):
    def watch(self, jobs, since):
        return ()

af.register_job_plugin(Unmarked)
print(af.run_project(sys.argv[1]).state)
"""


def test_a_hook_without_its_marker_is_named_once_when_a_run_begins(environment, write_project, act_config, tmp_path):
    root = write_project(tmp_path / "project", {"one": act_config(), "two": act_config()})
    (root / "project.yaml").write_text("plugins: {pins: {act.part: in process}}\n")
    (tmp_path / "script.py").write_text(UNMARKED)
    done = environment.call(tmp_path / "script.py", root)
    assert done.stdout == "FINISHED\n", done.stderr
    assert done.stderr.count("its method watch is not taken as the hook of that name") == 1
