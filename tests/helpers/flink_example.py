"""The project ``examples/flink`` for tests: a copy of it, and what it must compute wherever it runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flink"
REPORT = "north,167,424331\nsouth,166,416869\nwest,167,414550\n"  # awk's sums of the same files
SHARED = '"*": {platform: local}\n'


def copied(folder: Path, shared: dict[str, Any], **flink: Any) -> Path:
    """A copy of the example below ``folder``, with further keys for all of its jobs, and for its Flink job alone."""
    project = folder / "flink"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    config = (project / "workflow.yaml").read_text()
    assert SHARED in config
    config = config.replace(SHARED, f'"*": {json.dumps({"platform": "local", **shared})}\n')
    more = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in flink.items())
    (project / "workflow.yaml").write_text(config.replace("  engine: flink\n", f"  engine: flink\n{more}"))
    return project
