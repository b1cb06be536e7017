"""The driver of one run: submits what is ready, follows what runs, and leaves one record per job."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from aiflow_ext.host.extensions import Extensions
from aiflow_ext.model.attempt import Lookup
from aiflow_ext.model.collector import long_lived
from aiflow_ext.model.errors import AiflowError, Problem, StateError, UnreachableError, named, said_by, text_of
from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.model.states import ExecutionMode, JobState
from aiflow_ext.run.driving.admission import AdmissionQueue
from aiflow_ext.run.driving.attempt import GRACE, Attempt
from aiflow_ext.run.driving.deciding import ask_before_submit, ask_should_retry
from aiflow_ext.run.driving.inbox import Inbox
from aiflow_ext.run.driving.listeners import Listeners
from aiflow_ext.run.driving.order import decide
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.platform_thread import PlatformThread
from aiflow_ext.run.driving.prefetch import PREFETCHED, Prefetch
from aiflow_ext.run.driving.retries import Retries
from aiflow_ext.run.driving.start_intents import settle_start_intents
from aiflow_ext.run.planning.attempt_job import attempt_job, job_again
from aiflow_ext.run.planning.plan import Plan, attempt_folder
from aiflow_ext.run.platforms import supervised
from aiflow_ext.run.platforms.once_a_run import check_platforms, clean_up_platforms
from aiflow_ext.run.platforms.platform_events import PlatformEvent, Reachable, Unobservable, Unreachable
from aiflow_ext.run.platforms.plugin_adapter import adapter_for
from aiflow_ext.run.store.ledger import JOB_STOPPED_BEFORE, STOPPED_BEFORE, Ledger
from aiflow_ext.run.store.reconcile import Answer, Became, Decision, end_of, reconcile
from aiflow_ext.run.store.records import AttemptRecord, JobRecord, RunRecord, Transition
from aiflow_ext.run.store.run_folder import RunFolder
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")
LINGER = 0.02  # delay for coalescing changes that nothing waits for into one transaction, in seconds
MOST_HELD = 16  # attempts at most that a platform may hold, to start each when another one has ended
HURRY = 5.0  # seconds at most that extensions which are behind are waited for in a run that was stopped
SHORT_JOB = 1.0  # seconds that a job may last for the next ones to be handed over before their turn


class Driver:
    """Runs a plan to its end. One thread decides; each platform has a thread for its calls and one for its events.

    Args:
        plan: what to do.
        record: the run's record, whose folder exists and which is in the store.
        store: where the records are kept.
        limit: how many attempts run at once, those of STREAM jobs not counted; None for no limit.
        fail_fast: after the first FAILED or LOST nothing new is submitted.
        extensions: the extension hooks.
        listener: called with every Transition, in order, in the driver's thread.
        had_ended: the run had come to its end before: what failed then is not tried again, unless it was reopened.
    """

    def __init__(
        self,
        plan: Plan,
        record: RunRecord,
        store: Store,
        *,
        limit: int | None = None,
        fail_fast: bool = False,
        extensions: Extensions | None = None,
        listener: Callable[[Transition], None] | None = None,
        had_ended: bool = False,
    ) -> None:
        self.plan, self.record, self.fail_fast = plan, record, fail_fast
        self.extensions = extensions
        self.had_ended = had_ended
        self.ledger = Ledger(record, store)
        hooks = extensions.hooks("on_transition") if extensions is not None else ()
        limit_of_hooks = plan.extensions.timeout.total_seconds()
        self.listeners = Listeners(record, store, hooks, limit_of_hooks, listener, lambda: self.post(_nothing))
        self._retries = Retries()
        self._folder = RunFolder(record)
        self._modes = {name: planned.config.exec_mode for name, planned in plan.jobs.items()}
        self._streams = {name for name, mode in self._modes.items() if mode is ExecutionMode.STREAM}
        self._adapters = {name: adapter_for(planned, plan.desc) for name, planned in plan.jobs.items()}
        self._threads: dict[object, PlatformThread | InlinePlatform] = {}
        self._inbox = Inbox()
        self._hurried = 0  # how often somebody has asked it to stop or to let go
        self._waiting = set(plan.jobs)  # jobs whose first attempt has neither been made nor ruled out
        self._live: dict[str, Attempt] = {}  # by native id, or by a placeholder before there is one
        self._admission = AdmissionQueue(plan.jobs, self._streams, limit, self._live)
        self._prefetch = Prefetch(self._adapters, self._generate, self.ledger)
        # Extensions may want to see a job when it starts, and not before.
        self._prefetches = extensions is None or not extensions.records
        self._jobs_are_short = False
        self._settled = dict.fromkeys(plan.jobs, False)  # whether a job's state is its last
        self._retrying: set[str] = set()
        self._linger = 0.0
        self._cleaning = 0
        self._unclean: list[Attempt] = []  # of these, those that wait for the next flush
        self._going: set[Attempt] = set()  # ended, and being swept by a stop that has not returned
        self._downstream: dict[str, list[str]] = {name: [] for name in plan.jobs}
        for name, planned in plan.jobs.items():
            for edge in planned.edges:
                self._downstream[edge.source].append(name)
        self._thread = 0
        self._held = False
        self._leaving = False
        self._at_once = False  # whether all is to end now: a silent platform is not waited for
        self._broken: StateError | None = None

    def run(self) -> RunRecord:
        """Run to the end and return the record. Raises PlatformError before anything starts where a platform's check
        fails, StateError where the records cannot be written any more: what runs goes on then."""
        try:
            with long_lived():
                return self._run()
        finally:
            self.listeners.close(ended=self.record.ended_at is not None)
            self._inbox.close()

    def _run(self) -> RunRecord:
        self._thread = threading.get_ident()
        self.listeners.start()
        self._look_after_extensions()
        if self.record.state.ended:  # and nothing was reopened
            self._await_extensions()
            return self.record
        self._check_platforms()
        try:
            self._take_up()
            self._look_at(list(self.plan.jobs))
            while not self._over():
                self._start_ready()
                if not self._over():
                    self._take()
        finally:
            for thread in self._threads.values():
                thread.close()
            self._flush()
        if self._broken is not None:
            raise self._broken
        if self._leaving:
            self.listeners.part()
        else:
            clean_up_platforms(self.plan, self.record, self._adapters)
            self.ledger.close(held=self._held)
            self._await_extensions()
            if not self._folder.is_there:
                raise self._folder.gone()
        return self.record

    # -- what others ask of the driver; safe from any thread and from a signal handler ------------------------------

    def close(self) -> None:
        """Let go of what the driver holds in this process, whether it has run or not."""
        self._inbox.close()
        self.ledger.store.close()
        supervised.hang_up(self.record.folder)

    def stop(self, grace: float = GRACE) -> None:
        """Start nothing more and stop what runs; ``run`` returns once it is gone."""
        self._inbox.put(lambda: self._stop_all(grace))

    def leave(self) -> None:
        """Start nothing more and let go: what runs goes on without the driver, and ``run`` returns."""
        self._inbox.put(self._leave)

    def look_at_requests(self) -> None:
        """Somebody has put a request into the store."""
        self._inbox.put(self._take_requests)

    def post(self, function: Callable[[], None]) -> None:
        """Have ``function`` called in the driver's thread."""
        self._inbox.put(function)

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _over(self) -> bool:
        if self._leaving:
            return True
        left = self._waiting or self._admission.first or self._live or self._retrying or self._cleaning or self._going
        return not left

    def _take(self) -> None:
        """Wait for the next thing to do, and do it."""
        now = time.monotonic()
        if not self.ledger.pending:
            self._linger = now + LINGER
        elif now >= self._linger or not (self._live or self._admission.first):  # nothing comes that it could wait for
            self._flush()
            self._linger = now + LINGER
        task = self._inbox.get(self._linger if self.ledger.pending else math.inf)
        if task is not None:
            task()

    def _look_after_extensions(self) -> None:
        if self.listeners.pace is not None:
            self.listeners.look()
            self._inbox.later(self.listeners.pace, self._look_after_extensions)

    def _await_extensions(self) -> None:
        """Wait for the extensions that have not been told of everything, but not for long, and not against a signal."""
        seconds = min(self.listeners.limit, HURRY) if self._hurried else self.listeners.limit
        deadline, hurried = time.monotonic() + seconds, self._hurried
        while self._hurried == hurried and (until := self.listeners.awaited(deadline)) is not None:
            task = self._inbox.get(until)
            if task is not None:
                task()

    def _look_at(self, names: Iterable[str]) -> None:
        """See whether these waiting jobs may start now, or never will; and then those that wait for the latter."""
        names = list(names)
        while names:
            name = names.pop()
            if name not in self._waiting:
                continue
            answer = decide(self.plan.jobs[name].edges, self.record.jobs, self._modes, self._settled)
            if answer is True:
                self._waiting.discard(name)
                self._admission.add(name)
            elif isinstance(answer, str):
                self._skip(name, answer)
                names += self._downstream[name]

    def _skip(self, name: str, reason: str) -> None:
        self._waiting.discard(name)
        self._settled[name] = True
        self.ledger.skip(self.record.jobs[name], reason)

    def _start_ready(self) -> None:
        admission = self._admission
        while admission.first is not None and admission.room:
            self._start(admission.take())
        while admission.first is not None and self._may_be_held(admission.first):
            self._start(admission.take(), behind=True)
        if self._prefetches and not self._inbox.busy and self._prefetch.missing(admission.soon(PREFETCHED)):
            self._inbox.spare(self._prefetch_next)

    def _may_be_held(self, name: str) -> bool:
        """Whether the next job may be handed over before its turn: what a driver takes to notice an end and to answer
        with the next start is as much as a short job takes."""
        if not self._jobs_are_short or self.fail_fast or self._streams or self._admission.standing >= MOST_HELD:
            return False
        thread = self._threads.get(self._adapters[name].key)
        if not self._prefetch.has(name) or not isinstance(thread, InlinePlatform) or not thread.holds:
            return False
        return all(each.thread is thread for each in self._live.values())  # the only ones whose ends it sees

    def _prefetch_next(self) -> None:
        for name in self._prefetch.missing(self._admission.soon(PREFETCHED)):
            self._prefetch.make_ready(self.record.jobs[name])

    def _hold(self, reason: str) -> None:
        """Start nothing more."""
        self._held = True
        for name in self._admission.withdraw_all() + self._admission.in_order(self._waiting):
            self._skip(name, reason)
        for name in self._retrying:
            self._settled[name] = True
        self._retrying.clear()

    # -- what an earlier driver left --------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Go on from the records: follow what runs, find out what became of what was being submitted, and leave what
        has ended as it is."""
        settle_start_intents(self.ledger, self._look_up)
        taken: list[Attempt] = []
        for name, job in self.record.jobs.items():
            last = job.last
            reopened = job.state is JobState.INIT and last is not None and last.state.ended
            if job.state is JobState.SKIPPED:
                self._settled[name] = True
            elif last is not None and not reopened:
                taken.append(self._adopt(job, last))
            if job.state.ended or (last is not None and not reopened):
                self._waiting.discard(name)
            followed = job.attempts if reopened or job.state is JobState.SKIPPED else job.attempts[:-1]
            self._retries.recall(name, followed)
            for record in followed:
                if record.native_id is not None and not record.cleaned:
                    self._clean_up(self._adopt(job, record))
        # Only now is it known of every job whether it waits, and of every attempt that a watch is to tell of it.
        for attempt in taken:
            became = reconcile(attempt.record, Answer()).became
            if became is Became.ENDED:
                self._after_end(attempt, attempt.record.state)
            elif became is Became.UNKNOWN:
                self._arm(attempt)
                attempt.thread.call(partial(self._find_again, attempt))
            elif attempt.record.state is JobState.INIT:
                self._begin(attempt)
            else:
                self._in_turn(attempt)

    def _look_up(self, record: AttemptRecord) -> Lookup:
        """What the platform knows of an attempt. Raises what the platform raises."""
        return self._adapters[record.job].lookup(job_again(self.plan, self.record, record))

    def _adopt(self, job: JobRecord, record: AttemptRecord) -> Attempt:
        """An attempt of an earlier driver, with its job generated anew from the stored plan."""
        attempt = self._attempt(job, record)
        attempt.stopping = record.stop_requested or record.timed_out
        attempt.is_final = self.had_ended and record.state.ended
        if not record.state.ended:
            self._live[record.native_id or record.folder] = attempt
        if record.native_id is not None and not (record.state.ended and record.cleaned):
            generated = attempt.job = job_again(self.plan, self.record, record)
            if not record.state.ended:
                attempt.thread.live.add(record.native_id, lambda: generated)
        return attempt

    def _find_again(self, attempt: Attempt, failure: str | None = None) -> None:
        """In the platform's thread: what became of an attempt that may have been started. ``failure``: what this
        driver's own attempt to start it raised; it is not tried again."""
        if attempt.record.state.ended:  # the watch was quicker
            return
        assert attempt.job is not None
        try:
            answer = Answer(lookup=attempt.adapter.lookup(attempt.job), failure=failure)
            if answer.lookup is Lookup.FOUND:
                attempt.handler = attempt.adapter.attach(attempt.job) or AbstractJobHandler()
        except Exception as error:
            _log.debug("no answer", exc_info=True)
            answer = Answer(no_answer=f"no answer from the platform: {named(error)}", failure=failure)
        if attempt.handler is not None and answer.lookup is Lookup.FOUND:
            native_id = str(attempt.record.native_id)
            attempt.thread.handlers[native_id] = attempt.handler
            attempt.thread.follow(native_id, attempt.job)
        self.post(lambda: self._found(attempt, answer))

    def _found(self, attempt: Attempt, answer: Answer) -> None:
        """The platform has answered what became of an attempt, or has given no answer."""
        decision = reconcile(attempt.record, answer, attempt.planned.config.timeout)
        if decision.became is Became.ENDED:
            self._end(attempt, str(attempt.record.native_id), decision)
        elif decision.became is Became.UNKNOWN:
            self._ask_again(attempt, str(answer.no_answer), answer.failure)
        elif decision.became is Became.NOT_STARTED and attempt.no_answer is not None:
            self._submit_later(attempt, attempt.no_answer)
        elif decision.became is Became.NOT_STARTED:
            self._in_turn(attempt)
        else:
            self._acknowledged(attempt)

    def _ask_again(self, attempt: Attempt, words: str, failure: str | None) -> None:
        self._unreachable(attempt, words)
        self._later(attempt, lambda: attempt.thread.call(partial(self._find_again, attempt, failure)))

    def _later(self, attempt: Attempt, task: Callable[[], None]) -> None:
        """Ask a platform again that has given no answer, less often from time to time."""
        attempt.pause = min(attempt.pause * 2, 30.0)
        self._inbox.later(attempt.pause, task)

    # -- one attempt ------------------------------------------------------------------------------------------------

    def _start(self, name: str, *, behind: bool = False) -> None:
        job = self.record.jobs[name]
        number = len(job.attempts) + 1
        folder = attempt_folder(self.record.folder, name, number)
        attempt = self._attempt(job, self.ledger.attempt(job, folder))
        self._live[attempt.record.folder] = attempt
        if behind:
            self._admission.stand_behind(attempt)
        self._begin(attempt)

    def _in_turn(self, attempt: Attempt) -> None:
        """Submit it, as soon as no more than the limit run."""
        if self._admission.exceeded and attempt.planned.name not in self._streams and not attempt.stopping:
            attempt.parked = True
            self._admission.stand_behind(attempt)
        else:
            attempt.thread.call(partial(self._submit, attempt))

    def _attempt(self, job: JobRecord, record: AttemptRecord) -> Attempt:
        adapter = self._adapters[job.name]
        thread = self._threads.get(adapter.key)
        if thread is None:
            if adapter.answers_at_once:
                thread = InlinePlatform(adapter, self._event, self._inbox)
            else:
                thread = PlatformThread(adapter, self._event_posted, self._fail)
            self._threads[adapter.key] = thread
        return Attempt(record, self.plan.jobs[job.name], adapter, thread)

    def _generate(self, job: JobRecord, number: int) -> BaseJob:
        """A job of a new attempt. Raises what its plugin raises, as an AiflowError."""
        return attempt_job(self.plan, self.record, job.name, number)

    def _begin(self, attempt: Attempt) -> None:
        """Generate an attempt's job, ask the extensions, and have it submitted."""
        record = attempt.record
        attempt.job = self._prefetch.take(record.job)
        if attempt.job is not None:
            attempt.prepared = True
            attempt.thread.call(lambda: self._submit(attempt))
            return
        try:
            attempt.job = self._generate(self.record.jobs[record.job], record.number)
        except Exception as error:
            words = said_by(error)
            final = not isinstance(error, UnreachableError)  # generated again, it would say the same
            self._ended(attempt, record.folder, JobState.FAILED, reason=f"refused: {words}", refused=final or None)
            return
        hooks = self.extensions.hooks("before_submit") if self.extensions is not None else ()
        if hooks:
            attempt.asking = True
            ask_before_submit(hooks, attempt.job, limit=self.listeners.limit, inbox=self._inbox,
                              done=partial(self._permitted, attempt))  # fmt: skip
        else:
            attempt.thread.call(lambda: self._submit(attempt))

    def _permitted(self, attempt: Attempt, refusal: str | None) -> None:
        """The extensions have decided: it is submitted, or was refused in these words."""
        if not attempt.asking:
            return  # it was stopped meanwhile
        attempt.asking = False
        if refusal is None:
            attempt.thread.call(lambda: self._submit(attempt))
        else:
            self._ended(attempt, attempt.record.folder, JobState.FAILED, reason=refusal, refused=True)

    def _submit(self, attempt: Attempt) -> None:
        """The write-ahead steps, in the platform's thread: id, intent, resources, start, acknowledgement."""
        job, adapter, record = attempt.job, attempt.adapter, attempt.record
        assert job is not None
        assert job.job_context is not None
        context = job.job_context
        step = "allocate_id"
        try:
            if not self._folder.is_there:
                self.post(lambda: self._break_off(self._folder.gone()))
                return
            if not attempt.prepared:
                supervised.make_attempt_folder(str(context.work_folder))
            if record.native_id is None:
                native_id = context.native_id = context.native_id or adapter.allocate(job)
                if not self._now(lambda: self._intend(attempt, native_id)):  # not in the records: nothing is sent
                    return
            native_id = str(context.native_id)
            step = "generate_job_resource"
            if not attempt.prepared:
                adapter.prepare(job)
            if attempt.stopping:
                self.post(lambda: self._ended(attempt, native_id, JobState.STOPPED, reason="stopped before it started"))
                return
            if not self._now(lambda: self._resources(attempt)):
                return
            attempt.thread.follow(native_id, job)
            step = "submit_job"
            limit = self._admission.limit
            if isinstance(attempt.thread, InlinePlatform) and limit is not None:
                attempt.held = attempt.thread.hold(limit - 1 if attempt.behind else None) and attempt.behind
            handler = adapter.submit(job)
        except Exception as error:
            _log.debug("submission failed", exc_info=True)
            words = f"{step}: {named(error)}" if not isinstance(error, AiflowError) else text_of(error)
            unreachable = isinstance(error, UnreachableError)
            if step == "submit_job":  # it may have been started all the same
                attempt.no_answer = words if unreachable else None
                self._find_again(attempt, None if unreachable else words)
                return
            if unreachable:
                self.post(lambda: self._submit_later(attempt, words))
                return
            self.post(lambda: self._ended(attempt, record.native_id or record.folder, JobState.FAILED, reason=words))
            return
        if handler is None:
            try:
                handler = adapter.attach(job) or AbstractJobHandler()
            except Exception:
                self._find_again(attempt)
                return
        attempt.handler = handler
        attempt.thread.handlers[native_id] = handler
        if attempt.held:
            self._move(attempt, JobState.QUEUED)
        elif not adapter.answers_at_once:  # else the first event acknowledges it
            self.post(lambda: self._acknowledged(attempt))

    def _submit_later(self, attempt: Attempt, words: str) -> None:
        """The platform cannot be reached, and nothing has been started: go on with the first missing step later."""
        if attempt.stopping:
            key = attempt.record.native_id or attempt.record.folder
            self._ended(attempt, key, JobState.STOPPED, reason="stopped before it started")
            return
        self._unreachable(attempt, words)
        self._later(attempt, lambda: attempt.thread.call(partial(self._submit, attempt)))

    def _unreachable(self, attempt: Attempt, words: str) -> None:
        if self.ledger.waits(attempt.record, words, unreachable=True):
            self.listeners.tell_waiting(attempt.record)

    def _reachable(self, attempt: Attempt) -> None:
        if self.ledger.reachable(attempt.record):
            attempt.pause = 0.25
            self.listeners.tell_waiting(attempt.record)

    def _now(self, function: Callable[[], bool]) -> bool:
        """What ``function`` returns, called in the driver's thread; False where the driver has let go."""
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

        def call() -> None:
            answer = False
            try:
                answer = function()
            finally:
                answers.put(answer)

        if threading.get_ident() == self._thread:
            return function()
        self.post(call)
        while True:
            try:
                return answers.get(timeout=0.5)
            except queue.Empty:
                if self._leaving:
                    return False

    def _intend(self, attempt: Attempt, native_id: str) -> bool:
        other = self._live.get(native_id)
        if other is not None and other is not attempt:  # nobody could tell them apart
            of = f"{other.record.job} (attempt {other.record.number})"
            words = f"its plugin gave it the native id of {of}: {native_id}"
            self._ended(attempt, attempt.record.folder, JobState.FAILED, reason=words)
            return False
        self._live[native_id] = self._live.pop(attempt.record.folder)
        self.ledger.move(attempt.record, JobState.SUBMITTING, native_id=native_id)
        if attempt.adapter.answers_at_once:
            return True  # all that is made before the next flush is in the attempt's own folder
        return self._flush(durable=attempt.adapter.outlives_power_loss)

    def _resources(self, attempt: Attempt) -> bool:
        if attempt.no_answer is None:
            self._reachable(attempt)
        self.ledger.note(attempt.record, step="resources")
        if self.ledger.start_intended(attempt.record):
            return self._broken is None
        return self._flush(durable=attempt.adapter.outlives_power_loss)

    def _acknowledged(self, attempt: Attempt) -> None:
        self._reachable(attempt)
        self._move(attempt, JobState.QUEUED, step="acknowledged")
        if attempt.stopping:
            self._stop_one(attempt, attempt.grace)

    def _fail(self, error: BaseException) -> None:
        """A mistake of ours, in a platform's thread: the driver ends with it, and what runs goes on."""

        def raise_it() -> None:
            raise error

        self.post(raise_it)

    def _event_posted(self, event: PlatformEvent) -> None:
        self.post(lambda: self._event(event))

    def _event(self, event: PlatformEvent) -> None:
        attempt = self._live.get(event.native_id)
        if attempt is None:
            return  # late or repeated
        if isinstance(event, Unobservable):
            self._give_up(attempt, event.reason)
            return
        if isinstance(event, Unreachable):
            self._unreachable(attempt, event.reason)
            return
        self._reachable(attempt)
        if isinstance(event, Reachable):
            return
        if attempt.record.step == "resources" and attempt.adapter.answers_at_once:
            self._acknowledged(attempt)
        first = attempt.record.started_at is None
        decision = reconcile(attempt.record, Answer(event), attempt.planned.config.timeout)
        if decision.became is Became.ENDED:
            self._end(attempt, event.native_id, decision)
            return
        if self.ledger.follow(attempt.record, decision):
            self.listeners.tell_waiting(attempt.record)
        if first:
            self._arm(attempt)
        if event.state is JobState.RUNNING:
            self._look_at(self._downstream[attempt.planned.name])

    def _give_up(self, attempt: Attempt, words: str) -> None:
        """An attempt whose end nobody will tell fails; what runs of it is stopped before that."""
        key = str(attempt.record.native_id)

        def stop() -> None:
            self._stop_job(attempt, GRACE)
            self.post(lambda: self._ended(attempt, key, JobState.FAILED, reason=words))

        attempt.stops += 1
        threading.Thread(target=stop, daemon=True, name="aiflow-stop").start()

    def _arm(self, attempt: Attempt) -> None:
        """End a running attempt when its time is up: what it has had under an earlier driver counts."""
        timeout, started = attempt.planned.config.timeout, attempt.record.started_at
        if timeout is not None and started is not None:
            self._inbox.later(timeout - max(0.0, self.ledger.now() - started), lambda: self._timed_out(attempt))

    def _timed_out(self, attempt: Attempt) -> None:
        if not attempt.record.state.ended and not attempt.stopping:
            self.ledger.note(attempt.record, timed_out=True)
            self._stop_one(attempt, GRACE)

    def _ended(self, attempt: Attempt, key: str, state: JobState, **facts: Any) -> None:
        """An attempt ends by the driver's own doing."""
        self._end(attempt, key, end_of(attempt.record, state, timeout=attempt.planned.config.timeout, **facts))

    def _end(self, attempt: Attempt, key: str, decision: Decision) -> None:
        if self._live.pop(key, None) is None:
            return
        attempt.thread.live.discard(key)
        attempt.thread.handlers.pop(key, None)
        following = self._admission.after(attempt)
        if following is not None and following.parked:
            following.parked = False
            following.thread.call(partial(self._submit, following))
        self._settled[attempt.planned.name] = False
        self.ledger.end(attempt.record, decision)
        if (started := attempt.record.started_at) is not None:
            self._jobs_are_short = (attempt.record.ended_at or math.inf) - started <= SHORT_JOB
        if attempt.stops:  # its main process has ended; what else it started may not have
            self._going.add(attempt)
        else:
            self._after_end(attempt, attempt.record.state)

    def _after_end(self, attempt: Attempt, state: JobState) -> None:
        """Clean up after an attempt that has ended, and see whether another follows."""
        name = attempt.planned.name
        stays = attempt.record.stop_requested or self._held or attempt.is_final
        hooks = self.extensions.hooks("should_retry") if self.extensions is not None else ()
        asks = bool(hooks) and not stays and self._retries.open(attempt.record)
        again = None
        if not stays and not asks:
            again = self._retries.delay(self.record.jobs[name], attempt.record, attempt.planned.config)
        self._settled[name] = again is None and not asks
        if attempt.job is not None and attempt.record.native_id is not None and not attempt.record.cleaned:
            self._clean_up(attempt)
        if asks:
            self._retrying.add(name)
            ask_should_retry(hooks, self.record.run_id, attempt.record, limit=self.listeners.limit, inbox=self._inbox,
                             done=partial(self._retry_decided, attempt))  # fmt: skip
        elif again is not None:
            self._retrying.add(name)
            self._inbox.later(again, lambda: self._retry(name))
        else:
            self._after_last(attempt, state)

    def _retry_decided(self, attempt: Attempt, again: float | None) -> None:
        """The extensions have said when another attempt follows, or have left it to the job's config."""
        name = attempt.planned.name
        if name not in self._retrying:
            return  # the run has been stopped meanwhile
        if again is None:
            again = self._retries.delay(self.record.jobs[name], attempt.record, attempt.planned.config)
        if again is not None:
            self._inbox.later(again, lambda: self._retry(name))
        else:
            self._retrying.discard(name)
            self._settled[name] = True
            self._after_last(attempt, attempt.record.state)

    def _after_last(self, attempt: Attempt, state: JobState) -> None:
        """A job has come to its last state: see what follows from it."""
        name = attempt.planned.name
        if self.fail_fast and state in (JobState.FAILED, JobState.LOST) and not (self._held or attempt.is_final):
            self._hold(f"{name} is {state}, and the run was to start nothing after that")
        self._look_at(self._downstream[name])

    def _retry(self, name: str) -> None:
        if name in self._retrying:  # else the run has been stopped meanwhile
            self._retrying.discard(name)
            self._start(name)

    def _clean_up(self, attempt: Attempt) -> None:
        self._cleaning += 1
        if self.ledger.holds(attempt.record):  # its end is in the store before it is cleaned up
            self._unclean.append(attempt)
        else:
            attempt.thread.call(partial(self._clean, attempt))

    def _clean(self, attempt: Attempt) -> None:
        assert attempt.job is not None
        try:
            attempt.adapter.cleanup(attempt.job)
        except UnreachableError as error:
            words = text_of(error)
            self.post(lambda: self._clean_later(attempt, words))
            return
        except Exception as error:  # the next driver tries again, and gc
            _log.warning("cleaning up after %s: %s", attempt.record.native_id, named(error))
            self.post(lambda: self._cleaned(attempt, done=False))
            return
        self.post(lambda: self._cleaned(attempt))

    def _clean_later(self, attempt: Attempt, words: str) -> None:
        if self._at_once:  # the next driver tries again, and gc
            self._cleaned(attempt, done=False)
            return
        if attempt.pause < 1.0:
            _log.warning("cleaning up after %s waits: %s", attempt.record.native_id, words)
        self._later(attempt, lambda: attempt.thread.call(partial(self._clean, attempt)))

    def _cleaned(self, attempt: Attempt, *, done: bool = True) -> None:
        self._cleaning -= 1
        if done:
            self.ledger.note(attempt.record, cleaned=True)

    # -- stopping ---------------------------------------------------------------------------------------------------

    def _stop_all(self, grace: float) -> None:
        self._hurried += 1
        for name in self._retrying:
            if (last := self.record.jobs[name].last) is not None:  # a later driver must not retry it either
                self.ledger.note(last, stop_requested=True)
        self._at_once = self._at_once or grace <= 0
        self._hold(STOPPED_BEFORE)
        for thread in self._threads.values():
            if isinstance(thread, InlinePlatform):
                thread.recall()
        for attempt in list(self._live.values()):
            self._stop_one(attempt, grace)

    def _take_requests(self) -> None:
        for number, what, name, grace in self.ledger.store.asked(self.record.run_id):
            if what == "stop" and name is None:
                self._stop_all(GRACE if grace is None else grace)
            elif what == "stop" and name is not None:
                self._stop_job_named(name, GRACE if grace is None else grace)
            if not self._flush():  # the next driver is asked again
                return
            self.ledger.store.done(number)

    def _stop_job_named(self, name: str, grace: float) -> None:
        self._admission.withdraw(name)
        live = [attempt for attempt in self._live.values() if attempt.planned.name == name]
        for attempt in live:
            self._stop_one(attempt, grace)
        if not live and not self.record.jobs[name].state.ended:
            self._skip(name, JOB_STOPPED_BEFORE)
        if name in self._retrying and (last := self.record.jobs[name].last) is not None:
            self._retrying.discard(name)
            self.ledger.note(last, stop_requested=True)  # a later driver must not retry it either
        self._settled[name] = self._settled[name] or not live
        self._look_at(self._downstream[name])

    def _stop_one(self, attempt: Attempt, grace: float) -> None:
        if not attempt.record.timed_out and not attempt.record.stop_requested:
            self.ledger.note(attempt.record, stop_requested=True)
        attempt.stopping, attempt.grace = True, grace
        if attempt.parked or attempt.asking:
            attempt.asking = False
            key = attempt.record.native_id or attempt.record.folder
            self._ended(attempt, key, JobState.STOPPED, reason="stopped before it started")
            return
        if attempt.handler is None or attempt.record.state.ended:
            return  # not started yet: _submit sees the flag
        self._flush()
        attempt.stops += 1
        threading.Thread(target=self._stop_job, args=(attempt, grace), daemon=True, name="aiflow-stop").start()

    def _stop_job(self, attempt: Attempt, grace: float) -> None:
        try:
            assert attempt.job is not None
            attempt.adapter.stop(attempt.job, attempt.handler, grace)
        except Exception as error:
            _log.debug("stop failed", exc_info=True)
            words = f"stopping failed: {named(error)}"
            self.post(lambda: self.ledger.note(attempt.record, reason=words))
            if isinstance(error, UnreachableError):
                self.post(lambda: self._stop_later(attempt, grace))
        self.post(lambda: self._stop_returned(attempt))

    def _stop_later(self, attempt: Attempt, grace: float) -> None:
        """The platform cannot be reached: it is asked again until the attempt has ended."""

        def again() -> None:
            if not attempt.record.state.ended:
                self._stop_one(attempt, grace)

        self._later(attempt, again)

    def _stop_returned(self, attempt: Attempt) -> None:
        """Now everything that the attempt started is gone, and not only its main process."""
        attempt.stops -= 1
        if not attempt.stops and attempt in self._going:
            self._going.discard(attempt)
            self._after_end(attempt, attempt.record.state)

    def _leave(self) -> None:
        self._hurried += 1
        self._leaving = True

    # -- records ----------------------------------------------------------------------------------------------------

    def _move(self, attempt: Attempt, state: JobState, at: float | None = None, **facts: Any) -> None:
        self.ledger.move(attempt.record, state, at, **facts)

    def _flush(self, *, durable: bool = False) -> bool:
        """Write down what has changed and tell of it; False where it cannot be written. Then the driver lets go: what
        runs goes on, and whoever resumes the run asks what became of it."""
        if self._broken is not None:
            return False
        if not self.ledger.pending:
            return True
        try:
            transitions = self.ledger.flush(durable=durable)
        except StateError as error:
            self._break_off(error)
            return False
        self.listeners.tell(transitions)
        for attempt in self._unclean:
            self._inbox.spare(partial(attempt.thread.call, partial(self._clean, attempt)))
        self._unclean.clear()
        return True

    def _break_off(self, error: StateError) -> None:
        if self._broken is None:
            first, *more = error.problems
            after = f"what runs goes on; take the run up again with: aiflow-ext resume {self.record.run_id}"
            hint = f"{first.hint}; {after}" if first.hint else after
            self._broken = StateError(problems=[Problem(first.message, first.where, hint), *more])
            self._leave()

    def _check_platforms(self) -> None:
        """Before a run's first intent. Later a platform that is away is waited for: its jobs may well be running."""
        intended = any(attempt.native_id is not None for job in self.record.jobs.values() for attempt in job.attempts)
        if intended and not self.had_ended:
            return
        check_platforms(self.plan, self.record, self._adapters)


def _nothing() -> None:
    """What is posted to have the driver look again at what it waits for."""
