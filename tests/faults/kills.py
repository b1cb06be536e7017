"""Kills drivers, and supervisors, at random over random workflows, and counts what was executed by marks.

    python tests/faults/kills.py --kills 500 [--kind driver|supervisor|both] [--seed N] [--workers N]

Kind *driver* kills drivers alone: every job must come to the very end that its workflow gives it, after as many tries
as without any kill. Kind *supervisor* kills the supervisor of the local processes too: what nobody saw may be LOST. The
seed is printed first; the same seed gives the same workflows and the same choices (the machine's timing is its own).

Jobs are commands and python on the platform local, and commands of a nine-methods plugin in attempt hosts. Each attempt
makes a file ``start-<job>-<attempt>-<random>`` with O_EXCL as its first act and ``end-...`` as its last.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.deliveries import Deliveries
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.run.store.store import Store
from aiflow_ext.run.store.transitions import Transitions
from aiflow_ext.supervise import Supervisor, kernel

MOST_KILLS = 14  # of one run; then it may come to its end
PATIENCE = 120.0  # seconds for a driver that is not killed
CODE = 41  # what a job that is to fail exits with

EXTENSION = """
import os
import aiflow_ext as af

@af.hookimpl
def on_transition(event):
    line = f"{os.getpid()} {event.seq} {event.job} {event.attempt} {event.state}\\n".encode()
    file = os.open(os.environ["SEEN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line)
    os.close(file)
"""

# A job plugin of the nine methods: it runs in an attempt host, and says in a mark when it was cleaned up.
HOSTED = """
import os, subprocess, uuid
import aiflow_ext as af
from aiflow_ext.engines import CmdLineEngine
from aiflow_ext.engines.bundle import build_bundle

class Hosted(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "hosted"

class Job(af.AbstractJob):
    def __init__(self, config, commands):
        super().__init__(af.JobContext(), config)
        self.commands = commands

class Plugin(af.AbstractJobPlugin):
    def generate(self, sub_graph, project_desc):
        return Job(sub_graph.config, build_bundle(sub_graph, project_desc, "cmd_line").command())

    def generate_job_resource(self, job):
        pass

    def submit_job(self, job):
        for command in job.commands:
            subprocess.run(command, check=True)

    def stop_job(self, job):
        pass

    def cleanup_job(self, job):
        context = job.job_context
        name = f"{os.environ['MARKS']}/clean-{context.job_name}-{context.attempt}-{uuid.uuid4()}"
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))

    def job_type(self):
        return Job

    def job_config_type(self):
        return af.AbstractJobConfig

    def platform(self):
        return Hosted

    def engine(self):
        return CmdLineEngine
"""

STEPS = """
import os, sys, time, uuid
import aiflow_ext as af

def mark(kind, name):
    os.close(os.open(f"{os.environ['MARKS']}/{kind}-{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))

def work(seconds, fails, *inputs):
    name = f"{os.environ['AIFLOW_JOB']}-{os.environ['AIFLOW_ATTEMPT']}-{uuid.uuid4()}"
    mark("start", name)
    time.sleep(seconds)
    mark("end", name)
    if int(os.environ["AIFLOW_ATTEMPT"]) <= fails:
        os._exit(CODE)
    return len(inputs)
"""

COMMAND = (
    "set -C; read u < /proc/sys/kernel/random/uuid; n=$AIFLOW_JOB-$AIFLOW_ATTEMPT-$u; "
    ": > $MARKS/start-$n || exit 99; sleep {seconds}; : > $MARKS/end-$n; [ $AIFLOW_ATTEMPT -gt {fails} ] || exit {code}"
)


class Wrong(AssertionError):
    """An invariant does not hold."""


@dataclass
class Job:
    """A job of a random workflow: it fails on its first ``fails`` attempts."""

    name: str
    kind: str  # python, command, or hosted: a command in an attempt host
    seconds: float
    fails: int
    retries: int
    edges: list[tuple[str, str]] = field(default_factory=list)  # (upstream, when)
    reads: str | None = None

    @property
    def python(self) -> bool:
        return self.kind == "python"


def workflow(chance: random.Random, quick: bool) -> list[Job]:
    """3 to 12 jobs with random edges, failures and retries."""
    jobs: list[Job] = []
    for number in range(chance.randint(3, 7 if quick else 12)):
        kind = chance.choices(["python", "hosted", "command"], [0.1, 0.07, 0.83] if quick else [0.2, 0.13, 0.67])[0]
        job = Job(f"j{number}", kind, round(chance.uniform(0.005, 0.05), 3), 0, chance.choice([0, 0, 1, 2]))
        if chance.random() < 0.35:
            job.fails = chance.randint(1, 3)
        for upstream in chance.sample(jobs, min(len(jobs), chance.choice([0, 1, 1, 2]))):
            job.edges.append((upstream.name, chance.choice(["finished", "finished", "ended", "failed"])))
        makers = [each for each in jobs if each.python]
        if job.python and makers and chance.random() < 0.6:
            job.reads = chance.choice(makers).name
            job.edges = [edge for edge in job.edges if edge[0] != job.reads]
        jobs.append(job)
    return jobs


def science(chance: random.Random, shape: str, width: int) -> list[Job]:
    """A workflow of a real one's shape; some of its jobs fail first, and all finish in the end."""
    from shapes import SHAPES  # beside this script

    jobs = []
    for name, upstreams in SHAPES[shape](width):
        kind = chance.choices(["python", "hosted", "command"], [0.04, 0.03, 0.93])[0]
        job = Job(name, kind, round(chance.uniform(0.0, 0.03), 3), 0, 2, [(each, "finished") for each in upstreams])
        job.fails = chance.choice([1, 2]) if chance.random() < 0.1 else 0
        jobs.append(job)
    return jobs


def expected(jobs: list[Job]) -> dict[str, tuple[str, int]]:
    """How each job ends, and after how many attempts, where nothing is killed."""
    ends: dict[str, tuple[str, int]] = {}
    for job in jobs:
        edges = [*job.edges, *([(job.reads, "finished")] if job.reads else [])]
        wanted = {"finished": ("FINISHED",), "failed": ("FAILED",), "ended": ("FINISHED", "FAILED", "SKIPPED")}
        if all(ends[upstream][0] in wanted[when] for upstream, when in edges):
            attempts = min(job.fails, job.retries) + 1
            ends[job.name] = ("FAILED" if job.fails > job.retries else "FINISHED", attempts)
        else:
            ends[job.name] = ("SKIPPED", 0)
    return ends


def write_project(root: Path, jobs: list[Job]) -> None:
    """The workflow as a project's files."""
    root.mkdir(parents=True)
    lines: list[str] = []
    config: list[str] = []
    for job in jobs:
        if job.python:
            reads = f", {job.reads}" if job.reads else ""
            lines.append(f"with af.job({job.name!r}): {job.name} = af.python(work, {job.seconds}, {job.fails}{reads})")
        else:
            command = COMMAND.replace("{seconds}", str(job.seconds)).replace("{fails}", str(job.fails))
            lines.append(f"with af.job({job.name!r}): af.cmd({command.replace('{code}', str(CODE))!r})")
        lines += [f"af.run_after({job.name!r}, {upstream!r}, when={when!r})" for upstream, when in job.edges]
        platform, engine = "hosted" if job.kind == "hosted" else "local", "python" if job.python else "cmd_line"
        config.append(f"{job.name}: {{platform: {platform}, engine: {engine}, retries: {job.retries}}}")
    body = "".join(f"    {line}\n" for line in lines)
    (root / "workflow.py").write_text(
        f"import aiflow_ext as af\nfrom steps import work\n\n@af.workflow\ndef random_one():\n{body}"
    )
    (root / "steps.py").write_text(STEPS.replace("CODE", str(CODE)))
    (root / "workflow.yaml").write_text("\n".join(config) + "\n")


def install_in(site: Path) -> None:
    """Advertise the extension that records the transitions it gets, and the job plugin of nine methods."""
    sys.path.append(str(Path(__file__).parents[1] / "helpers"))
    from dist_info import install

    advertised = {
        "extensions": {"kills": "kills_extension"},
        "platforms": {"hosted": "kills_hosted:Hosted"},
        "job_plugins": {"hosted.cmd_line": "kills_hosted:Plugin"},
    }
    install(site, "kills-extension", advertised, {"kills_extension.py": EXTENSION, "kills_hosted.py": HOSTED})


class Bench:
    """One random workflow, run under kills in a folder of its own."""

    def __init__(
        self, base: Path, seed: int, supervisors: bool, quick: bool, broken: str | None, shape: str | None, width: int
    ) -> None:
        self.seed, self.supervisors, self.broken = seed, supervisors, broken
        self.chance = random.Random(seed)
        self.folder = base / f"{'s' if supervisors else 'd'}{seed}"
        self.project, self.marks, self.seen = self.folder / "project", self.folder / "marks", self.folder / "seen"
        self.jobs = science(self.chance, shape, width) if shape else workflow(self.chance, quick)
        # Of a large run more kills, each at a later moment: so that all of it comes under them.
        self.most, self.longest = (MOST_KILLS, 1.0) if not shape else (len(self.jobs) // 8, 3.0)
        write_project(self.project, self.jobs)
        self.marks.mkdir()
        self.kills = self.supervisor_kills = self.lost = 0

    @property
    def state(self) -> Path:
        return self.project / ".aiflow"

    def run(self) -> None:
        """Run it to its end under kills, and check every invariant. Raises Wrong."""
        for number in range(1000):
            run = self._run_id()
            argv = ["resume", run, "--project", str(self.project)] if run else ["run", str(self.project)]
            ended = self._drive([*argv, "--on-interrupt", "leave"], killed=number < self.most)
            if ended is not None and self._run_id():
                break
            if (run := self._run_id()) and self.chance.random() < 0.4:
                self._look(run)
        self._check()

    # -- driving ----------------------------------------------------------------------------------------------------

    def _look(self, run: str) -> None:
        """Read the status of the run without a driver, which refreshes its records; often killed meanwhile, too."""
        self._drive(["status", run, "--project", str(self.project)], killed=self.chance.random() < 0.7)

    def _run_id(self) -> str | None:
        if not (self.state / "state.db").exists():
            return None
        store = Store(self.state, create=False)
        try:
            runs = store.runs()
        finally:
            store.close()
        return runs[0]["run"] if runs else None

    def _drive(self, argv: list[str], killed: bool) -> int | None:
        """Drive the run in a forked process; its exit code, or None where it was killed."""
        on_record = self._run_id() is not None
        way = self.chance.choice(["clock", "calls", "calls"]) if killed else "no"
        calls = int(self.longest * 10 ** self.chance.uniform(0.5, 3.9)) if way == "calls" else 0
        seconds = self.chance.uniform(0.0, self.longest - 0.3 * on_record) if way == "clock" else PATIENCE
        pid = os.fork()
        if pid == 0:
            self._become_driver(argv, calls)
        pidfd = kernel.pidfd_open(pid)
        stopper = threading.Event()
        killer = threading.Thread(target=self._kill_supervisors, args=(stopper,))
        if self.supervisors and killed:
            killer.start()
        ended = bool(select.select([pidfd], [], [], PATIENCE if way == "calls" else seconds)[0])
        if not ended:
            kernel.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        status = os.waitpid(pid, 0)[1]
        stopper.set()
        if killer.ident is not None:
            killer.join()
        if not ended and way != "clock":
            raise Wrong(f"the driver does not end: {self._log()}")
        if os.WIFSIGNALED(status):
            if argv[0] != "status" and (on_record or self._run_id() is not None):
                self.kills += 1
            return None
        code = os.WEXITSTATUS(status)
        if code not in (0, 1):
            raise Wrong(f"{argv[0]} exits with {code}: {self._log()}")
        return code

    def _become_driver(self, argv: list[str], calls: int) -> None:
        code = 70
        try:
            log = os.open(self.folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            for number in (1, 2):
                os.dup2(log, number)
            os.environ.update(MARKS=str(self.marks), SEEN=str(self.seen), XDG_STATE_HOME=str(self.folder / "home"))
            from aiflow_ext.cli.commands import program
            from aiflow_ext.cli.failures import run_guarded

            if self.broken:
                BROKEN[self.broken]()
            if calls:
                _kill_after(calls)
            code = run_guarded(program, argv)
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _kill_supervisors(self, stopper: threading.Event) -> None:
        chance = random.Random(self.chance.random())
        while not stopper.wait(chance.uniform(0.02, 0.3)):
            for lock in self.state.glob("runs/*/supervisor.lock"):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    pid = int(lock.read_text().split()[0])
                    if b"supervise/daemon.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)
                        self.supervisor_kills += 1

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    # -- what must hold ---------------------------------------------------------------------------------------------

    def _check(self) -> None:
        store = Store(self.state, create=False)
        runs = store.runs()
        record = store.run(runs[0]["run"])
        transitions = store.transitions.of_run(record.run_id)
        store.close()
        must(len(runs) == 1, "there is more than one run")
        must(record.state.ended and record.ended_at is not None, f"the run is {record.state}")
        self._check_executions(record)
        self._check_ends(record)
        numbers = [each.seq for each in transitions]
        must(numbers == list(range(1, len(numbers) + 1)), f"transitions are numbered {numbers}")
        self._check_told([(each.seq, each.job, str(each.attempt), str(each.state)) for each in transitions])
        self._check_nothing_left(record)

    def _check_executions(self, record: RunRecord) -> None:
        names = [name.split("-", 3) for name in os.listdir(self.marks)]
        marks = Counter((name[0], name[1], name[2]) for name in names)
        for (kind, name, attempt), number in marks.items():
            must(number == 1 or kind == "clean", f"attempt {attempt} of {name} has {number} {kind} marks")
            known = [str(each.number) for each in record.jobs[name].attempts]
            must(attempt in known, f"attempt {attempt} of {name} ran and is not on record")
        codes = {job.name: job.fails for job in self.jobs}
        hosted = {job.name for job in self.jobs if job.kind == "hosted"}
        for job in record.jobs.values():
            for each in job.attempts:
                key = f"{each.number} of {job.name}"
                both = sum(marks[what, job.name, str(each.number)] for what in ("start", "end"))
                if each.state is JobState.FINISHED or each.exit_code is not None:
                    must(both == 2, f"attempt {key} is {each.state} and has {both} marks of 2")
                    code = CODE if each.number <= codes[job.name] else 0
                    must(each.exit_code == code, f"attempt {key} ended with {code}, on record is {each.exit_code}")
                    cleaned = marks["clean", job.name, str(each.number)]
                    must(cleaned >= (job.name in hosted), f"attempt {key} was not cleaned up")
                elif not self.supervisors:
                    raise Wrong(f"attempt {key} is {each.state}: {each.reason}")
                self.lost += each.state is JobState.LOST

    def _check_ends(self, record: RunRecord) -> None:
        for each in record.jobs.values():
            must(each.state.ended, f"{each.name} is {each.state}")
        if not (self.supervisors and self.lost):
            found = {job.name: (str(job.state), len(job.attempts)) for job in record.jobs.values()}
            must(found == expected(self.jobs), f"ends are {found}, and should be {expected(self.jobs)}")

    def _check_told(self, transitions: list[tuple[int, str, str, str]]) -> None:
        text = self.seen.read_text() if self.seen.exists() else ""  # no transition was delivered
        lines = [line.split() for line in text.splitlines()]
        told = [(int(seq), job, attempt, state) for _, seq, job, attempt, state in lines]
        must(sorted(set(told)) == transitions, "an extension was told something else than what is on record")
        for (before, *_), (after, *_), old, new in zip(told, told[1:], lines, lines[1:], strict=False):
            again = after == before and old[0] != new[0]
            must(after == before + 1 or again, f"told of {after} after {before}")

    def _check_nothing_left(self, record: RunRecord) -> None:
        deadline = time.monotonic() + 15
        while left := marked(str(self.folder)):
            must(time.monotonic() < deadline, f"processes {left} are left")
            select.select([], [], [], 0.05)
        must(not [each for each in Supervisor(record.folder).records().values() if not each.ended], "a process runs")


def must(holds: bool, words: str) -> None:
    if not holds:
        raise Wrong(words)


def _kill_after(calls: int) -> None:
    """Have this process killed at so many calls and returns of the driver's own code, in whatever thread."""
    left = calls
    rooms = tuple(f"{os.sep}aiflow_ext{os.sep}{room}{os.sep}" for room in ("run", "supervise"))
    ours: dict[str, bool] = {}

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal left
        name = frame.f_code.co_filename
        if name not in ours:
            ours[name] = any(room in name for room in rooms) or "kills_extension" in name
        if ours[name]:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(count)
    sys.setprofile(count)


def _doubles() -> None:
    """An attempt that may have been started is started again, under another id."""
    from aiflow_ext.run.driving.submission import Attempt, Submission

    look_up_truly = Submission.look_up

    def look_up(self: Submission, attempt: Attempt, failure: str | None = None) -> None:
        assert attempt.job is not None
        assert attempt.job.job_context is not None
        attempt.job.job_context.native_id = f"{attempt.record.native_id}.again"
        attempt.adapter.prepare(attempt.job)
        attempt.adapter.submit(attempt.job)
        attempt.job.job_context.native_id = attempt.record.native_id
        look_up_truly(self, attempt, failure)

    Submission.look_up = look_up  # type: ignore[method-assign]


def _guesses() -> None:
    """What may have been started is taken to have finished."""
    from aiflow_ext.run.driving.submission import Attempt, Submission

    def look_up(self: Submission, attempt: Attempt, failure: str | None = None) -> None:
        self._state.post(lambda: self._ends.end_as(attempt, JobState.FINISHED, exit_code=0))

    Submission.look_up = look_up  # type: ignore[method-assign]


def _forgets() -> None:
    """Transitions after a resume are not delivered."""
    Deliveries.offset = lambda self, run_id, _: Transitions(self._database).last_seq(run_id)  # type: ignore[method-assign]


# Drivers with a mistake, by which the suite proves that it sees one.
BROKEN = {"doubles": _doubles, "guesses": _guesses, "forgets": _forgets}


def marked(text: str) -> list[int]:
    """The pids of living processes whose AIFLOW_MARK contains ``text``."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                marks = [item for item in Path(entry.path, "environ").read_bytes().split(b"\0")
                         if item.startswith(b"AIFLOW_MARK=")]  # fmt: skip
                state = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and any(text.encode() in mark for mark in marks):
                    found.append(int(entry.name))
    return found


def kill_many(
    base: Path, seed: str, kills: int, supervisors: bool, quick: bool = False, broken: str | None = None,
    shape: str | None = None, width: int = 40,
) -> dict[str, int]:  # fmt: skip
    """Run random workflows until there were so many kills; the sums. Raises Wrong that names the seed."""
    sums: Counter[str] = Counter()
    chance = random.Random(seed)
    while sums["kills"] < kills:
        bench = Bench(base, chance.randrange(1 << 32), supervisors, quick, broken, shape, width)
        try:
            bench.run()
        except Wrong as error:
            kind = "supervisor" if supervisors else "driver"
            raise Wrong(f"{error}\n(kind {kind}, workflow {bench.seed} in {bench.folder})") from None
        sums["runs"] += 1
        sums["jobs"] += len(bench.jobs)
        sums["kills"] += bench.supervisor_kills if supervisors else bench.kills
        sums["driver kills"] += bench.kills
        sums["supervisor kills"] += bench.supervisor_kills
        sums["lost"] += bench.lost
        shutil.rmtree(bench.folder, ignore_errors=True)
    return dict(sums)


def prepare(base: Path) -> None:
    """Load what a driver needs, so that each is but a fork, and advertise the extension."""
    site = base / "site"
    install_in(site)
    sys.path.insert(0, str(site))
    os.environ.update(XDG_CACHE_HOME=str(base / "cache"), PYTHONDONTWRITEBYTECODE="1")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    import aiflow_ext.cli.live
    import aiflow_ext.run  # noqa: F401
    from aiflow_ext.host.host import PluginHost

    for platform, engine in (("local", "python"), ("local", "cmd_line"), ("hosted", "cmd_line")):
        PluginHost().resolve(platform, engine)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=500, help="of each kind")
    parser.add_argument("--kind", choices=["driver", "supervisor", "both"], default="both")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small workflows")
    parser.add_argument(
        "--shape", choices=["montage", "epigenomics", "cybershake"], help="a real workflow's, not random"
    )
    parser.add_argument("--width", type=int, default=40, help="how wide a workflow of a real one's shape is")
    parser.add_argument("--folder", type=Path, default=None, help="where to work [default: a temporary folder]")
    parser.add_argument("--broken", choices=sorted(BROKEN), help="let the driver have a mistake, which must be seen")
    given = parser.parse_args()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    kinds = ["driver", "supervisor"] if given.kind == "both" else [given.kind]
    print(f"seed {seed}: --seed {seed} --kills {given.kills} --workers {given.workers} repeats it", flush=True)
    base = Path(tempfile.mkdtemp(prefix="kills-", dir=given.folder))
    prepare(base)
    failed = 0
    for kind in kinds:
        began = time.monotonic()
        parts = []
        for worker in range(given.workers):
            hear, say = os.pipe()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    share = -(-given.kills // given.workers)
                    found = kill_many(base, f"{seed}.{worker}", share, kind == "supervisor", given.quick, given.broken,
                                      given.shape, given.width)  # fmt: skip
                    os.write(say, json.dumps(found).encode())
                    code = 0
                except Wrong as error:
                    print(f"WRONG: {error}", flush=True)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            os.close(say)
            parts.append((pid, hear))
        sums: Counter[str] = Counter()
        for pid, hear in parts:
            with os.fdopen(hear) as file:
                text = file.read()
            failed |= os.waitpid(pid, 0)[1]
            sums.update(json.loads(text) if text else {})
        shown = ", ".join(f"{number} {what}" for what, number in sums.items() if what != "kills")
        print(f"{kind}: {shown}; {time.monotonic() - began:.0f} s", flush=True)
    if not failed:
        shutil.rmtree(base, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
