"""The level of a test, and the optional hooks that it needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.zygote import Raised

F = TypeVar("F", bound=Callable[..., None])

# What to do when a call raises, and the section of the documentation.
_CURES = {
    "open": ("let generate take the kit's jobs; for other nodes than python and cmd_line, override works()",
             "jobs-and-marks"),
    "allocate_id": ("give a string that names the attempt, and start nothing", "durable-plugins"),
    "generate_job_resource": ("make it repeatable: it may come again for the same attempt", "the-nine-methods"),
    "submit_job": ("start the job, and return its handler", "the-nine-methods"),
    "stop_attempt": ("stopping is fine at any time and any number of times", "stopping-and-cleaning-up"),
    "cleanup_attempt": ("let it pass over what is already gone", "stopping-and-cleaning-up"),
    "cleanup_run": ("it comes when all jobs have ended and again by gc: let it pass over what is already gone",
                    "durable-plugins"),
    "check_platform": ("return the problems that you find, none where all is well", "durable-plugins"),
    "render": ("make it of the job alone; it is called before anything is sent", "what-is-rendered-is-what-is-sent"),
    "lookup": ("answer FOUND, NEVER_STARTED or UNKNOWN for any native id; raise where the platform is away",
               "submitted-once"),
    "attach": ("make the handler of the job's native id; the job was generated again", "handlers-are-data"),
    "handler": ("let the handler's attributes be plain values: strings, numbers, lists, maps", "handlers-are-data"),
    "take_handler": ("let the handler's class be importable with the plugin, and its attributes be all it needs",
                     "handlers-are-data"),
    "state": ("let the handler ask the platform by its native id", "handlers-are-data"),
    "wait": ("let the handler ask the platform by its native id; return the state at the end or the timeout",
             "handlers-are-data"),
    "logs": ("return the bytes from the offset on; b'' where there are none yet", "logs"),
    "stop": ("stopping is fine at any time and any number of times", "stopping-and-cleaning-up"),
    "drive": ("let every method that takes a job bear being called by a run", "the-nine-methods"),
    "driven": ("let every method return; where a job has ended, let watch or submit_job tell it",
               "what-a-run-waits-for"),
    "stop_run": ("let stop_job end the job, and return; let submit_job return once the job is gone",
                 "stopping-and-cleaning-up"),
    "bare": ("let every method return", "the-nine-methods"),
    "bare_submitted": ("let stop_job end what submit_job waits for", "stopping-and-cleaning-up"),
    "events": ("let watch take jobs that wait, run and have ended", "what-a-run-waits-for"),
    "take_up": ("let generate take the stored graph", "the-nine-methods"),
}  # fmt: skip
_CURES["prepare_run"], _CURES["over"] = _CURES["open"], _CURES["state"]
# The same, where the kind of what was raised says more than the call.
_KINDS = {
    "PluginTypeError": ("let generate return an object of the class that job_type returns", "the-nine-methods"),
    "StateError": ("remove in cleanup_job only what the plugin has made: the run's folder is the run's",
                   "stopping-and-cleaning-up"),
}  # fmt: skip


def level(name: str, *needs: str) -> Callable[[F], F]:
    """A test of this level that needs these optional hooks."""

    def mark(function: F) -> F:
        @functools.wraps(function)
        def test(self: Any) -> None:
            failed = None
            try:
                function(self)
            except Raised as raised:
                failed = raised
            if failed is not None:
                _told(self, failed)

        test.conformance = (name, needs)  # type: ignore[attr-defined]
        found: Any = test
        return found  # type: ignore[no-any-return]

    return mark


base = level("base")


def durable(*needs: str) -> Callable[[F], F]:
    """A test of the level durable."""
    return level("durable", "lookup", "attach", *needs)


def _told(self: Any, raised: Raised) -> None:
    cure, anchor = _KINDS.get(raised.kind) or _CURES.get(raised.call, ("see the traceback", "prove-a-plugin-right"))
    theirs = any(f'"{file}' in raised.trace for file in self.zygote.facts["files"])
    trace = "\n".join(f"    {line}" for line in raised.trace.strip().splitlines()) if theirs else ""
    words = f"{self.platform}.{self.engine}: {raised.call}: {raised.kind}: {raised.words}"
    complain(f"{words}\n{trace}" if trace else words, cure, anchor)
