"""Started as a script: sets the driver's own ``sys.path`` before anything of aiflow-ext is imported."""

import sys

if sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]  # this file's folder, whose modules must not be importable as top-level ones

import json
import os
import signal

if __name__ == "__main__":
    # A job may have put a FIFO or a link in its place, and cleanup_job is called all the same.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(f"{sys.argv[1]}/attempt.json", flags), encoding="utf-8") as spec:
        # The host imports from the same places as the driver, in the same order.
        sys.path[:] = dict.fromkeys([*json.load(spec)["path"], *sys.path])
    only_cleanup = sys.argv[2:] == ["cleanup"]
    if only_cleanup:  # its parent has blocked SIGINT; one that came meanwhile is discarded
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    from aiflow_ext.run.platforms.attempt_host import main

    sys.exit(main(sys.argv[1], only_cleanup=only_cleanup))
