"""Submits an attempt, write-ahead, and finds out whether an attempt in doubt was started."""

from __future__ import annotations

import logging
from functools import partial

from aiflow_ext.model.attempt import Lookup
from aiflow_ext.model.errors import AiflowError, StateError, UnreachableError, named, text_of
from aiflow_ext.model.job import AbstractJobHandler
from aiflow_ext.model.states import JobState
from aiflow_ext.run.driving.admission import AdmissionQueue
from aiflow_ext.run.driving.attempt import Attempt, Phase
from aiflow_ext.run.driving.ends import Ends
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.state import DriverState
from aiflow_ext.run.driving.stopping import Stopping
from aiflow_ext.run.platforms import supervised
from aiflow_ext.run.store.reconcile import Answer, Became, Decision, reconcile
from aiflow_ext.supervise.launch import JournalError

_log = logging.getLogger("aiflow_ext")


class Submission:
    """Submits attempts: allocate_id, *intent committed*, generate_job_resource, *resources committed*, submit_job,
    *acknowledged*.

    ``submit`` and ``look_up`` run in a thread of the platform, those of one attempt one after another; the driver's
    thread changes the records for them. A platform that answers at once has no threads of its own: both run in the
    driver's.
    """

    def __init__(self, state: DriverState, admission: AdmissionQueue, ends: Ends, stopping: Stopping) -> None:
        self._state, self._admission, self._ends, self._stopping = state, admission, ends, stopping

    def submit_with_slot(self, attempt: Attempt) -> None:
        """Submit an attempt of an earlier driver, as soon as no more than the limit run."""
        if self._admission.must_wait(attempt) and attempt.stop_grace is None:
            attempt.enter(Phase.WAITING)
            self._admission.queue(attempt, partial(self._take_slot, attempt))
        else:
            attempt.enter(Phase.SUBMITTING)
            attempt.platform.call(attempt, partial(self.submit, attempt))

    def _take_slot(self, attempt: Attempt) -> None:
        if attempt.phase is Phase.WAITING:
            attempt.enter(Phase.SUBMITTING)
            attempt.platform.call(attempt, partial(self.submit, attempt))

    def submit(self, attempt: Attempt, *, prepared: bool = False) -> None:
        """Take the write-ahead steps, from the first one that is not recorded; ``prepared``: the resources exist
        already."""
        state, job, adapter, record = self._state, attempt.job, attempt.adapter, attempt.record
        assert job is not None
        assert job.job_context is not None
        context = job.job_context
        step = "allocate_id"
        queued = False  # whether its platform holds it without a slot, and starts it when another one has ended
        try:
            if not state.folder.is_there:
                state.post(lambda: state.committer.break_off(state.folder.gone()))
                return
            if not prepared:
                supervised.make_attempt_folder(str(context.work_folder))
            if record.native_id is None:
                allocated = context.native_id = context.native_id or adapter.allocate(job)
                if not state.call(lambda: self._commit_intent(attempt, allocated)):
                    return  # it is not in the store: nothing is sent
            native_id = str(context.native_id)
            step = "generate_job_resource"
            if not prepared:
                adapter.prepare(job)
            if attempt.stop_grace is not None:
                state.post(lambda: self._stopping.end_unstarted(attempt))
                return
            if not state.call(lambda: self._commit_resources(attempt)):
                return
            attempt.platform.follow(native_id, job)
            step = "submit_job"
            limit = self._admission.limit_for(attempt)
            if isinstance(attempt.platform, InlinePlatform) and limit is not None:
                has_slot = self._admission.has_slot(attempt)
                queued = attempt.platform.hold(None if has_slot else limit - 1) and not has_slot
            handler = adapter.submit(job)
        except Exception as error:
            _log.debug("submission failed", exc_info=True)
            words = f"{step}: {named(error)}" if not isinstance(error, AiflowError) else text_of(error)
            if supervised.no_room(error):  # no job can be started any more, and none of them is to blame
                full = StateError(f"job {record.job} cannot be started: {words}", where=record.folder,
                                  hint="make room on this machine's disk")  # fmt: skip
                state.post(lambda: state.committer.break_off(full))
                return
            unreachable = isinstance(error, UnreachableError)
            if step == "submit_job":  # it may have been started all the same
                attempt.no_answer = words if unreachable else None
                self.look_up(attempt, None if unreachable else words)
            elif unreachable:
                state.post(lambda: self._submit_later(attempt, words))
            else:
                state.post(lambda: self._ends.end_as(attempt, JobState.FAILED, reason=words))
            return
        if handler is None:
            try:
                handler = adapter.attach(job) or AbstractJobHandler()
            except Exception:
                self.look_up(attempt)
                return
        attempt.handler = handler
        attempt.platform.handlers[native_id] = handler
        if queued:
            state.ledger.move(record, JobState.QUEUED)
        elif not adapter.answers_at_once:  # else its first event acknowledges it
            state.post(lambda: self.acknowledge(attempt))

    def _commit_intent(self, attempt: Attempt, native_id: str) -> bool:
        """Commit the intent; in the driver's thread, like the following methods except ``look_up``."""
        state, record = self._state, attempt.record
        other = state.live.get(native_id)
        if other is not None and other is not attempt:  # they could not be distinguished
            of = f"{other.record.job} (attempt {other.record.number})"
            words = f"its plugin gave it the native id of {of}: {native_id}"
            self._ends.end_as(attempt, JobState.FAILED, reason=words)
            return False
        state.live[native_id] = state.live.pop(record.folder)
        state.ledger.move(record, JobState.SUBMITTING, native_id=native_id)
        if attempt.adapter.answers_at_once:
            return True  # until the next flush, files are only made in the attempt's own folder
        return state.committer.flush(durable=attempt.adapter.outlives_power_loss)

    def _commit_resources(self, attempt: Attempt) -> bool:
        state = self._state
        if attempt.has_ended:
            return False
        if attempt.no_answer is None:
            state.reachable(attempt)
        state.ledger.note(attempt.record, step="resources")
        if state.ledger.start_intended(attempt.record):
            return state.committer.broken is None
        return state.committer.flush(durable=attempt.adapter.outlives_power_loss)

    def acknowledge(self, attempt: Attempt) -> None:
        """Record that the platform has the attempt."""
        if attempt.has_ended:
            return
        attempt.enter(Phase.SUBMITTED)
        attempt.no_answer = None
        self._state.reachable(attempt)
        if not self._state.ledger.move(attempt.record, JobState.QUEUED, step="acknowledged"):
            self._state.ledger.note(attempt.record)  # it was QUEUED, or runs already
        if attempt.stop_grace is not None and not attempt.stops:  # else it is being stopped already
            self._stopping.end(attempt, attempt.stop_grace)

    def _submit_later(self, attempt: Attempt, words: str) -> None:
        """Continue later with the first missing step: the platform does not answer, and nothing was started."""
        if attempt.phase is Phase.SUBMITTED or attempt.has_ended:  # the watch was quicker
            return
        if attempt.stop_grace is not None:
            self._stopping.end_unstarted(attempt)
            return
        attempt.enter(Phase.SUBMITTING)
        self._state.unreachable(attempt, words)
        self._state.ask_later(attempt, lambda: attempt.platform.call(attempt, partial(self.submit, attempt)))

    def look_up(self, attempt: Attempt, failure: str | None = None, *, lost: Decision | None = None) -> None:
        """Find out what became of an attempt that may have been started; in a thread of the platform.

        Args:
            attempt: the attempt.
            failure: what this driver's own call of ``submit_job`` raised, which is not repeated.
            lost: the end that its watch reports: it stays the end unless the attempt never started.
        """
        if attempt.has_ended:  # the watch was quicker
            return
        assert attempt.job is not None
        try:
            answer = Answer(lookup=attempt.adapter.lookup(attempt.job), failure=failure)
            if answer.lookup is Lookup.FOUND and lost is None:
                attempt.handler = attempt.adapter.attach(attempt.job) or AbstractJobHandler()
        except JournalError as error:
            why = error
            self._state.post(lambda: self._state.committer.break_off(why))
            return
        except Exception as error:
            _log.debug("no answer", exc_info=True)
            answer = Answer(no_answer=f"no answer from the platform: {named(error)}", failure=failure)
        if attempt.handler is not None and answer.lookup is Lookup.FOUND and lost is None:
            native_id = str(attempt.record.native_id)
            attempt.platform.handlers[native_id] = attempt.handler
            attempt.platform.follow(native_id, attempt.job)
        self._state.post(lambda: self._looked_up(attempt, answer, lost))

    def _looked_up(self, attempt: Attempt, answer: Answer, lost: Decision | None) -> None:
        """Handle the platform's answer about an attempt, or that there was none."""
        if attempt.has_ended:  # the watch was quicker
            return
        decision = reconcile(attempt.record, answer, attempt.planned.config.timeout)
        lost, attempt.lost = lost or attempt.lost, None
        if lost is not None and decision.became in (Became.ENDED, Became.GOES_ON):
            self._ends.end(attempt, lost)
        elif decision.became is Became.ENDED:
            self._ends.end(attempt, decision)
        elif decision.became is Became.UNKNOWN:
            if attempt.phase is Phase.SUBMITTING:
                attempt.enter(Phase.LOOKING_UP)
            self._state.unreachable(attempt, str(answer.no_answer))
            again = partial(self.look_up, attempt, answer.failure, lost=lost)
            self._state.ask_later(attempt, lambda: attempt.platform.call(attempt, again))
        elif decision.became is Became.GOES_ON:
            self.acknowledge(attempt)
        elif attempt.no_answer is not None:
            self._submit_later(attempt, attempt.no_answer)
        else:
            self.submit_with_slot(attempt)
