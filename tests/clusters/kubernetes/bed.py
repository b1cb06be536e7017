#!/usr/bin/env python3
"""A real Kubernetes and an S3 server on this machine: bring one up, break it, take it down.

    bed.py up                   bring it up; builds what is missing (minutes, the first time)
    bed.py down                 take it down; nothing is left but the cache of what was built
    bed.py status               how each component is
    bed.py env                  how to reach it, as JSON
    bed.py kill COMPONENT       kill a component (start, pause, resume likewise)
    bed.py cut                  drop all packets between this machine and it (join undoes it)
    bed.py kubectl ARGS...      kubectl as an administrator
    bed.py exec COMMAND...      a command inside its namespaces

--name NAME chooses one of several beds; the default is "test". It stands after the first word, but before kubectl and
exec, which take all that follows.
Needs root. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from kubernetes_bed import Bed, BedError, binaries, components


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bed.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--name", default="test", help=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action in ("up", "down", "status", "env", "cut", "join"):
        _named(actions.add_parser(action))
    for action in ("kill", "start", "pause", "resume"):
        sub = _named(actions.add_parser(action))
        sub.add_argument("component", choices=components.NAMES)
    for action in ("kubectl", "exec"):
        actions.add_parser(action, add_help=False).add_argument("rest", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    try:
        return _do(Bed(args.name), args)
    except BedError as error:
        print(f"bed.py: {error}", file=sys.stderr)
        return 1


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--name", default=argparse.SUPPRESS)
    return parser


def _do(bed: Bed, args: argparse.Namespace) -> int:
    start = time.monotonic()
    if args.action == "up":
        word = "is up" if bed.up() else "was up already"
        print(f"bed {bed.name} {word} after {time.monotonic() - start:.1f} s: export KUBECONFIG={bed.kubeconfig}")
    elif args.action == "down":
        word = "is down" if bed.down() else "was not up"
        print(f"bed {bed.name} {word} after {time.monotonic() - start:.1f} s")
    elif args.action == "status":
        return _status(bed)
    elif args.action == "env":
        print(json.dumps(bed.environment(), indent=2))
    elif args.action == "kubectl":
        kubectl = str(binaries.kubernetes() / "kubectl")
        os.execv(kubectl, [kubectl, f"--kubeconfig={bed.kubeconfig}", *args.rest])
    elif args.action == "exec":
        bed.enter(args.rest)
    elif args.action in ("cut", "join"):
        getattr(bed, args.action)()
    else:
        getattr(bed, args.action)(args.component)
    return 0


def _status(bed: Bed) -> int:
    states = bed.status()
    if not states:
        print(f"bed {bed.name} is down")
        return 3
    print(f"bed {bed.name} is up at {bed.layout.server}")
    for name, word in states.items():
        print(f"  {name:10} {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
