"""Real Hadoop daemons on loopback: NameNode, DataNode, ResourceManager, NodeManager and JobHistoryServer.

    python tests/clusters/yarn/bed.py up [--protection LEVEL] [--ha]
    python tests/clusters/yarn/bed.py down | status | env | kill DAEMON | start DAEMON

Needs java (8, 11 or 17) and, the first time, mvn. About 1 GB of memory; ready in some 12 seconds. Everything that it
writes is below the user's cache folder; ``down`` removes all but Hadoop's jars. YARN_BED=NAME:BASE in the environment
makes it another bed, whose ports begin at BASE.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time

import yarn_settings as settings
from yarn_bed import DAEMONS, Bed
from yarn_hadoop import BedError


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Real Hadoop daemons on loopback.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what is not running, and wait until it is ready")
    up.add_argument("--protection", choices=settings.PROTECTIONS, help="hadoop.rpc.protection")
    up.add_argument("--ha", action=argparse.BooleanOptionalAction, help="two ResourceManagers")
    for name, words in {
        "down": "end everything and remove its data",
        "status": "which daemons run; exit code 1 where jobs cannot be submitted",
        "env": "what a client's shell needs, to be evaluated",
    }.items():
        commands.add_parser(name, help=words)
    for name in ("kill", "start"):
        commands.add_parser(name, help=f"{name} one daemon").add_argument("daemon", choices=list(DAEMONS))
    args = parser.parse_args(argv)
    bed = Bed.chosen()
    try:
        if args.command == "up":
            begun = time.monotonic()
            bed.up(protection=args.protection, ha=args.ha)
            print(f"ready after {time.monotonic() - begun:.1f} s; HADOOP_CONF_DIR={bed.conf}")
        elif args.command == "down":
            bed.down()
        elif args.command == "status":
            for name, pid in bed.status().items():
                print(f"{name:4} {pid or 'not running'}")
            ready = bed.ready()
            print("ready" if ready else "not ready")
            return 0 if ready else 1
        elif args.command == "env":
            print(f"export HADOOP_CONF_DIR={shlex.quote(str(bed.conf))}")
        else:
            getattr(bed, args.command)(args.daemon)
    except BedError as error:
        print(f"yarn bed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
