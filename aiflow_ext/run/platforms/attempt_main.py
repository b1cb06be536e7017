"""Started as a script: puts the driver's own ``sys.path`` in place before anything of ours is imported."""

import sys

if sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]  # this file's folder; its modules are no top-level ones

import json

if __name__ == "__main__":
    with open(f"{sys.argv[1]}/attempt.json", encoding="utf-8") as spec:
        # The host finds what the driver finds, in the same order.
        sys.path[:] = dict.fromkeys([*json.load(spec)["path"], *sys.path])
    from aiflow_ext.run.platforms.attempt_host import main

    sys.exit(main(sys.argv[1], only_cleanup=sys.argv[2:] == ["cleanup"]))
