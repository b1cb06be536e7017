"""Started as a script in a fresh interpreter: reports where it finds a module, and which file its distribution
lists."""

import sys

if __name__ == "__main__" and sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]  # this file's folder; its modules are no top-level ones

import importlib.metadata
import importlib.util
import json

BEGIN = "\nwhat was found: "


def main() -> None:
    """Print the report as JSON."""
    module, distribution = sys.argv[1:]
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:  # its package does not exist
        spec = None
    names = [f"{module.replace('.', '/')}{end}" for end in (".py", "/__init__.py")]
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    listed = [str(file.locate()) for file in files if str(file) in names]
    print(BEGIN + json.dumps({"origin": spec.origin if spec is not None else None, "listed": listed}))


if __name__ == "__main__":
    main()
