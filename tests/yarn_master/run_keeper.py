"""A master that only keeps a child: ``run_keeper.py FOLDER GRACE SCRIPT``; says on stdout what its keeper says."""

from __future__ import annotations

import json
import os
import signal
import sys

from aiflow_ext_yarn.master.keeper import Keeper
from aiflow_ext_yarn.master.spec import Child, Values

folder, grace, script = sys.argv[1], float(sys.argv[2]), sys.argv[3]
spec = {"argv": ["/bin/sh", "-c", script], "mark": f"mark:{folder}", "cwd": folder}
keeper = Keeper(Child(spec, Values(folder, {}), folder), grace)
signal.signal(signal.SIGTERM, lambda *_: keeper.stop())
print(json.dumps({"what": "keeper", "pid": keeper._pid, "master": os.getpid()}), flush=True)
while True:
    for said in keeper.events(10.0):
        print(json.dumps(said), flush=True)
        if said["what"] in ("swept", "gone"):
            sys.exit(0)
