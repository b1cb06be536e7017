"""A client's checks of ``generate`` and ``render``: whether they are repeatable, complete and offline."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import aiflow_ext as af
from aiflow_ext.model.jsonable import encode
from aiflow_ext.run.planning.plan import generate
from aiflow_ext.run.planning.plan_codec import StoredPlan, plan_to_data
from aiflow_ext.testing import crash
from aiflow_ext.testing.client_attempt import AttemptCalls
from aiflow_ext.testing.likeness import difference, lost_in_copies
from aiflow_ext.testing.watching import Watching


class GenerateCalls(AttemptCalls):
    """``generate`` and ``render``, called again, in another environment, and while their effects are recorded."""

    def do_generate_differences(self) -> list[str]:
        """Differences between jobs that should be equal, and changes of generate's arguments."""
        desc = encode(self.plan.desc)
        context = self.plan.context(self.planned.name, str(self.context.run_id), Path(str(self.context.run_folder)))
        first, second = (generate(self.plan, self.planned, context) for _ in range(2))
        found = [("a second call gives another job", difference(first, second))]
        data = json.loads(json.dumps(plan_to_data(self.plan)))
        stored = StoredPlan(data, lambda names: data["jobs"]).whole()
        anew = stored.jobs[self.planned.name]
        graph = encode(anew.sub_graph)
        with _elsewhere(self.root / "tmp"):
            third = generate(stored, anew, context)
        words = "from the stored graph, by somebody else in another folder, as a run is resumed, comes another job"
        found.append((words, difference(first, third)))
        found.append(("generate has changed its sub_graph", difference(graph, encode(anew.sub_graph))))
        found.append(("generate has changed its project_desc", difference(desc, encode(self.plan.desc))))
        return [f"{words}: {what}" for words, what in found if what is not None]

    def do_lost_in_copies(self) -> list[str]:
        """Attributes of the job's config that a copy lacks, or has with another value."""
        return lost_in_copies(self.planned.config)

    def do_watched(self, call: str, readable: list[str]) -> list[str]:
        """What ``generate`` or ``render`` opens, writes, starts and connects to, in its second call.

        ``readable``: the files that generate may read besides the project's.
        """
        context = self.plan.context(self.planned.name, str(self.context.run_id), Path(str(self.context.run_folder)))
        ours = [os.path.dirname(str(af.__file__)), *crash.files_of(self.planned.resolved.plugin)]
        watching = Watching([str(self.project), *ours, *readable] if call == "generate" else None)
        try:
            with watching:
                if call == "generate":
                    generate(self.plan, self.planned, context)
                else:
                    self.adapter.render(self.job)
        except Exception:
            if not watching.seen:  # else it was refused, and that is reported
                raise
        return watching.seen


@contextlib.contextmanager
def _elsewhere(folder: Path) -> Iterator[None]:
    """Another environment, as when a run is resumed elsewhere: other user, current folder and language."""
    kept, here = dict(os.environ), os.getcwd()
    os.environ.update(dict.fromkeys(("USER", "LOGNAME", "HOSTNAME", "EDITOR", "TERM", "SHELL"), "somebody-else"))
    os.environ.update(LANG="C", TZ="Asia/Tokyo", PWD=str(folder))
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(kept)
