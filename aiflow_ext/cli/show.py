"""Tables on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiflow_ext.cli.escape import one_line
from aiflow_ext.cli.output import console, print, stdout
from aiflow_ext.view.words import counted as counted
from aiflow_ext.view.words import duration as duration
from aiflow_ext.view.words import interest

if TYPE_CHECKING:
    from rich.text import Text

    from aiflow_ext.host.records import PluginRecord
    from aiflow_ext.run.store.records import JobRecord, RunRecord

UNDRIVEN = "it has no driver; to continue it: aiflow-ext resume "  # and the run's id
_OF_PLUGINS = {"available": "green", "loaded": "green", "broken": "red", "incompatible": "red", "conflicted": "red",
               "disabled": "yellow"}  # fmt: skip
_OF_JOBS = {"FINISHED": "green", "RUNNING": "cyan", "QUEUED": "blue"}  # other states: by their kind


def print_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], coloured: int | None = None, *, prose: bool = False
) -> None:
    """Print rows under heads: a table with colours on a terminal, tab-separated lines elsewhere.

    Args:
        heads: the columns' names.
        rows: the cells of each row.
        coloured: index of the column whose words have a colour.
        prose: whether the last column holds sentences.
    """
    if not stdout().isatty():
        for row in (heads, *rows):
            print("\t".join(map(one_line, row)))
        return
    from aiflow_ext.cli import table

    screen = console()
    cells = [[one_line(cell) for cell in row] for row in rows]
    print_lines(
        table.lines(heads, cells, screen.width, lambda n, cell: _colour_of(cell) if n == coloured else "", prose=prose)
    )


def _colour_of(word: str) -> str:
    """The colour of a state or of a plugin's status; none for other words."""
    from aiflow_ext.model.states import JobState

    state = JobState.__members__.get(word)
    if state is None or word in _OF_JOBS or not state.ended:
        return _OF_JOBS.get(word) or _OF_PLUGINS.get(word, "")
    return "red" if state.failed else "yellow"


def print_lines(made: Iterable[Text]) -> None:
    """Print lines of a table; the terminal wraps those that are wider than itself."""
    screen = console()
    for line in made:
        screen.print(line, soft_wrap=True)


def print_plugins(records: Sequence[PluginRecord], proofs: Mapping[tuple[str, ...], str] | None = None) -> None:
    """The inventory: kind, name, status, distribution, version, entry point, reason; and the proof, where given."""
    proven = {} if proofs is None else proofs
    more = () if proofs is None else ("proof",)
    rows = [
        (record.kind, record.name, record.status, record.distribution, record.version or "", record.entry_point or "",
         *(proven.get(record[:5], "") for _ in more), record.reason or "")
        for record in records
    ]  # fmt: skip
    if not rows and stdout().isatty():
        print("nothing is installed; the platform local comes with: pip install aiflow-ext-local")
        return
    print_table(("kind", "name", "status", "distribution", "version", "entry point", *more, "reason"), rows, coloured=2,
                prose=True)  # fmt: skip


def print_requests(requests: Sequence[dict[str, Any]]) -> None:
    """Print what each job would send: a heading for each job, then its command or its document."""
    import yaml

    for number, request in enumerate(requests):
        if number:
            print()
        kind = kind_of(request["platform"], request["engine"], request["defaults"])
        print(one_line(f"# job {request['job']}: {kind}"))
        for edge in request["waits_for"]:
            print(f"# after {edge['job']} is {edge['until']}{' (reads its data)' if edge['data'] else ''}")
        content = request["content"]
        if content is None:
            print("# its plugin does not say what it sends")
            continue
        if "argv" in content:
            import shlex

            print(shlex.join(content["argv"]))
            content = {key: value for key, value in content.items() if key != "argv"}
        print(yaml.safe_dump(_readable(content), sort_keys=False, allow_unicode=True, width=120).rstrip())


def _readable(value: Any) -> Any:
    """The content with JSON inside strings parsed, so that a payload is readable."""
    import json

    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, str) and value.startswith('{"'):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def run_table(record: RunRecord, now: float, width: int, limit: int = 60, *, places: bool = False) -> list[Text]:
    """A run's jobs with their states, as lines of a table.

    Args:
        record: the run.
        now: the present moment, seconds since the epoch.
        width: columns of the terminal.
        limit: of more jobs than this, those that run or failed are shown first, and the rest is counted.
        places: with the node of each job that has not finished, and the pod or container there.
    """
    from aiflow_ext.cli import table

    jobs = list(record.jobs.values())
    if len(jobs) > limit:
        jobs = sorted(jobs, key=lambda job: interest(job.state))[:limit]
    rows = []
    for job in jobs:
        state, last = str(job.state), job.last
        words = job.why or ""
        if last is not None and last.unreachable:
            words = f"unreachable: {words}"
        tries = str(last.number) if last is not None and last.number > 1 else ""
        took = duration(last.started_at, last.ended_at or now) if last is not None else ""
        row = (
            job.name,
            "waiting" if state == "INIT" else state,
            tries,
            took,
            kind_of(job.platform, job.engine, job.defaults),
            *(place_of(job) if places and state != "FINISHED" else ("", "")),
            words,
        )
        rows.append([one_line(cell) for cell in row])

    def style(column: int, cell: str) -> str:
        return _colour_of(cell) or "dim" if column == 1 else "dim" if column == 4 else ""

    heads = ("job", "state", "try", "time", "where", "node", "runs in", "")
    made = table.lines(heads, rows, width, style, prose=True)
    if len(record.jobs) > limit:
        from rich.text import Text

        made.append(Text(f"... {len(record.jobs) - limit} more"))
    return made


def kind_of(platform: str, engine: str, defaults: Sequence[str]) -> str:
    """A job's platform and engine, and which of them are defaults."""
    which = "" if len(defaults) == 2 else f"{' and '.join(defaults)} "
    return f"{platform}.{engine} ({which}by default)" if defaults else f"{platform}.{engine}"


def place_of(job: JobRecord) -> tuple[str, str]:
    """The node of a job's last attempt, and the platform's name of what runs it there; empty where not known."""
    last = job.last
    return ("", "") if last is None else (last.node or "", last.instance or "")


def inputs_shown(record: RunRecord) -> list[str]:
    """What each job reads from earlier runs, in sentences."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in record.inputs:
        attempt = f" (attempt {each.source.attempt})" if each.source.attempt > 1 else ""
        found.setdefault((each.job, each.source.run), []).append(f"{each.source.job}{attempt}")
    return [f"{job} reads {', '.join(sources)} of run {run}" for (job, run), sources in found.items()]


def clock(at: float) -> str:
    """A moment (seconds since the epoch) as hours, minutes and seconds of this machine's local time."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def moment(at: float) -> str:
    """A moment (seconds since the epoch) as date and time of this machine's local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
