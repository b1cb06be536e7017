"""A run whose driver was killed, acted upon from outside: what its platform tells is what a driver would have heard."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.run.test_interrupts import start, until
from tests.run.test_observe import gate_of, wait_for

PLUGIN = """
    import json
    import os
    import aiflow_ext as af
    from aiflow_ext.model.errors import UnreachableError
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    class Noting(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "noting"

    def note(hook, job):
        with open(os.environ["SEEN"], "a") as file:
            print(json.dumps([hook, job.job_context.job_name, *job.job_context.inputs.values()]), file=file)

    def asked(what):
        return os.path.exists(os.environ["SEEN"] + "." + what)

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Noting

        @af.hookimpl
        def lookup(self, job):
            return af.Lookup.UNKNOWN if asked("forgets") else super().lookup(job)

        @af.hookimpl
        def attach(self, job):
            note("attach", job)
            if asked("forgets"):
                return af.AbstractJobHandler()
            return super().attach(job)

        def cleanup_job(self, job):
            note("cleanup_job", job)
            if asked("away"):
                raise UnreachableError("nobody answers")
            super().cleanup_job(job)

        @af.hookimpl
        def watch(self, jobs, since):
            for event in super().watch(jobs, since):
                if event is not None and event.state is af.JobState.FAILED and asked("preempts"):
                    event.disruption, event.restarts, event.reason = True, 3, "the node was taken away"
                yield event

    class Silent(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "unwatched"

    class Unwatched(LocalCmdLineJobPlugin):
        watch = None

        def platform(self):
            return Silent
"""


@pytest.fixture
def noting(stranger):
    """The platform ``noting``, which writes into a file what its hooks are called with; the file.

    While the file's name with ``.away`` is there, it cannot be reached to clean up; with ``.preempts``, every failure
    is the platform's doing; with ``.forgets``, it knows of no attempt. The platform ``unwatched`` has no watch.
    """
    seen = stranger("noting", PLUGIN, {"noting.cmd_line": "Plugin", "unwatched.cmd_line": "Unwatched"})
    seen.touch()
    return seen


def heard_of_use(seen: Path) -> list[tuple[str, str]]:
    """Which hooks were called with the job ``use``, and with which input; forgotten then."""
    lines = [json.loads(line) for line in seen.read_text().splitlines()]
    seen.write_text("")
    return [(hook, source) for hook, job, *inputs in lines if job == "use" for source in inputs]


def test_a_job_that_is_generated_again_reads_of_the_attempt_that_has_made_its_input(project, cli, cli_env, noting):
    project.jobs(
        'with af.job("make"): x = af.cmd("echo $AIFLOW_ATTEMPT > {out}; test $AIFLOW_ATTEMPT = 2", '
        'out=af.output("x.txt"))\n'
        'with af.job("use"): af.cmd("cat {x}; cd $AIFLOW_CHECKPOINT_DIR; mkfifo gate; read x < gate", x=x)\n',
        '"*": {platform: noting, engine: cmd_line, retries: 1}\nmake: {}\nuse: {}\n',
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate_of(project, "use")
    run.kill()
    run.wait()
    noting.write_text("")
    made = str(project.root / ".aiflow" / "artifacts" / project.run_folder.name / "make" / "2")

    def outside(*args: str | os.PathLike[str]) -> set[tuple[str, bool]]:
        done = cli(*args, "--project", project.root)
        assert done.returncode == 0, done.stderr
        return {(hook, source.startswith(f"{made}/")) for hook, source in heard_of_use(noting)}

    assert outside("status", "latest") == {("attach", True)}
    (project.run_folder / "jobs" / "use" / "1" / "stdout").unlink()  # else the log is read from there
    assert outside("logs", "latest", "use") == {("attach", True)}
    Path(f"{noting}.away").touch()
    assert outside("stop", "latest", "--grace", "0") == {("attach", True), ("cleanup_job", True)}
    Path(f"{noting}.away").unlink()
    assert outside("gc", "--keep", "0") == {("cleanup_job", True)}


def killed_at_its_gate(project, cli_env, platform):
    """A run of one job whose first attempt waits at its gate and fails, and whose second does not; the driver was
    killed meanwhile. Returns the gate."""
    project.jobs(
        'with af.job("job"): af.cmd("cd $AIFLOW_CHECKPOINT_DIR; [ $AIFLOW_ATTEMPT = 1 ] || exit 0; '
        'mkfifo gate; read x < gate; exit 5")\n',
        f"job: {{platform: {platform}, engine: cmd_line}}\n",
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate = gate_of(project, "job")
    wait_for(project, "job")
    run.kill()
    run.wait()
    return gate


def ended(cli, project):
    """The job's attempts, once ``status`` shows that the first has ended."""

    def attempts():
        (job,) = json.loads(cli("status", "latest", "--project", project.root, "--json").stdout)["jobs"]
        return job["attempts"]

    until(lambda: attempts()[0]["ended_at"] is not None, "the end is not told")
    return attempts()


def test_an_attempt_that_was_preempted_is_on_record_as_such_and_followed_by_another(project, cli, cli_env, noting):
    gate = killed_at_its_gate(project, cli_env, "noting")
    Path(f"{noting}.preempts").touch()
    gate.write_text("go\n")
    (first,) = ended(cli, project)
    assert (first["state"], first["exit_code"], first["reason"]) == ("FAILED", 5, "the node was taken away")
    assert (first["disruption"], first["restarts"]) == (True, 3)
    done = cli("resume", "latest", "--project", project.root)
    assert done.returncode == 0, done.stderr
    assert [each["state"] for each in ended(cli, project)] == ["FAILED", "FINISHED"]


def test_the_end_of_an_attempt_on_a_platform_without_a_watch_is_shown(project, cli, cli_env, noting):
    gate = killed_at_its_gate(project, cli_env, "unwatched")
    gate.write_text("go\n")
    (first,) = ended(cli, project)
    assert first["state"] == "FAILED"


@pytest.mark.parametrize("command", ["status", "resume"])
def test_an_attempt_that_its_platform_does_not_know_is_lost_whoever_asks(command, project, cli, cli_env, noting):
    gate = killed_at_its_gate(project, cli_env, "noting")
    Path(f"{noting}.forgets").touch()
    said = cli(command, "latest", "--project", project.root).stdout
    (first,) = ended(cli, project)
    assert first["state"] == "LOST"
    if command == "resume":  # the run has ended with it: what that means, and which command goes on
        assert "LOST: the platform cannot tell how the job ended" in said
        assert re.search(r"aiflow-ext resume \S+ --failed", said)
    assert first["reason"].startswith(f"the platform answers, and {first['native_id']} is not there; it ")
    gate.write_text("go\n")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: (path.touch(), os.truncate(path, 1 << 40))])
def test_a_record_of_processes_that_cannot_be_read_ends_resume_in_words(project, cli, cli_env, make):
    gate = killed_at_its_gate(project, cli_env, "local")
    processes = project.run_folder / "processes.jsonl"
    kept = processes.rename(f"{processes}.kept")
    make(processes)
    done = cli("resume", "latest", "--project", project.root)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "processes.jsonl: the record of the run's processes cannot be read: it " in done.stderr
    assert "put that file back" in done.stderr
    kept.replace(processes)
    gate.write_text("5\n")
    assert cli("resume", "latest", "--project", project.root).returncode == 1
    record = json.loads(cli("status", "latest", "--json", "--project", project.root).stdout)
    assert [attempt["exit_code"] for attempt in record["jobs"][0]["attempts"]] == [5]
