"""The lock of a run's folder: one driver at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aiflow_ext as af
from aiflow_ext.run.store.lock import FILE, DriverLock
from tests.helpers.open_files import open_files

RELEASED = """
import os, sys
from pathlib import Path
from aiflow_ext.run.store.lock import DriverLock, holder

lock = DriverLock(Path(sys.argv[1]))
read, write = os.pipe()
child = os.fork()
if not child:  # with a copy of every descriptor, as a process has that is about to execute another program
    os.close(write)
    os.read(read, 1)
    os._exit(0)
lock.release()
print(holder(Path(sys.argv[1])))
DriverLock(Path(sys.argv[1])).release()
os.close(write)
os.waitpid(child, 0)
"""


def test_a_run_is_free_once_its_lock_is_released_whatever_is_being_started_beside_it(tmp_path):
    done = subprocess.run([sys.executable, "-c", RELEASED, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr


KILLED = """
import os, signal, sys, time
from pathlib import Path
from aiflow_ext.run.store.lock import DriverLock

lock = DriverLock(Path(sys.argv[1]))
if not os.fork():  # a child that a busy machine lets wait before it executes its program
    print("started", flush=True)
    time.sleep(1.5)
    os._exit(0)
sys.stdin.read(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_is_free_once_its_driver_is_dead_even_where_a_child_that_it_was_starting_lives_on(tmp_path):
    driver = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)  # fmt: skip
    with driver:
        assert driver.stdout.readline() == b"started\n"
        driver.stdin.close()
        driver.wait()
        DriverLock(tmp_path).release()


def test_a_resume_waits_for_the_driver_of_an_ended_run_to_let_go_of_it(project):
    project.jobs('with af.job("a"): af.cmd("exit 1")', "a: {platform: local, engine: cmd_line}\n")
    record = af.run_project(project.root)
    lock = DriverLock(Path(record.folder))
    argv = [sys.executable, "-m", "aiflow_ext", "resume", record.run_id, "--failed", f"--project={project.root}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as resumed:
        while Path(record.folder, FILE) not in open_files(resumed.pid):
            assert resumed.poll() is None, resumed.stdout.read()
        lock.release()
        assert "a FAILED (attempt 2)" in resumed.stdout.read()
