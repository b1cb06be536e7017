"""Old runs removed: their folders, their artifacts where those are on this machine, and their records."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.run.find import stores
from aiflow_ext.run.launch import launcher_for
from aiflow_ext.run.lock import holder
from aiflow_ext.run.plan import generate
from aiflow_ext.run.snapshot import use_own_files
from aiflow_ext.run.store import Store
from aiflow_ext.run.stored import plan_from_data

_log = logging.getLogger("aiflow_ext")


def collect(
    project: str | None = None, *, older_than: float | None = None, keep: int | None = None, dry_run: bool = False
) -> list[dict[str, Any]]:
    """Remove runs that have ended.

    Args:
        project: the project's folder; None for every project of this user.
        older_than: remove runs that ended more than so many seconds ago.
        keep: keep so many of each project's newest runs.
        dry_run: only say what would be removed.

    Returns the runs that were (or would be) removed. A run that has not ended, or that somebody drives, stays.
    """
    removed = []
    for store in stores(project):
        for place, run in enumerate(store.runs()):
            if run["ended_at"] is None or holder(Path(run["folder"])) is not None:
                continue
            if keep is not None and place < keep:
                continue
            if older_than is not None and run["ended_at"] > time.time() - older_than:
                continue
            removed.append(run)
            if not dry_run:
                _remove(store, run)
    return removed


def _remove(store: Store, run: dict[str, Any]) -> None:
    plan, _ = store.plan(run["run"])
    try:
        _clean_up(plan, run)
    except Exception as error:  # a plugin that is gone, a platform that does not answer: the run goes all the same
        _log.warning("run %s may have left something on its platform: %s", run["run"], error)
    artifacts = str(plan["project"].get("artifacts") or "").removeprefix("file://")
    if artifacts and "://" not in artifacts:
        shutil.rmtree(Path(artifacts) / run["run"], ignore_errors=True)
    shutil.rmtree(run["folder"], ignore_errors=True)
    store.forget(run["run"])


def _clean_up(data: dict[str, Any], run: dict[str, Any]) -> None:
    """Have the platforms remove what was sent once for the run, where their plugins say that there may be something."""
    host = PluginHost(Policy(data["allow"], data["deny"]), data["pins"])
    pairs = {(job["platform"], job["engine"]) for job in data["jobs"].values()}
    asked = {pair for pair in pairs if "cleanup_run" in host.resolve(*pair).offers}
    if not asked:
        return
    plan = plan_from_data(data)
    if Path(run["folder"]).is_dir():
        use_own_files(plan, Path(run["folder"]))
    launchers = {}
    for planned in plan.jobs.values():
        if (planned.resolved.platform, planned.resolved.engine) in asked:
            generate(plan, planned)  # so that the plugin knows where the run's jobs were
            launchers[id(planned.resolved)] = launcher_for(planned, plan.desc)
    for launcher in launchers.values():
        launcher.cleanup_run(run["run"])
