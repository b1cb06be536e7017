"""Real jobs on the platform local: what each does is what its record says."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from interrupted import until
from patience import PATIENCE

from tests.conftest import processes_marked

CMD = '"*": {platform: local, engine: cmd_line}\n'
PY = '"*": {platform: local, engine: python}\n'


def last(record: dict[str, Any], job: str) -> dict[str, Any]:
    return record["jobs"][job]["attempts"][-1]


def test_values_and_files_cross_between_jobs(project, run_json):
    project.jobs(
        """
        with af.job("make"):
            number, text, blob, file = af.python(one), af.python(word), af.python(raw), af.python(wrote)
        with af.job("read"):
            af.python(check, number, text, blob, file)
        with af.job("count"):
            size = af.cmd("(wc -c < {file}; cat {text}) > {out}", file=file, text=text, out=af.output("size.txt"))
        with af.job("last"):
            af.python(shown, size)
        """,
        '"*": {platform: local, engine: python}\ncount: {engine: cmd_line}\nmake: {}\nread: {}\nlast: {}\n',
        """
        from pathlib import Path
        def one(): return {"a": [1, 2]}
        def word(): return "wörd"
        def raw(): return b"\\0\\xff"
        def wrote():
            Path("table.csv").write_text("x" * 100)
            return Path("table.csv")
        def check(number, text, blob, file):
            assert number == {"a": [1, 2]} and text == "wörd" and blob == b"\\0\\xff"
            assert file.name == "table.csv" and file.read_text() == "x" * 100
        def shown(path): print(path.read_text())
        """,
    )
    record = run_json(project)
    assert record["exit"] == 0
    assert {job["state"] for job in record["jobs"].values()} == {"FINISHED"}
    assert project.log("last").decode().split() == ["100", "wörd"]


def test_nodes_of_one_job_pass_values_in_memory_in_one_process(project, run_json):
    project.jobs(
        """
        with af.job("one"):
            opened = af.python(make)
            af.python(check, opened, [opened, {"deep": opened}])
        """,
        PY + "one: {}\n",
        """
        import os
        made = []
        def make():
            made.append(open(__file__))  # cannot be pickled: it must stay in memory
            return made[0]
        def check(value, nested):
            assert value is made[0] and nested[0] is value and nested[1]["deep"] is value
            print(os.getpid())
        """,
    )
    assert run_json(project)["exit"] == 0


@pytest.mark.parametrize(
    ("command", "exit_code", "signal_number", "words"),
    [
        ("exit 3", 3, None, "exit code 3"),
        ("kill -9 $$", None, signal.SIGKILL, "SIGKILL"),
        ("kill -TERM $$", None, signal.SIGTERM, "SIGTERM"),
        (["/no/such/program"], None, None, "No such file or directory: /no/such/program"),
        (["/etc/passwd"], None, None, "Permission denied: /etc/passwd"),
    ],
)
def test_a_failed_command_has_its_true_exit_code_or_signal_on_record(
    project, run_json, command, exit_code, signal_number, words
):
    project.jobs(f'with af.job("bad"): af.cmd({command!r})', CMD + "bad: {}\n")
    record = run_json(project)
    attempt = last(record, "bad")
    assert record["exit"] == 1
    assert attempt["state"] == "FAILED"
    assert (attempt["exit_code"], attempt["signal"]) == (exit_code, signal_number)
    assert words in attempt["reason"]


def test_a_python_job_fails_with_the_users_own_words_and_traceback(project, run_json):
    project.jobs('with af.job("bad"): af.python(boom)', PY + "bad: {}\n", "def boom(): raise ValueError('no data')\n")
    assert last(run_json(project), "bad")["reason"] == "ValueError: no data"
    log = project.log("bad", "stderr").decode()
    assert "steps.py" in log
    assert "aiflow_ext" not in log.replace(str(project.root), "")


def test_a_variable_is_as_it_was_written_in_every_attempt_also_of_a_later_driver(project, cli):
    config = '"*": {platform: local, engine: cmd_line, env: {MODE: 0755, RATE: 1.10, LOUD: yes}}\n'
    project.jobs("""with af.job("job"): af.cmd('echo $MODE $RATE $LOUD; false')""", config)
    assert cli("run", project.root).returncode == 1
    assert cli("resume", "latest", "--failed", "--project", project.root).returncode == 1
    assert [project.log("job", attempt=number) for number in (1, 2)] == [b"0755 1.10 yes\n"] * 2


def test_a_resumed_run_goes_on_with_the_workflow_py_that_it_was_started_with(project, run_json, cli):
    text = """
        import os
        import aiflow_ext as af

        def say():
            print("old")
            assert os.path.exists(GATE)

        GATE = {gate!r}

        @af.workflow
        def w():
            with af.job("a"): af.python(say)
    """.format(gate=str(project.root.parent / "gate"))
    project.write(workflow_py=text, workflow_yaml=PY + "a: {}\n")
    assert run_json(project)["exit"] == 1
    project.write(workflow_py=text.replace('"old"', '"new"'))
    (project.root.parent / "gate").touch()
    done = cli("resume", "latest", "--project", project.root, "--failed")
    assert done.returncode == 0, done.stderr
    assert project.log("a", attempt=2) == b"old\n"


@pytest.mark.parametrize("statement", ["os._exit(0)", "os.execv('/bin/true', ['true'])"])
def test_a_job_whose_process_ends_well_before_its_last_step_has_failed_and_what_waits_for_it_is_skipped(
    project, run_json, cli, statement
):
    body = """
        with af.job("a"):
            af.python(leave)
            af.python(print, "second")
        with af.job("b"): af.python(print)
        af.run_after("b", "a")
    """
    project.jobs(body, PY + "a: {}\nb: {}\n", f"import os\ndef leave(): {statement}\n")
    record = run_json(project)
    assert (record["exit"], record["state"], record["jobs"]["b"]["state"]) == (1, "FAILED", "SKIPPED")
    assert "before" in last(record, "a")["reason"]
    again = json.loads(cli("status", record["run"], "--project", project.root, "--json").stdout)
    assert again["state"] == "FAILED"


def test_a_python_job_that_exits_has_that_exit_code(project, run_json):
    project.jobs('with af.job("bad"): af.python(leave)', PY + "bad: {}\n", "import sys\ndef leave(): sys.exit(4)\n")
    assert last(run_json(project), "bad")["exit_code"] == 4


def test_bytes_that_are_no_text_reach_the_log_unchanged(project, run_json):
    project.jobs(r"""with af.job("raw"): af.cmd("printf '\\377\\376 x\\n'")""", CMD + "raw: {}\n")
    assert run_json(project)["exit"] == 0
    assert project.log("raw") == b"\xff\xfe x\n"


def test_much_output_is_all_in_the_log_and_costs_the_driver_no_memory(project, cli_env):
    project.jobs('with af.job("big"): af.cmd("head -c 400000000 /dev/zero")', CMD + "big: {}\n")
    code = (
        "import sys\nfrom aiflow_ext.cli.failures import run_guarded\n"
        "from aiflow_ext.cli.commands import program\n"
        f"code = run_guarded(program, ['run', {str(project.root)!r}])\n"
        "status = open('/proc/self/status')\n"
        "print(next(line.split()[1] for line in status if line.startswith('VmHWM')), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=cli_env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    log = project.run_folder / "jobs" / "big" / "1" / "stdout"
    assert log.stat().st_size == 400_000_000
    log.unlink()
    assert int(done.stderr.split()[-1]) < 100_000  # kB: a quarter of what was printed


def test_a_daemon_that_a_job_forks_is_ended_with_the_job(project, run_json):
    project.jobs('with af.job("forks"): af.cmd("setsid sh -c \'sleep 1000 & wait\' & echo ok")', CMD + "forks: {}\n")
    record = run_json(project)
    assert record["exit"] == 0
    assert project.log("forks") == b"ok\n"
    until(lambda: processes_marked(str(project.root)) == [])  # the supervisor begins with it as the job ends


def test_a_command_reaches_the_shell_exactly_as_it_was_written(project, run_json):
    project.jobs(
        r"""
        with af.job("exact"):
            af.cmd("echo 'a b' | awk '{print $2}'; printf '%s|' {x} \"{y}\"", x="it's \"q\" $HOME `id` \n{z}")
        """,
        CMD + "exact: {}\n",
    )
    assert run_json(project)["exit"] == 0
    assert project.log("exact").decode() == 'b\nit\'s "q" $HOME `id` \n{z}|{y}|'


def test_a_list_meets_no_shell_and_takes_long_arguments(project, run_json):
    project.jobs(
        'with af.job("exact"): af.cmd(["printf", "%s|", "a  b", "$HOME", "*", "x" * 102400])', CMD + "exact: {}\n"
    )
    assert run_json(project)["exit"] == 0
    assert project.log("exact").decode() == f"a  b|$HOME|*|{'x' * 102400}|"


def test_several_commands_of_a_job_run_in_order_until_one_fails(project, run_json):
    project.jobs(
        'with af.job("many"):\n    af.cmd("echo one")\n    af.cmd("exit 5")\n    af.cmd("echo never")',
        CMD + "many: {}\n",
    )
    assert last(run_json(project), "many")["exit_code"] == 5
    assert project.log("many") == b"one\n"


@pytest.mark.parametrize("name", ["with space", "a/b", 'it\'s "q"', "🙂", "x" * 200, "..", "-rf", "A", "a"])
def test_any_job_name_is_a_job_name(project, run_json, name):
    project.jobs(
        f'with af.job({name!r}): af.cmd("echo $AIFLOW_JOB")', CMD + f"{json.dumps(name, ensure_ascii=False)}: {{}}\n"
    )
    record = run_json(project)
    assert record["exit"] == 0
    (log,) = project.run_folder.glob("jobs/*/1/stdout")
    assert log.read_text() == f"{name}\n"


def test_artifacts_cross_between_jobs_of_any_name(project, run_json):
    project.jobs(
        """
        with af.job("a/b"):
            value = af.python(len, "abc")
        with af.job("ü 🙂"):
            more = af.python(sum, [value, 1])
        with af.job(".."):
            size = af.cmd("cat {more} > {out}", more=more, out=af.output("ö.txt"))
        with af.job("last"):
            af.python(print, value, more, size)
        """,
        PY + '"a/b": {}\n"ü 🙂": {}\n"..": {engine: cmd_line}\nlast: {}\n',
    )
    assert run_json(project)["exit"] == 0
    assert project.log("last").decode().startswith("3 4 /")


def test_a_job_sees_what_the_design_promises(project, run_json):
    project.jobs(
        """
        with af.job("py"): af.python(look)
        with af.job("sh"): af.cmd('echo "$AIFLOW_RUN $AIFLOW_JOB $AIFLOW_ATTEMPT {properties.alpha} $PWD" $GREETING')
        """,
        """
        "*": {platform: local, engine: python, properties: {alpha: 0.5}, env: {GREETING: hi}}
        py: {}
        sh: {engine: cmd_line}
        """.replace("\n        ", "\n"),
        """
        import os
        from pathlib import Path
        import aiflow_ext as af
        def look():
            job = af.current_job()
            assert job.name == "py" and job.attempt == 1 and job.properties == {"alpha": 0.5}
            assert Path.cwd() == job.work_folder and (job.project_folder / "steps.py").exists()
            assert Path(job.checkpoint_dir).is_dir() and os.environ["GREETING"] == "hi"
            print(job.run_id)
        """,
    )
    record = run_json(project)
    assert record["exit"] == 0, project.log("py", "stderr").decode()
    assert project.log("py").decode().strip() == record["run"]
    words = project.log("sh").decode().split()
    assert words[:4] == [record["run"], "sh", "1", "0.5"]
    assert words[4].endswith("/jobs/sh/1/work")
    assert words[5] == "hi"


def test_a_failed_job_gets_its_retries_and_shares_its_checkpoints(project, run_json):
    project.jobs(
        """
        with af.job("third"):
            af.cmd('cd "$AIFLOW_CHECKPOINT_DIR"; echo x >> count; test $(wc -l < count) = 3')
        """,
        CMD + "third: {retries: 5}\n",
    )
    record = run_json(project)
    assert [attempt["state"] for attempt in record["jobs"]["third"]["attempts"]] == ["FAILED", "FAILED", "FINISHED"]
    assert record["exit"] == 0


def test_the_wait_before_a_retry_grows_by_its_factor_up_to_its_longest(project, run_json):
    project.jobs(
        'with af.job("a"): af.cmd("false")',
        CMD + "a: {retries: 3, retry_delay: {first: 100ms, factor: 4, max: 500ms}}\n",
    )
    attempts = run_json(project)["jobs"]["a"]["attempts"]
    waits = [after["submitted_at"] - before["ended_at"] for before, after in itertools.pairwise(attempts)]
    assert len(waits) == 3
    for wait, delay in zip(waits, (0.1, 0.4, 0.5), strict=True):
        assert wait >= 0.8 * delay  # up to a fifth is left out at random


def test_a_job_that_runs_into_its_timeout_is_ended_and_failed(project, run_json, nothing_left):
    project.jobs('with af.job("slow"): af.cmd("sleep 1000 & sleep 1000")', CMD + "slow: {timeout: 0.2}\n")
    attempt = last(run_json(project), "slow")
    assert attempt["state"] == "FAILED"
    assert attempt["timed_out"]
    assert "timeout of 0.2 s" in attempt["reason"]
    nothing_left()


def test_an_interpreter_that_is_not_there_is_reported_in_a_sentence(project, run_json):
    project.jobs('with af.job("py"): af.python(print)', PY + "py: {python: /no/such/python}\n")
    assert "/no/such/python" in last(run_json(project), "py")["reason"]


def test_the_project_is_left_as_it_was_but_for_its_state_folder(project, run_json):
    project.jobs('with af.job("py"): af.python(len, "abc")', PY + "py: {}\n")
    before = sorted(path.name for path in project.root.iterdir())
    run_json(project)
    assert sorted(path.name for path in project.root.iterdir()) == [".aiflow", *before]


def test_a_project_that_cannot_be_written_is_reported_and_runs_with_its_state_elsewhere(project, cli_env, tmp_path):
    project.jobs(
        'with af.job("a"): x = af.python(len, "abc")\nwith af.job("b"): af.cmd("cat {x}", x=x)',
        PY + "a: {}\nb: {engine: cmd_line}\n",
    )
    project.root.chmod(0o555)
    state = tmp_path / "state"
    state.mkdir()
    # As root nothing is unwritable: the command gives its privileges up first. What it runs then is /bin/cat's alone.
    code = (
        "import os, sys\nfrom aiflow_ext.cli.failures import run_guarded\nfrom aiflow_ext.cli.commands import program\n"
        "if os.geteuid() == 0:\n    import ctypes\n    drop = ctypes.CDLL(None, use_errno=True)\n"
        "    assert drop.prctl(24, 1, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE\n"
        "    os.execv(sys.executable, [sys.executable, '-m', 'aiflow_ext', *sys.argv[1:]])\n"
        "sys.exit(run_guarded(program, sys.argv[1:]))"
    )
    argv = [sys.executable, "-c", code, "run", str(project.root), "--json"]
    done = subprocess.run(argv, env=cli_env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 6, done.stderr
    assert "AIFLOW_STATE" in done.stderr
    done = subprocess.run(
        argv, env={**cli_env, "AIFLOW_STATE": str(state)}, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert not (project.root / ".aiflow").exists()


def test_a_run_of_local_commands_imports_nothing_that_only_other_runs_need(project, cli_env):
    project.jobs("with af.job('one'): af.cmd('true')", CMD + "one: {}\n")
    code = (
        "import sys\nfrom aiflow_ext.cli import main\ntry: main()\n"
        "finally: print(*[name for name in sys.modules if name.startswith('aiflow_ext')], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "run", project.root]
    done = subprocess.run(command, env=cli_env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = set(done.stderr.split())
    assert "aiflow_ext.run.driving.driver" in imported
    assert not imported & {
        "aiflow_ext.engines.archive",  # the project's files
        "aiflow_ext.host.explain",  # a plugin that cannot be used
        "aiflow_ext.run.driving.deciding",  # extensions
        "aiflow_ext.run.driving.notify",
        "aiflow_ext.run.driving.platform_thread",  # a platform that may take its time
        "aiflow_ext.run.planning.only",  # --only
        "aiflow_ext.run.platforms.hosted_adapter",  # a plugin of nine methods
        "aiflow_ext.supervise.sweep",  # a stop without a supervisor
        "aiflow_ext.translate.pickles",  # functions without a name
    }
