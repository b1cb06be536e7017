"""Started as a script: sets the driver's own ``sys.path`` before anything of aiflow-ext is imported."""

import sys

if sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]  # this file's folder, whose modules must not be importable as top-level ones

import json

if __name__ == "__main__":
    with open(f"{sys.argv[1]}/attempt.json", encoding="utf-8") as spec:
        # The host imports from the same places as the driver, in the same order.
        sys.path[:] = dict.fromkeys([*json.load(spec)["path"], *sys.path])
    from aiflow_ext.run.platforms.attempt_host import main

    sys.exit(main(sys.argv[1], only_cleanup=sys.argv[2:] == ["cleanup"]))
