"""An attempt of a run again, on this machine, in a folder of its own: everything but starting it. Nothing of the run is
changed."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aiflow_ext.api.artifacts import errors_in_words
from aiflow_ext.api.interpreter import check_pickles, chosen, facts_of
from aiflow_ext.api.then_and_here import LOCAL, Difference, differences
from aiflow_ext.engines import artifacts
from aiflow_ext.engines.bundle import Bundle, build_bundle
from aiflow_ext.engines.command import one_command
from aiflow_ext.engines.environment import job_environment
from aiflow_ext.host import secrets
from aiflow_ext.model.artifact_record import ArtifactRecord
from aiflow_ext.model.errors import ConfigError, SecretError, StateError
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.jsonable import dumps, loads
from aiflow_ext.model.names import safe_name
from aiflow_ext.model.ran_with import RAN_WITH
from aiflow_ext.model.states import JobState
from aiflow_ext.regular_file import read_regular
from aiflow_ext.run.operations.observe import observe
from aiflow_ext.run.operations.outputs import places_in
from aiflow_ext.run.operations.past_attempt import PastAttempt, check_code, past_attempt
from aiflow_ext.run.planning.added_variables import added_variables
from aiflow_ext.run.store.filesystem import mounted_in
from aiflow_ext.run.store.ownership import refuse_foreign

LONGEST_REASON = 8000  # bytes
_FILES = {"REASON": "reason", "PROGRESS": "progress", "RAN_WITH": RAN_WITH}  # by a part of the variable's name
Ask = Callable[[str, str], str]


class Input(NamedTuple):
    """What the attempt reads of another job; it was checked.

    Attributes:
        name: ``JOB/NODE``, or ``JOB/NODE/OUTPUT``.
        size, sha256: of what is stored, as its producer recorded them.
    """

    name: str
    size: int
    sha256: str


class Output(NamedTuple):
    """What the attempt has made.

    Attributes:
        name: the node's, or ``NODE.OUTPUT``.
        size, sha256: of what is stored.
        then: the sha256 that the run has recorded; None where it has none.
        path: where it is.
    """

    name: str
    size: int
    sha256: str
    then: str | None
    path: str


class Reproduction:
    """An attempt that is ready to be started.

    Attributes:
        past: the attempt, as the run has recorded it.
        folder: has everything: what the job runs from, its inputs, its work folder, and what it makes.
        argv: the argument vector that starts it.
        script: a shell script that starts it, in a process with ``env``.
        env: the whole environment of its process; it may hold secrets.
        work: the folder that it starts in.
        inputs: what it reads.
        differences: what is not as it was then.
    """

    def __init__(self, past: PastAttempt, folder: Path) -> None:
        self.past, self.folder, self.work = past, folder, folder / "work"
        self.argv: list[str] = []
        self.script = folder / "job.sh"
        self.env: dict[str, str] = {}
        self.inputs: list[Input] = []
        self.differences: list[Difference] = []
        self._records: list[tuple[str, ArtifactRecord]] = []
        here, run = past.context, past.run.run_id
        self._context = JobContext(
            run, here.job_name, here.attempt, f"reproduced-{uuid.uuid4().hex}", str(folder),
            f"{folder}/artifacts/{run}", {}, str(folder), failed_jobs=here.failed_jobs,
        )  # fmt: skip

    @property
    def mark(self) -> str:
        """The value that every process of it carries in ``AIFLOW_MARK``."""
        return self.env["AIFLOW_MARK"]

    @property
    def reason(self) -> str | None:
        """Why it has failed, in words, once it has ended."""
        try:
            return read_regular(self.folder / "reason", LONGEST_REASON).decode("utf-8", "replace").strip() or None
        except OSError:
            return None

    def remove(self) -> bool:
        """Remove the folder with all that is in it; False where something of it is still there."""
        return removed(self.folder)

    def outputs(self) -> Iterator[Output]:
        """What it has made, once it has ended. Raises DataError for a damaged record, or where the file system of the
        run's artifacts does not answer."""
        past = self.past
        graph, job, number = past.planned.sub_graph, past.planned.name, past.record.number
        here = places_in(graph, job, number, str(self._context.artifacts_url))
        then = places_in(graph, job, number, str(past.context.artifacts_url))
        for made, before in zip(here, then, strict=True):
            with errors_in_words(made.url):
                record = artifacts.record_of(made.url)
                kept = artifacts.record_of(before.url) if past.record.state is JobState.FINISHED else None
            if record is not None:
                known = kept.sha256 if kept is not None else None
                yield Output(made.name, record.size, record.sha256, known, f"{made.url}/{record.file}")

    def _bring_inputs(self) -> None:
        """Copy what the attempt reads into the folder, checked."""
        home = self.folder / "inputs"
        home.mkdir()
        found = {}
        for number, (name, url) in enumerate(self.past.context.inputs.items()):
            there = home / str(number) / url.rpartition("/")[2]
            with errors_in_words(there):
                record = _copied(url, there, home)
            self._records.append((name, record))
            self.inputs.append(Input(name, record.size, record.sha256))
            found[name] = str(there)
        self._context.inputs = found

    def _make(self, python: str, debugger: Sequence[str] | None) -> None:
        """Unpack the code and write what the job is given."""
        past, config = self.past, self.past.planned.config
        bundle = build_bundle(past.planned.sub_graph, past.project, past.planned.resolved.engine)
        project: str | None = None
        if bundle.needs_runner:
            home = self._unpacked(bundle)
            project = str(home / "project")
            payload = {**loads(bundle.payload(self._context)), "root": past.shown}
            if debugger is not None:
                payload["debugger"] = list(debugger)
            Path(self.folder, "payload.json").write_text(dumps(payload))
            self.argv = [python, str(home / "runtime" / "run_job.py"), str(self.folder / "payload.json")]
        else:
            self.argv = one_command(bundle.command())
        for each in (self.work, Path(str(self._context.artifacts_url))):
            each.mkdir(parents=True)
        checkpoints = self.folder / "checkpoints" / safe_name(past.planned.name)
        checkpoints.mkdir(parents=True)
        variables = job_environment(BaseJob(self._context, config), work_folder=str(self.work), project_folder=project,
                                    checkpoint_dir=str(checkpoints))  # fmt: skip
        files = {f"AIFLOW_{name}_FILE": str(self.folder / file) for name, file in _FILES.items()}
        self.env = {**self.env, **variables, **files, "PYTHONUNBUFFERED": "1", "PWD": str(self.work)}
        self.script.write_text(f"cd {shlex.quote(str(self.work))} && exec {shlex.join(self.argv)}\n")

    def _unpacked(self, bundle: Bundle) -> Path:
        home = bundle.archive.copy_to(self.folder / "bundle")
        check_code(self.past, home / "project")
        return home


def prepare(
    run: str,
    job: str,
    *,
    attempt: int | None = None,
    project: str | os.PathLike[str] | None = None,
    python: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    debugger: Sequence[str] | None = None,
    ask: Ask | None = None,
    making: Callable[[Path], None] = lambda folder: None,
) -> Reproduction:
    """Prepare an attempt of a run to be run again on this machine.

    Args:
        run: the run's id, the beginning of it, or ``latest``. It may go on or have ended.
        job: the job's key, of engine python or cmd_line, on any platform.
        attempt: the attempt's number; by default the latest.
        project: the project's folder, if the id is ambiguous.
        python: the interpreter, a path or a name on the PATH; by default the one that the job's config names, where its
            platform is this machine, else this process's.
        folder: where to put everything; it must be empty, and this user's, or not exist. A new temporary folder by
            default.
        debugger: where a debugger opens in a python job on a terminal (:mod:`aiflow_ext.engines.debugging`); None for a
            job without a terminal, the default.
        ask: called with a variable's name and the reference of a secret that cannot be read on this machine; returns
            its value. By default there is nobody to ask.
        making: called with the folder as soon as it exists.

    The caller removes the folder afterwards; where this raises, it is removed.

    Raises ConfigError for a run, job or attempt that does not exist, and for an engine whose jobs cannot be reproduced;
    StateError where the run's code is gone or changed, or another user can write to the folder; DataError for an input
    that is gone, changed or cannot be opened by the interpreter; SecretError for a secret that cannot be read;
    PlatformError for an interpreter that cannot be started.
    """
    observed = observe(run, None if project is None else os.fspath(project))
    try:
        past = past_attempt(observed, job, attempt)
    finally:
        observed.store.close()
    _check_engine(past, debugger)
    made = Reproduction(past, _folder(folder))
    making(made.folder)
    try:
        secrets.use(past.plan.host)
        values, taken = _variables(past, ask)
        added = added_variables(past.plan.host, past.context, past.plan.traceparent)
        made.env = {**os.environ, **added, **values}
        found = chosen(python, past)
        facts = facts_of(found.path, made.env)
        made._bring_inputs()
        check_pickles(past.planned.sub_graph, made._records, facts, found.path)
        made._make(found.path, debugger)
    except OSError as error:
        made.remove()
        raise StateError(
            f"attempt {past.record.number} of {job!r} cannot be prepared: {error.strerror}",
            where=str(error.filename or made.folder),
            hint="make room or give permission there, or name another folder: --keep FOLDER",
        ) from error
    except BaseException:
        made.remove()
        raise
    made.differences = differences(past, facts, [*found.differences, *taken])
    return made


def _check_engine(past: PastAttempt, debugger: Sequence[str] | None) -> None:
    engine = past.planned.resolved.engine
    if engine not in ("python", "cmd_line"):
        name, project = past.planned.name, past.plan.desc.root
        workflow = ["--workflow", past.run.workflow]
        here = shlex.join(
            ["aiflow-ext", "run", project, *workflow, "--only", name, "--set", f"{name}.platform={LOCAL}"]
        )
        raise ConfigError(
            f"job {name!r} has the engine {engine!r}, whose jobs run on servers of their own: jobs of the engines "
            "python and cmd_line can be reproduced",
            hint=f"what it has printed: {shlex.join(['aiflow-ext', 'logs', past.run.run_id, name])}; what is sent: "
            + shlex.join(["aiflow-ext", "render", project, name, *workflow])
            + (f"; as a job of this machine, if its plugin is installed: {here}" if past.platform != LOCAL else ""),
        )
    if engine != "python" and debugger:
        raise ConfigError(
            f"job {past.planned.name!r} is a command, and Python's debugger is for python jobs",
            hint="leave out --pdb and --break; in a shell script, set -x shows each command",
        )


def _folder(named: str | os.PathLike[str] | None) -> Path:
    """An empty folder that only this user can read."""
    if named is None:
        return Path(os.path.realpath(tempfile.mkdtemp(prefix="aiflow-reproduce-")))
    folder = Path(os.path.realpath(named))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError("the folder is not empty", where=str(folder), hint="name one that is empty, or a new one")
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o700)  # one that was there
        refuse_foreign(folder)
    except OSError as error:
        raise StateError(f"the folder cannot be made: {error.strerror}", where=str(folder)) from error
    except StateError as error:
        raise StateError(
            "another user can write there, and so change what runs in the folder",
            where=error.problems[0].where,
            hint="name a folder of your own, or none",
        ) from error
    return folder


def removed(folder: Path) -> bool:
    """Remove a folder; False where something of it is still there."""
    if mounted_in(folder) is not None:  # what is mounted there is not the job's
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _variables(past: PastAttempt, ask: Ask | None) -> tuple[dict[str, str], list[Difference]]:
    """The variables of the job's config, secrets read anew, and those that are not from where they were then."""
    values: dict[str, str] = {}
    taken = []
    for name, value in past.planned.config.env.items():
        try:
            values |= secrets.resolve({name: value})
        except SecretError as error:
            reference = str(value["secret"])
            if name in os.environ:
                values[name] = os.environ[name]
                taken.append(Difference(name, f"secret {reference}", "as it is set here"))
            elif ask is not None:
                values[name] = ask(name, reference)
                taken.append(Difference(name, f"secret {reference}", "as it was typed"))
            else:
                raise SecretError(
                    f"variable {name} cannot be read on this machine: {error.problems[0].message}",
                    hint=f"export {name}=... and try again, or run this on a terminal, where it asks",
                ) from error
    return values, taken


def _copied(url: str, there: Path, scratch: Path) -> ArtifactRecord:
    """Copy an artifact, with the files that its value holds. Raises what ``artifacts.fetch`` raises."""
    there.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        fetched = artifacts.fetch(url, Path(place))
        if fetched.path.is_relative_to(place):
            os.replace(fetched.path, there / fetched.record.file)
        else:
            shutil.copyfile(fetched.path, there / fetched.record.file)
    (there / fetched.record.file).chmod(0o444)  # as every complete artifact
    for number in range(fetched.record.files):
        _copied(f"{url}/files/{number}", there / "files" / str(number), scratch)
    Path(f"{there}.json").write_bytes(fetched.record.to_bytes())
    return fetched.record
