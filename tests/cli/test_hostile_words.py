"""What jobs, names and servers say reaches no terminal as a command, and forges no line of a log."""

from __future__ import annotations

import json
import re

import pytest
from own_watch import plugin_that_watches

TITLE = "\x1b]0;owned\x07"
FORGED = f"ends{TITLE}\x1b[2K\r\n12:00:00 good FINISHED\x1b[8m\u202egnp.exe\x9b1m"
SAYS = f"""
import os
open(os.environ["AIFLOW_REASON_FILE"], "w", encoding="utf-8").write({FORGED!r})
raise SystemExit(3)
"""


ODD = {
    "no glyph": "a\u200bb\u200cc\u200dd\u2060e\ufefff\u034fg\u115fh\u3164i\xadj\U000e0041k",
    "stacked marks": "e" + "\u0301" * 300,
    "wide": "\u6f22\u5b57" * 300,
    "no space": "x" * 1_000_000,
    "lines": "a\n12:00:00 good FINISHED\r\n\x0b\x0c\u2028\x85b\r\x1b[2A\x1b[2Kc",
}
CLUSTER = plugin_that_watches("""
    for event in super().watch(jobs, since):
        if event is not None:
            event.reason = open(os.environ["SEEN"], encoding="utf-8", newline="").read()
        yield event
""")


def controls(seen: bytes) -> list[str]:
    """What of it a terminal would obey, but for colours, the cursor of a live table, and line ends."""
    text = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    return re.findall("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@pytest.fixture
def ended(project, cli, raw_terminal):
    """A run whose only job has failed for a hostile reason."""
    (project.root / "says.py").write_text(SAYS)
    project.jobs(f'with af.job("bad"): af.cmd("python3 {project.root}/says.py")', "")
    return cli("run", project.root, env=raw_terminal.env)


def test_a_reason_is_one_line_of_a_run_in_a_pipe_with_its_controls_escaped(ended):
    assert ended.returncode == 1
    assert not controls(ended.stdout.encode()), ended.stdout
    assert not controls(ended.stderr.encode()), ended.stderr
    assert "ends\\x1b]0;owned\\x07" in ended.stdout
    assert not re.search("(?m)^12:00:00 good", ended.stdout)


@pytest.mark.parametrize("command", ["status", "run"])
def test_a_reason_commands_no_terminal(ended, project, raw_terminal, command):
    _, seen = raw_terminal(200, command, "latest" if command == "status" else project.root)
    assert b"owned" in seen
    assert not controls(seen.replace(b"\r\n", b"\n").replace(b"\x1b[2K", b"").replace(b"\r", b"")), seen
    assert b"\x1b[8m" not in seen
    assert not re.search("(?m)^12:00:00 good", seen.decode())


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_table_stays_one_whatever_a_platform_says(project, stranger, raw_terminal, odd):
    stranger("cluster", CLUSTER, {"cluster.cmd_line": "Plugin"}).write_text(odd, encoding="utf-8", newline="")
    raw_terminal.env["SEEN"] = str(project.root.parent / "seen")
    raw_terminal.env["PYTHONPATH"] = str(project.root.parent / "site")
    project.jobs("with af.job('bad'): af.cmd('exit 3')\nwith af.job('good'): af.cmd('true')",
                 "'*': {platform: cluster}\n")  # fmt: skip
    for width, *command in (40, "run", project.root), (120, "status", "latest", "--project", project.root):
        code, seen = raw_terminal(width, *command)
        assert code == 1
        assert len(seen) < 60_000
        text = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", seen.decode()).replace("\r", "")
        assert not controls(text.encode()), text
        assert not re.search("[\xad\u034f\u115f\u200b-\u200f\u2060\u3164\ufeff\U000e0041]|\u0301{5}", text)
        assert not re.search("(?m)^12:00:00 good", text)
        assert re.search("(?m)^good +FINISHED", text), text


def test_status_in_a_pipe_has_a_line_for_a_job_whatever_its_reason(ended, cli, raw_terminal):
    lines = cli("status", "latest", env=raw_terminal.env).stdout.split("\n")
    assert [line.split("\t")[0] for line in lines] == ["run", "job", "bad", ""]
    assert not controls("\n".join(lines).replace("\t", " ").encode())


def test_json_tells_the_reason_as_it_was(ended, cli, raw_terminal):
    record = json.loads(cli("status", "latest", "--json", env=raw_terminal.env).stdout)
    assert record["jobs"][0]["attempts"][0]["reason"] == FORGED


@pytest.mark.parametrize("words", ["a\x1b]0;owned\x07b", "a\nerror: forged", "a\u202eb"])
def test_a_name_in_a_message_commands_nothing(project, cli, words):
    project.jobs('with af.job("a"): af.cmd("true")', "")
    done = cli("status", words, "--project", project.root)
    assert done.returncode != 0
    assert not controls(done.stderr.encode()), done.stderr
    assert not re.search("(?m)^error: forged", done.stderr)
    assert not controls(cli("run", project.root, "--set", f"{words}.x=1").stderr.encode())


LOG = b"\x1b[31mred\x1b[0m\x1b]0;owned\x07\x1b[2J \x9b plain\xff\rover\r\n\x1b[8mhidden\nseen \xc3\xa9\n"


@pytest.fixture
def logged(project, cli, raw_terminal):
    (project.root / "log").write_bytes(LOG)
    project.jobs(
        f'with af.job("a"): af.cmd("cat {project.root}/log")\nwith af.job("b"): af.cmd("cat {project.root}/log")', ""
    )
    assert cli("run", project.root, env=raw_terminal.env).returncode == 0


def test_logs_are_byte_for_byte_in_a_pipe(logged, cli, raw_terminal):
    assert cli("logs", "latest", "a", env=raw_terminal.env, text=False).stdout == LOG


@pytest.mark.parametrize("options", [["a"], ["a", "--follow"], [], ["--follow"]])
def test_logs_on_a_terminal_keep_colours_within_their_line_and_drop_other_commands(logged, raw_terminal, options):
    code, seen = raw_terminal(80, "logs", "latest", *options)
    assert code == 0
    lines = seen.decode().replace("\r\n", "\n").split("\n")
    assert not controls("\n".join(lines).replace("\t", " ").encode())
    assert b"\x1b[2J" not in seen
    assert "\r" not in "".join(lines)
    mine = [line.removeprefix("a | ") for line in lines if not line.startswith("b | ")][:4]
    assert mine[0].startswith("\x1b[31mred\x1b[0m")
    assert mine[1] == "over"
    assert mine[2].endswith("hidden\x1b[0m")
    assert mine[3] == "seen é"
