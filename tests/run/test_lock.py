"""The lock of a run's folder: one driver at a time."""

from __future__ import annotations

import subprocess
import sys

from aiflow_ext.run.store.lock import DriverLock

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
