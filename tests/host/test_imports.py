"""A plugin whose import ends, holds up or damages the process: it is named, and nothing passes for success."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from patience import PATIENCE

import aiflow_ext as af
from aiflow_ext.model import errors

NAMED = "job plugin 'moon.rover' of moon-dist 1.0 (moon_plugin:Plugin)"
# What the module does at its import; the code that `run` ends with; what is said.
ENDS = {
    "os._exit": ("import os; os._exit(0)", 5, "it called os._exit(0)"),
    "posix._exit-by-thread": (
        "import os, threading; t = threading.Thread(target=os._exit, args=(0,)); t.start(); t.join()", 5, "os._exit(0)",
    ),
    "exec": ("import os; os.execl('/bin/true', 'true')", 5, "it called os.execv('/bin/true')"),
    "segfault": ("import ctypes; ctypes.string_at(0)", -11, "Segmentation fault"),
    "abort": ("import os; os.abort()", -6, "Aborted"),
    "sys.exit": ("import sys; sys.exit(0)", 5, "cannot be imported: SystemExit: 0"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", 130, "interrupted while importing"),
    "recursion": ("def f(): f()\nf()", 5, "RecursionError"),
    "closerange": ("import os; os.closerange(3, 1000)", 5, "it called os.closerange(3, 1000), which closes files"),
    "alarm": ("import signal; signal.alarm(1000)", 5, "sets a timer, as signal.alarm does, whose signal would end"),
    "library": ("import json; json.dumps = None", 5, "cannot be used: importing it sets json.dumps to None"),
    "library-removed": ("import os, re; del os.replace, re.compile", 5, "removes replace from os and removes compile"),
    "library-and-raises": ("import json; json.dumps = None\nraise OSError('no licence')", 5, "OSError: no licence"),
    "print": ("import builtins; builtins.print = None", 5, "importing it sets builtins.print to None"),
    "builtins": ("import builtins; del builtins.open", 5, "importing it removes open from the builtins"),
    "in-constructor": ("import os\nclass Plugin(Plugin):\n    def __init__(self): os._exit(0)", 5, "os._exit(0)"),
    "in-a-type": ("class Plugin(Plugin):\n    def job_type(self):\n        import os; os._exit(0)", 5, "os._exit(0)"),
    "license": ("raise OSError('no licence')", 5, "OSError: no licence"),
}  # fmt: skip


@pytest.fixture
def moon(site, source, tmp_path, cli, cli_env):
    """Lays a plugin out whose module ends with some code, beside a project that uses it; commands on them."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "workflow.py").write_text(
        "import aiflow_ext as af\n\n@af.workflow\ndef w():\n    with af.job('a'):\n        pass\n"
    )
    (root / "workflow.yaml").write_text("a: {platform: moon, engine: rover}\n")

    def call(more: str, *args: str) -> subprocess.CompletedProcess[str]:
        site.add(
            "moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source(more=more)}
        )
        env = {name: value for name, value in cli_env.items() if not name.startswith("AIFLOW_")}
        env |= {name: site.env[name] for name in ("PYTHONPATH", "XDG_CACHE_HOME")}
        return cli(*args, *([root] if args[0] in ("run", "render") else []), env=env)

    return call


@pytest.mark.parametrize("case", ENDS)
def test_a_command_whose_plugin_ends_the_process_fails_and_names_it(moon, case: str) -> None:
    more, code, words = ENDS[case]
    done = moon(more, "run")
    assert done.returncode == code, done.stderr
    assert NAMED in done.stderr
    assert words in done.stderr
    assert "defect" not in done.stderr


@pytest.mark.parametrize(
    ("hook", "code", "words"),
    [
        ("generate(self, sub_graph, project_desc)", 3, "the job plugin moon.rover (moon-dist) cannot run it"),
        ("check_platform(self, jobs)", 6, "check_platform: "),
    ],
)
def test_a_hook_that_ends_the_process_fails_by_name(moon, hook: str, code: int, words: str) -> None:
    marked = "@af.hookimpl" if hook.startswith("check") else ""
    done = moon(f"import os\nclass Plugin(Plugin):\n    {marked}\n    def {hook}:\n        os._exit(0)", "run")
    assert done.returncode == code
    assert "it called os._exit(0)" in done.stderr
    assert words in done.stderr


def test_a_module_that_a_plugin_lacks_only_as_it_generates_is_told_as_one_that_its_import_lacks(moon) -> None:
    more = "class Plugin(Plugin):\n    def generate(self, sub_graph, project_desc): import not_installed_here"
    done = moon(more, "run")
    assert done.returncode == errors.PLUGIN
    assert f"{NAMED} needs the module 'not_installed_here', which is not installed" in done.stderr
    assert "pip install not_installed_here  (or, for all that it requires: pip install moon-dist)" in done.stderr


FORKS = {
    "at-import": ("import os; os.fork()", f"while importing {NAMED}"),
    "in-generate": (
        "import os\nclass Plugin(Plugin):\n    def generate(self, sub_graph, project_desc): os.fork()",
        "while code of a plugin ran",
    ),
    "and-raises": (
        "import os\nparent = os.getpid()\nos.fork()\nif os.getpid() != parent: 1 / 0", f"while importing {NAMED}"
    ),
    "and-ends": ("import os, sys\nif not os.fork(): sys.exit(3)", None),
}  # fmt: skip


@pytest.mark.parametrize("case", FORKS)
def test_a_process_that_a_plugin_forks_does_not_go_on_as_a_second_command(moon, case: str) -> None:
    more, where = FORKS[case]
    done = moon(more, "render", "--json")
    words = "a process was forked, which would have gone on as a second aiflow-ext; it is ended"
    json.loads(done.stdout)  # said once
    assert done.stderr.count(words) == (where is not None)
    assert (where or "") in done.stderr


def test_render_names_it_too(moon) -> None:
    done = moon("import os; os._exit(0)", "render", "--json")
    assert done.returncode == 5
    assert NAMED in json.loads(done.stdout)["error"]["problems"][0]["message"]


def test_an_extension_that_ends_the_process_is_left_out_by_name(site) -> None:
    site.add("sun-dist", {"extensions": {"sun": "sun_watch:Watch"}}, {"sun_watch.py": "import os; os._exit(0)"})
    records = {record["name"]: record for record in site.ask("extensions")["extensions"]}
    assert records["sun"]["status"] == "broken"
    assert "os._exit(0)" in records["sun"]["reason"]


def test_os_is_as_it_was_afterwards_and_children_end_as_they_like(moon, here, source) -> None:
    waits = "_, status = os.waitpid(child, 0)\nassert os.waitstatus_to_exitcode(status) == 7"
    more = f"import os\nchild = os.fork()\nif not child: os._exit(7)\n{waits}"
    before = os._exit, os.execv, os.execve
    here.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source(more=more)})
    af.PluginHost().resolve("moon", "rover")
    assert (os._exit, os.execv, os.execve) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("import builtins; builtins.help = print", "replaces the builtin 'help'"),
        ("import sys, colorsys; del sys.modules['json']", "removes json from sys.modules"),
        ("import os; os.chdir('/')", "changes the current folder to /"),
    ],
)
def test_what_an_import_changes_for_all_of_the_process_is_named(moon, more: str, words: str) -> None:
    done = moon(more, "render")
    assert done.returncode == 0
    assert f"importing {NAMED} {words}" in done.stderr


SLOW = "from aiflow_ext.host import guard; guard.SLOW = 0.05; from aiflow_ext.cli import main; main()"


def test_an_import_that_takes_long_is_reported_while_it_lasts(site, source, tmp_path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}},
             {"moon_plugin.py": source(more=f"open({str(gate)!r}).read()")})  # fmt: skip
    argv = [sys.executable, "-c", f"import sys; sys.argv[1:] = ['render', {str(tmp_path)!r}]; {SLOW}"]
    (tmp_path / "workflow.py").write_text(
        "import aiflow_ext as af\n\n@af.workflow\ndef w():\n    with af.job('a'):\n        pass\n"
    )
    (tmp_path / "workflow.yaml").write_text("a: {platform: moon, engine: rover}\n")
    with subprocess.Popen(argv, env=site.env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
        assert run.stderr is not None
        assert run.stderr.readline().startswith(f"aiflow-ext: still importing {NAMED} after ")
        gate.write_text("")
        run.stderr.read()
    assert run.returncode == 0


WHY = {
    **{case: (more, 5, words) for case, (more, _, words) in ENDS.items()},
    "segfault": ("import ctypes; ctypes.string_at(0)", 5, "the process that imports it is ended by SIGSEGV"),
    "abort": ("import os; os.abort()", 5, "is ended by SIGABRT"),
    "killed": ("import os; os.kill(os.getpid(), 9)", 5, "is ended by SIGKILL"),
    "exit-in-C": ("import ctypes; ctypes.CDLL(None)._exit(0)", 5, "ends there, with exit code 0"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", 130, "it raises KeyboardInterrupt"),
    "posix._exit-by-thread": (ENDS["posix._exit-by-thread"][0], 5, "ends there, with exit code 5"),
    "dependency": ("import no_such_client", 5, "needs the module 'no_such_client', which is not installed"),
    "attribute": ("del Plugin", 5, "has no attribute 'Plugin'"),
    "type": ("Plugin.stop_job = None", 5, "lacks the method stop_job"),
}


@pytest.mark.parametrize("case", WHY)
def test_why_loads_the_plugin_and_its_code_is_that_of_run(moon, case: str) -> None:
    more, code, words = WHY[case]
    done = moon(more, "why", "moon", "rover", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"] == code
    assert (told["resolvable"], told["loaded"]) == (False, False)
    assert told["records"][0]["status"] == "broken"
    assert NAMED in told["sentences"][0]
    assert words in told["sentences"][0]
    assert told["cures"]


def test_why_says_of_a_plugin_that_can_be_used_that_it_was_loaded(moon) -> None:
    done = moon("print('hello')", "why", "moon", "rover", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (told["loaded"], told["records"][0]["status"], told["cures"]) == (True, "loaded", [])
    assert told["sentences"][1] == "it prints as it is imported: hello"
    assert done.stderr == "hello\n"


def test_why_can_leave_the_plugin_alone(moon) -> None:
    done = moon("raise OSError('imported')", "why", "moon", "rover", "--no-load", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["loaded"], told["records"][0]["status"]) == (0, None, "available")


def test_why_names_what_is_not_taken_as_a_hook(moon) -> None:
    done = moon("class Plugin(Plugin):\n    def watch(self, ids, since): pass", "why", "moon", "rover")
    assert done.returncode == 0
    assert "its method watch is not taken as the hook of that name" in done.stdout


def test_why_ends_an_import_that_takes_too_long_with_all_it_started(moon, tmp_path) -> None:
    pids = tmp_path / "pids"
    more = (
        "import os, subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\nchild.wait()"
    )
    done = moon(more, "why", "moon", "rover", "--limit", "2")
    assert done.returncode == 5
    assert f"{NAMED} is still not imported after 2 s" in done.stdout
    deadline = time.monotonic() + PATIENCE
    while any(os.path.exists(f"/proc/{pid}") for pid in pids.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.01)  # init reaps the second
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids.read_text().split())


def test_the_errors_of_resolving_have_the_codes_that_why_tells(here) -> None:
    here.add(
        "moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": "import os; os._exit(0)"}
    )
    host = af.PluginHost()
    with pytest.raises(errors.PluginImportError):
        host.resolve("moon", "rover")
    assert host.why("moon", "rover", limit=30).exit_code == errors.PLUGIN
