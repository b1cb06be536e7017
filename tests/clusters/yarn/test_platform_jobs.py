"""What jobs on YARN get and leave: files, archives, secrets, queues, lifetimes, and the digits example."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import uuid
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from terminal import debugged
from yarn_bed import Bed
from yarn_jobs import put
from yarn_runs import Workflow

from aiflow_ext.run.store.ran_with import ran_with_of

DIGITS = Path(__file__).parents[3] / "examples" / "digits"


def _finished(record: dict[str, Any], job: str = "job") -> dict[str, Any]:
    assert record["jobs"], record["said"]
    found: dict[str, Any] = record["jobs"][job]
    assert found["state"] == "FINISHED", found
    return found


def _staged(bed: Bed, folder: str = "/user/root/.aiflow") -> list[str]:
    """What is in a folder, by default the staging folder."""
    try:
        found = bed.json(f"{bed.webhdfs}{folder}?op=LISTSTATUS&user.name=root")
    except OSError:
        return []
    return [each["pathSuffix"] for each in found["FileStatuses"]["FileStatus"]]


def test_files_and_archives(workflow: Workflow, bed: Bed) -> None:
    """Local ones and some that are on the cluster already; each under its name, archives unpacked."""
    (workflow.project / "plain.txt").write_text("plain")
    with tarfile.open(workflow.project / "packed.tar.gz", "w:gz") as tar:
        tar.add(workflow.project / "plain.txt", "inside/plain.txt")
    with zipfile.ZipFile(workflow.project / "zipped.zip", "w") as file:
        file.writestr("zipped.txt", "zipped")
    config = {
        "files": {"here.txt": "plain.txt", "there.txt": "hdfs:///shared/there.txt"},
        "archives": {"tar": "packed.tar.gz", "zip": "zipped.zip"},
    }
    put(bed, "/shared/there.txt", b"there")
    workflow.write({"job": "cat ../here.txt ../there.txt ../tar/inside/plain.txt ../zip/zipped.txt"}, config)
    record = workflow.run()
    _finished(record)
    assert workflow.log(record, "job") == "plainthereplainzipped"


def test_commands_are_run_by_the_shell_of_their_jobs_config(workflow: Workflow) -> None:
    """Values pass YARN's own launch script, and ours, as they are."""
    value = 'it\'s "$HOME" $(id) `id` $$\n-n'
    (workflow.project / "workflow.py").write_text(f"""import aiflow_ext as af
@af.workflow
def tested():
    with af.job("shows"):
        af.cmd('printf "%s|" {{x}} "${{BASH_VERSION:+bash}}"', x={value!r})
        af.cmd(["env", "A=1", "sh", "-c", 'printf "%s|" "$A" {{x}} "{{x}}" "$1"', "sh", "{{x}}"], x={value!r})
    with af.job("fails"):
        af.cmd("false | cat; echo on")
    with af.job("misses"):
        af.cmd("echo on")
""")
    shared = {"platform": "yarn", "memory": "128Mi", "shell": "strict"}
    (workflow.project / "workflow.yaml").write_text(json.dumps({"*": shared, "misses": {"shell": ["no-shell", "-c"]}}))
    record = workflow.run()
    _finished(record, "shows")
    assert workflow.log(record, "shows").split("|") == [value, "bash", "1", value, value, value, ""]
    assert record["jobs"]["fails"]["state"] == "FAILED"
    assert workflow.log(record, "fails") == ""
    assert "no-shell cannot be started" in record["jobs"]["misses"]["attempts"][-1]["reason"]


def test_a_job_that_serves_others_is_checked_in_its_container(workflow: Workflow) -> None:
    """In the folder and the environment of the job; by the application master, which tells YARN."""
    (workflow.project / "workflow.py").write_text(f"""import aiflow_ext as af
@af.workflow
def tested():
    with af.job("serve"):
        af.cmd("sleep 2; touch ready; exec {sys.executable} -m http.server $PORT --bind localhost")
    with af.job("never"):
        af.cmd("exec sleep 1000")
    with af.job("ask"):
        af.cmd("true")
    af.run_after("ask", ["serve", "also"])
    with af.job("also"):
        af.cmd("exec {sys.executable} -m http.server $PORT --bind localhost")
    with af.job("skipped"):
        af.cmd("true")
    af.run_after("skipped", "never")
""")
    ready = {
        "serve": {"command": 'test -e ready && test "$PORT" = 18941'}, "also": 18942,
        "never": {"command": "echo no >&2; false", "within": "15s"},
    }  # fmt: skip
    config = {name: {"exec_mode": "STREAM", "ready": each} for name, each in ready.items()}
    shared = {"platform": "yarn", "memory": "128Mi", "env": {"PORT": 18941}}
    (workflow.project / "workflow.yaml").write_text(
        json.dumps({"*": shared, **config, "also": {**config["also"], "env": {"PORT": 18942}}})
    )
    record = workflow.run()
    ended = {name: job["state"] for name, job in record["jobs"].items()}
    expected = {"serve": "FINISHED", "also": "FINISHED", "ask": "FINISHED", "never": "FAILED", "skipped": "SKIPPED"}
    assert ended == expected, record
    served, asked = record["jobs"]["serve"]["attempts"][-1], record["jobs"]["ask"]["attempts"][-1]
    assert served["ready_at"] - served["started_at"] > 1
    assert served["ready_at"] <= asked["started_at"] <= served["ended_at"]
    assert "it was not ready (echo no >&2; false) within 15 s" in record["jobs"]["never"]["reason"]


def test_the_tracking_url_shows_the_logs(workflow: Workflow, bed: Bed) -> None:
    """While the job runs, by the ResourceManager's proxy at its node; afterwards at the history server."""
    process = workflow.write({"job": workflow.until("go")}).begin()
    workflow.wait(lambda: workflow.count("start") == 1)
    app = workflow.newest()

    def shown() -> tuple[str, str]:
        """Where the tracking URL leads, and what is there."""
        url = bed.json(f"{bed.rm}/ws/v1/cluster/apps/{app['id']}")["app"]["trackingUrl"]
        with bed.open(urllib.request.Request(url), timeout=60) as answer:
            return answer.url, answer.read().decode()

    where, page = shown()
    assert urlsplit(where).path == f"/proxy/{app['id']}/"
    assert "stdout" in page
    workflow.put("go")
    _finished(workflow.finish(process))
    where, page = shown()
    assert urlsplit(where).path.startswith("/jobhistory/logs/")
    assert app["amContainerLogs"].split("/")[-2] in page


def test_the_progress_of_a_job_with_steps(workflow: Workflow, bed: Bed) -> None:
    (workflow.project / "steps.py").write_text(
        f"import pathlib\nimport time\n\nMARKS = pathlib.Path({str(workflow.marks)!r})\n\n\n"
        "def wait(name, _=None):\n    (MARKS / f'{name}.start.1').touch()\n"
        "    while not (MARKS / name).exists():\n        time.sleep(0.05)\n"
    )
    (workflow.project / "workflow.py").write_text(
        "import aiflow_ext as af\nimport steps\n\n@af.workflow\ndef tested():\n    with af.job('job'):\n"
        "        first = af.python(steps.wait, 'one')\n        af.python(steps.wait, 'two', first)\n"
    )
    told = {"platform": "yarn", "engine": "python", "memory": "256Mi", "python": sys.executable}
    (workflow.project / "workflow.yaml").write_text(json.dumps({"job": told}))
    process = workflow.begin()
    for name, progress in (("one", 25.0), ("two", 75.0)):
        workflow.wait(lambda name=name: workflow.each("start").get(name) == 1)
        workflow.wait(lambda progress=progress: workflow.newest()["progress"] == progress)
        workflow.put(name)
    _finished(workflow.finish(process))


def test_an_interpreter_from_an_archive(workflow: Workflow) -> None:
    """A standalone environment, sent with the job: the application master runs under it too."""
    venv = workflow.project.parent / "env"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (venv / "bin" / "python3").chmod(0o755)
    with tarfile.open(workflow.project / "env.tar.gz", "w:gz") as tar:
        tar.add(venv / "bin", "bin")
    config = {"engine": "python", "python": "env/bin/python3", "archives": {"env": "env.tar.gz"}}
    (workflow.project / "steps.py").write_text(
        "import os, time\n\ndef tell():\n    print(os.getcwd())\n\ndef fail():\n    eaten = bytearray(200 << 20)\n"
        "    while time.process_time() < 1: pass\n    raise ValueError()\n"
    )
    (workflow.project / "workflow.py").write_text(
        "import aiflow_ext as af\nimport steps\n\n@af.workflow\ndef tested():\n    with af.job('job'):\n"
        "        af.python(steps.tell)\n    with af.job('fails'):\n        af.python(steps.fail)\n"
    )
    told = {"*": {"platform": "yarn", "memory": "512Mi", **config}}
    (workflow.project / "workflow.yaml").write_text(json.dumps(told))
    record = workflow.run()
    _finished(record)
    assert workflow.log(record, "job").endswith("/work\n")
    _told_what_it_used_and_ran_with(record["jobs"]["fails"]["attempts"][0])


def _told_what_it_used_and_ran_with(attempt: dict[str, Any]) -> None:
    """A job that has failed, with 200 MiB and a second of a processor."""
    assert attempt["reason"] == "ValueError:"
    assert (attempt["usage_source"], attempt["memory_asked"]) == ("process", 512 << 20)
    assert 200 << 20 < attempt["peak_memory"] < 400 << 20
    assert 1 <= attempt["cpu_seconds"] < 6
    assert attempt["reserved_memory_seconds"] >= 512 << 20
    assert attempt["reserved_core_seconds"] >= 1
    found = ran_with_of(attempt["folder"])
    assert found is not None
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.distributions is not None


def test_a_secret_is_in_no_file_that_the_node_writes_its_environment_to(workflow: Workflow, bed: Bed) -> None:
    workflow.env["THE_SECRET"] = "do-not-write-me-down"
    script = f'printf %s "$TOKEN" > {workflow.marks}/told; {workflow.until("go")}'
    workflow.write({"job": script}, {"env": {"TOKEN": {"secret": "env:THE_SECRET"}}})
    process = workflow.begin()
    workflow.wait(lambda: (workflow.marks / "told").exists() and workflow.count("start") == 1)
    secret, data = b"do-not-write-me-down", bed.folder / "data"
    held = [
        path
        for path in (Path(folder, name) for folder, _, names in os.walk(data) for name in names)
        if path.relative_to(data).parts[0] != "rmstate" and secret in _content(path)
    ]
    app = workflow.newest()
    container = app["amContainerLogs"].split("/")[-2]
    pages = [f"{bed.rm}/ws/v1/cluster/apps/{app['id']}", f"{bed.rm}/ws/v1/cluster/apps/{app['id']}/appattempts",
             f"{bed.rm}/cluster/app/{app['id']}", f"{bed.nm}/ws/v1/node/containers/{container}",
             f"{bed.nm}/ws/v1/node/containers/{container}/logs/launch_container.sh",
             f"{bed.nm}/ws/v1/node/containers/{container}/logs/am.stderr"]  # fmt: skip
    told = [urllib.request.urlopen(page).read() for page in pages]
    exposed = [path for path in held if _others_may_read(path, data)]
    workflow.put("go")
    _finished(workflow.finish(process))
    assert (workflow.marks / "told").read_bytes() == secret
    # The credentials' own file, in the container's folder and in the NodeManager's private ones: for nobody else.
    assert any(path.name == "container_tokens" for path in held)
    assert all("token" in path.name or "nm-recovery" in path.parts for path in held), held
    assert not exposed
    assert all(told)
    assert not [page for page, text in zip(pages, told, strict=True) if secret in text]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _others_may_read(path: Path, top: Path) -> bool:
    """Whether anybody on the node can, by the modes of the file and of the folders that lead to it from ``top``."""
    folders = [folder for folder in path.parents if top in folder.parents]
    try:
        return bool(path.stat().st_mode & 0o004) and all(folder.stat().st_mode & 0o001 for folder in folders)
    except FileNotFoundError:  # a localizer's copy, which is there while it works
        return False


def test_nothing_is_left_in_the_staging_folder(workflow: Workflow, bed: Bed) -> None:
    before = set(_staged(bed))
    workflow.write({f"j{number}": "true" for number in range(3)})
    record = workflow.run()
    assert record["state"] == "FINISHED", record["said"]
    assert set(_staged(bed)) == before


def test_only_its_own_folders_are_for_the_user_alone(workflow: Workflow, bed: Bed) -> None:
    """All above them it has made, too, as on an empty file system; others go through there."""
    top = f"/new-{uuid.uuid4().hex}"
    process = workflow.write({"job": workflow.until("go")}, {"staging": f"{top}/users/ada"}).begin()
    workflow.wait(lambda: workflow.count("start") == 1)
    found = {path: _permission(bed, path) for path in (top, f"{top}/users", f"{top}/users/ada")}
    (run,) = _staged(bed, f"{top}/users/ada")
    inner = _permission(bed, f"{top}/users/ada/{run}")
    workflow.put("go")
    _finished(workflow.finish(process))
    assert found == {top: "755", f"{top}/users": "755", f"{top}/users/ada": "700"}
    assert inner == "700"


def _permission(bed: Bed, path: str) -> str:
    found: str = bed.json(f"{bed.webhdfs}{path}?op=GETFILESTATUS&user.name=root")["FileStatus"]["permission"]
    return found


def test_artifacts_on_hdfs_are_removed_with_their_run_where_asked(workflow: Workflow, bed: Bed) -> None:
    record = workflow.write_chain().run()
    _finished(record, "read")
    assert _staged(bed, f"/artifacts/{record['run']}") == ["make"]
    assert workflow.call("gc", "--keep", "0", "--artifacts", "--project", str(workflow.project)).returncode == 0
    assert record["run"] not in _staged(bed, "/artifacts")


def test_what_has_failed_in_a_container_fails_again_here_on_the_same_input_under_a_debugger(
    workflow: Workflow, bed: Bed
) -> None:
    workflow.write_chain()
    url = f"webhdfs://root@{urlsplit(bed.webhdfs).netloc}/artifacts"  # which needs no Hadoop on this machine
    (workflow.project / "project.yaml").write_text(f"artifacts: {url}\n")
    (workflow.project / "steps.py").write_text(
        "def make():\n    return list(range(1000))\n\n\n"
        "def read(made):\n    last = made[-1]\n    raise ValueError(last)\n"
    )
    record = workflow.run()
    assert record["jobs"]["read"]["reason"] == "ValueError: 999"
    made = bed.json(f"{bed.webhdfs}/artifacts/{record['run']}/make/1/make.json?op=OPEN&user.name=root")
    shown = debugged(record["run"], "read", "p last, sum(made)", workflow.env)
    assert f"sha256 {made['sha256']}\r\n" in shown.before
    assert re.search(r"platform +then yarn +here this machine", shown.before)
    assert "not recorded" not in shown.before
    assert "ValueError: 999" in shown.before
    assert "(999, 499500)" in shown.answer
    assert "as it did in the run, with exit code 1: ValueError: 999" in shown.rest
    assert shown.code == 1


def test_a_lifetime(workflow: Workflow) -> None:
    workflow.write({"job": "sleep 600"}, {"lifetime": "4s"})
    job = workflow.run()["jobs"]["job"]
    assert job["state"] == "FAILED"
    assert "lifetime" in job["reason"]


def test_a_job_that_waits_says_why(workflow: Workflow) -> None:
    """Larger than what is free: QUEUED with the scheduler's words, until there is room."""
    jobs = {f"large{number}": f"echo here; {workflow.until('go')}" for number in range(3)}
    workflow.write(jobs, {"memory": "4096Mi"})
    process = workflow.begin("--jobs", "3")
    workflow.wait(lambda: workflow.count("start") == 2)
    run = json.loads(workflow.call("runs", "--project", str(workflow.project), "--json").stdout)[0]["run"]

    def waiting() -> bool:
        status = json.loads(workflow.call("status", run, "--project", str(workflow.project), "--json").stdout)
        told = [job for job in status["jobs"] if job["state"] == "QUEUED" and job["reason"]]
        return bool(told) and "not yet activated" in told[0]["reason"].lower()

    workflow.wait(waiting)
    workflow.put("go")
    assert workflow.finish(process)["state"] == "FINISHED"


def test_logs_of_a_run_that_nobody_drives(workflow: Workflow) -> None:
    """Followed while it runs, and read after its end, from the cluster."""
    workflow.write({"job": f"echo one; {workflow.until('go')}; echo two; exit 4"})
    process = workflow.begin()
    workflow.wait(lambda: workflow.count("start") == 1)
    process.kill()
    process.communicate()
    run = json.loads(workflow.call("runs", "--project", str(workflow.project), "--json").stdout)[0]["run"]
    at = ("--project", str(workflow.project))
    workflow.wait(lambda: "one" in workflow.call("logs", run, "job", *at).stdout)
    workflow.put("go")
    workflow.wait(lambda: "FAILED" in workflow.call("status", run, *at).stdout)
    assert "two" in workflow.call("logs", run, "job", *at).stdout
    status = json.loads(workflow.call("status", run, *at, "--json").stdout)
    assert status["jobs"][0]["attempts"][0]["exit_code"] == 4


def test_a_stop_with_a_grace_that_the_job_uses(workflow: Workflow) -> None:
    workflow.write({"job": f"trap 'echo cleaning; sleep 1; echo clean; exit 0' TERM; touch {workflow.marks}/ready; "
                           "while :; do sleep 0.1; done"})  # fmt: skip
    process = workflow.begin()
    workflow.wait(lambda: (workflow.marks / "ready").exists())
    run = json.loads(workflow.call("runs", "--project", str(workflow.project), "--json").stdout)[0]["run"]
    workflow.call("stop", run, "--project", str(workflow.project))
    record = workflow.finish(process)
    assert record["jobs"]["job"]["state"] == "STOPPED"
    assert workflow.log(record, "job") == "cleaning\nclean\n"


def test_digits_gives_the_same_report(bed: Bed, tmp_path: Path) -> None:
    """By one changed setting, with artifacts at an ``hdfs://`` URL; where there is no ``java`` on the PATH."""
    pytest.importorskip("sklearn", reason="the example needs scikit-learn: make demo installs it")
    pytest.importorskip("requests", reason="WebHDFS artifacts need requests")
    begun = {}
    for platform in ("local", "yarn"):
        (tmp_path / platform).mkdir()
        workflow = Workflow(tmp_path / platform, bed)
        project = workflow.project
        shutil.copytree(DIGITS, project, ignore=shutil.ignore_patterns(".aiflow"), dirs_exist_ok=True)
        workflow.env["PATH"] = _without_java(tmp_path)
        options = []
        if platform == "yarn":
            text = (project / "workflow.yaml").read_text()
            block = f"platforms: {{yarn: {{python: {sys.executable}, memory: 1Gi}}}}"
            (project / "workflow.yaml").write_text(text.replace("retries: 1}", f"retries: 1, {block}}}"))
            with open(project / "project.yaml", "a") as file:
                file.write('artifacts: "hdfs:///digits"\n')
            options = ["--set", "*.platform=yarn"]
        begun[platform] = workflow, workflow.begin(*options)
    reports = {}
    for platform, (workflow, process) in begun.items():
        record = workflow.finish(process)
        assert record["state"] == "FINISHED", record
        path = f"{record['run']}/evaluate/1/report/report.html"
        if platform == "yarn":
            address = f"{bed.webhdfs}/digits/{path}?op=OPEN&user.name=root"
            with urllib.request.urlopen(address) as answer:
                reports[platform] = answer.read()
        else:
            reports[platform] = (workflow.project / ".aiflow" / "artifacts" / path).read_bytes()
    assert reports["local"] == reports["yarn"]


def _without_java(folder: Path) -> str:
    """A PATH with a python and nothing of Java on it."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    for command in Path("/usr/bin").iterdir():
        if not command.name.startswith(("java", "hadoop", "yarn", "hdfs")) and not (place / command.name).exists():
            (place / command.name).symlink_to(command)
    assert subprocess.run(["/bin/sh", "-c", "command -v java"], env={"PATH": str(place)}).returncode != 0
    return str(place)


def test_the_client_is_pure_python() -> None:
    """The wheel has no compiled part, and neither has what it needs."""
    from importlib.metadata import files, requires

    needs = sorted(each for each in requires("aiflow-ext-yarn") or [] if "extra" not in each)
    assert [re.match(r"[\w-]+", each)[0] for each in needs] == ["aiflow-ext", "urllib3"]  # type: ignore[index]
    for name in ("aiflow-ext-yarn", "urllib3"):
        assert not [path for path in files(name) or [] if path.suffix in (".so", ".pyd")]
