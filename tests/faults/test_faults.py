"""What can go wrong around a run, once each: a clear word, nothing lost, nothing run twice."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import dist_info
import pytest
from open_files import is_open

from aiflow_ext.run.store.store import Store

pytestmark = pytest.mark.slow
PY = '"*": {platform: local, engine: python}\n'


@pytest.fixture
def waiting(bench):
    """A run whose driver was killed while its first job waits at its gate; the second comes after it."""
    bench.workflow({"first": bench.gate("first", 0), "second": "true"}, ("second", "first"))
    bench.killed("first")
    return bench


def finishes(bench, **options):
    """Release the first job, resume the run, and see that each job ran once."""
    bench.release("first")
    code, said = bench.resume(**options)
    assert code == 0, said
    assert bench.ends == {"first": ("FINISHED", 1), "second": ("FINISHED", 1)}
    assert (bench.count("start", "first"), bench.count("end", "first")) == (1, 1)
    return said


# -- the store --------------------------------------------------------------------------------------------------------


def test_a_store_of_a_newer_version_is_left_alone_and_its_cure_is_reported(waiting):
    with waiting.project.database() as db:
        (version,) = db.execute("pragma user_version").fetchone()
        db.execute("pragma user_version = 99")
    for args in (("run", str(waiting.project.root)), ("resume", "latest"), ("status", "latest")):
        code, said = waiting.call(*args, cwd=waiting.project.root)
        assert code == 6, said
        assert "written by a newer aiflow-ext" in said
        assert "pip install --upgrade aiflow-ext" in said
    with waiting.project.database() as db:
        assert db.execute("pragma user_version").fetchone() == (99,)
        db.execute(f"pragma user_version = {version}")
    finishes(waiting)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty"])
def test_a_damaged_store_is_named_and_not_written_over(waiting, damage):
    path = waiting.state / "state.db"
    db = sqlite3.connect(path)
    db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    whole = path.read_bytes()
    bad = {"garbage": b"not a store\n" * 500, "truncated": whole[: len(whole) // 2], "empty": b""}[damage]
    path.write_bytes(bad)
    for args in (("run", str(waiting.project.root)), ("resume", "latest"), ("status", "latest")):
        code, said = waiting.call(*args, cwd=waiting.project.root)
        assert code == 6, said
        assert "damaged" in said
        assert "state.db" in said
        assert "move it" in said
    assert path.read_bytes() == bad
    for name in ("state.db-wal", "state.db-shm"):
        Path(waiting.state, name).unlink(missing_ok=True)
    path.write_bytes(whole)
    finishes(waiting)


def test_a_run_that_the_store_has_no_record_of_any_more_is_reported_by_its_folder(waiting):
    run = waiting.record.run_id
    store = Store(waiting.state, create=False)
    with store.database.writing() as db:  # as where state.db-wal was removed before it was written back
        db.execute("delete from runs")
    store.close()
    for asked in (run, "latest"):
        code, said = waiting.call("status", asked, "--project", str(waiting.project.root))
        assert code == 6
        assert f".aiflow/runs/{run}" in said
        assert "state.db-wal" in said


def test_a_state_folder_that_cannot_be_written_is_named_with_its_cure(waiting):
    code = (
        "import os, sys\nfrom aiflow_ext.cli.failures import run_guarded\nfrom aiflow_ext.cli.commands import program\n"
        "if os.geteuid() == 0:\n    import ctypes\n    drop = ctypes.CDLL(None, use_errno=True)\n"
        "    assert drop.prctl(24, 1, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE\n"
        "    os.execv(sys.executable, [sys.executable, '-m', 'aiflow_ext', *sys.argv[1:]])\n"
        "sys.exit(run_guarded(program, sys.argv[1:]))"
    )
    paths = [waiting.state, *waiting.state.glob("state.db*"), waiting.project.run_folder]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        for args in (["run", str(waiting.project.root)], ["resume", "latest", "--project", str(waiting.project.root)]):
            done = subprocess.run([sys.executable, "-c", code, *args], env=waiting.env, capture_output=True, text=True,
                                  timeout=60)  # fmt: skip
            assert done.returncode == 6, done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            assert "AIFLOW_STATE" in done.stderr
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    finishes(waiting)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a folder read-only needs root; CI runs this as root")
def test_on_a_read_only_disk_a_run_can_be_looked_at_and_what_must_write_says_so(waiting):
    root = str(waiting.project.root)
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    for words, code in (("resume latest", 6), ("stop latest", 6), ("status latest", 0), ("logs latest", 0),
                        ("graph latest", 0), ("runs", 0), ("gc --keep 0", 0)):  # fmt: skip
        argv = [sys.executable, "-m", "aiflow_ext", *words.split(), "--project", root]
        apart = ["unshare", "-m", "sh", "-c", script, "sh", root, *argv]
        done = subprocess.run(apart, env=waiting.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        if code:
            assert "the run's folder cannot be written: Read-only file system" in done.stderr
    finishes(waiting)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a folder read-only needs root; CI runs this as root")
def test_on_a_read_only_disk_a_run_that_has_ended_can_be_looked_at(bench, tmp_path):
    root = tmp_path / "a ? 100%23 #x"  # what has a meaning in a URI
    bench.workflow({"only": "echo said; exit 3"})
    bench.project.root.rename(root)
    assert bench.call("run", str(root))[0] == 1
    with contextlib.closing(sqlite3.connect(root / ".aiflow" / "state.db")) as db:
        db.execute("pragma user_version")  # the last one that closes it writes everything back
    assert not list(root.glob(".aiflow/state.db-*"))

    def look(words):
        script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
        argv = [sys.executable, "-m", "aiflow_ext", *words.split(), "--project", str(root)]
        apart = ["unshare", "-m", "sh", "-c", script, "sh", str(root), *argv]
        return subprocess.run(apart, env=bench.env, capture_output=True, text=True, timeout=60)

    for words, code, shown in (("status latest", 1, "exit code 3"), ("logs latest", 0, "said"), ("runs", 0, "FAILED"),
                               ("graph latest", 0, "only"), ("status latest --watch", 1, "exit code 3")):  # fmt: skip
        done = look(words)
        assert (done.returncode, done.stderr) == (code, ""), done.stdout
        assert shown in done.stdout
    done = look("resume latest")
    assert done.returncode == 6
    assert "Read-only file system" in done.stderr
    (root / ".aiflow" / "state.db-wal").write_bytes(b"x" * 5000)
    done = look("status latest")
    assert done.returncode == 6
    assert "state.db-wal, which cannot be read on a read-only file system" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root; CI runs this as root")
@pytest.mark.parametrize(
    ("limit", "fill"),
    [
        ("size=1m", "head -c 10000000 /dev/zero > $AIFLOW_CHECKPOINT_DIR/x; true"),
        ("nr_inodes=200", "seq -f $AIFLOW_CHECKPOINT_DIR/x%g 200 | xargs -n 1 touch; true"),
    ],
    ids=["bytes", "inodes"],
)
def test_a_full_disk_leaves_jobs_running_and_the_run_goes_on_once_there_is_room(bench, tmp_path, limit, fill):
    state = tmp_path / "small"
    state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", limit, "tmpfs", str(state)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets root mount no tmpfs: {mounted.stderr.decode()}")
    try:
        bench.workflow(
            {"slow": bench.gate("slow", 5), "fills": fill, "next": "true", "last": "true"},
            ("next", "fills", "ended"), ("last", "slow", "ended"),
        )  # fmt: skip
        bench.env["AIFLOW_STATE"] = str(state)
        driver = bench.drive("run", str(bench.project.root), "--jobs", "4")
        bench.up("slow")
        _, said = driver.communicate(timeout=60)
        assert driver.returncode == 6
        assert "full" in said or "No space left" in said
        assert "what runs goes on" in said
        assert "aiflow-ext resume" in said
        bench.release("slow")
        (folder,) = state.iterdir()
        for filler in folder.glob("runs/*/checkpoints/*/x*"):
            filler.unlink()
        code, said = bench.resume()
        assert code == 1, said
        store = Store(folder, create=False)
        record = store.run(store.runs()[0]["run"])
        numbers = [each.seq for each in store.transitions.of_run(record.run_id)]
        store.close()
        assert numbers == list(range(1, len(numbers) + 1))
        slow = record.jobs["slow"]
        assert (slow.state, len(slow.attempts), slow.attempts[0].exit_code) == ("FAILED", 1, 5)
        assert bench.count("start", "slow") == 1
        assert {record.jobs[name].state for name in ("next", "last")} == {"FINISHED"}
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


# -- the machine ------------------------------------------------------------------------------------------------------


def clock_set(bench, by):
    """An environment in which the clock of our processes, and no other's, goes wrong by so many seconds."""
    site = bench.folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        textwrap.dedent(f"""
        import time
        true, calls = time.time, 0
        def wrong():
            global calls
            calls += 1
            return true() + ({by})
        time.time = wrong
        """)
    )
    return {**bench.env, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_a_clock_that_jumps_changes_no_duration_and_no_order(bench, jump):
    env = clock_set(bench, f"{jump} if calls > 5 and calls % 10 > 4 else 0")
    jobs = {f"j{number}": "true" for number in range(8)}
    edges = [(f"j{number}", f"j{number - 1}") for number in range(1, 8)]
    bench.workflow(jobs, *edges, config="".join(f"{job}: {{timeout: 3600}}\n" for job in jobs))
    code, said = bench.call("run", str(bench.project.root), env=env)
    assert code == 0, said
    record = bench.record
    for job in record.jobs.values():
        (attempt,) = job.attempts
        assert 0 <= attempt.ended_at - attempt.started_at < 60
    store = Store(bench.state, create=False)
    order = [each.job for each in store.transitions.of_run(record.run_id) if each.state == "FINISHED"]
    store.close()
    assert order == list(jobs)


@pytest.mark.parametrize("jump", [-86400, 86400])
@pytest.mark.parametrize("alone", [False, True])
def test_a_clock_that_was_set_before_a_resume_ends_no_job_by_its_timeout(bench, jump, alone):
    bench.workflow({"first": bench.gate("first"), "second": "true"}, ("second", "first"),
                   config="first: {timeout: 3600}\nsecond: {timeout: 3600}\n")  # fmt: skip
    bench.killed("first")
    if alone:
        bench.kill_supervisor()
    resumed = bench.drive("resume", "latest", "--project", str(bench.project.root), env=clock_set(bench, jump))
    assert "2 jobs" in resumed.stdout.readline()
    bench.release("first")
    resumed.communicate(timeout=60)
    record = bench.record
    assert bench.ends["first"][1] == 1
    for job in record.jobs.values():
        for attempt in job.attempts:
            assert 0 <= attempt.ended_at - attempt.started_at < 60
            assert not attempt.timed_out
    assert 0 <= record.ended_at - record.started_at < 120
    assert (bench.count("start", "first"), bench.count("end", "first")) == (1, 1)
    if not alone:
        assert resumed.returncode == 0
        assert bench.ends == {"first": ("FINISHED", 1), "second": ("FINISHED", 1)}


def test_a_timeout_comes_although_the_clock_was_set_back_before_a_resume(bench):
    bench.workflow({"first": bench.gate("first")}, config="first: {timeout: 3}\n")
    bench.killed("first")
    code, said = bench.resume(env=clock_set(bench, -86400))
    assert code == 1, said
    assert "timeout of 3 s" in said
    (attempt,) = bench.record.jobs["first"].attempts
    assert 3 <= attempt.ended_at - attempt.started_at < 20


def test_after_a_reboot_what_ran_is_lost_and_neither_running_nor_failed(bench):
    bench.workflow(
        {"first": bench.gate("first"), "second": "true", "third": "true"}, ("second", "first"),
        ("third", "first", "ended"),
    )  # fmt: skip
    bench.killed("first")
    pid = json.loads((bench.project.run_folder / "processes.jsonl").read_text().splitlines()[1])["pid"]
    bench.kill_supervisor()
    os.kill(pid, signal.SIGKILL)
    for name in ("processes.jsonl", "supervisor.lock"):
        path = bench.project.run_folder / name
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        path.write_text(path.read_text().replace(boot, "00000000-0000-0000-0000-000000000000"))
    code, said = bench.resume()
    assert code == 1, said
    assert bench.ends == {"first": ("LOST", 1), "second": ("SKIPPED", 0), "third": ("FINISHED", 1)}
    assert "rebooted" in bench.attempt("first").reason


def test_a_start_of_which_a_power_loss_left_no_record_is_lost_and_not_repeated(waiting):
    home = waiting.project.run_folder
    waiting.kill_supervisor()
    waiting.release("first")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    lock = home / "supervisor.lock"
    lock.write_text(lock.read_text().replace(boot, "00000000-0000-0000-0000-000000000000"))
    (home / "processes.jsonl").write_text("")
    code, said = waiting.resume()
    assert code == 1, said
    assert waiting.ends["first"] == ("LOST", 1)
    assert waiting.count("start", "first") == 1


# -- the project ------------------------------------------------------------------------------------------------------


def test_a_project_moved_while_jobs_run_is_found_at_its_new_place(waiting):
    new = waiting.folder / "elsewhere" / "renamed"
    new.parent.mkdir()
    waiting.project.root.rename(new)
    code, said = waiting.call("resume", "latest")
    assert code == 2 or code == 3, said
    assert "not there any more" in said
    waiting.project.root = new
    code, said = waiting.call("status", "latest", "--json", cwd=new)
    assert json.loads(said[said.index("{") :])["folder"].startswith(str(new))
    said = finishes(waiting)
    assert "moved from" in said
    assert waiting.attempt("first").native_id.startswith(str(new))
    assert waiting.call("status", "latest")[0] == 0  # found from any folder again


def test_an_artifact_of_a_job_that_runs_while_its_project_is_moved_is_at_the_new_place(bench):
    bench.gate("make")
    bench.project.jobs(
        'with af.job("make"): made = af.python(make)\nwith af.job("fails"): af.python(fails)\n'
        'with af.job("read"): af.python(read, made)\n',
        PY + "make: {}\nread: {}\nfails: {}\n",
        f"""
        import os
        def make():
            for kind in ("start", "end"):
                open(f"{{os.environ['MARKS']}}/{{kind}}-make-1-x", "x").close()
                if kind == "start": open("{bench.folder}/gate-make").read()
            return {{"some": "value"}}
        def fails():
            open(f"{{os.environ['MARKS']}}/start-fails-1-x", "x").close()
            while not os.path.exists("{bench.folder}/renamed"): pass
            raise ValueError("its words")
        def read(value): print(value["some"])
        """,
    )
    bench.killed("make", "fails")
    old, new = bench.project.root, bench.folder / "renamed"
    bench.project.root = new
    old.rename(new)
    bench.release("make")
    code, said = bench.resume()
    assert code == 1, said
    assert bench.ends == {"make": ("FINISHED", 1), "fails": ("FAILED", 1), "read": ("FINISHED", 1)}
    assert bench.attempt("fails").reason == "ValueError: its words"
    assert bench.project.log("read") == b"value\n"
    assert not old.exists()


def test_a_driver_whose_project_is_moved_lets_go_and_says_so(bench):
    bench.workflow({"first": bench.gate("first"), "second": "true"}, ("second", "first"))
    driver = bench.drive()
    bench.up("first")
    new = bench.folder / "renamed"
    old, bench.project.root = bench.project.root, new
    old.rename(new)
    bench.release("first")
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 6
    assert "moved or deleted" in said
    assert "aiflow-ext resume" in said
    assert not old.exists()
    code, said = bench.resume()
    assert code == 0, said
    assert bench.ends == {"first": ("FINISHED", 1), "second": ("FINISHED", 1)}


@pytest.mark.parametrize("driven", [True, False])
def test_jobs_of_a_deleted_project_end_undisturbed_and_commands_say_what_is_gone(bench, driven):
    bench.workflow({"first": bench.gate("first"), "second": "true"}, ("second", "first"))
    driver = bench.drive()
    bench.up("first")
    run = bench.record.run_id
    if not driven:
        driver.kill()
    shutil.rmtree(bench.project.root)
    bench.release("first")
    _, said = driver.communicate(timeout=60)
    if driven:
        assert driver.returncode == 6
        assert "moved or deleted" in said
    assert not bench.project.root.exists()
    code, said = bench.call("resume", run)
    assert code != 0
    assert str(bench.project.root) in said
    assert "not there any more" in said
    assert (bench.count("start", "first"), bench.count("end", "first")) == (1, 1)


def test_the_run_goes_on_with_its_own_copy_of_changed_code_and_config_and_says_so(bench):
    gate = bench.gate("first")
    bench.project.jobs(
        f'with af.job("first"): af.cmd({gate!r})\nwith af.job("second"): af.python(work)\n'
        'af.run_after("second", "first")',
        PY + "first: {engine: cmd_line}\nsecond: {properties: {x: 1}}\n",
        'import helper\nimport aiflow_ext as af\ndef work(): print(helper.WORD, af.current_job().properties["x"])\n',
    )
    bench.project.write(helper_py='WORD = "as it was"\n')
    bench.killed("first")
    bench.project.write(helper_py="raise SystemExit('the changed code')\n")
    bench.project.write(workflow_yaml=PY + "first: {engine: cmd_line}\nsecond: {properties: {x: 2}}\n")
    said = finishes(bench)
    assert "has changed since the run was started (helper.py, workflow.yaml)" in said
    assert bench.project.log("second") == b"as it was 1\n"


def test_a_run_whose_state_is_kept_elsewhere_outlives_its_project(bench):
    gate = bench.gate("first")
    bench.project.jobs(
        f'with af.job("first"): af.cmd({gate!r})\nwith af.job("second"): af.python(work)\n'
        'af.run_after("second", "first")',
        PY + "first: {engine: cmd_line}\nsecond: {}\n",
        "def work(): print('ran')\n",
    )
    bench.env["AIFLOW_STATE"] = str(bench.folder / "states")
    driver = bench.drive()
    bench.up("first")
    driver.kill()
    driver.communicate()
    shutil.rmtree(bench.project.root)
    bench.release("first")
    code, said = bench.call("resume", "latest")
    assert code == 0, said
    assert f"the project's folder {bench.project.root} is gone" in said
    assert not bench.project.root.exists()


# -- the plugins ------------------------------------------------------------------------------------------------------


def install(site, version, more=""):
    """A distribution with a job plugin for a platform of its own; ``more`` methods of it."""
    shutil.rmtree(site, ignore_errors=True)
    advertised = {"platforms": {"mine": "mine:Mine"}, "job_plugins": {"mine.cmd_line": "mine:Plugin"}}
    source = textwrap.dedent("""
        from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin
        from aiflow_ext_local.platform import LocalPlatform
        class Mine(LocalPlatform):
            @staticmethod
            def platform(): return "mine"
        class Plugin(LocalCmdLineJobPlugin):
            def platform(self): return Mine
        """) + textwrap.indent(textwrap.dedent(more), "    ")
    dist_info.install(site, "mine", advertised, {"mine.py": source}, version=version)


def test_a_plugin_uninstalled_or_upgraded_in_between_is_named_and_the_run_goes_on(bench):
    site = bench.folder / "site"
    install(site, "1.0")
    bench.env["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    bench.workflow({"first": bench.gate("first"), "second": "true"}, ("second", "first"))
    bench.project.write(workflow_yaml='"*": {platform: mine, engine: cmd_line}\nfirst: {}\nsecond: {}\n')
    bench.killed("first")
    shutil.rmtree(site)
    code, said = bench.resume()
    assert code == 4, said
    assert "mine" in said
    assert "pip install mine==1.0" in said
    install(site, "2.0")
    said = finishes(bench)
    assert "started with mine 1.0; it goes on with mine 2.0" in said


@pytest.fixture
def mine(bench):
    """A gate and a job after it on a platform of its own; ``mine(more)`` gives its plugin ``more`` methods."""

    def made(more):
        site = bench.folder / "site"
        install(site, "1.0", more)
        bench.env["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        bench.workflow({"first": bench.gate("first"), "second": "true"}, ("second", "first"))
        bench.project.write(workflow_yaml='"*": {platform: mine, engine: cmd_line}\nfirst: {}\nsecond: {}\n')

    return made


def test_a_platform_is_checked_before_the_first_intent_and_not_when_its_jobs_run(bench, mine):
    mine(f"""
        import aiflow_ext as af
        @af.hookimpl
        def check_platform(self, jobs):
            import os
            return ["it is away"] if os.path.exists("{bench.folder}/away") else []
        """)
    bench.killed("first")
    (bench.folder / "away").touch()
    finishes(bench)
    code, said = bench.call("run", str(bench.project.root))
    assert code == 6
    assert "it is away" in said


def test_what_a_cleanup_could_not_remove_is_removed_by_gc(bench, mine):
    mine(f"""
        def cleanup_job(self, job):
            import os
            if os.path.exists("{bench.folder}/hinders"):
                raise RuntimeError("not now")
            open(f"{bench.folder}/cleaned-{{job.job_context.job_name}}", "w").close()
        """)
    (bench.folder / "hinders").touch()
    driver = bench.drive()
    bench.up("first")
    bench.release("first")
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert "RuntimeError: not now" in said
    (bench.folder / "hinders").unlink()
    assert bench.call("gc", "--keep", "0", "--project", str(bench.project.root))[0] == 0
    assert {path.name for path in bench.folder.glob("cleaned-*")} == {"cleaned-first", "cleaned-second"}
    assert not list(bench.state.glob("runs/*"))


@pytest.mark.parametrize("at", ["Store.add_run", "new_run.DriverLock"])
def test_the_folder_of_a_run_whose_driver_died_before_it_was_on_record_is_removed_by_gc(bench, at, until):
    """The kill at that very line is injected: nothing else comes there on demand."""
    bench.workflow({"first": "true"})
    dies = (
        "import os, sys\nfrom aiflow_ext.run import prepare_run\nfrom aiflow_ext.run.store.store import Store\n"
        f"from aiflow_ext.run.operations import new_run\n{at} = lambda *_: os.kill(os.getpid(), 9)\n"
        "prepare_run(sys.argv[1])"
    )
    died = subprocess.run([sys.executable, "-c", dies, str(bench.project.root)], env=bench.env)
    assert died.returncode == -signal.SIGKILL
    collect = ["gc", "--keep", "0", "--project", str(bench.project.root)]
    assert bench.call(*collect) == (0, "")  # it might be one that is just being made
    (left,) = bench.state.glob("runs/*")
    until(lambda: not is_open(left), "the run's supervisor does not exit")  # it changes the folder's time
    os.utime(left, (1e9, 1e9))
    assert bench.call(*collect, "--dry-run") == (0, f"would remove {left.name}\n")
    assert bench.call(*collect) == (0, f"removed {left.name}\n")
    assert not left.exists()


# -- the driver -------------------------------------------------------------------------------------------------------


def test_the_error_of_a_second_driver_names_the_first_ones_pid_and_whether_it_is_stopped(bench):
    bench.workflow({"first": bench.gate("first"), "second": "true"}, ("second", "first"))
    driver = bench.drive(stdin=subprocess.DEVNULL)  # a child of this process, so that its stop can be waited for
    bench.up("first")
    code, said = bench.resume()
    assert code == 6
    assert f"another process drives this run: pid {driver.pid}\n" in said
    assert f"follow it: aiflow-ext status {bench.record.run_id} --watch\n" in said
    driver.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, driver.pid, os.WSTOPPED)
    code, said = bench.resume()
    assert code == 6
    assert f"pid {driver.pid}, which is stopped" in said
    assert f"kill -CONT {driver.pid}" in said
    driver.send_signal(signal.SIGCONT)
    bench.release("first")
    driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert bench.count("start", "first") == 1


def test_of_several_resumes_at_once_one_drives_and_the_others_are_refused(waiting):
    resumes = [waiting.drive("resume", "latest", "--project", str(waiting.project.root)) for _ in range(4)]
    refused = []
    while len(refused) < 3:
        for driver in resumes:
            if driver not in refused and driver.poll() is not None:
                _, said = driver.communicate()
                assert driver.returncode == 6, said
                assert "another process drives this run" in said
                refused.append(driver)
        select.select([], [], [], 0.02)
    (left,) = [driver for driver in resumes if driver not in refused]
    waiting.release("first")
    left.communicate(timeout=60)
    assert left.returncode == 0
    assert waiting.ends == {"first": ("FINISHED", 1), "second": ("FINISHED", 1)}
    assert waiting.count("start", "first") == 1


def test_a_terminated_driver_leaves_its_jobs_to_the_next(bench):
    bench.workflow({"first": bench.gate("first"), "second": "true"}, ("second", "first"))
    driver = bench.drive()
    bench.up("first")
    driver.send_signal(signal.SIGTERM)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "left running: first" in said
    finishes(bench)


def test_a_driver_whose_terminal_is_closed_leaves_its_jobs_to_the_next(bench):
    bench.workflow({"first": bench.gate("first"), "second": "true"}, ("second", "first"))
    master, slave = pty.openpty()

    def own_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it, as nohup does
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    driver = bench.drive("run", str(bench.project.root), stdin=slave, stdout=slave, stderr=slave,
                         preexec_fn=own_terminal, env={**bench.env, "TERM": "xterm"})  # fmt: skip
    os.close(slave)
    bench.up("first")
    os.close(master)
    driver.wait(60)
    assert driver.returncode != -signal.SIGKILL
    finishes(bench)


@pytest.mark.slow
def test_fifty_clients_read_a_run_while_it_goes_on(bench):
    jobs = {f"j{number}": "true" for number in range(40)}
    bench.workflow({"first": bench.gate("first"), **jobs}, *[(job, "first") for job in jobs])
    driver = bench.drive()
    bench.up("first")
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from aiflow_ext.run.store.lock import holder\nfrom aiflow_ext.run.store.store import Store\n"
        "clients = []\n"
        "while len(clients) < 50 and (pid := os.fork()):\n"
        "    clients.append(pid)\n"
        "if len(clients) == 50:\n"
        "    sys.exit(any([os.waitpid(pid, 0)[1] for pid in clients]))\n"
        "while True:\n"
        "    store = Store(Path(sys.argv[1]), create=False)\n"
        "    run = store.runs()[0]\n"
        "    record = store.run(run['run'])\n"
        "    numbers = [each.seq for each in store.transitions.of_run(run['run'])]\n"
        "    assert numbers == list(range(1, len(numbers) + 1)), numbers\n"
        "    holder(Path(run['folder']))\n"
        "    store.close()\n"
        "    if record.state != 'RUNNING':\n"
        "        break\n"
    )
    clients = subprocess.Popen([sys.executable, "-c", code, str(bench.state)], stderr=subprocess.PIPE, text=True)
    bench.release("first")
    driver.communicate(timeout=240)
    assert driver.returncode == 0
    _, said = clients.communicate(timeout=120)
    assert clients.returncode == 0, said
    assert set(bench.ends.values()) == {("FINISHED", 1)}
