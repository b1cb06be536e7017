"""Started as a script in a fresh interpreter: lists all plugins, resolves one, and reports the imported modules."""

import sys

if __name__ == "__main__" and sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]  # this file's folder; its modules are no top-level ones

import json

BEGIN = "\nwhat was found: "


def main() -> None:
    """Print the report as JSON."""
    path, platform, engine = json.loads(sys.argv[1])
    sys.path[:] = dict.fromkeys([*path, *sys.path])
    import aiflow_ext as af

    records = [record.to_dict() for record in af.PluginHost().plugins(refresh=True)]
    listed = sorted(sys.modules)
    error = None
    try:
        af.PluginHost().resolve(platform, engine)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    print(BEGIN + json.dumps({"records": records, "listed": listed, "resolved": sorted(sys.modules), "error": error}))


if __name__ == "__main__":
    main()
