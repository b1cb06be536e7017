"""What a job leaves in the place of its files holds up nobody and has a limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

REASONS = {
    "fifo": 'rm -f "$AIFLOW_REASON_FILE"; mkfifo "$AIFLOW_REASON_FILE"; exit 3',
    "device": 'ln -sf /dev/zero "$AIFLOW_REASON_FILE"; exit 3',
    "folder": 'rm -f "$AIFLOW_REASON_FILE"; mkdir "$AIFLOW_REASON_FILE"; exit 3',
    "long": 'head -c 20000000 /dev/zero | tr "\\0" x >"$AIFLOW_REASON_FILE"; exit 3',
}


def test_a_reason_file_of_another_kind_is_no_reason_and_a_long_one_is_cut(project, cli):
    for name, script in REASONS.items():
        (project.root / name).write_text(script)
    jobs = "\n".join(f'with af.job("{name}"): af.cmd("sh {project.root}/{name}")' for name in REASONS)
    project.jobs(jobs, "")
    assert cli("run", project.root).returncode == 1
    record = json.loads(cli("status", "latest", "--json", "--project", project.root).stdout)
    reasons = {job["name"]: job["attempts"][0]["reason"] for job in record["jobs"]}
    assert reasons.pop("long") == "x" * 1996 + " ..."
    assert reasons == {"fifo": "exit code 3", "device": "exit code 3", "folder": "exit code 3"}


@pytest.mark.parametrize("made", ["mkfifo", "mkdir", "ln -s /dev/zero"])
def test_a_log_that_is_no_file_any_more_is_a_sentence(project, cli, made):
    script = f"echo said; cd ..; rm stdout stderr; {made} stdout; {made} stderr; exit 1"
    (project.root / "script").write_text(script)
    project.jobs(f'with af.job("a"): af.cmd("sh {project.root}/script")', "")
    done = cli("run", project.root)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for options in ([], ["a"], ["a", "--tail", "3"], ["--json"]):
        logs = cli("logs", "latest", *options, "--project", project.root)
        assert logs.returncode == 6, logs
        assert "the stdout of a cannot be read: it is a" in logs.stderr
        assert "not a regular file" in logs.stderr


def test_a_line_without_an_end_is_shown_in_pieces(project, cli):
    (project.root / "script").write_text("yes x | tr -d '\\n' | head -c 5000000")
    project.jobs(f'with af.job("a"): af.cmd("sh {project.root}/script")', "")
    assert cli("run", project.root).returncode == 0
    lines = cli("logs", "latest", "--project", project.root).stdout.splitlines()
    assert [line[:5] for line in lines] == ["a | x"] * len(lines)
    assert sum(len(line) - 4 for line in lines) == 5_000_000
    assert max(map(len, lines)) < 3 << 20
    parts = [
        json.loads(line) for line in cli("logs", "latest", "--json", "--project", project.root).stdout.splitlines()
    ]
    assert "".join(part["text"] for part in parts) == "x" * 5_000_000
    assert len(parts) > 1


HOSTILE = """
import os
import aiflow_ext as af

def job():
    if af.current_job().attempt == 1:
        folder = os.path.join(os.path.dirname(os.path.dirname(os.environ["AIFLOW_WORK_FOLDER"])), "2")
        PLANT
        raise RuntimeError("again")
"""
PLANTS = {
    "fifo": "os.makedirs(folder); os.mkfifo(f'{folder}/{name}')",
    "link": "os.makedirs(folder); os.symlink('PRECIOUS/file', f'{folder}/{name}')",
}


@pytest.fixture
def precious(tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file").write_text("mine")
    yield folder
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"file": "mine"}


@pytest.mark.parametrize("planted", PLANTS)
@pytest.mark.parametrize("name", ["stdout", "payload.json", "reason"])
def test_an_attempt_cannot_have_the_next_one_wait_at_a_fifo_or_write_through_a_link(
    project, run_json, precious, planted, name
):
    plant = PLANTS[planted].replace("PRECIOUS", str(precious))
    steps = HOSTILE.replace("PLANT", f"name = {name!r}; {plant}")
    project.jobs("with af.job('a'): af.python(job)", "a: {retries: 1}\n", steps)
    record = run_json(project)
    second = record["jobs"]["a"]["attempts"][1]
    if name == "stdout":  # its words would go elsewhere: it is not started
        assert second["state"] == "FAILED"
        kind = "a FIFO or a socket" if planted == "fifo" else "a link"
        assert second["reason"].endswith(f"/2/stdout: it is {kind}, not a regular file")
    else:
        assert second["state"] == "FINISHED"


def test_an_attempt_cannot_have_the_next_one_in_a_folder_elsewhere(project, run_json, precious):
    steps = HOSTILE.replace("PLANT", f"os.symlink({str(precious)!r}, folder)")
    project.jobs("with af.job('a'): af.python(job)", "a: {retries: 1}\n", steps)
    second = run_json(project)["jobs"]["a"]["attempts"][1]
    assert second["state"] == "FAILED"
    assert "File exists" in second["reason"]


def test_a_link_in_place_of_the_work_folder_is_not_what_is_removed(project, run_json, precious):
    project.jobs(f'with af.job("a"): af.cmd("rmdir $AIFLOW_WORK_FOLDER; ln -s {precious} $AIFLOW_WORK_FOLDER")', "")
    assert run_json(project)["exit"] == 0


@pytest.mark.parametrize("made", ["mkfifo", "ln -s /dev/null", "mkdir"])
def test_a_driver_s_log_that_is_no_file_is_told_and_waited_for_by_nobody(project, cli, made):
    project.jobs(f'with af.job("a"): af.cmd("cd ../../../..; {made} driver.log; exit 1")', "")
    assert cli("run", project.root).returncode == 1
    done = cli("resume", "latest", "--failed", "--detach", "--project", project.root)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "driver.log: the driver's log cannot be written: " in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a folder needs root; CI runs this as root")
@pytest.mark.parametrize("where", [".", ".aiflow/artifacts/*"])
def test_what_a_job_has_mounted_in_its_folder_is_not_removed(project, cli_env, tmp_path, where):
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "thesis.txt").write_text("years of work")
    there = where if where == "." else project.root / where
    project.jobs(
        f"with af.job('a'): af.cmd('cd {there} && mkdir data && mount --bind {ours} data')\n"
        "with af.job('b'): af.cmd('mkdir made')",
        "",
    )
    command = f"{sys.executable} -m aiflow_ext"
    left = f"ls {project.root}/.aiflow/runs/*/jobs/b/1/work"
    script = f"{command} run {project.root}; {left}; {command} gc --keep 0 --project {project.root}"
    apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(apart, env=cli_env, capture_output=True, text=True, timeout=60)
    assert "a FINISHED" in done.stdout
    assert "\nmade\n" not in done.stdout, "what a job has made itself is removed"
    assert (ours / "thesis.txt").read_text() == "years of work"
    assert where != "." or "stays: a file system is mounted in its folder; umount" in done.stderr
