"""What `run` prints when a run has ended."""

from __future__ import annotations

CMD = '"*": {platform: local, engine: cmd_line}\n'


def test_of_a_long_line_without_an_end_its_last_characters_are_shown(project, cli):
    line = "import sys; sys.stderr.write('x' * 100_000 + 'the cause'); sys.exit(1)"
    project.jobs(f'with af.job("a"): af.cmd(["python3", "-c", {line!r}])', CMD + "a: {}\n")
    said = cli("run", project.root).stdout
    shown = next(each for each in said.splitlines() if "the cause" in each)
    assert shown.strip().startswith("...x")
    assert len(said) < 2000


def test_a_log_that_ends_with_a_line_break_has_no_empty_line_below_it(project, cli):
    project.jobs('with af.job("a"): af.cmd("echo the cause >&2; false")', CMD + "a: {}\n")
    lines = cli("run", project.root).stdout.splitlines()
    place = lines.index("    the cause")
    assert lines[place + 1].startswith("    logs: ")


def test_files_at_a_url_are_named_at_the_end_and_in_json(project, cli, tmp_path):
    project.jobs(
        'with af.job("a"): af.cmd("echo hi > {report}", report=af.output("report.txt"))', CMD + "a: {}\n"
    ).write(project_yaml=f"artifacts: local://{tmp_path}/far\n")
    done = cli("run", project.root)
    (file,) = tmp_path.glob("far/*/a/1/*/report.txt")
    assert f"a wrote local://{file}\n" in done.stdout
    assert f"its artifacts are below local://{tmp_path}/far/" in done.stdout


def test_a_url_that_cannot_be_read_from_here_is_named_all_the_same(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n").write(project_yaml="artifacts: nosuch://far\n")
    done = cli("run", project.root)
    assert done.returncode == 0
    assert "its artifacts are below nosuch://far/" in done.stdout


def test_a_strict_script_that_fails_without_a_word_is_told_how_to_see_which_command_has_failed(project, cli):
    body = """
        with af.job("silent"): af.cmd("true; false; echo on")
        with af.job("wordy"): af.cmd("echo the cause >&2; false")
        with af.job("plain"): af.cmd(["false"])
    """
    project.jobs(body, '"*": {platform: local, engine: cmd_line, shell: strict}\n')
    said = cli("run", project.root).stdout
    silent = said.split("silent FAILED: exit code 1\n")[1].split("\n")
    assert silent[0].strip().startswith("its stderr is empty: set -x")
    assert silent[1].startswith("    logs: ")
    assert said.count("set -x") == 1


def test_on_a_terminal_alone_a_failed_python_job_is_said_how_to_debug(project, cli, raw_terminal):
    body = 'with af.job("fits"): af.cmd("false")\nwith af.job("two words"): af.python(int, "x")'
    project.jobs(body, "fits: {engine: cmd_line}\n'two words': {engine: python}\n")
    assert "reproduce" not in cli("run", project.root).stdout
    code, seen = raw_terminal(200, "run", project.root)
    (said,) = [line for line in seen.decode().splitlines() if "reproduce" in line]
    assert code == 1
    assert said.strip().endswith("'two words' --pdb")
    assert said.strip().startswith("to debug it here: aiflow-ext reproduce tested-")
