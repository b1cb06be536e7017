"""Which jobs may start, which wait for others or for their next attempt, and which never start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.run.driving.admission import AdmissionQueue
from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.driving.order import decide, waits_for_failure
from aiflow_ext.run.driving.room import Room
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.planning.serving import users_of
from aiflow_ext.run.store.ledger import JOB_STOPPED_BEFORE, Ledger


class Scheduler:
    """The jobs of one run.

    Args:
        plan: its jobs, and what each waits for.
        ledger: of the run.
        pools: by job, the pool that its slots are from.
        limits: by pool, how many attempts run at once, those of STREAM jobs not counted; no limit if it is missing.
        live: the attempts that have not ended.
        room: what these leave of the machine.

    Attributes:
        admission: the jobs that may start, and how many attempts may run.
        waiting: jobs whose first attempt has neither been made nor ruled out.
        settled: by job, whether its state is final: no attempt follows.
        retrying: jobs whose next attempt waits for its delay, for the extensions' decision, or in ``due``.
        due: of these, the jobs whose next attempt starts as soon as there is room for it, whatever else runs.
        unneeded: the jobs that have served others, of which the last one that needs them has ended.
        unserved: the jobs in ``retrying`` that need a job which serves no more.
        closed: whether nothing more may start.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        pools: Mapping[str, str],
        limits: Mapping[str, int],
        live: Mapping[str, Attempt],
        room: Room,
    ) -> None:
        self._plan, self._ledger, self._room = plan, ledger, room
        self._modes = {name: planned.config.exec_mode for name, planned in plan.jobs.items()}
        streams = {name for name, mode in self._modes.items() if mode is ExecutionMode.STREAM}
        self.admission = AdmissionQueue(pools, streams, limits, live, room)
        self.waiting = set(plan.jobs)
        self.settled = dict.fromkeys(plan.jobs, False)
        self.retrying: set[str] = set()
        self.due: list[str] = []
        self.closed = False
        self.unneeded: list[str] = []
        self.unserved: list[str] = []
        self._users = users_of(plan.jobs)  # by job that serves others, those that need it and are not settled
        self._serving = {user: [name for name, users in self._users.items() if user in users]
                         for user in set().union(*self._users.values())}  # fmt: skip
        self._ready = dict.fromkeys(self._users, False)  # as this driver has seen it: an earlier one's word is old
        self._downstream: dict[str, list[str]] = {name: [] for name in plan.jobs}
        for name, planned in plan.jobs.items():
            for edge in planned.edges:
                self._downstream[edge.source].append(name)

    @property
    def has_jobs(self) -> bool:
        """Whether a job may still start."""
        return bool(self.waiting or self.admission.first or self.retrying)

    def look_at(self, jobs: Iterable[str]) -> None:
        """Check whether these waiting jobs may start now, or never will; and then the jobs that wait for the latter."""
        names = list(jobs)
        while names:
            name = names.pop()
            if name not in self.waiting:
                continue
            answer = decide(self._plan.jobs[name].edges, self._ledger.record.jobs, self._modes, self.settled,
                            self._ready)  # fmt: skip
            if answer is True:
                self.waiting.discard(name)
                self.admission.add(name)
            elif isinstance(answer, str):
                self.skip(name, answer)
                names += self._downstream[name]

    def look_after(self, job: str) -> None:
        """Check the jobs that wait for ``job``, whose state has changed."""
        self.look_at(self._downstream[job])

    def is_ready(self, job: str) -> bool:
        """Whether a job that others need is ready."""
        return self._ready.get(job, False)

    def serves(self, job: str) -> None:
        """Note that a job is ready to serve others."""
        self._ready[job] = True
        self.look_after(job)

    def serves_no_more(self, job: str) -> None:
        """Note that a job is being ended, or has ended: those that need it and have not started wait again."""
        if self.is_ready(job):
            self._ready[job] = False
            self.waiting.update(self.admission.withdraw(*self._users.get(job, ())))

    def gets_another(self, job: str) -> bool:
        """Whether a job may have another attempt: not if it served others and none needs it any more, and not if a job
        that it needs serves no more."""
        if job in self._users and not self._users[job]:
            return False
        return all(self._ready[name] or not self.settled[name] for name in self._serving.get(job, ()))

    def skip(self, job: str, reason: str) -> None:
        """Skip a job, for this reason."""
        self.waiting.discard(job)
        self._ledger.skip(self._ledger.record.jobs[job], reason)
        self.settle(job)

    def settle(self, job: str) -> None:
        """Note that a job's state is final; the jobs that have served it may be needed no more."""
        self.settled[job] = True
        for name in self._serving.get(job, ()):
            users = self._users[name]
            users.discard(job)
            if not users:
                self.unneeded.append(name)
        if job in self._users:
            self.unserved += self._users[job] & self.retrying

    def close(self, reason: str, *, failed: bool = False) -> None:
        """Start nothing more; jobs without an attempt are skipped for this reason. ``failed``: but for those that wait
        for a failure."""
        self.closed = True
        for name in self.admission.withdraw_all() + self.admission.in_order(self.waiting):
            if failed and waits_for_failure(self._plan.jobs[name].edges):
                self.waiting.add(name)
            else:
                self.skip(name, reason)
        self.look_at([*self.waiting])
        for name in self.retrying:
            self.settle(name)
        self.retrying.clear()
        self.due.clear()

    def withdraw(self, job: str, *, runs: bool) -> None:
        """Start no attempt of this job any more; ``runs``: one of it has not ended yet."""
        record = self._ledger.record.jobs[job]
        self.admission.withdraw(job)
        if not runs and not record.state.ended:
            self.skip(job, JOB_STOPPED_BEFORE)
        if self.forget_retry(job) and record.last is not None:
            self._ledger.note(record.last, stop_requested=True)  # a later driver must not retry it either
        if not runs:
            self.settle(job)
        self.look_after(job)

    def forget_retry(self, job: str) -> bool:
        """Make no other attempt of a job; returns False if none was to follow."""
        if job not in self.retrying:
            return False
        self.retrying.discard(job)
        self.due = [each for each in self.due if each != job]
        return True

    def retry(self, job: str) -> None:
        """Start the job's next attempt, which is due, unless the run was stopped meanwhile."""
        if job in self.retrying:
            self.due.append(job)

    def take_due(self) -> str | None:
        """Remove and return the next job whose next attempt is due and has room; None if there is none."""
        first = True  # of those that ask for something: the others wait behind it
        for job in self.due:
            if not all(map(self.is_ready, self._serving.get(job, ()))):
                continue
            asks = self._room.asks(job)
            if not asks or (first and self._room.has(job)):
                self.due.remove(job)
                self.retrying.discard(job)
                return job
            first = False
        return None
