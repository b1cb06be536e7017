"""Extensions in a real run: refusing, being told in order, asking for another attempt, wrapping the nine."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time

import pytest
from dist_info import install
from nine_methods import plugin_of_nine_methods
from patience import PATIENCE

CMD = '"*": {platform: local, engine: cmd_line}\n'


def until(holds) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def extended(tmp_path, cli_env):
    """Advertises an extension module with this source (and others by name); returns the environment that has it."""

    def make(source: str, **others: str) -> dict[str, str]:
        site = tmp_path / "site"
        for name, text in {"tested": source, **others}.items():
            module = "import aiflow_ext as af\n" + textwrap.dedent(text)
            advertised = {"extensions": {name: f"{name}_extension"}}
            install(site, f"{name}-extension", advertised, {f"{name}_extension.py": module})
        return {**cli_env, "PYTHONPATH": str(site), "SEEN": str(tmp_path / "seen")}

    return make


def test_an_extension_may_refuse_a_job_before_anything_is_sent(project, run_json, extended):
    env = extended("""
        @af.hookimpl
        def before_submit(job):
            if job.job_context.job_name == "bad":
                raise PermissionError("not on a Friday")
        """)
    project.jobs(
        'with af.job("bad"): af.cmd("echo ran")\nwith af.job("good"): af.cmd("true")', CMD + "bad: {}\ngood: {}\n"
    )
    record = run_json(project, env=env)
    assert record["jobs"]["bad"]["state"] == "FAILED"
    assert "not on a Friday" in record["jobs"]["bad"]["attempts"][0]["reason"]
    assert record["jobs"]["bad"]["attempts"][0]["native_id"] is None
    assert record["jobs"]["good"]["state"] == "FINISHED"
    assert not list(project.run_folder.glob("jobs/bad/1/std*"))


def test_what_an_extension_puts_in_place_of_a_jobs_context_is_put_back(project, cli, extended):
    env = extended("""
        @af.hookimpl
        def before_submit(job):
            job.job_context = None
            del job.job_config
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD)
    done = cli("run", project.root, env=env)
    assert done.returncode == 0, done.stderr
    for name in ("job_context", "job_config"):
        assert f"before_submit replaced the job's {name}, which is put back" in done.stderr


def test_every_transition_is_delivered_in_order_with_its_number(project, run_json, extended, tmp_path):
    env = extended("""
        import json, os
        @af.hookimpl
        def on_transition(event):
            with open(os.environ["SEEN"], "a") as file:
                file.write(json.dumps([event.seq, event.job, event.attempt, str(event.state)]) + "\\n")
        """)
    project.jobs(
        'with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("false")\nwith af.job("c"): af.cmd("true")\n'
        'af.run_after("c", "b")',
        CMD + "a: {}\nb: {}\nc: {}\n",
    )
    run_json(project, env=env)
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    assert [item[0] for item in seen] == list(range(1, len(seen) + 1))
    order = [state for _, job, _, state in seen if job == "a"]
    assert order == sorted(order, key=["SUBMITTING", "QUEUED", "RUNNING", "FINISHED"].index)
    assert ["c", None, "SKIPPED"] in [item[1:] for item in seen]


def test_an_extension_whose_on_transition_raises_fails_no_job(project, run_json, extended):
    env = extended("""
        @af.hookimpl
        def on_transition(event):
            raise RuntimeError("broken listener")
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert run_json(project, env=env)["exit"] == 0


def test_an_extension_may_ask_for_another_attempt(project, run_json, extended):
    env = extended("""
        @af.hookimpl
        def should_retry(attempt, outcome):
            return 0.0 if attempt.exit_code == 75 and attempt.number < 3 else None
        """)
    project.jobs(
        'with af.job("busy"): af.cmd("exit 75")\nwith af.job("bad"): af.cmd("exit 1")', CMD + "busy: {}\nbad: {}\n"
    )
    record = run_json(project, env=env)
    assert len(record["jobs"]["busy"]["attempts"]) == 3
    assert len(record["jobs"]["bad"]["attempts"]) == 1


def test_an_extension_wraps_the_submission_of_every_plugin(project, run_json, extended, tmp_path):
    env = extended("""
        import os
        @af.hookimpl(wrapper=True)
        def submit_job(job):
            with open(os.environ["SEEN"], "a") as file:
                file.write("before ")
            handler = yield
            with open(os.environ["SEEN"], "a") as file:
                file.write("after")
            return handler
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert run_json(project, env=env)["exit"] == 0
    assert (tmp_path / "seen").read_text() == "before after"


def test_neither_listing_nor_render_imports_an_extension(project, cli, extended):
    env = extended("raise SystemExit('imported')")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert cli("plugins", env=env).returncode == 0
    assert cli("render", project.root, env=env).returncode == 0


def test_a_driver_that_is_killed_while_it_catches_up_repeats_only_that_delivery(project, cli, extended, tmp_path):
    env = extended("""
        import os
        @af.hookimpl
        def on_transition(event):
            with open(os.environ["SEEN"], "a") as file:
                file.write(f"{event.seq} ")
            if event.seq == 2 and "KILL" in os.environ:
                os.kill(os.getpid(), 9)
        """)
    deadly = {**env, "KILL": ""}
    seen = tmp_path / "seen"
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert cli("run", project.root, env=deadly).returncode == -9
    seen.unlink()
    with project.database() as db:  # as if the first had not been told of either
        db.execute("delete from deliveries")
    assert cli("resume", "latest", "--project", project.root, env=deadly).returncode == -9
    assert seen.read_text() == "1 2 "
    assert cli("resume", "latest", "--project", project.root, env=env).returncode == 0
    numbers = [int(number) for number in seen.read_text().split()]
    assert numbers == [1, 2, *range(2, numbers[-1] + 1)]


def test_nothing_runs_without_an_extension_that_the_project_requires(project, cli, extended):
    env = extended("raise RuntimeError('no licence')")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    project.write(project_yaml="extensions: {require: [tested]}\n")
    for command in ([], ["--detach"]):
        refused = cli("run", project.root, *command, env=env)
        assert refused.returncode == 5
        assert "no licence" in refused.stderr
        assert "extensions.require" in refused.stderr
    assert not list(project.root.glob(".aiflow/runs/*"))
    assert cli("render", project.root, env=env).returncode == 0
    project.write(project_yaml="extensions: {require: [tset]}\n")
    refused = cli("run", project.root, env=env)
    assert refused.returncode == 4
    assert "did you mean 'tested'" in refused.stderr


def test_a_run_is_not_resumed_without_an_extension_that_it_was_started_with_as_required(project, cli, extended):
    env = extended("""
        import os
        if "BROKEN" in os.environ:
            raise RuntimeError("no licence")
        @af.hookimpl
        def before_submit(job): pass
        """)
    project.jobs('with af.job("a"): af.cmd("false")', CMD + "a: {}\n")
    project.write(project_yaml="extensions: {require: [tested]}\n")
    assert cli("run", project.root, env=env).returncode == 1
    again = ("resume", "latest", "--project", project.root, "--failed")
    refused = cli(*again, env={**env, "BROKEN": ""})
    assert refused.returncode == 5
    assert "no licence" in refused.stderr
    with project.database() as db:
        assert db.execute("select count(*) from attempts").fetchone() == (1,)
    assert cli(*again, env=env).returncode == 1


def test_a_scheduler_does_not_begin_without_a_required_extension(project, cli, extended):
    env = extended("")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {periodic: {interval: 1h}}\n")
    project.write(project_yaml="extensions: {require: [budget]}\n")
    refused = cli("schedule", project.root, env=env)
    assert refused.returncode == 4
    assert "'budget' is not installed" in refused.stderr


def test_an_extension_that_is_left_out_is_reported_and_the_run_goes_on(project, cli, extended):
    env = extended("""
        @af.hookimpl
        async def before_submit(job):
            raise PermissionError
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    done = cli("run", project.root, env=env)
    assert done.returncode == 0
    assert "before_submit is async" in done.stderr
    assert "the run goes on without it" in done.stderr


HANGS = "import time\n@af.hookimpl\ndef {hook}({arguments}): time.sleep(1000)\n"
WRITES = """
import os
@af.hookimpl
def on_transition(event):
    with open(os.environ["SEEN"], "a") as file:
        file.write(f"{event.seq} ")
"""
QUICK = "extensions: {timeout: 0.3}\n"


def test_an_on_transition_that_hangs_blocks_neither_the_run_nor_another_extension(
    project, cli, run_json, extended, tmp_path
):
    env = extended(HANGS.format(hook="on_transition", arguments="event"), writes=WRITES)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n").write(project_yaml=QUICK)
    record = run_json(project, env=env)
    assert record["exit"] == 0
    numbers = [int(number) for number in (tmp_path / "seen").read_text().split()]
    assert numbers == list(range(1, numbers[-1] + 1))
    tested, writes = record["extensions"]
    assert (tested["name"], tested["delivered"], tested["last"]) == ("tested", 0, numbers[-1])
    assert "on_transition has not returned for more than 0.3 s (number 1: a SUBMITTING)" in tested["problem"]
    assert (writes["delivered"], writes["problem"]) == (numbers[-1], None)
    shown = cli("status", "latest", "--project", project.root, env=env)
    assert f"extension\ttested\treceived 0 of {numbers[-1]} transitions\t{tested['problem']}" in shown.stdout


def test_transitions_that_were_not_delivered_when_the_run_ended_are_delivered_by_resume(
    project, cli, extended, tmp_path
):
    env = extended("""
        import os, time
        @af.hookimpl
        def on_transition(event):
            if event.seq == 2 and "HANG" in os.environ:
                time.sleep(1000)
            with open(os.environ["SEEN"], "a") as file:
                file.write(f"{event.seq} ")
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n").write(project_yaml=QUICK)
    done = cli("run", project.root, env={**env, "HANG": ""})
    assert done.returncode == 0
    assert "it has received 1 of the run's" in done.stderr
    assert "to deliver the others: aiflow-ext resume" in done.stderr
    assert (tmp_path / "seen").read_text() == "1 "
    assert cli("resume", "latest", "--project", project.root, env=env).returncode == 0
    numbers = [int(number) for number in (tmp_path / "seen").read_text().split()]
    assert len(numbers) > 2
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_runs_end_waits_for_an_extension_that_is_behind(project, run_json, extended):
    env = extended("import time\n@af.hookimpl\ndef on_transition(event): time.sleep(0.1)\n")
    project.jobs('with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("true")', CMD + "a: {}\nb: {}\n")
    (extension,) = run_json(project, env=env)["extensions"]
    assert extension["delivered"] == extension["last"] >= 4


@pytest.mark.parametrize("hook", ["before_submit(job)", "on_transition(event)", "should_retry(attempt, outcome)"])
def test_an_extension_that_would_end_the_process_does_not(project, run_json, extended, hook):
    env = extended(f"import os\n@af.hookimpl\ndef {hook}: os._exit(0)\n")
    project.jobs('with af.job("a"): af.cmd("exit 3")', CMD + "a: {}\n")
    record = run_json(project, env=env)
    assert (record["exit"], record["state"]) == (1, "FAILED")
    told = [record["jobs"]["a"]["attempts"][0]["reason"], *(each["problem"] for each in record["extensions"])]
    assert "os._exit(0), which ends the process" in str(told) or hook.startswith("should_retry")


@pytest.mark.slow
def test_a_thread_that_an_extension_leaves_running_keeps_no_command_from_ending(project, cli, extended):
    env = extended("""
        import threading, time
        @af.hookimpl
        def on_transition(event):
            if event.seq == 1:
                threading.Thread(target=time.sleep, args=(1000,), daemon=False, name="mail").start()
        """)
    project.jobs('with af.job("a"): af.cmd("exit 3")', CMD + "a: {}\n")
    done = cli("run", project.root, env=env)
    assert done.returncode == 1
    assert "the thread 'mail'" in done.stderr


@pytest.mark.parametrize("error", ["SystemExit(3)", "KeyboardInterrupt", "AttributeError('bug')", "GeneratorExit"])
def test_after_any_exception_in_on_transition_the_other_transitions_are_delivered(
    project, run_json, extended, tmp_path, error
):
    env = extended(WRITES + f"    raise {error}\n")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    record = run_json(project, env=env)
    assert record["exit"] == 0
    (extension,) = record["extensions"]
    assert len((tmp_path / "seen").read_text().split()) == extension["delivered"] == extension["last"]
    assert f"on_transition raised {error.partition('(')[0]}" in extension["problem"]


def test_an_extension_cannot_change_a_transition(project, run_json, extended):
    env = extended("""
        import aiflow_ext
        @af.hookimpl
        def on_transition(event):
            assert isinstance(event, aiflow_ext.Transition)
            event.state = aiflow_ext.JobState.FAILED
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    record = run_json(project, env=env)
    assert record["jobs"]["a"]["state"] == "FINISHED"
    assert "on_transition raised AttributeError" in record["extensions"][0]["problem"]


@pytest.mark.parametrize("way", ["leave", "stop"])
@pytest.mark.parametrize("hook", ["before_submit(job)", "on_transition(event)", "should_retry(attempt, outcome)"])
def test_signals_work_while_an_extension_hangs(project, cli_env, extended, tmp_path, hook, way):
    name, _, arguments = hook.rstrip(")").partition("(")
    env = extended(f"""
        import os, time
        @af.hookimpl
        def {name}({arguments}):
            open(os.environ["SEEN"], "w").close()
            time.sleep(1000)
        """)
    project.jobs('with af.job("a"): af.cmd("exit 3")', CMD + "a: {}\n")
    with subprocess.Popen([sys.executable, "-m", "aiflow_ext", "run", project.root, "--on-interrupt", way], env=env,
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as driver:  # fmt: skip
        try:
            until((tmp_path / "seen").exists)
            driver.terminate()
            code = driver.wait(PATIENCE)
        finally:
            driver.kill()
    assert code in {"leave": (130, 1), "stop": (7, 1)}[way]  # 1: the job had failed, and with it the run


def test_a_job_whose_extension_gives_no_answer_is_refused_and_the_others_go_on(project, run_json, extended):
    env = extended("""
        import time
        @af.hookimpl
        def before_submit(job):
            if job.job_context.job_name == "bad":
                time.sleep(1000)
        """)
    project.jobs('with af.job("bad"): af.cmd("true")\nwith af.job("good"): af.cmd("true")',
                 CMD + "bad: {retries: 2}\ngood: {}\n").write(project_yaml=QUICK)  # fmt: skip
    record = run_json(project, "--jobs", "2", env=env)
    (attempt,) = record["jobs"]["bad"]["attempts"]
    assert (attempt["state"], attempt["refused"], attempt["native_id"]) == ("FAILED", True, None)
    assert "refused by extension 'tested' of tested-extension 1.0" in attempt["reason"]
    assert "has not answered within 0.3 s" in attempt["reason"]
    assert record["jobs"]["good"]["state"] == "FINISHED"


def test_a_job_whose_extension_gives_no_answer_can_be_stopped(project, cli, extended, tmp_path):
    env = extended("""
        import os, time
        @af.hookimpl
        def before_submit(job):
            open(os.environ["SEEN"], "w").close()
            time.sleep(1000)
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    with subprocess.Popen([sys.executable, "-m", "aiflow_ext", "run", project.root], env=env) as driver:
        try:
            until((tmp_path / "seen").exists)
            assert cli("stop", "latest", "a", "--project", project.root, env=env).returncode in (0, 7)
            assert driver.wait(PATIENCE) == 7
        finally:
            driver.kill()


@pytest.mark.parametrize("body", ["time.sleep(1000)", "raise SystemExit", "return 'soon'", "return -1.0"])
def test_a_job_is_retried_by_its_config_where_an_extension_says_nothing_of_use(project, run_json, extended, body):
    env = extended(f"import time\n@af.hookimpl\ndef should_retry(attempt, outcome): {body}\n")
    project.jobs('with af.job("a"): af.cmd("exit 1")', CMD + "a: {retries: 1}\n").write(project_yaml=QUICK)
    assert len(run_json(project, env=env)["jobs"]["a"]["attempts"]) == 2


def test_a_refusal_is_final_and_reported_once(project, cli, extended, tmp_path):
    env = extended("""
        import os
        @af.hookimpl
        def before_submit(job):
            with open(os.environ["SEEN"], "a") as file:
                file.write("asked ")
            if "ALLOWED" not in os.environ:
                raise PermissionError("over budget")
        @af.hookimpl
        def should_retry(attempt, outcome):
            with open(os.environ["SEEN"], "a") as file:
                file.write("retry? ")
        """)
    seen = tmp_path / "seen"
    project.jobs(
        'with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("true")\naf.run_after("b", "a")',
        CMD + "a: {retries: 2}\nb: {}\n",
    )
    done = cli("run", project.root, env=env)
    assert done.returncode == 1
    assert seen.read_text() == "asked "
    words = "refused by extension 'tested' of tested-extension 1.0 (tested_extension): PermissionError: over budget"
    assert (done.stdout + done.stderr).count(words) == 1
    assert "logs:" not in done.stdout
    assert "b SKIPPED: waits for a to be finished; it is FAILED" in done.stdout
    with project.database() as db:  # as if the driver had been killed just after that
        db.execute("update runs set ended_at = null, state = 'RUNNING'")
        db.execute("update jobs set state = 'INIT', reason = null where name = 'b'")
    again = cli("resume", "latest", "--project", project.root, env=env)
    assert again.returncode == 1
    assert seen.read_text() == "asked "
    assert words in again.stdout
    assert cli("resume", "latest", "--failed", "--project", project.root, env={**env, "ALLOWED": ""}).returncode == 0
    assert seen.read_text() == "asked asked asked "


def test_a_mistake_in_before_submit_refuses_the_job_and_says_where_it_is(project, run_json, extended):
    env = extended("@af.hookimpl\ndef before_submit(job): job.job_config.no_such_key\n")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    (attempt,) = run_json(project, env=env)["jobs"]["a"]["attempts"]
    assert "AttributeError" in attempt["reason"]
    assert "(raised in tested_extension.py:3)" in attempt["reason"]


BAD_WORDS = """
class Wordless(Exception):
    def __str__(self): raise RuntimeError("no words")
"""


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("@af.hookimpl\ndef before_submit(job): raise Wordless", "FAILED"),
        ("@af.hookimpl\ndef on_transition(event): raise Wordless", "FINISHED"),
        ("@af.hookimpl\ndef should_retry(attempt, outcome): raise Wordless", "FINISHED"),
        ("raise Wordless", "FINISHED"),
    ],
)
def test_an_exception_whose_own_words_raise_is_reported_by_its_type(project, cli, extended, body, state):
    env = extended(BAD_WORDS + body)
    project.jobs('with af.job("a"): af.cmd("test $AIFLOW_ATTEMPT = 2")', CMD + "a: {retries: 1}\n")
    done = cli("run", project.root, "--json", env=env)
    record = json.loads(done.stdout)
    assert record["state"] == state, done.stderr
    assert "Wordless: (no words: its __str__ raised RuntimeError)" in done.stdout + done.stderr


@pytest.mark.parametrize("line", ["sys.stdout.close()", "sys.stdout = None", "sys.stdout = object()"])
def test_an_extension_that_closes_or_replaces_stdout_spoils_neither_output_nor_exit_code(project, cli, extended, line):
    env = extended(f"import sys\n@af.hookimpl\ndef on_transition(event): {line}\n")
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    done = cli("run", project.root, "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "FINISHED"


def test_a_job_that_its_plugin_refuses_to_generate_again_is_not_tried_again(project, run_json, cli_env, tmp_path):
    fickle = """

class Fickle(Plugin):
    generated = 0
    def generate(self, sub_graph, project_desc):
        self.generated += 1
        if self.generated > 1:
            raise ValueError("not twice")
        return super().generate(sub_graph, project_desc)
"""
    source = plugin_of_nine_methods("fickle", more=fickle)
    install(tmp_path / "site", "fickle", {"job_plugins": {"fickle.cmd_line": "fickle:Fickle"}}, {"fickle.py": source})
    project.jobs('with af.job("a"): af.cmd("true")', "a: {platform: fickle, engine: cmd_line, retries: 2}\n")
    record = run_json(project, env={**cli_env, "PYTHONPATH": str(tmp_path / "site")})
    (attempt,) = record["jobs"]["a"]["attempts"]
    assert (attempt["state"], attempt["refused"]) == ("FAILED", True)
    assert "not twice" in attempt["reason"]


def wrapping(body: str) -> str:
    return "import time\n@af.hookimpl(wrapper=True)\ndef submit_job(job):\n" + textwrap.indent(body, "    ")


@pytest.mark.parametrize(
    ("body", "state", "attempts", "words"),
    [
        ("raise RuntimeError('no')\nyield", "FAILED", 2, "RuntimeError: no"),
        ("raise KeyboardInterrupt\nyield", "FAILED", 2, "KeyboardInterrupt"),
        ("return None\nyield", "FAILED", 2, "did not yield"),
        ("handler = yield\nraise RuntimeError('late')", "FINISHED", 1, ""),
        ("yield", "FINISHED", 1, ""),
        ("try:\n    return (yield)\nexcept Exception:\n    return None", "FINISHED", 1, ""),
    ],
)
def test_whatever_a_wrapper_of_submit_job_does_the_platform_says_whether_the_job_runs(
    project, run_json, extended, tmp_path, body, state, attempts, words
):
    project.jobs('with af.job("a"): af.cmd("echo ran >> $RAN")', CMD + "a: {retries: 1}\n")
    record = run_json(project, env={**extended(wrapping(body)), "RAN": str(tmp_path / "ran")})
    job = record["jobs"]["a"]
    assert (job["state"], len(job["attempts"])) == (state, attempts)
    assert words in (job["attempts"][-1]["reason"] or "")
    ran = (tmp_path / "ran").read_text() if (tmp_path / "ran").exists() else ""
    assert ran == ("ran\n" if state == "FINISHED" else "")


@pytest.mark.parametrize(("way", "times"), [("leave", 1), ("stop", 3)])
def test_signals_work_while_a_wrapper_hangs(project, extended, tmp_path, way, times):
    env = extended(wrapping("import os\nopen(os.environ['SEEN'], 'w').close()\ntime.sleep(1000)\nyield"))
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    with subprocess.Popen([sys.executable, "-m", "aiflow_ext", "run", project.root, "--on-interrupt", way], env=env,
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as driver:  # fmt: skip
        try:
            until((tmp_path / "seen").exists)
            for _ in range(times):
                driver.terminate()
                if driver.stderr is not None and way == "stop":
                    assert driver.stderr.readline()  # each is answered before the next
            assert driver.wait(PATIENCE) == 130
        finally:
            driver.kill()


ENDS = """
import json, os
@af.hookimpl
def on_run_end(run):
    if "FAIL" in os.environ:
        raise ConnectionError("the collector is away")
    jobs = {job.name: [job.platform, job.engine, str(job.state), [str(each.state) for each in job.attempts]]
            for job in run.jobs}
    with open(os.environ["SEEN"], "a") as file:
        print(json.dumps([str(run.state), jobs, run.known_until, run.ended_at, run.traceparent]), file=file)
"""


def test_the_end_of_a_run_is_delivered_with_all_its_jobs_and_again_when_it_has_ended_again(
    project, cli, extended, tmp_path
):
    env = extended(ENDS)
    project.jobs(
        'with af.job("a"): af.cmd("test -e {path} || ! touch {path}", path=af.output("x") and "%s")\n'
        'with af.job("b"): af.cmd("true")\naf.run_after("b", "a")' % (tmp_path / "there"),
        CMD + "a: {}\nb: {}\n",
    )
    assert cli("run", project.root, env={**env, "TRACEPARENT": "00-aa-bb-01"}).returncode == 1
    assert cli("resume", "latest", "--failed", "--project", project.root, env=env).returncode == 0
    assert cli("resume", "latest", "--project", project.root, env=env).returncode == 0
    first, second = map(json.loads, (tmp_path / "seen").read_text().splitlines())
    skipped, cmd = ["local", "cmd_line", "SKIPPED", []], ["local", "cmd_line"]
    assert first[:3] == ["FAILED", {"a": [*cmd, "FAILED", ["FAILED"]], "b": skipped}, None]
    ended = {"a": [*cmd, "FINISHED", ["FAILED", "FINISHED"]], "b": [*cmd, "FINISHED", ["FINISHED"]]}
    assert second[:3] == ["FINISHED", ended, first[3]]
    assert first[4] == second[4] == "00-aa-bb-01"


def test_an_extension_is_told_what_an_attempt_asked_for_and_has_used(project, run_json, extended, tmp_path):
    env = extended("""
        import json, os
        @af.hookimpl
        def on_run_end(run):
            (job,) = run.jobs
            (attempt,) = job.attempts
            open(os.environ["SEEN"], "w").write(json.dumps([attempt.asked, attempt.usage]))
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {cpu: 0.5, memory: 64Mi}\n")
    (attempt,) = run_json(project, env=env)["jobs"]["a"]["attempts"]
    used = [attempt["peak_memory"], attempt["cpu_seconds"], "process", None, None]
    assert json.loads((tmp_path / "seen").read_text()) == [[0.5, 64 << 20, None], used]


def test_the_end_of_a_run_that_an_extension_could_not_take_is_delivered_by_resume(project, cli, extended, tmp_path):
    env = extended(ENDS)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    done = cli("run", project.root, "--json", env={**env, "FAIL": ""})
    assert done.returncode == 0
    problem = "on_run_end raised ConnectionError: the collector is away"
    assert f"{problem}; to deliver it again: aiflow-ext resume" in done.stderr
    (extension,) = json.loads(done.stdout)["extensions"]
    assert problem in extension["problem"]
    assert cli("resume", "latest", "--project", project.root, env=env).returncode == 0
    assert len((tmp_path / "seen").read_text().splitlines()) == 1
    shown = json.loads(cli("status", "latest", "--json", "--project", project.root, env=env).stdout)
    assert shown["extensions"][0]["problem"] is None


def test_an_on_run_end_that_hangs_does_not_hold_up_the_run(project, run_json, extended):
    env = extended(HANGS.format(hook="on_run_end", arguments="run"))
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n").write(project_yaml=QUICK)
    record = run_json(project, env=env)
    assert (record["exit"], record["state"]) == (0, "FINISHED")
    assert record["extensions"][0]["problem"] == "on_run_end has not returned for 0.3 s"


def test_a_transition_tells_the_job_s_platform_and_engine_and_when_its_attempt_was_running(
    project, run_json, extended, tmp_path
):
    env = extended("""
        import json, os
        @af.hookimpl
        def on_transition(event):
            with open(os.environ["SEEN"], "a") as file:
                print(json.dumps([event.platform, event.engine, str(event.state), event.started_at]), file=file)
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    run_json(project, env=env)
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    assert {(platform, engine) for platform, engine, *_ in seen} == {("local", "cmd_line")}
    assert seen[-1][2] == "FINISHED"
    assert isinstance(seen[-1][3], float)


def test_the_end_of_a_run_is_delivered_after_its_last_transition(project, run_json, extended, tmp_path):
    env = extended("""
        import os, time
        def write(text):
            with open(os.environ["SEEN"], "a") as file:
                print(text, file=file)
        @af.hookimpl
        def on_transition(event):
            time.sleep(0.1)
            write(event.seq)
        @af.hookimpl
        def on_run_end(run):
            write("end")
        """)
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    (extension,) = run_json(project, env=env)["extensions"]
    assert (tmp_path / "seen").read_text().split() == [*map(str, range(1, extension["last"] + 1)), "end"]
