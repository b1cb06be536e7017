#!/usr/bin/env python3
"""``aiflow-ext doctor`` on a site of many plugins, of which ten are broken, each in a way of its own.

Prints how long it took, and exits with 1 unless all are told apart and each broken one is named with its own reason.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from broken_plugins import KINDS, add_plugin

BAR = 30.0  # seconds for 300 plugins on 2 cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugins", type=int, default=300, help="how many job plugins, the broken ones included")
    count = parser.parse_args().plugins
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        broken = dict(zip((f"p{number * count // len(KINDS):03}" for number in range(len(KINDS))), KINDS, strict=True))
        for number in range(count):
            name = f"p{number:03}"
            add_plugin(site, name, KINDS[broken[name]] if name in broken else None)
        env = {**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": folder, "TMPDIR": folder}
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "aiflow_ext", "doctor", "--json"], env=env, stdout=subprocess.PIPE)
        took = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    plugins = {each["name"]: each for each in json.loads(done.stdout)["plugins"]}
    wrong = []
    for number in range(count):
        name = f"p{number:03}"
        found = plugins[f"{name}.rover"]
        told = " ".join([found["reason"] or "", *found["remarks"]])
        kind = KINDS.get(broken.get(name, ""))
        status, words = ("loaded", "") if kind is None else (kind.status, kind.words)
        if found["status"] != status or words not in told or (kind is None and told):
            wrong.append(f"{name} ({broken.get(name, 'whole')}): {found['status']}: {told}")
    print(f"{count} plugins, {len(plugins)} records, {len(broken)} broken: {took:.1f} s (bar {BAR:g} s), "
          f"{used.ru_utime + used.ru_stime:.1f} s of CPU, {len(os.sched_getaffinity(0))} cores, exit code "
          f"{done.returncode}")  # fmt: skip
    for each in wrong:
        print(f"wrong: {each}")
    sys.exit(1 if wrong or done.returncode != 5 else 0)


if __name__ == "__main__":
    main()
