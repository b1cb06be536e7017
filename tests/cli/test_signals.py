"""SIGINT, SIGTERM and SIGHUP while a plugin, a server or a disk holds up a command: it ends, the first time.

What holds it up does so for ever: a command that waits for it never ends.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dist_info import install
from hostile_server import Answer, HostileServer
from open_files import open_files
from patience import PATIENCE

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
PLUGIN = """
    import ctypes, os, signal, socket, threading, time
    import aiflow_ext.plugin as af
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    def hang(place):
        where, way, port = os.environ.get("HANG", "::").split(":")
        if place != where:
            return
        if way == "fork":
            child = os.fork()
            while not child: time.sleep(1000)
            os.kill(child, signal.SIGTERM)
            print("child ended by", -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            return
        connection = socket.create_connection(("127.0.0.1", int(port)))  # says that it hangs
        if way == "loop":
            while True: pass
        if way == "lock":
            threading.Event().wait()
        while way == "call":
            ctypes.CDLL(None).sleep(1000)
        while way == "swallow":
            try:
                while True: time.sleep(1000)
            except BaseException: pass
        connection.recv(1)

    generated = []

    class Hung(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "hung"

    class Held(af.AbstractPlatform):
        outlives_power_loss = False
        answers_at_once = True

        @staticmethod
        def platform():
            return "held"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Hung

        def generate(self, sub_graph, project_desc):
            hang("generate")
            if generated:
                hang("generate again")
            generated.append(sub_graph)
            return super().generate(sub_graph, project_desc)

        def generate_job_resource(self, job):
            hang("generate_job_resource")
            super().generate_job_resource(job)

        def submit_job(self, job):
            hang("submit_job")
            handler = super().submit_job(job)
            hang("after submit_job")
            return handler

        def cleanup_job(self, job):
            hang("cleanup_job")
            super().cleanup_job(job)

        @af.hookimpl
        def allocate_id(self, job):
            hang("allocate_id")
            return super().allocate_id(job)

        @af.hookimpl
        def lookup(self, job):
            hang("lookup")
            return super().lookup(job)

        @af.hookimpl
        def attach(self, job):
            hang("attach")
            return super().attach(job)

        @af.hookimpl
        def watch(self, jobs, since):
            hang("watch")
            return super().watch(jobs, since)

        @af.hookimpl
        def check_platform(self, jobs):
            hang("check_platform")
            return []

        @af.hookimpl
        def cleanup_run(self, run_id, jobs):
            hang("cleanup_run")

    class Held_(Plugin):
        def platform(self):
            return Held

    class Extension:
        @af.hookimpl
        def before_submit(self, job):
            hang("before_submit")

        @af.hookimpl
        def on_transition(self, event):
            hang("on_transition")

        @af.hookimpl
        def should_retry(self, attempt, outcome):
            hang("should_retry")

    class Source(af.AbstractSecretSource):
        def read(self, rest):
            hang("read")
            return "x"

    hang("import")
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Accepts what a test takes, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)
        yield listening


@pytest.fixture
def hung(project, cli_env, command_server, listener, tmp_path):
    """``hung(place, way, *words)``: starts a command on a project of one job, which has run ``count`` once it is done,
    and waits until the plugin hangs there; ``way``: loop, lock, call, swallow or recv."""
    groups = {
        "job_plugins": {"hung.cmd_line": "hung_plugin:Plugin", "held.cmd_line": "hung_plugin:Held_"},
        "secret_sources": {"hung": "hung_plugin:Source"},
    }
    install(tmp_path / "site", "hung", groups, {"hung_plugin.py": PLUGIN})
    cli_env["PYTHONPATH"] = str(tmp_path / "site")
    project.jobs(f"with af.job('job'): af.cmd('echo x >> {project.root}/count')", "job: {platform: hung}\n")
    started = []

    def start(place, way, *words):
        env = {**cli_env, "HANG": f"{place}:{way}:{listener.getsockname()[1]}"}
        command = command_server.start(words or ("run", str(project.root)), env, session=True)
        started.append(command)
        try:
            started.append(listener.accept()[0])
        except TimeoutError:
            command.kill()
            pytest.fail("".join(command.communicate()))
        return command

    yield start
    for each in started:
        each.close() if isinstance(each, socket.socket) else each.kill()


def ended(command):
    """The exit code and the output of a command that was sent a signal."""
    out, err = command.communicate(PATIENCE)
    assert "Traceback" not in out + err
    return command.returncode, out, err


STATES = [
    ("hung", "check_platform", "swallow", signal.SIGTERM),
    ("hung", "allocate_id", "lock", signal.SIGINT),
    ("hung", "generate_job_resource", "recv", signal.SIGHUP),
    ("hung", "submit_job", "loop", signal.SIGTERM),
    ("hung", "after submit_job", "swallow", signal.SIGINT),
    ("hung", "cleanup_job", "call", signal.SIGTERM),
    ("hung", "cleanup_run", "call", signal.SIGINT),
    ("held", "check_platform", "loop", signal.SIGINT),
    ("held", "generate_job_resource", "lock", signal.SIGTERM),
    ("held", "submit_job", "swallow", signal.SIGHUP),
    ("held", "after submit_job", "recv", signal.SIGTERM),
    ("held", "watch", "call", signal.SIGINT),
]


@pytest.mark.parametrize(("platform", "place", "way", "number"), STATES)
def test_a_driver_that_a_plugin_holds_up_lets_go_and_the_job_runs_once(
    project, cli, hung, platform, place, way, number
):
    (project.root / "workflow.yaml").write_text(f"job: {{platform: {platform}}}\n")
    command = hung(place, way)
    command.send_signal(number)
    code, _, err = ended(command)
    assert code == 130, err
    assert "go on with it: aiflow-ext resume" in err
    if platform == "held" or place in ("check_platform", "cleanup_run"):  # called in the driver's own thread
        assert f"letting go of the run: the driver is still in {place.split()[-1]} (" in err
        assert "hung_plugin.py:" in err
    assert cli("resume", "latest", "--project", project.root).returncode == 0
    assert (project.root / "count").read_text() == "x\n"


@pytest.mark.parametrize("place", ["before_submit", "on_transition", "should_retry"])
def test_an_extension_that_never_returns_holds_up_nobody(project, hung, cli, tmp_path, place):
    install(tmp_path / "site", "watcher", {"extensions": {"watcher": "hung_plugin:Extension"}})
    project.jobs(f"with af.job('job'): af.cmd({'false' if place == 'should_retry' else 'sleep 1000'!r})",
                 "job: {platform: local, engine: cmd_line}\n")  # fmt: skip
    command = hung(place, "swallow")
    command.send_signal(signal.SIGTERM)
    code, _, err = ended(command)
    assert code == 130, err
    assert "go on with it: aiflow-ext resume" in err
    assert cli("stop", "latest", "--grace", "0", "--project", project.root).returncode == 0


@pytest.mark.parametrize("command", ["run", "render"])
@pytest.mark.parametrize(
    ("place", "way"), [("import", "swallow"), ("generate", "call"), ("read", "swallow"), ("workflow", "swallow")]
)
def test_a_plan_that_strangers_code_holds_up_is_given_up(project, hung, cli_env, command, place, way):
    if place == "read":
        (project.root / "workflow.yaml").write_text("job: {platform: hung, env: {A: {secret: 'hung:x'}}}\n")
    if place == "workflow":
        workflow = project.root / "workflow.py"
        workflow.write_text(f"import hung_plugin\nhung_plugin.hang('workflow')\n{workflow.read_text()}")
    started = hung(place, way, command, str(project.root))
    started.send_signal(signal.SIGINT)
    code, out, err = ended(started)
    assert (code, out) == (130, "")
    assert "aiflow-ext: interrupted" in err


@pytest.mark.parametrize("place", ["generate", "check_platform"])
def test_a_signal_to_a_process_that_a_plugin_forks_is_not_the_driver_s(project, cli, cli_env, hung, place):
    done = cli("run", project.root, env={**cli_env, "HANG": f"{place}:fork:0"})
    assert done.returncode == 0, done.stderr
    assert "child ended by 15" in done.stderr


def test_sigterm_ends_a_plan_at_once(hung):
    command = hung("generate", "swallow")
    command.send_signal(signal.SIGTERM)
    assert ended(command)[0] == -signal.SIGTERM


def test_told_to_stop_a_driver_that_is_held_up_says_so_and_lets_go_when_asked_again(hung, project):
    command = hung("check_platform", "swallow", "run", str(project.root), "--on-interrupt", "stop")
    command.send_signal(signal.SIGINT)
    lines = iter(command.stderr.readline, "")
    assert next(lines).startswith("stopping every job")
    assert next(lines).startswith("the driver has not answered yet: the driver is still in check_platform (")
    command.send_signal(signal.SIGINT)
    code, _, err = ended(command)
    assert code == 130
    assert "go on with it: aiflow-ext resume" in err


@pytest.mark.parametrize("words", ["status latest", "status latest --watch", "stop latest", "resume latest"])
def test_what_is_asked_of_a_run_that_nobody_drives_can_be_interrupted(project, hung, words):
    left = hung("submit_job", "recv")  # of the job nothing more is on record than that it may have been started
    left.send_signal(signal.SIGTERM)
    assert ended(left)[0] == 130
    command = hung("lookup", "swallow", *words.split(), "--project", str(project.root))
    command.send_signal(signal.SIGINT)
    assert ended(command)[0] == 130


def test_removing_a_run_can_be_interrupted_and_done_again(project, hung, cli):
    assert cli("run", project.root).returncode == 0
    gc = ["gc", "--keep", "0", "--project", str(project.root)]
    command = hung("cleanup_run", "swallow", *gc)
    command.send_signal(signal.SIGINT)
    assert ended(command)[0] == 130
    assert cli(*gc).stdout.startswith("removed ")


def test_a_schedule_whose_firing_is_held_up_says_so_and_ends_when_asked_again(project, hung):
    (project.root / "workflow.yaml").write_text("job: {platform: hung, periodic: {interval: 1}}\n")
    command = hung("generate again", "swallow", "schedule", str(project.root))
    command.send_signal(signal.SIGTERM)
    line = command.stderr.readline()
    assert line.startswith("ending once what is due is fired, still in generate (")
    command.send_signal(signal.SIGTERM)
    code, _, err = ended(command)
    assert code == 130
    assert "ended in the midst of a firing" in err


# -- servers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_a_cluster(project, command_server, cli_env, tmp_path):
    """Runs a job on a cluster whose servers are all at one address; returns just before its check."""
    started = []

    def start(platform, url):
        (project.root / "project.yaml").write_text('{"artifacts": "s3://bucket/artifacts"}')
        keys = {"resource_manager": url, "webhdfs": url, "user": "ada"}
        if platform == "kubernetes":
            kubeconfig = tmp_path / "kubeconfig"
            kubeconfig.write_text(json.dumps({
                "clusters": [{"name": "c", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
                "users": [{"name": "u", "user": {"token": "TOKEN"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
                "current-context": "x",
            }))  # fmt: skip
            keys = {"image": "team/ml:1", "kubeconfig": str(kubeconfig)}
        project.jobs("with af.job('job'): af.cmd('true')",
                     json.dumps({"job": {"platform": platform, "engine": "cmd_line", **keys}}))  # fmt: skip
        command = command_server.start(["run", str(project.root)], cli_env, session=True)
        started.append(command)
        assert command.stdout.readline().endswith(": 1 job\n")
        return command

    yield start
    for command in started:
        command.kill()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("platform", ["kubernetes", "yarn"])
def test_a_server_that_sends_a_byte_now_and_then_holds_up_no_signal(on_a_cluster, platform, number):
    with HostileServer(lambda asked: Answer(body=b"{", repeated=b" ", slow=True)) as server:
        command = on_a_cluster(platform, server.url)
        command.send_signal(number)
        code, _, err = ended(command)
    assert code == 130, err
    assert "go on with it: aiflow-ext resume" in err


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("platform", ["kubernetes", "yarn"])
def test_a_server_that_never_answers_holds_up_no_signal(on_a_cluster, listener, platform, scheme):
    command = on_a_cluster(platform, f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
    held, _ = listener.accept()
    with held:
        command.send_signal(signal.SIGTERM)
        code, _, err = ended(command)
    assert code == 130, err
    assert "the driver is still in check_platform (" in err


@pytest.mark.parametrize("platform", ["kubernetes", "yarn"])
def test_a_server_whose_queue_is_full_holds_up_no_signal(on_a_cluster, platform):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):  # the only one that is let in, and it is never accepted
            command = on_a_cluster(platform, f"http://127.0.0.1:{full.getsockname()[1]}")
            command.send_signal(signal.SIGTERM)
            code, _, err = ended(command)
    assert code == 130, err


# -- an artifacts URL -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", ["run", "gc --keep 0 --artifacts"])
def test_an_artifacts_url_that_never_answers_holds_up_no_signal(
    project, cli, cli_env, command_server, listener, words, number
):
    (project.root / "project.yaml").write_text(
        f"artifacts: webhdfs://127.0.0.1:{listener.getsockname()[1]}/artifacts\n"
    )
    # Of a node of one value it is not known whether it is a file: the end of a run looks there.
    project.jobs("with af.job('job'): af.python(print)", "job: {platform: local}\n")
    argv = ["run", str(project.root)] if words == "run" else [*words.split(), "--project", str(project.root)]
    with contextlib.ExitStack() as held:
        if words != "run":
            before = command_server.start(["run", str(project.root)], cli_env, session=True)
            held.enter_context(listener.accept()[0])
            before.send_signal(signal.SIGTERM)
            ended(before)
        command = command_server.start(argv, cli_env, session=True)
        held.enter_context(listener.accept()[0])
        command.send_signal(number)
        code, _, err = ended(command)
    assert code in (130, -number), err
    assert cli("status", "latest", "--project", project.root).stdout.count("FINISHED") == 2


# -- disks ------------------------------------------------------------------------------------------------------------


def wait_until_open(pid: int, path: Path) -> None:
    """Return once a process has a file open."""
    deadline = time.monotonic() + PATIENCE
    while path.resolve() not in open_files(pid):
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)


@pytest.mark.parametrize("words", ["run", "status latest"])
def test_a_store_that_another_process_has_locked_holds_up_no_signal(project, cli, cli_env, command_server, words):
    project.jobs("with af.job('job'): af.cmd('true')", "job: {platform: local, engine: cmd_line}\n")
    assert cli("run", project.root).returncode == 0
    database = project.root / ".aiflow" / "state.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("pragma locking_mode=exclusive")
        db.execute("begin exclusive")
        argv = ["run", str(project.root)] if words == "run" else [*words.split(), "--project", str(project.root)]
        command = command_server.start(argv, cli_env, session=True)
        wait_until_open(command.pid, database)
        command.send_signal(signal.SIGINT)
        code, _, err = ended(command)
    assert code == 130, err
