"""A command is what its author wrote, each name put in as one word; mistakes are told at render."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import aiflow_ext as af
from aiflow_ext.engines.bundle import build_bundle
from aiflow_ext.engines.command import ARGUMENT_LIMIT, one_command, plan_command, text_of
from aiflow_ext.model.errors import CodeError
from aiflow_ext.model.graph import OutputFile


def plan(command: Any, names: dict[str, str] | None = None, properties: dict[str, Any] | None = None) -> list[str]:
    node = af.AINode("cmd_line", {"command": command}, "cmd", "report/cmd", "report", "workflow.py:7")
    return plan_command(node, names or {}, properties or {})


def output_of(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, check=True).stdout.decode("utf-8", "surrogateescape")


EXACT = [
    "awk '{print $1}'",
    "awk '{print $1}' <<< {x} | tr '{}' '()'",
    "echo $HOME ${HOME} `id` $(id) \\n \"{y}\" '{y}' {properties} {properties.} {} {{x}} {0}",
    "one\ntwo \\\n three\n\n",
    "x" * 102_400,
    "cat <<EOF\ndon't {y}\nEOF",
    "\u00e9\U0001f642 \udcff",
]


@pytest.mark.parametrize("command", EXACT, ids=range(len(EXACT)))
def test_what_the_author_wrote_is_kept_to_the_byte(command: str) -> None:
    assert plan(command) == ["/bin/sh", "-c", command]
    assert plan(["prog", command]) == ["prog", command]


# What a shell argument can hold: anything but NUL. Surrogates are what os.fsdecode makes of names that are no text.
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@settings(max_examples=150, deadline=None)
@given(WORDS)
@example("")
@example("a b  c\n")
@example("'; touch /tmp/owned; '")
@example('"$(id)" `id` \\ $HOME ! * ~ # {x}')
@example("-n")
def test_any_value_is_one_word_wherever_it_stands(value: str) -> None:
    command = "printf '%s\\0' {x} pre{x}post '{x}' \"{x}\" 'a '\"b {x} $((1 + 1))\"'{x} c' \"$(printf '%s.' {x})\""
    if "\n" not in value:
        command += " # it's {x}"
    said = output_of(plan(command, {"x": value})).split("\0")[:-1]
    assert said == [value, f"pre{value}post", value, value, f"a b {value} 2{value} c", f"{value}."]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("awk '{print $2}' <<'EOF'\na b don't\nEOF\nprintf %s {x}", "b\nit's 1"),
        ("echo `printf %s {x}`", "it's 1\n"),
        ("(printf %s {x}) && case a in a) printf %s '{x}';; esac", "it's 1it's 1"),
        ("echo \\'{x}\\'", "'it's 1'\n"),
        ("echo a#{x} '#'{x}", "a#it's 1 #it's 1\n"),
    ],
)
def test_shell_that_is_hard_to_follow_still_gets_whole_words(command: str, said: str) -> None:
    assert output_of(plan(command, {"x": "it's 1"})) == said


def test_back_quotes_between_double_quotes_still_get_whole_words() -> None:
    assert output_of(plan('printf %s "`printf "%s." {x}`"', {"x": "a  b"})) == "a  b."


@settings(max_examples=50, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4))
def test_a_list_meets_no_shell(words: list[str]) -> None:
    names = {f"n{number}": word for number, word in enumerate(words)}
    argv = plan(["{prog}", *(f"a{{{name}}}" for name in names)], {"prog": "/bin/x", **names})
    assert argv == ["/bin/x", *(f"a{word}" for word in words)]
    assert output_of(["printf", "%s\\0", *argv[1:]]).split("\0")[:-1] == argv[1:]


@pytest.mark.parametrize(
    "argv",
    [
        ["bash", "-c"],
        ["/bin/sh", "-c"],
        ["sh", "-eu", "-c"],
        ["bash", "-euo", "pipefail", "-c"],
        ["bash", "-o", "pipefail", "-ec"],
        ["bash", "-ce"],
        ["bash", "-c", "-e"],
        ["bash", "-c", "-o", "pipefail"],
        ["bash", "--norc", "--rcfile", "none", "-c"],
        ["sh", "-c", "--"],
        ["/usr/bin/env", "bash", "-lc"],
        ["env", "-u", "B", "A=1", "sh", "-c"],
        ["timeout", "60", "nice", "-n", "1", "bash", "-c"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("script", ["printf %s {x}", 'printf %s "{x}"', "printf %s '{x}'"])
def test_what_is_put_into_the_script_of_a_listed_shell_is_one_word(argv: list[str], script: str) -> None:
    value = "a  b'\"$HOME`id`;*\n\\"
    assert output_of(plan([*argv, script], {"x": value})) == value


def test_arguments_after_a_script_and_those_of_other_programs_are_put_in_as_they_are() -> None:
    assert plan(["sh", "-c", 'printf %s "$1"', "sh", "{x}"], {"x": "a 'b"})[-1] == "a 'b"
    for argv in (["grep", "-c", "{x}"], ["bash", "script.sh", "-c", "{x}"], ["bash", "--norc", "script", "{x}"],
                 ["echo", "sh", "-c", "{x}"], ["python3", "-c", "{x}"], ["env", "{x}"]):  # fmt: skip
        assert plan(argv, {"x": "a 'b"})[-1] == "a 'b"
    assert plan(["sh"]) == ["sh"]
    assert plan(["sh", "-c"]) == ["sh", "-c"]


def test_a_value_may_be_the_whole_script_of_a_listed_shell() -> None:
    script = "printf '%s ' a \"b c\""
    assert output_of(plan(["sh", "-c", "{properties.script}"], {}, {"script": script})) == "a b c "
    assert output_of(plan(["bash", "-c", "{x}"], {"x": script})) == "a b c "


def run_by(shell: Any, command: str, path: str | None = None) -> subprocess.CompletedProcess[bytes]:
    node = af.AINode("cmd_line", {"command": command, "shell": shell}, "cmd", "report/cmd", "report", "workflow.py:7")
    argv = plan_command(node, {"x": "a 'b"}, {})
    env = {**os.environ, **({} if path is None else {"PATH": path})}
    return subprocess.run(argv, capture_output=True, check=False, env=env)


def test_strict_ends_at_the_first_command_that_fails_in_a_pipe_too_and_at_an_unset_variable() -> None:
    assert run_by("strict", "printf %s {x}").stdout == b"a 'b"
    for command in ("false; echo on", "false | cat; echo on", "echo $NOBODY_SETS_THIS; echo on"):
        done = run_by("strict", command)
        assert (done.returncode != 0, done.stdout) == (True, b"")
        assert run_by("sh", command).stdout.endswith(b"on\n")
    assert run_by("strict", "exit 7").returncode == 7
    assert run_by("strict", "-n 2> /dev/null || echo on").stdout == b"on\n"  # no option of the shell's


def test_strict_is_sh_where_there_is_no_bash(tmp_path: Any) -> None:
    for name in ("sh", "cat", "printf"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = run_by("strict", 'printf %s "${BASH_VERSION:-none} "{x}; false; echo on', str(tmp_path))
    assert (done.returncode, done.stdout) == (1, b"none a 'b")


def test_strict_fails_with_a_pipe_too_where_there_is_only_busybox(tmp_path: Any) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("this machine has no busybox")
    for name in ("sh", "cat", "printf"):
        (tmp_path / name).symlink_to(busybox)
    for command in ("false | cat; echo on", "false; echo on", "echo $NOBODY_SETS_THIS; echo on"):
        done = run_by("strict", command, str(tmp_path))
        assert (done.returncode != 0, done.stdout) == (True, b"")
    assert run_by("strict", "printf %s {x} | cat", str(tmp_path)).stdout == b"a 'b"


def test_a_shell_may_be_bash_or_words_of_the_authors_own() -> None:
    assert run_by("bash", '[[ {x} == "a \'b" ]] && echo "$BASH"').stdout.startswith(b"/")
    assert run_by(["sh", "-xc"], "printf %s {x}").stdout == b"a 'b"
    assert run_by("/bin/bash", "[[ {x} ]] && printf %s {x}").stdout == b"a 'b"


def test_a_value_is_not_looked_into_again() -> None:
    assert plan("{a} {b}", {"a": "{b}", "b": "{properties.c}"}) == ["/bin/sh", "-c", "'{b}' '{properties.c}'"]


def test_properties_are_found_at_any_depth_as_text() -> None:
    properties = {"a": {"b": 0.1, "c": [1, "x"]}, "t": True, "n": None, "s": "two words"}
    argv = plan(["{properties.a.b}", "{properties.a.c}{properties.t}", "{properties.n}"], {}, properties)
    assert argv == ["0.1", '[1, "x"]true', "null"]
    assert plan("{properties.s}", {}, properties)[2] == "'two words'"
    assert [text_of(value) for value in (True, 3, "x", {"a": 1}, (1, 2))] == ["true", "3", "x", '{"a": 1}', "[1, 2]"]


@pytest.mark.parametrize(
    ("command", "names", "words"),
    [
        ("x {properties.alhpa}", {}, "uses {properties.alhpa}, which job 'report' lacks"),
        ("x {properties.a.z}", {}, "the job's properties are 'a'"),
        ("x {properties.a.b.c}", {}, "{properties.a.b.c}"),
        ("x \0 y", {}, "holds a NUL character"),
        (["x", "{n}"], {"n": "a\0b"}, "holds a NUL character"),
        ("x \ud800", {}, "which is no character"),
        ("x" * (ARGUMENT_LIMIT + 1), {}, f"an argument of {ARGUMENT_LIMIT + 1} bytes"),
        ("echo {n}", {"n": "é" * 70_000}, "an argument of 140007 bytes"),
        (["x", *["y" * 100_000] * 20], {}, "arguments of 2000001 bytes together"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_at_render_with_its_line(command: Any, names: dict[str, str], words: str) -> None:
    with pytest.raises(CodeError) as caught:
        plan(command, names, {"a": {"b": 1}})
    assert words in str(caught.value)
    assert caught.value.problems[0].where == "workflow.py:7"
    assert "node 'cmd'" in str(caught.value)


def test_the_longest_argument_that_is_let_through_runs() -> None:
    long = "x" * (ARGUMENT_LIMIT - 40)
    assert output_of(plan("printf %s {n} | wc -c", {"n": long})).strip() == str(len(long))
    assert len(output_of(plan(["printf", "%s", "x" * ARGUMENT_LIMIT]))) == ARGUMENT_LIMIT


def test_every_mistake_of_a_job_is_reported_at_once() -> None:
    graph = af.workflow(lambda: _many_mistakes()).build()
    part = af.AISubGraph(af.BaseJobConfig(engine="cmd_line"), "j", graph.nodes)
    with pytest.raises(CodeError) as caught:
        build_bundle(part, af.ProjectDesc())
    assert len(caught.value.problems) == 3


def _many_mistakes() -> None:
    with af.job("j"):
        af.cmd("x {properties.no} {properties.other}")
        af.cmd("y {properties.no}")


def test_several_commands_run_in_order_until_one_fails() -> None:
    argvs = [["printf", "%s.", "a 'b'"], plan("printf '%s.' {x}", {"x": "$HOME"}), ["printf", "%s", "end"]]
    assert output_of(one_command(argvs)) == "a 'b'.$HOME.end"
    assert one_command(argvs[:1]) == argvs[0]
    done = subprocess.run(one_command([["true"], plan("exit 5"), ["touch", "/never"]]), check=False)
    assert done.returncode == 5
    assert subprocess.run(one_command([["true"], plan("kill -9 $$")]), check=False).returncode == -9


def test_several_long_commands_and_more_than_nine_words_run() -> None:
    words = [str(number) for number in range(30)]
    length = ["sh", "-c", "echo ${#1}", "x"]
    argvs = [["sh", "-c", "test ${#1} = 120000", "x", "y" * 120_000], ["echo", *words], [*length, "z" * 99_000]]
    assert output_of(one_command(argvs)) == f"{' '.join(words)}\n99000\n"


def test_a_listed_program_is_never_a_shells_built_in(tmp_path: Any) -> None:
    for name in ("cd", "exit"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho program {name}\n")
        (tmp_path / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    argv = one_command([["cd", "/"], ["exit", "3"]])
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    assert said == "program cd\nprogram exit\n"


def test_only_what_crosses_a_job_needs_a_python(tmp_path: Any) -> None:
    def needs(**names: Any) -> bool:
        command = " ".join(f"{{{name}}}" for name in names) or "x"
        node = af.AINode("cmd_line", {"command": command, "names": names}, "c", "j/c", "j")
        part = af.AISubGraph(af.BaseJobConfig(engine="cmd_line"), "j", [node])
        return build_bundle(part, af.ProjectDesc(root=str(tmp_path))).needs_runner

    assert not needs()
    assert not needs(plain=1)
    assert needs(out=OutputFile("x"))


def test_a_node_of_another_kind_is_named_with_what_to_make_of_it() -> None:
    part = af.AISubGraph(af.BaseJobConfig(), "j", [af.AINode("flink", {}, "f", "j/f", "j", "w.py:3")])
    for engine, word in (("python", "af.python"), ("cmd_line", "af.cmd")):
        with pytest.raises(CodeError) as caught:
            build_bundle(part, af.ProjectDesc(), engine)
        assert f"node 'f' of kind 'flink' is in job 'j', whose engine is {engine}" in str(caught.value)
        assert word in str(caught.value)
        assert caught.value.problems[0].where == "w.py:3"
    with pytest.raises(CodeError, match="job 'e' has nothing to run"):
        build_bundle(af.AISubGraph(name="e"), af.ProjectDesc(), "python")
