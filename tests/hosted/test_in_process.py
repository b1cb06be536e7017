"""Plugins that only one process has: registered in a script or in workflow.py, run in a child process all the same."""

from __future__ import annotations

import json

import pytest

PLUGIN = """
import os
import threading

import aiflow_ext as af


class Here(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "here"


class Task(af.AbstractEngine):
    @staticmethod
    def engine():
        return "task"


class HereConfig(af.AbstractJobConfig):
    def __init__(self, greeting: str = "hello"):
        self.greeting = greeting


class HereJob(af.AbstractJob):
    pass


class HerePlugin(af.AbstractJobPlugin):
    def __init__(self):
        self.count = COUNT

    def generate(self, sub_graph, project_desc):
        return HereJob(af.JobContext(), sub_graph.config)

    def generate_job_resource(self, job):
        self.lock = threading.Lock()

    def submit_job(self, job):
        with self.lock:
            print(job.job_config.greeting, self.count, os.getpid() != DRIVER)

    def stop_job(self, job):
        pass

    def cleanup_job(self, job):
        pass

    def job_type(self):
        return HereJob

    def job_config_type(self):
        return HereConfig

    def platform(self):
        return Here

    def engine(self):
        return Task


COUNT = 3
DRIVER = os.getpid()
"""
WORKFLOW = """
@af.workflow
def tested():
    with af.job("one"):
        pass
"""
CONFIG = "one: {platform: here, engine: task, greeting: good morning}\n"
SCRIPT = """
import sys
record = af.run_project(sys.argv[1])
job = record.jobs["one"]
print(job.state, job.reason)
"""


def write(root, workflow: str):
    root.mkdir()
    (root / "workflow.py").write_text(workflow)
    (root / "workflow.yaml").write_text(CONFIG)
    return root


def log(root, stream: str = "stdout") -> str:
    (path,) = root.glob(f".aiflow/runs/*/jobs/one/1/{stream}")
    return path.read_text()


def test_a_plugin_registered_in_the_main_script_runs_in_a_child(environment, tmp_path):
    root = write(tmp_path / "project", f"import aiflow_ext as af\n{WORKFLOW}")
    (tmp_path / "script.py").write_text(f"{PLUGIN}\naf.register_job_plugin(HerePlugin()).count = 4\n{SCRIPT}")
    done = environment.call(tmp_path / "script.py", root, cwd=tmp_path)
    assert done.stdout.startswith("FINISHED submit_job returned"), done.stdout + done.stderr
    assert log(root) == "good morning 4 True\n"


def test_a_plugin_registered_in_workflow_py_runs_in_a_child(environment, tmp_path):
    root = write(tmp_path / "project", f"{PLUGIN}\naf.register_job_plugin(HerePlugin)\n{WORKFLOW}")
    ran = environment.run(root)
    assert ran.exit == 0, ran.out + ran.err
    assert log(root) == "good morning 3 True\n"


def test_a_plugin_in_a_module_of_the_project_may_import_the_others_of_it(environment, tmp_path):
    root = write(tmp_path / "project", f"import aiflow_ext as af\nimport own_plugin\n{WORKFLOW}")
    late = PLUGIN.replace("with self.lock:", "from helper import word\n        with self.lock:")
    late = late.replace("print(job.", "print(word, job.")
    (root / "own_plugin.py").write_text(f"import helper\n{late}\naf.register_job_plugin(HerePlugin)\n")
    (root / "helper.py").write_text("word = 'helped'\n")
    ran = environment.run(root)
    assert ran.exit == 0, ran.out + ran.err
    assert log(root) == "helped good morning 3 True\n"


def test_a_plugin_in_a_module_beside_the_script_is_found_by_its_child(environment, tmp_path):
    root = write(tmp_path / "project", f"import aiflow_ext as af\n{WORKFLOW}")
    (tmp_path / "beside.py").write_text(PLUGIN)
    register = "import aiflow_ext as af\nimport beside\naf.register_job_plugin(beside.HerePlugin)\n"
    (tmp_path / "script.py").write_text(register + SCRIPT)
    done = environment.call("script.py", root, cwd=tmp_path)
    assert done.stdout.startswith("FINISHED"), done.stdout + done.stderr
    # Imported afresh in the child: its module says which process it is.
    assert log(root) == "good morning 3 False\n"


def test_a_plugin_in_a_module_that_no_other_process_can_import_runs_in_a_child(environment, tmp_path):
    root = write(tmp_path / "project", f"import aiflow_ext as af\n{WORKFLOW}")
    hidden = tmp_path / "hidden.txt.py"
    hidden.write_text(PLUGIN)
    load = "import importlib.util, sys\nimport aiflow_ext as af\n"
    load += f"spec = importlib.util.spec_from_file_location('hidden_plugin', {str(hidden)!r})\n"
    load += "module = sys.modules['hidden_plugin'] = importlib.util.module_from_spec(spec)\n"
    load += "spec.loader.exec_module(module)\naf.register_job_plugin(module.HerePlugin)\n"
    (tmp_path / "script.py").write_text(load + SCRIPT)
    done = environment.call("script.py", root, cwd=tmp_path)
    assert done.stdout.startswith("FINISHED"), done.stdout + done.stderr
    assert log(root) == "good morning 3 True\n"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("self.lock = threading.Lock()", None),
        ("self.lock, self.needs = threading.Lock(), needs", "was registered in this process, and cannot travel"),
    ],
)
def test_state_that_cannot_travel_is_made_anew_or_told_before_the_run(environment, tmp_path, state, words):
    root = write(tmp_path / "project", f"import aiflow_ext as af\n{WORKFLOW}")
    init = f"def __init__(self{', needs' if words else ''}):\n        {state}\n        self.count = COUNT"
    plugin = PLUGIN.replace("def __init__(self):\n        self.count = COUNT", init)
    made = "HerePlugin(1)" if words else "HerePlugin()"
    (tmp_path / "script.py").write_text(f"{plugin}\naf.register_job_plugin({made})\n{SCRIPT}")
    done = environment.call(tmp_path / "script.py", root, cwd=tmp_path)
    if words is None:
        assert done.stdout.startswith("FINISHED"), done.stdout + done.stderr
    else:
        assert words in done.stderr
        assert not list(root.glob(".aiflow/runs/*/jobs"))


def test_its_record_says_in_process(environment, tmp_path):
    shown = "import json\nprint(json.dumps([r.to_dict() for r in af.plugins() if r.name == 'here.task']))"
    (tmp_path / "script.py").write_text(f"{PLUGIN}\naf.register_job_plugin(HerePlugin)\n{shown}\n")
    done = environment.call(tmp_path / "script.py")
    (record,) = json.loads(done.stdout)
    assert (record["distribution"], record["status"]) == ("in process", "available")
