"""The bed does what the other tests rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from yarn_bed import Bed


def test_a_daemon_comes_back(bed: Bed) -> None:
    node = bed.pid("rm")
    bed.kill("rm")
    assert not bed.alive("rm")
    assert not bed.ready()
    bed.up()
    assert bed.ready()
    assert bed.pid("rm") != node


def test_safe_mode(bed: Bed) -> None:
    bed.safe_mode(True)
    assert not bed.hdfs_ready()
    bed.safe_mode(False)
    assert bed.hdfs_ready()


def test_a_queue_stops(bed: Bed) -> None:
    def state() -> str:
        scheduler = bed.json(f"{bed.rm}/ws/v1/cluster/scheduler")["scheduler"]["schedulerInfo"]
        return str({queue["queueName"]: queue["state"] for queue in scheduler["queues"]["queue"]}["small"])

    bed.queue("small", running=False)
    assert state() == "STOPPED"
    bed.queue("small", running=True)
    assert state() == "RUNNING"


def test_status_as_a_command(bed: Bed) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("bed.py")), "status"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ready")
