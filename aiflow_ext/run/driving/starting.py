"""Starts an attempt: makes its record and its job, calls ``before_submit``, and passes it on to its submission."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from aiflow_ext.model.errors import UnreachableError, said_by
from aiflow_ext.model.states import JobState
from aiflow_ext.run.driving.admission import AdmissionQueue
from aiflow_ext.run.driving.attempt import Attempt, Phase
from aiflow_ext.run.driving.ends import Ends
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.prefetch import Prefetch
from aiflow_ext.run.driving.state import DriverState
from aiflow_ext.run.driving.submission import Submission
from aiflow_ext.run.planning.attempt_job import attempt_job
from aiflow_ext.run.planning.plan import attempt_folder
from aiflow_ext.run.platforms.platform_events import PlatformEvent
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.reconcile import asked
from aiflow_ext.run.store.records import AttemptRecord, JobRecord

if TYPE_CHECKING:
    from aiflow_ext.run.driving.platform_thread import PlatformThread


class Starting:
    """Starts attempts.

    Args:
        state, admission, ends, submission: of the driver.
        prefetch: jobs that were generated before they have a slot.
        tell: called in the driver's thread with each event of the platforms.
    """

    def __init__(
        self,
        state: DriverState,
        admission: AdmissionQueue,
        ends: Ends,
        submission: Submission,
        prefetch: Prefetch,
        tell: Callable[[PlatformEvent], None],
    ) -> None:
        self._state, self._admission, self._ends, self._submission = state, admission, ends, submission
        self._prefetch, self._tell = prefetch, tell

    def start(self, name: str, *, without_slot: bool = False) -> None:
        """Begin the next attempt of a job; ``without_slot``: its platform is to start it when another one has ended."""
        job = self._state.record.jobs[name]
        folder = attempt_folder(self._state.record.folder, name, len(job.attempts) + 1)
        attempt = self.attempt(job, self._state.ledger.attempt(job, folder, self._admission.gpus_for(name)))
        self._state.live[attempt.key] = attempt
        if without_slot:
            self._admission.queue(attempt)
        self.begin(attempt)

    def attempt(self, job: JobRecord, record: AttemptRecord) -> Attempt:
        """The driver's object of an attempt, made from its record."""
        adapter = self._state.adapters[job.name]
        return Attempt(record, self._state.plan.jobs[job.name], adapter, self._platform(adapter))

    def _platform(self, adapter: PluginAdapter) -> PlatformThread | InlinePlatform:
        platforms = self._state.platforms
        platform = platforms.get(adapter.key)
        if platform is None:
            if adapter.answers_at_once:
                platform = InlinePlatform(adapter, self._tell, self._state.inbox)
            else:
                from aiflow_ext.run.driving.platform_thread import PlatformThread

                platform = PlatformThread(adapter, self._post_event, self._post_error)
            platforms[adapter.key] = platform
        return platform

    def _post_event(self, event: PlatformEvent) -> None:
        self._state.post(lambda: self._tell(event))

    def _post_error(self, error: BaseException) -> None:
        """Report a defect in a platform's thread: the driver ends with it, and jobs go on."""

        def raise_it() -> None:
            raise error

        self._state.post(raise_it)

    def begin(self, attempt: Attempt) -> None:
        """Generate an attempt's job, ask the extensions, and submit it."""
        record = attempt.record
        attempt.job = self._prefetch.take(record.job)
        if attempt.job is not None:
            self._submit(attempt, prepared=True)
            return
        try:
            attempt.job = attempt_job(self._state.plan, self._state.record, record.job, record.number)
        except Exception as error:
            words = said_by(error)
            final = not isinstance(error, UnreachableError)  # generating it again would fail the same way
            self._ends.end_as(attempt, JobState.FAILED, reason=f"refused: {words}", refused=final or None)
            return
        hooks = self._state.hooks("before_submit")
        if hooks:
            from aiflow_ext.run.driving.deciding import ask_before_submit

            attempt.enter(Phase.DECIDING)
            ask_before_submit(hooks, attempt.job, limit=self._state.listeners.limit, inbox=self._state.inbox,
                              done=partial(self._decided, attempt))  # fmt: skip
        else:
            self._submit(attempt)

    def _decided(self, attempt: Attempt, refusal: str | None) -> None:
        """Take the extensions' decision: submit the attempt, or end it with this refusal."""
        if attempt.phase is not Phase.DECIDING:
            return  # it was stopped meanwhile
        if refusal is None:
            self._submit(attempt)
        else:
            self._ends.end_as(attempt, JobState.FAILED, reason=refusal, refused=True)

    def _submit(self, attempt: Attempt, *, prepared: bool = False) -> None:
        attempt.record.learn(**asked(attempt.job.job_config if attempt.job is not None else None))
        attempt.enter(Phase.SUBMITTING)
        attempt.platform.call(attempt, partial(self._submission.submit, attempt, prepared=prepared))
