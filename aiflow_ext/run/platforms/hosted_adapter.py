"""Runs a plugin of nine methods in an attempt host: a supervised child process that holds it from resource to
cleanup."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import IO, Any

from aiflow_ext.host import secrets
from aiflow_ext.model.attempt import Lookup, Request
from aiflow_ext.model.errors import PlatformError, UnreachableError
from aiflow_ext.model.job import AbstractJobHandler, BaseJob, JobContext
from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.model.states import JobState
from aiflow_ext.regular_file import open_to_append, write_regular
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.run.platforms import attempt_spec, silence, supervised
from aiflow_ext.run.platforms.direct_adapter import DirectAdapter
from aiflow_ext.run.platforms.outcome import process_end
from aiflow_ext.run.platforms.platform_events import WatchEvents
from aiflow_ext.run.platforms.silence import stop_is_silent, words_of
from aiflow_ext.supervise import ProcessSpec
from aiflow_ext.supervise.records import ProcessRecord

BREAK_OFF = 5.0  # seconds between the second SIGTERM to an attempt host and its end


class HostedAdapter:
    """Runs a plugin of nine methods in a supervised child process that holds it from resource to cleanup."""

    def __init__(self, planned: PlannedJob, project: ProjectDesc) -> None:
        """Raises CodeError if something of the job cannot be sent to its attempt host."""
        self.planned, self.project = planned, project
        # Not the platform's name only: its durable plugins have another watch.
        self.key: object = ("attempt hosts", planned.resolved.plugin.platform())
        self.answers_at_once = False  # a call may wait for a cleanup by a plugin
        self.calls_at_once = 1
        self.outlives_power_loss = True  # it is not known where the plugin inside it submits jobs
        # The driver itself calls the optional hooks of a plugin that is not durable.
        self._direct = DirectAdapter(planned.resolved)
        self._packed = attempt_spec.pack(planned.resolved, planned.sub_graph, project)

    def allocate(self, job: BaseJob) -> str:
        return str(_context(job).work_folder)

    offline_id = allocate

    def prepare(self, job: BaseJob) -> None:
        context = _context(job)
        supervised.prepare_folder(str(context.native_id))
        memory, packed = _memory(job), self._packed
        if memory is not None and memory != self.planned.config.memory:  # it has grown
            grown = self.planned.with_memory(memory)
            packed = attempt_spec.pack(grown.resolved, grown.sub_graph, self.project)
        attempt_spec.write(Path(str(context.native_id)), packed, context)

    def submit(self, job: BaseJob) -> AbstractJobHandler | None:
        native_id = str(_context(job).native_id)
        supervised.supervisor_of(native_id).start(self.process(job))
        return supervised.ProcessHandler(native_id)

    def process(self, job: BaseJob, *, reveal: bool = True) -> ProcessSpec:
        """The attempt host's process; secrets as references unless ``reveal``."""
        context, config = _context(job), self.planned.config
        native_id = str(context.native_id)
        own = {**context.environment, **config.env}
        mark = f"{context.run_id}:{native_id}"
        env = {
            **(os.environ if reveal else {}),
            **(secrets.resolve(own) if reveal else secrets.shown(own)),
            "AIFLOW_RUN": context.run_id or "",
            "AIFLOW_JOB": context.job_name or "",
            "AIFLOW_ATTEMPT": str(context.attempt),
            **({"AIFLOW_MEMORY": str(memory)} if (memory := _memory(job)) is not None else {}),
            **({"CUDA_VISIBLE_DEVICES": context.gpus} if context.gpus is not None else {}),
            "AIFLOW_PROPERTIES": json.dumps(dict(config.properties), default=str),
            "AIFLOW_WORK_FOLDER": f"{native_id}/work",
            "AIFLOW_PROJECT_FOLDER": self.project.root,
            "AIFLOW_CHECKPOINT_DIR": supervised.checkpoints(native_id),
            **({"AIFLOW_FAILED_JOBS": json.dumps(list(context.failed_jobs))} if context.failed_jobs else {}),
            "AIFLOW_MARK": mark,
        }
        return ProcessSpec(
            id=supervised.process_id(native_id),
            argv=[sys.executable, "-u", _MAIN, native_id],
            env=env,
            cwd=f"{native_id}/work",
            stdout=f"{native_id}/stdout",
            stderr=f"{native_id}/stderr",
            mark=mark,
        )

    def lookup(self, job: BaseJob) -> Lookup:
        return supervised.lookup(str(_context(job).native_id))

    def attach(self, job: BaseJob) -> AbstractJobHandler | None:
        return _HostHandler(str(_context(job).native_id))

    def stop(self, job: BaseJob, handler: AbstractJobHandler | None, grace: float) -> None:
        """Make the host call ``stop_job`` of its plugin, then end its whole process tree."""
        native_id = str(_context(job).native_id)
        supervisor, name = supervised.supervisor_of(native_id), supervised.process_id(native_id)
        record = supervisor.record(name)
        if record is not None and record.state == "running" and record.pid:
            asked = Path(native_id, attempt_spec.STOP)
            try:
                if not (asked.exists() and stop_is_silent(native_id)):  # else it still retries; a second would end that
                    write_regular(asked, f"{grace:g}".encode())
                    os.kill(record.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            else:
                supervisor.wait(name, grace)
                if grace > 0 and (words := stop_is_silent(native_id)) and not _has_ended(supervisor.record(name)):
                    raise UnreachableError(words)
        # A second SIGTERM, for the whole tree: the host interrupts the plugin's running method, and cleans up.
        supervisor.stop(name, grace=BREAK_OFF)

    def cleanup(self, job: BaseJob) -> None:
        """Call ``cleanup_job``, if the host was killed before it could; else only remove its spec."""
        native_id = str(_context(job).native_id)
        spec, cleaned = Path(native_id, attempt_spec.FILE), Path(native_id, attempt_spec.CLEANED)
        record = supervised.supervisor_of(native_id).record(supervised.process_id(native_id))
        if record is not None and record.pid is not None and spec.exists() and not cleaned.exists():
            self._clean_anew(job)
        for file in (spec, cleaned, Path(native_id, attempt_spec.STOP), Path(native_id, silence.FILE)):
            file.unlink(missing_ok=True)

    def _clean_anew(self, job: BaseJob) -> None:
        process, native_id = self.process(job), str(_context(job).native_id)
        with _log(process.stdout) as stdout, _log(process.stderr) as stderr:
            # Until its setsid the child is in the terminal's foreground group, and a Ctrl-C would end it, too.
            held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                child = subprocess.Popen(
                    [*process.argv, "cleanup"], env={**process.env, "AIFLOW_MARK": f"{process.mark}:cleanup"},
                    cwd=process.cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True,
                )  # fmt: skip
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, held)
        with child:
            try:
                child.wait(attempt_spec.CLEANUP_LIMIT + 10)
            except BaseException:
                child.kill()
                raise
        if child.returncode == attempt_spec.UNCLEAN:
            raise UnreachableError(words_of(native_id) or "no answer")
        outcome = process_end("the process that was to clean up", child.returncode)
        if outcome is not None and not Path(native_id, attempt_spec.CLEANED).exists():
            raise PlatformError(str(outcome.words))

    def watch(self, jobs: Mapping[str, BaseJob], since: str | None) -> WatchEvents:
        silent: set[str] = set()
        for event in supervised.watch(jobs, since):
            if event is None:
                yield from silence.changes(jobs, silent)
            elif event.state.ended:
                silent.discard(event.native_id)
            if event is not None and event.state is JobState.FINISHED:
                event.reason = supervised.reason_words(event.native_id) or None
            if event is not None and event.usage is not None:  # the job itself may have run elsewhere
                event.usage = event.usage._replace(source="attempt host")
            yield event

    def render(self, job: BaseJob) -> Request | None:
        """The host's own command, and the plugin's own request if it has ``render``."""
        spec = self.process(job, reveal=False)
        shown = {name: value for name, value in Jsonable.to_json(job).items() if name != "job_context"}
        content = {"argv": spec.argv, "env": spec.env, "cwd": spec.cwd, "job": _readable(shown)}
        inside = self._direct.render(job)
        if inside is not None:
            content["sends"] = {"kind": inside.kind, **inside.content}
        return Request("attempt host", content)

    def is_ready(self, job: BaseJob) -> bool | str:
        return self._direct.is_ready(job)

    def cleanup_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        self._direct.cleanup_run(run_id, jobs)

    def remove_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        self._direct.remove_run(run_id, jobs)

    def remove_artifacts(self, jobs: Sequence[BaseJob], url: str, folders: Sequence[str]) -> list[str] | None:
        return self._direct.remove_artifacts(jobs, url, folders)

    def check(self, jobs: Sequence[BaseJob]) -> list[Any]:
        return self._direct.check(jobs)


class _HostHandler(supervised.ProcessHandler):
    """The handler of an attempt host."""

    def state(self) -> JobState | None:
        """Its state. Raises UnreachableError while the platform does not answer the plugin in the host."""
        state = super().state()
        if state is JobState.RUNNING and (words := words_of(self.native_id)):
            raise UnreachableError(words)
        return state


def _log(path: str) -> IO[bytes]:
    """An attempt's log, to append to; /dev/null where the job has left something else in its place."""
    try:
        return open(open_to_append(path), "ab")
    except OSError:
        return open(os.devnull, "ab")


def _has_ended(record: ProcessRecord | None) -> bool:
    return record is None or record.state != "running"


# A script and no module of a package: it puts sys.path in order before it imports one.
_MAIN = str(Path(__file__).with_name("attempt_main.py"))


def _memory(job: BaseJob) -> int | None:
    """The memory that an attempt asks for, in bytes: its author's own kind of config may lack it."""
    memory: int | None = getattr(job.job_config, "memory", None)
    return memory


def _context(job: BaseJob) -> JobContext:
    assert job.job_context is not None
    return job.job_context


def _readable(value: Any) -> Any:
    """A job as plain data, to be shown; it is never read back."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_readable(item) for item in value]
    if isinstance(value, Jsonable):
        value = Jsonable.to_json(value)
    if isinstance(value, Mapping):
        return {str(key): _readable(item) for key, item in value.items()}
    return repr(value)
