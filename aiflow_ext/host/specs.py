"""What a plugin author can implement: each hook says when it is called, with what, its default, what raising means.

The nine of ``JobPluginSpec`` are a job plugin's plain methods, without any decorator. Those of
``OptionalJobPluginSpec`` are optional, on the same object, and taken only where marked with ``@aiflow_ext.hookimpl``.
``ExtensionSpec`` is an extension's.

One attempt of a job goes through: generate, allocate_id, *intent recorded*, generate_job_resource, *resources
recorded*, submit_job, *acknowledged*, (stop_job), *end recorded*, cleanup_job. Nothing has started before *resources
recorded*, so that a driver that died earlier never has to ask the platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

if TYPE_CHECKING:
    from aiflow_ext.model.attempt import AttemptEvent, EndedAttempt, EndedRun, Lookup, Request, Transition
    from aiflow_ext.model.config import BaseJobConfig
    from aiflow_ext.model.errors import Problem
    from aiflow_ext.model.graph import AISubGraph
    from aiflow_ext.model.job import AbstractJobHandler, BaseJob
    from aiflow_ext.model.plugin import AbstractEngine, AbstractPlatform
    from aiflow_ext.model.project import ProjectDesc
    from aiflow_ext.model.states import JobState

F = TypeVar("F", bound=Callable[..., Any])

PROJECT = "aiflow_ext"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


def _spec(function: F) -> F:
    """Mark a hook that one plugin answers: calling it returns that answer, not a list."""
    return hookspec(firstresult=True)(function)


class JobPluginSpec:
    """The nine methods of a job plugin. All are required; write them plainly, or subclass AbstractJobPlugin."""

    @_spec
    def generate(self, sub_graph: AISubGraph, project_desc: ProjectDesc) -> BaseJob:  # type: ignore[empty-body]
        """Make a job of a subgraph.

        When: for each attempt, and for ``render``; before anything is recorded. Must be offline and repeatable: the
        same subgraph gives an equal job, because a driver that comes back generates it again from the stored graph.

        :param sub_graph: the job's nodes, the edges between them, and its config (of your ``job_config_type``).
        :param project_desc: the project's name, root folder, python paths, artifacts URL.
        :return: a job of your ``job_type``. Its ``job_context`` may be bare: the host fills it in.
        Raising: the job cannot be made of these nodes. At render and before a run's first submit it is the workflow
        author's error; name the node. Nothing has been submitted.
        """

    @_spec
    def generate_job_resource(self, job: BaseJob) -> None:
        """Put in place everything that the platform needs to start ``job``: files, archives, objects.

        When: after the attempt's native id is recorded, before submit_job. It may be called again for the same
        attempt after a crash, so it must be repeatable. Nothing may start here.

        :param job: from generate, its ``job_context`` filled in (run, attempt, native id, work folder).
        Raising: the attempt is FAILED and never started; cleanup_job is called.
        """

    @_spec
    def submit_job(self, job: BaseJob) -> AbstractJobHandler:  # type: ignore[empty-body]
        """Start ``job`` under the native id in its context.

        When: once per attempt, after its resources are recorded. A driver that died in between asks ``lookup`` first
        and calls this again only where that proves that nothing started.

        :param job: as in generate_job_resource.
        :return: the job's handler. Without ``lookup`` and ``attach`` it may be None or an AbstractJobHandler that
            overrides nothing, and this may block until the job has ended: returning then means FINISHED.
        Raising: without ``lookup`` and ``attach``, FAILED. With them, the platform is asked by ``lookup`` whether the
        job started all the same; FAILED where it did not. UnreachableError: called again later, so that what may have
        been sent must not start a second job.
        """

    @_spec
    def stop_job(self, job: BaseJob) -> None:
        """End ``job``, which was submitted by this object or, after ``attach``, by an earlier one.

        When: the job is stopped, it times out, or the run fails fast. It may be called twice, before the start and
        after the end; all of these are fine.

        :param job: as in submit_job.
        Order: in an attempt host this comes first, and the handler's own ``stop`` follows; of a durable plugin the
        handler's ``stop`` comes first, and this follows where that cannot stop the job.
        Raising: in an attempt host it is logged, and the handler's own ``stop`` and the end of the process tree follow.
        Of a durable plugin it is the attempt's reason, and it is called again later. UnreachableError: called again.
        """

    @_spec
    def cleanup_job(self, job: BaseJob) -> None:
        """Remove what ``job`` left on the platform. Logs that a user may still want stay.

        When: after the attempt's end is recorded; at least once, so it must be repeatable. It may wait, for a log for
        example. A run that waits for nothing else ends without the cleanups that are left once none has returned for
        ten minutes, and reports that.

        :param job: as in submit_job.
        Raising: logged, and tried again later (``gc``); the attempt's state does not change.
        """

    @_spec
    def job_type(self) -> type[BaseJob]:  # type: ignore[empty-body]
        """The class (not an object) of the jobs that generate returns.

        When: once, as the plugin is resolved. Stored jobs are read back as this class.
        Raising, or returning anything else: the plugin is broken (PluginTypeError).
        """

    @_spec
    def job_config_type(self) -> type[BaseJobConfig]:  # type: ignore[empty-body]
        """The class that a job's config is structured as; its fields are the keys that workflow.yaml may have.

        When: once, as the plugin is resolved.
        Raising, or returning anything else: the plugin is broken (PluginTypeError).
        """

    @_spec
    def platform(self) -> type[AbstractPlatform]:  # type: ignore[empty-body]
        """The class of the platform; its ``platform()`` is the first half of the advertised name.

        When: once, as the plugin is resolved.
        Raising, or returning anything else: the plugin is broken (PluginTypeError).
        """

    @_spec
    def engine(self) -> type[AbstractEngine]:  # type: ignore[empty-body]
        """The class of the engine; its ``engine()`` is the second half of the advertised name.

        When: once, as the plugin is resolved.
        Raising, or returning anything else: the plugin is broken (PluginTypeError).
        """


class OptionalJobPluginSpec:
    """What a job plugin can offer besides the nine. Each is optional, and taken only if marked with ``@hookimpl``.

    A plugin with both ``lookup`` and ``attach`` is *durable*: its jobs live on without the process that submitted
    them. Any other runs inside an attempt host, a supervised process that holds plugin and job to the end.
    """

    @_spec
    def allocate_id(self, job: BaseJob) -> str:  # type: ignore[empty-body]
        """The attempt's native id: its name on the platform, unique there.

        When: after generate, before anything is recorded or sent. It may ask a server; it starts nothing. An id that
        was allocated and never used must do no harm.

        :param job: its context has run, job name and attempt; no native id yet.
        Default: run, job and attempt in at most 52 characters of [a-z0-9-], with a hash where they do not fit.
        Raising: the attempt is FAILED and never started.
        """

    @_spec
    def render(self, job: BaseJob) -> Request:  # type: ignore[empty-body]
        """Exactly what submit_job will send, as pure data.

        When: for ``aiflow-ext render``, offline, and by submit_job itself: what is rendered is what is sent. Secrets
        are their references, a value that a server assigns is ``${server:...}``.

        :param job: its native id may be a placeholder.
        Default: none; ``render`` then shows the job and its config.
        Raising: as in generate.
        """

    @_spec
    def lookup(self, job: BaseJob) -> Lookup:  # type: ignore[empty-body]
        """What the platform knows of an attempt, also of one that another process submitted.

        When: a driver takes an attempt up, after a submit_job that raised, and when the watch says LOST of an attempt
        that was never RUNNING.

        :param job: generated again from the stored graph, in any process; the native id, from allocate_id, is
            ``job.job_context.native_id``. Do not rely on what an earlier call has set on it.
        :return: FOUND; NEVER_STARTED, which needs proof, for the job may then be submitted again; else UNKNOWN. After
            cleanup_job and cleanup_run of a job that was started: FOUND or UNKNOWN.
        Default: UNKNOWN.
        Raising: the platform cannot be reached; asked again later.
        """

    @_spec
    def attach(self, job: BaseJob) -> AbstractJobHandler:  # type: ignore[empty-body]
        """A handler for a job that another process submitted.

        When: ``lookup`` returned FOUND; and when a later command asks for status, logs or a stop.

        :param job: as in lookup.
        Default: none; the plugin is then not durable.
        Raising: the platform cannot be reached; the attempt is shown as unreachable.
        """

    @_spec
    def watch(self, jobs: Mapping[str, BaseJob], since: str | None) -> Iterable[AttemptEvent | None]:  # type: ignore[empty-body]
        """Events of many attempts in one stream: one watch (or poll) for a whole run.

        When: once a run and platform, while attempts are live; again, with the last cursor, after it ends or raises.
        Late, repeated and missing events do no harm.

        :param jobs: native id -> job, of the attempts of this run on this platform that have not ended, whichever of
            its job plugins made them. It changes while it is read, from another thread. Iterating over the native ids,
            ``in`` and ``len`` cost nothing; ``jobs[native_id]`` may have to generate the job: ask for it once an
            attempt, and keep what you need. It raises KeyError once the attempt has ended.
        :param since: the last event's ``cursor``; None at first.
        :return: the events, until there are none left or as long as the iterator is read; it may block until there is
            one, or yield None from time to time. On a platform with ``answers_at_once`` a PollableWatch, which may be a
            StartingWatch (``aiflow_ext.model.watch``).
        Default: none; each handler's ``state`` is then asked from time to time.
        Raising: the platform cannot be reached; called again later with a growing pause.
        """

    @_spec
    def is_ready(self, job: BaseJob) -> bool | str:  # type: ignore[empty-body]
        """Whether a job that serves others can be used by them: what its config's ``ready`` says.

        When: for a STREAM job whose config has ``ready``, from when it is RUNNING until it is ready, with
        ``ready.every`` seconds between two calls; in a thread of its own. The driver counts ``ready.within``. A driver
        that resumes the run calls it again for one that was ready, before it starts another job for it.

        :param job: as in lookup.
        :return: True once it is ready; before that, in words, what is missing.
        Default: none; a config with ``ready`` is refused before the run.
        Raising: as if it were not ready, with that message; called again.
        """

    @_spec
    def cleanup_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        """Remove what was sent once for the whole run (a project archive, a namespace).

        When: every job of the run has ended and been recorded, and again by ``gc``; it must be repeatable.

        :param run_id: the run's id.
        :param jobs: this plugin's jobs of the run, whether they were submitted or not. Each is generated when it is
            asked for, and not kept; ``len`` and slices generate none. Their contexts are those of a first attempt,
            without a native id: an attempt's own things are cleanup_job's.
        Default: nothing to remove.
        Raising: logged, and tried again by ``gc``.
        """

    @_spec
    def remove_run(self, run_id: str, jobs: Sequence[BaseJob]) -> None:
        """Remove what cleanup_job and cleanup_run have left of a run on purpose, because its config asks for that.

        When: by ``gc``, of a run that it removes, after cleanup_run; it must be repeatable.

        :param run_id: the run's id.
        :param jobs: this plugin's jobs of the run, as in cleanup_run.
        Default: nothing to remove.
        Raising: UnreachableError: the run stays, and the next ``gc`` calls it again; anything else is logged.
        """

    @_spec
    def remove_artifacts(self, jobs: Sequence[BaseJob], url: str, folders: Sequence[str]) -> list[str] | None:
        """Remove artifacts at a URL of the platform's own file system, which only its client reaches from here.

        When: by ``gc --artifacts``, of a run that it removes, after cleanup_run; it must be repeatable.

        :param jobs: this plugin's jobs of the run, as in cleanup_run.
        :param url: the run's artifacts.
        :param folders: what to remove, as paths below ``url``: whole folders, which may not exist. The folder ``url``
            itself goes too where nothing else is left in it.
        :return: the names of what is left below ``url``; None: the URL is of another file system, which fsspec is asked
            for.
        Default: None.
        Raising: the run stays, and the next ``gc`` calls it again.
        """

    @_spec
    def check_platform(self, jobs: Sequence[BaseJob]) -> Sequence[Problem]:  # type: ignore[empty-body]
        """What keeps the platform from being used now, each problem with its cure.

        When: once a job plugin, before a run's first intent is recorded, and as a run is resumed. What several plugins
        of a platform say alike is reported once.

        :param jobs: this plugin's jobs of the run that are still to run, as in cleanup_run; change nothing of them.
        :return: no problems: an empty sequence.
        Default: no problems.
        Raising: is itself shown as a problem. Where a run is resumed whose jobs may be running, only an
        AnotherPlatformError (what is reached is not where the run began) keeps it from going on: any other problem is
        waited for.
        """


class ExtensionSpec:
    """What an extension can implement; mark each with ``@hookimpl``.

    Besides these an extension may wrap any of the nine: ``@hookimpl(wrapper=True)`` on a generator function of the
    hook's name. Extensions are imported when a driver starts a run, never by listing, resolving or rendering.
    """

    @hookspec
    def before_submit(self, job: BaseJob) -> None:
        """Look at a job before it is submitted, and possibly refuse it.

        When: for each attempt, after generate, before its intent is recorded. In a thread of its own, for several jobs
        at once; one extension after the other, until the first refusal.

        :param job: as the plugin generated it, its context filled in except for the native id. Change nothing of it.
        Raising, whatever it is, or not answering within the project's ``extensions.timeout``: refuses the job. It is
        FAILED with that reason, for good: nothing was sent, no retry follows, should_retry is not asked.
        """

    @hookspec
    def on_transition(self, event: Transition) -> None:
        """React to a change of the state of a job, or of an attempt of it.

        When: after the change is recorded; at least once for each, in order, with the run's sequence number. Beside the
        run, in one thread for each extension: it does not wait. Only the run's end waits for extensions that are
        behind, for ``extensions.timeout`` at most; the next driver of the run (``resume``) delivers the rest.

        :param event: the record of the change, frozen.
        Raising: logged; it never fails a job, and the other extensions are still called.
        """

    @hookspec
    def on_run_end(self, run: EndedRun) -> None:
        """React to the end of a run, with the record of all its jobs and attempts.

        When: after the end is recorded; at least once for each end: a run that is resumed ends again. In a thread of
        its own, after ``on_transition`` has received everything. The driver waits for it as for that.

        :param run: the run as it ended, frozen.
        Raising, or not returning in time: logged and shown by ``status``; ``aiflow-ext resume RUN`` calls it again.
        """

    @_spec
    def should_retry(self, attempt: EndedAttempt, outcome: JobState) -> float | None:
        """Decide that an ended attempt is tried again.

        When: an attempt has ended as FAILED or LOST, before its config's own retries are looked at; not where the
        platform disrupted it, an extension refused it, or it was stopped. In a thread of its own, for several
        attempts at once.

        :param attempt: the attempt as it ended, frozen.
        :param outcome: FAILED or LOST.
        :return: seconds to wait before the next attempt; None leaves it to others, and at last to the config's
            retries. The first number given counts.
        Raising, or not answering within ``extensions.timeout``: logged, and taken as None.
        """


def _arguments(spec: type[Any]) -> dict[str, tuple[str, ...]]:
    """Hook name -> its argument names, in the specification's order."""
    found = {}
    for name, function in vars(spec).items():
        if not name.startswith("_"):
            code = function.__code__
            found[name] = code.co_varnames[1 : code.co_argcount]
    return found


NINE = _arguments(JobPluginSpec)
OPTIONAL = _arguments(OptionalJobPluginSpec)
# Hooks whose answer is gone through, so that they may yield it.
MANY = frozenset(
    name for name in OPTIONAL
    if vars(OptionalJobPluginSpec)[name].__annotations__["return"].startswith(("Iterable[", "Sequence["))
)  # fmt: skip
EXTENSION = _arguments(ExtensionSpec)
