"""``local.flink`` on real Flink: jars, PyFlink and SQL, failures and their cause, savepoints, killed processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import stat
import time
from pathlib import Path

from tests.conftest import processes_marked
from tests.helpers import flink_example, flink_jvm

PATIENCE = 900  # seconds for what takes ten, on a machine that does much else


def test_a_script_may_submit_two_jobs_and_its_output_is_an_artifact(project, config, run_json):
    (project.root / "rows.py").write_text(
        "import sys\nfrom pyflink.table import EnvironmentSettings, TableEnvironment\nimport steps\n"
        "t = TableEnvironment.create(EnvironmentSettings.in_batch_mode())\n"
        "t.execute_sql(f\"CREATE TABLE o (id BIGINT) WITH ('connector'='filesystem','path'='{sys.argv[1]}',"
        "'format'='csv')\")\n"
        'for row in steps.ROWS: t.execute_sql(f"INSERT INTO o VALUES ({row})").wait()\n'
    )
    project.jobs(
        'with af.job("rows"): rows = af.flink(python="rows.py", args=["{out}"], out=af.output("rows"))\n'
        'with af.job("check"): af.cmd("cat {rows}/* | sort", rows=rows)',
        config(""),
        steps="ROWS = (7, 8)\n",
    )
    found = run_json(project)
    assert {name: job["state"] for name, job in found["jobs"].items()} == dict.fromkeys(found["jobs"], "FINISHED")
    assert project.log("check").split() == [b"7", b"8"]
    assert found["jobs"]["rows"]["attempts"][0]["instance"].startswith("https://127.0.0.1:")
    assert processes_marked(str(project.root)) == []


def test_the_example_runs_as_it_is(installed, tmp_path, cli, cli_env):
    project = flink_example.copied(tmp_path, {})
    done = cli("run", project, "--json", env={**cli_env, **flink_jvm.ENV, "FLINK_HOME": f"{installed}/pyflink"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert [Path(file["path"]).read_text() for file in json.loads(done.stdout)["files"]][-1] == flink_example.REPORT


def test_what_failed_is_named_by_its_cause(project, config, run_json, jar):
    shutil.copy(jar, project.root / "job.jar")
    (project.root / "raises.py").write_text('raise ValueError("no such table: sales")\n')
    twice = (
        "CREATE TABLE a (x INT) WITH ('connector'='datagen'); CREATE TABLE b (x INT) WITH ('connector'='blackhole');"
    )
    # Inserts into two tables have two names, and Flink would give the second job an id of its own.
    project.write(twice_sql=f"{twice} CREATE TABLE c (x INT) WITH ('connector'='blackhole');"
                  "INSERT INTO b SELECT x FROM a; INSERT INTO c SELECT x + 1 FROM a;",
                  slots_sql=f"SET 'parallelism.default' = '2'; {twice} INSERT INTO b SELECT x FROM a;")  # fmt: skip
    project.jobs(
        'with af.job("divides"): af.flink(jar="job.jar", entry_class="Job", args=["divides", 0])\n'
        'with af.job("exits"): af.flink(jar="job.jar", entry_class="Job", args=["exits", 7])\n'
        'with af.job("raises"): af.flink(python="raises.py")\n'
        'with af.job("twice"): af.flink(sql="twice.sql")\n'
        'with af.job("slots"): af.flink(sql="slots.sql")',
        config(
            "divides: {flink: {security.ssl.rest.enabled: false}}\ntwice: {exec_mode: STREAM}\n"
            "slots: {exec_mode: STREAM, flink: {slot.request.timeout: 5 s}}\n"
        ),
    )
    found = run_json(project, "--jobs", "2")["jobs"]
    assert {name: job["state"] for name, job in found.items()} == dict.fromkeys(found, "FAILED")
    reasons = {name: job["reason"] for name, job in found.items()}
    assert reasons["divides"] == "ArithmeticException: / by zero"
    assert "exit code 7" in reasons["exits"]
    assert reasons["raises"] == "ValueError: no such table: sales"
    assert "submits a second Flink job" in reasons["twice"]
    assert "no task of it has got a slot" in reasons["slots"]
    assert b"taskmanager-1" in project.log("divides", "stderr")
    assert processes_marked(str(project.root)) == []


def test_a_cluster_takes_no_other_user_and_fails_once_it_is_killed_and_leaves_nothing(
    project, config, begin, cli, record, until
):
    unbounded = "CREATE TABLE a (x INT) WITH ('connector'='datagen', 'rows-per-second'='1');"
    project.write(endless_sql=f"{unbounded} CREATE TABLE b (x INT) WITH ('connector'='blackhole');"
                              "INSERT INTO b SELECT x FROM a;")  # fmt: skip
    project.jobs('with af.job("endless"): af.flink(sql="endless.sql")', config("endless: {exec_mode: STREAM}\n"))
    run = begin(project)
    try:
        until(run, "endless", lambda job: job["state"] == "RUNNING")
        conf = project.root / f".aiflow/runs/{run}/jobs/endless/1/conf"
        assert stat.S_IMODE(conf.stat().st_mode) == 0o700
        ports = sorted(listened_at(processes_marked(run)))
        assert len(ports) >= 5, ports  # REST, RPC and blobs; RPC and data of a TaskManager
        assert [port for port in ports if not lets_in(port, conf)] == []
        assert [port for port in ports if lets_in(port, None)] == []
        (killed,) = (each for each in processes_marked(run) if b"ClusterEntryPoint" in command_of(each))
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while (found := record(project, run))["ended_at"] is None:
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
    finally:
        cli("stop", run, "--grace", "0", "--project", project.root)
    job = found["jobs"][0]
    assert (job["state"], job["reason"]) == ("FAILED", "its JobManager was killed (SIGKILL)")
    assert processes_marked(run) == []


def command_of(pid):
    """The command line of a process; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def listened_at(pids):
    """The TCP ports at which processes listen."""
    sockets = {os.readlink(each) for pid in pids for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                yield int(fields[1].rpartition(":")[2], 16)


def lets_in(port, conf):
    """Whether a port takes a client with the key in a folder, by TLS; None: one without a key."""
    context = ssl.create_default_context(cafile=conf and str(conf / "certificate.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose handshake ends with the server's word about the client
    if conf is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_cert_chain(conf / "certificate.pem", conf / "key.pem")
    try:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            context.wrap_socket(plain, server_hostname="127.0.0.1").close()
    except OSError:
        return False
    return True
