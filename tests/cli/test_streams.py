"""Commands whose standard streams are closed, full, left by their reader or of a poor encoding; poor environments."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest
from patience import PATIENCE

CMD = '"*": {platform: local, engine: cmd_line}\n'


@pytest.fixture
def cli_env(cli_env, tmp_path):
    return {**cli_env, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def failing(project):
    """A run of it is FAILED: exit code 1."""
    body = 'with af.job("café"): af.cmd("echo said")\nwith af.job("bad"): af.cmd("false")'
    return project.jobs(body, CMD + "café: {}\nbad: {}\n")


@pytest.fixture
def shell(cli_env, project):
    """Runs ``aiflow-ext`` with words of a shell; its exit code and what it has said."""

    def call(words, **env):
        command = f"{shlex.quote(sys.executable)} -m aiflow_ext {words}"
        done = subprocess.run(["sh", "-c", command], env={**cli_env, **env}, cwd=project.root, capture_output=True)
        assert b"Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    return call


ALL_CLOSED, ALL_FULL = "<&- >&- 2>&-", ">/dev/full 2>/dev/full"


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", ALL_CLOSED, ">/dev/full", ALL_FULL])
def test_a_run_ends_with_its_own_exit_code_whatever_its_streams_are(failing, shell, streams):
    code, _, said = shell(f"run . {streams}")
    assert code == 1
    if streams == ">/dev/full":
        assert said == b"aiflow-ext: not all could be written to stdout: No space left on device\n"
    if streams in (ALL_CLOSED, ALL_FULL):
        for command in ("status latest", "status latest --json", "run . --json"):
            assert shell(f"{command} {streams}")[0] == 1


def test_what_else_is_asked_for_and_cannot_be_written_has_an_exit_code(failing, shell):
    assert shell("run .")[0] == 1
    for command in ("runs", "runs --json", "logs latest", "render .", "plugins", "graph latest", "--help", "--version"):
        assert shell(f"{command} >/dev/full")[0] == 6, command
        assert shell(f"{command} <&- >&- 2>&-")[0] == 0, command
    assert shell("run nowhere --json >/dev/full 2>/dev/full")[0] == 3
    assert shell("nothing 2>&-")[0] == 2


@pytest.mark.parametrize("environment", [
    {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
])  # fmt: skip
def test_characters_that_stdout_has_not_are_replaced(failing, shell, environment):
    code, said, _ = shell("run .", **environment)
    assert code == 1
    assert b"caf\\xe9 FINISHED" in said
    code, said, _ = shell("status latest", **environment)
    assert (code, said.isascii()) == (1, True)
    assert shell("run caf\xe9", **environment)[0] == 3


@pytest.mark.parametrize("words", ["run . --json", "status latest --json", "logs latest many --follow"])
def test_a_reader_that_leaves_ends_no_command_otherwise(project, shell, cli_env, words):
    names = [f"{'long-' * 30}{number}" for number in range(60)]  # more than a pipe and a buffer hold
    body = 'with af.job("many"): af.cmd("seq 200000; false")\n'
    body += "".join(f"with af.job({name!r}): af.cmd('true')\naf.run_after({name!r}, 'many')\n" for name in names)
    project.jobs(body, CMD + "many: {}\n" + "".join(f"{name}: {{}}\n" for name in names))
    if not words.startswith("run"):
        assert shell("run .")[0] == 1
    argv = [sys.executable, "-m", "aiflow_ext", *words.split()]
    command = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli_env, cwd=project.root)
    command.stdout.read(1)
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait(PATIENCE) == (0 if words.startswith("logs") else 1)
    command.stderr.close()


def test_the_current_folder_may_be_gone(failing, shell, tmp_path, cli_env):
    gone = tmp_path / "gone"
    aiflow = f"{shlex.quote(sys.executable)} -m aiflow_ext"
    for words, code in ((f"run {failing.root}", 1), ("status latest", 1), ("runs", 0), (f"render {failing.root}", 0),
                        ("logs latest", 0), (f"run {failing.root} --detach", 0), ("run .", 3),
                        ("run ../project", 3), ("status latest --project ../project", 3)):  # fmt: skip
        gone.mkdir()
        script = f"cd {gone}; rmdir {gone}; exec {aiflow} {words}"
        done = subprocess.run(["sh", "-c", script], env=cli_env, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("environment", [
    {"HOME": None, "XDG_STATE_HOME": None, "XDG_CACHE_HOME": None}, {"HOME": "/proc/none", "XDG_STATE_HOME": None},
    {"HOME": "", "XDG_STATE_HOME": "relative"}, {"TERM": None}, {"COLUMNS": "0"}, {"COLUMNS": "many"},
], ids=str)  # fmt: skip
def test_the_environment_may_be_poor(failing, cli, cli_env, environment, tmp_path):
    env = {name: value for name, value in {**cli_env, **environment}.items() if value is not None}
    for words, code in (("run", 1), ("render", 0)):
        done = cli(words, failing.root, env=env, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert {each.name for each in tmp_path.iterdir()} <= {"project", "cache", "state"}


def test_no_file_of_a_run_becomes_a_standard_stream(failing, cli, cli_env, tmp_path):
    script = tmp_path / "embedded.py"
    script.write_text(
        "import os, sys\n"
        "for number in range(3): os.close(number)\n"
        "import aiflow_ext as af\n"
        "seen = set()\n"
        "def listen(transition):\n"
        "    for number in range(3):\n"
        "        seen.add(os.readlink(f'/proc/self/fd/{number}'))\n"
        "        try: os.write(number, b'garbage' * 999)\n"
        "        except OSError: pass\n"
        "record = af.run_project(sys.argv[1], listener=listen)\n"
        "open(sys.argv[2], 'w').write(' '.join(seen))\n"
    )
    subprocess.run([sys.executable, str(script), str(failing.root), str(tmp_path / "seen")], env=cli_env)
    # A standalone Python opens /dev/urandom, for want of getrandom(2).
    assert set((tmp_path / "seen").read_text().split()) <= {os.devnull, "/dev/urandom"}
    record = json.loads(cli("status", "latest", "--json").stdout)
    assert (record["state"], len(record["jobs"])) == ("FAILED", 2)
    assert cli("resume", "latest", "--failed").returncode == 1
