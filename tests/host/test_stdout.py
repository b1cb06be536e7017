"""Stdout belongs to the command: whatever plugins, extensions and workflow.py write there is on stderr."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from patience import PATIENCE

NOISE = """
import atexit, ctypes, logging, os, subprocess, sys
import aiflow_ext as af

def noise(where):
    print("NOISE print", where)
    sys.__stdout__.write(f"NOISE stream {where}\\n")
    os.write(1, f"NOISE write {where}\\n".encode())
    subprocess.run(["echo", "NOISE child", where])
    ctypes.CDLL(None).printf(b"NOISE printf %s\\n", where.encode())
    log = logging.getLogger("noise")
    log.addHandler(logging.StreamHandler(sys.stdout))
    log.error("NOISE logging %s", where)

noise("import")
atexit.register(noise, "exit")

class Extension:
    @af.hookimpl
    def before_submit(self, job):
        noise("extension")
    @af.hookimpl
    def on_transition(self, event):
        noise("transition")
"""
PLUGIN = """
from noise import noise

class Noisy(Plugin):
    def generate(self, sub_graph, project_desc):
        noise("generate")
        return super().generate(sub_graph, project_desc)
    @af.hookimpl
    def render(self, job):
        noise("render")
        return af.Request("none", {})
    @af.hookimpl
    def check_platform(self, jobs):
        noise("check")
        return []
"""
WORKFLOW = """
import aiflow_ext as af
print("NOISE workflow")

@af.workflow
def noisy():
    print("NOISE graph")
    with af.job("a"):
        pass
"""


@pytest.fixture
def noisy(site, source, tmp_path):
    """A project on a platform that prints wherever it can, beside an extension that does so too; commands on it."""
    site.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Noisy"}, "extensions": {"n": "noise:Extension"}},
             {"noise.py": NOISE, "moon_plugin.py": source(more=PLUGIN)})  # fmt: skip
    root = tmp_path / "project"
    root.mkdir()
    (root / "workflow.py").write_text(WORKFLOW)
    (root / "workflow.yaml").write_text("a: {platform: moon, engine: rover}\n")

    def call(*args: str | Path, **options):
        argv = [site.python, "-m", "aiflow_ext", *map(str, args)]
        return subprocess.run(
            argv, env=site.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
            **{"stdout": subprocess.PIPE, **options},
        )  # fmt: skip

    return root, call


def test_what_plugins_extensions_and_workflow_print_does_not_spoil_json(noisy):
    root, call = noisy
    for command, places in (("render", ("import", "generate", "render")),
                            ("run", ("import", "generate", "check", "extension", "transition"))):  # fmt: skip
        done = call(command, root, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
        for place in (*places, "exit"):
            for way in ("print", "stream", "write", "child", "printf", "logging"):
                assert f"NOISE {way} {place}\n" in done.stderr, done.stderr
        assert "NOISE workflow\n" in done.stderr
        assert "NOISE graph\n" in done.stderr


def test_the_lines_of_a_run_are_the_commands_alone(noisy):
    root, call = noisy
    done = call("run", root)
    assert done.returncode == 0, done.stderr
    assert "NOISE" not in done.stdout
    assert done.stdout.startswith("run noisy-")


def test_an_error_is_json_alone_too(noisy, site):
    root, call = noisy
    (site.folder / "moon_plugin.py").write_text("from noise import noise\nraise OSError('no moon')\n")
    done = call("run", root, "--json")
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["exit_code"] == 5
    assert "NOISE print import\n" in done.stderr


def test_a_call_from_python_leaves_the_callers_stdout_alone(noisy, site):
    root, _ = noisy
    script = f"import aiflow_ext as af\nprint(af.run_project({str(root)!r}).state)\nprint('mine')\n"
    done = subprocess.run([site.python, "-c", script], env=site.env, capture_output=True, text=True, timeout=PATIENCE)
    assert "FINISHED\nmine\n" in done.stdout, done.stderr
    assert "NOISE print import\n" in done.stdout


def test_with_stdout_and_stderr_closed_nothing_else_is_written_to(noisy, site):
    root, _ = noisy
    argv = f"exec {site.python} -m aiflow_ext run {root} >&- 2>&-"
    assert subprocess.run(["sh", "-c", argv], env=site.env, stdin=subprocess.DEVNULL, timeout=PATIENCE).returncode == 0
    files = [path for path in root.rglob("*") if path.is_file() and "jobs" not in path.parts]
    assert files
    assert not [path for path in files if b"NOISE" in path.read_bytes() and path.name != "workflow.py"]
