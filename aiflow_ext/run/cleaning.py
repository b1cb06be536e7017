"""What was sent to a platform once a run, removed again: after a stop without a driver, and by ``gc``."""

from __future__ import annotations

from pathlib import Path

from aiflow_ext.run.launch import Launcher, launcher_for
from aiflow_ext.run.plan import Plan, generate


def cleanup_run(plan: Plan, run_id: str, folder: Path) -> None:
    """Have every job plugin of a run remove what was sent once for it. Raises what the first one raises.

    The jobs are generated before, as in any run: a plugin learns from their configs where its clusters are.
    """
    launchers: dict[int, Launcher] = {}
    jobs = []  # alive until all is done
    for name, planned in plan.jobs.items():
        if "cleanup_run" in planned.resolved.offers:
            jobs.append(generate(plan, planned, plan.context(name, run_id, folder)))
            launchers.setdefault(id(planned.resolved), launcher_for(planned, plan.desc))
    for launcher in launchers.values():
        launcher.cleanup_run(run_id)
