"""A run whose jobs run in this process, one after another: for a debugger and for tests.

There is no driver, supervisor or platform in between: each job that may start is run here, and recorded as any other.
A job gets one attempt, without a timeout; extensions are not called, as nothing is submitted.
"""

from __future__ import annotations

import graphlib
import logging
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from aiflow_ext.host import secrets
from aiflow_ext.model.current import OUT_OF_MEMORY
from aiflow_ext.model.errors import AiflowError, ConfigError, Problem, StateError
from aiflow_ext.model.in_process import InProcessEnd, InProcessJob
from aiflow_ext.model.resources import Usage
from aiflow_ext.model.states import ExecutionMode, JobState
from aiflow_ext.run.driving.order import decide, waits_for_failure
from aiflow_ext.run.operations.descriptors import hold_standard
from aiflow_ext.run.operations.failed import RunFailedError
from aiflow_ext.run.operations.job_output import JobOutput
from aiflow_ext.run.operations.new_run import NewRun, new_run, run_options
from aiflow_ext.run.operations.render import check_recorded
from aiflow_ext.run.planning.added_variables import added_variables
from aiflow_ext.run.planning.attempt_job import failed_jobs
from aiflow_ext.run.planning.make_plan import check_lists, make_plan
from aiflow_ext.run.planning.plan import Plan, PlannedJob, attempt_folder
from aiflow_ext.run.store.attempt_folders import prepare_folder
from aiflow_ext.run.store.filesystem import mounted_in
from aiflow_ext.run.store.in_process import own_native_id
from aiflow_ext.run.store.ledger import STOPPED_BEFORE, Ledger
from aiflow_ext.run.store.reconcile import asked, end_of, used
from aiflow_ext.run.store.records import AttemptRecord, JobRecord, RunRecord, Transition
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.gather import gathered
from aiflow_ext.translate.shared import importing

_log = logging.getLogger("aiflow_ext")
_ELSEWHERE = "run the others with --only JOB, or all of them without --in-process"


class InProcessRun:
    """A prepared run.

    Attributes:
        plan, record: of the run.
        errors: by job, what code of the project has raised in it.
    """

    def __init__(
        self,
        new: NewRun,
        jobs: Mapping[str, InProcessJob],
        env: Mapping[str, Mapping[str, str]],
        *,
        fail_fast: bool,
        listener: Callable[[Transition], None] | None,
        examine: Callable[[BaseException], None] | None,
    ) -> None:
        self.plan, self.record, self._lock = new.plan, new.record, new.lock
        self.errors: dict[str, BaseException] = {}
        self._store, self._ledger = new.store, Ledger(new.record, new.store)
        self._jobs, self._env, self._fail_fast = jobs, env, fail_fast
        self._listener, self._examine = listener, examine
        self._output = JobOutput()
        self._modes = {name: planned.config.exec_mode for name, planned in new.plan.jobs.items()}
        self._settled = dict.fromkeys(new.plan.jobs, False)

    def drive(self) -> RunRecord:
        """Run the jobs, and return the record. Raises KeyboardInterrupt, once the run is recorded as stopped, where the
        user interrupts it."""
        words: str | None = None  # why no other job starts
        try:
            for name in _in_order(self.plan):
                if words is None or waits_for_failure(self.plan.jobs[name].edges):
                    words = self._run_next(name) or words
                else:
                    self._skip(name, words)
        except KeyboardInterrupt as interrupt:
            self._interrupted(str(interrupt))
            raise
        self._ledger.close(closed=words is not None)
        self._report()
        return self.record

    def check_finished(self) -> None:
        """Raise RunFailedError unless the run has finished; its cause is what code of the project has raised."""
        error = next(iter(self.errors.values()), None)
        if self.record.state is not JobState.FINISHED:
            raise RunFailedError(self.record) from error

    def close(self) -> None:
        """Release the run's lock and its store."""
        self._store.close()
        self._lock.release()

    def _run_next(self, name: str) -> str | None:
        """Run a job, or skip it; returns why nothing more is to start, None: more is."""
        answer = decide(self.plan.jobs[name].edges, self.record.jobs, self._modes, self._settled)
        if isinstance(answer, str):
            self._skip(name, answer)
            return None
        assert answer is True  # all that it waits for has ended
        state = self._run(self.plan.jobs[name], self.record.jobs[name])
        if self._fail_fast and state.failed:
            return f"{name} is {state}, and the run was to start nothing after that"
        return None

    def _run(self, planned: PlannedJob, job: JobRecord) -> JobState:
        name, ledger = planned.name, self._ledger
        attempt = ledger.attempt(job, attempt_folder(self.record.folder, name, 1))
        context = self.plan.context(name, self.record.run_id, self.record.folder)
        context.failed_jobs = failed_jobs(planned, self.record)
        context.environment = added_variables(self.plan.host, context, self.plan.traceparent)
        context.native_id = own_native_id()
        env = {**context.environment, **self._env[name]}
        with importing, ExitStack() as output:  # one job at a time, in all threads
            try:
                prepare_folder(attempt.folder)
                output.enter_context(self._output.kept_in(attempt.folder))
            except OSError as error:
                raise StateError(f"job {name!r} cannot be started: {error.strerror}", where=attempt.folder,
                                 hint="make room or give permission there") from error  # fmt: skip
            ledger.move(attempt, JobState.SUBMITTING, native_id=context.native_id, **asked(planned.config))
            ledger.move(attempt, JobState.RUNNING, step="acknowledged")
            self._flush()
            before = _spent()
            ended = self._jobs[name].run(context, env, self._examine)
        self._end(attempt, ended, _usage(before, _spent()))
        if ended.exit_code == 0 and mounted_in(work := f"{attempt.folder}/work") is None:
            shutil.rmtree(work, ignore_errors=True)
            os.makedirs(work, exist_ok=True)
        return attempt.state

    def _end(self, attempt: AttemptRecord, ended: InProcessEnd, usage: Usage) -> None:
        state = JobState.FINISHED if ended.exit_code == 0 else JobState.FAILED
        memory = (ended.reason or "").startswith(OUT_OF_MEMORY) or None
        if ended.error is not None:
            self.errors[attempt.job] = ended.error
        self._record_end(attempt, state, exit_code=ended.exit_code, signal=ended.signal, reason=ended.reason,
                         out_of_memory=memory, **used(usage))  # fmt: skip

    def _record_end(self, attempt: AttemptRecord, state: JobState, **facts: Any) -> None:
        self._ledger.end(attempt, end_of(attempt, state, **facts))
        self._ledger.note(attempt, cleaned=True)
        self._settled[attempt.job] = True
        self._flush()

    def _skip(self, name: str, reason: str) -> None:
        self._ledger.skip(self.record.jobs[name], reason)
        self._settled[name] = True
        self._flush()

    def _interrupted(self, words: str) -> None:
        for name, job in self.record.jobs.items():
            if job.last is not None and not job.last.state.ended:
                self._record_end(job.last, JobState.STOPPED, reason=f"stopped: {words or 'interrupted'}")
            elif not self._settled[name]:
                self._skip(name, STOPPED_BEFORE)
        self._ledger.close(closed=True)
        self._report()

    def _report(self) -> None:
        if self.plan.report is not None:
            from aiflow_ext.run.operations.report import report_at_end

            report_at_end(self.plan, self.record)

    def _flush(self) -> None:
        for transition in self._ledger.flush():
            if self._listener is not None:
                self._listener(transition)


def prepare_in_process(
    folder: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    params: Sequence[str] | Mapping[str, Any] = (),
    workflow: str | None = None,
    config: Sequence[str] = (),
    profile: str | None = None,
    fail_fast: bool = False,
    only: Sequence[str] = (),
    from_run: str | None = None,
    firing: str | None = None,
    listener: Callable[[Transition], None] | None = None,
    examine: Callable[[BaseException], None] | None = None,
) -> InProcessRun:
    """Plan a project's workflow and make its run; options as ``run.run_project``'s.

    ``examine`` is called with what code of the project has raised, in the job's folder and with its variables.

    Raises AiflowError, and ConfigError that names all jobs which cannot run in a process.
    """
    hold_standard()
    check_lists(only=only)
    plan = make_plan(
        folder,
        sets=sets,
        params=params,
        workflow=workflow,
        config=config,
        profile=profile,
        only=only or None,
        sent=lambda job: False,
    )
    secrets.use(plan.host)
    check_recorded(plan)
    jobs, env = _made(plan)
    options = run_options(jobs=None, fail_fast=fail_fast, sets=sets, params=params, config=config, profile=profile)
    new = new_run(plan, options, only=only, from_run=from_run, firing=firing)
    new.plan.traceparent = options["traceparent"]
    return InProcessRun(new, jobs, env, fail_fast=fail_fast, listener=listener, examine=examine)


def _made(plan: Plan) -> tuple[dict[str, InProcessJob], dict[str, dict[str, str]]]:
    """The plan's jobs as such that run here, and their variables. Raises an AiflowError with every problem."""
    jobs, env = {}, {}
    problems: list[Problem] = []
    failed: type[AiflowError] | None = None
    for name, planned in plan.jobs.items():
        try:
            jobs[name] = _job_of(planned, plan)
            env[name] = secrets.resolve(planned.config.env)
        except AiflowError as error:
            planned.locate(error)
            failed = failed or type(error)
            problems += error.problems
    if failed is not None:
        raise failed(problems=gathered(problems))
    if other := [name for name, planned in plan.jobs.items() if planned.config.python is not None]:
        _log.warning("in process, %s under this python, not under the one that python: names", _run_of(other))
    return jobs, env


def _run_of(jobs: Sequence[str]) -> str:
    return f"{listed(jobs)} run{'s' * (len(jobs) == 1)}"


def _job_of(planned: PlannedJob, plan: Plan) -> InProcessJob:
    name, engine = planned.name, planned.resolved.engine
    if planned.config.exec_mode is ExecutionMode.STREAM:
        words = f"job {name!r} is a STREAM job, which ends only when it is stopped: it cannot run in process"
        raise ConfigError(words, where=planned.where("exec_mode"), hint=_ELSEWHERE)
    made = planned.resolved.plugin.engine().in_process(planned.sub_graph, plan.desc)
    if made is None:
        words = f"job {name!r} has the engine {engine!r}, whose jobs cannot run in process"
        raise ConfigError(words, where=planned.where("engine"), hint=_ELSEWHERE)
    assert isinstance(made, InProcessJob)
    return made


def _spent() -> tuple[float, int]:
    """CPU seconds of this process and those that it has waited for, and the most memory that one of them had, in
    bytes."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both), max(each.ru_maxrss for each in both) << 10


def _usage(before: tuple[float, int], after: tuple[float, int]) -> Usage:
    """What a job has used in this process. The kernel keeps one peak of memory for all of its life, so that a job's own
    is known only where it is a new one; the process's own memory is part of it."""
    return Usage(after[1] if after[1] > before[1] else None, after[0] - before[0], "client's process")


def _in_order(plan: Plan) -> Iterator[str]:
    """The jobs, each after those that it waits for."""
    edges = {name: [edge.source for edge in planned.edges] for name, planned in plan.jobs.items()}
    return iter(graphlib.TopologicalSorter(edges).static_order())
