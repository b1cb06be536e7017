"""The lock of a run's folder: one driver at a time."""

from __future__ import annotations

import subprocess
import sys

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
