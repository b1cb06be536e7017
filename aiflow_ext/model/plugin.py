"""The classes that a plugin author writes: platform, engine, job plugin (by the seed's names), source of secrets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.job import AbstractJobHandler, BaseJob, JobContext
from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.model.project import ProjectDesc

if TYPE_CHECKING:
    from aiflow_ext.model.in_process import InProcessJob
    from aiflow_ext.model.resources import Resources


class AbstractPlatform(Jsonable):
    """Where a job runs. Subclass it, give it its name, and set its class attributes where the defaults are wrong."""

    outlives_power_loss: ClassVar[bool] = True
    """Whether a job on it may go on when the client's machine loses its power.

    If so, what is to be sent there is on the client's disk before it is sent.
    """

    answers_at_once: ClassVar[bool] = False
    """Whether all calls of its plugins but a stop return within milliseconds, without a network in between.

    Then ``generate_job_resource`` must leave nothing outside the run's folder, and ``watch`` must return a
    :class:`~aiflow_ext.model.watch.PollableWatch`. The driver makes the calls without threads, records intent and
    resources at once, also of attempts that have no slot yet, and takes an attempt's first event for the
    acknowledgement of its start. None of this applies to a plugin without ``watch``, or while an extension wraps one of
    the nine methods.
    """

    calls_at_once: ClassVar[int] = 1
    """How many calls of its plugins a driver makes at once, each in a thread of its own.

    They are of different attempts: the calls of one attempt are made one after another, except a stop, which may come
    at any time. At most half of them are of ``cleanup_job``, which may wait for a node or a log, so that it does not
    hold up submissions. More than 1 only where all plugins of the platform, and what they share (connections, caches),
    are safe to use from several threads. 1 applies to a plugin without ``lookup`` or ``attach``, and while an extension
    wraps one of the nine methods. ``watch`` and stops have always their own threads.
    """

    jobs_at_once: ClassVar[int | None] = None
    """How many of its jobs run at once in a run, unless project.yaml or ``--jobs`` says otherwise.

    None: as many as the client's machine has processors, which is right where jobs are processes of that machine.
    """

    resources: ClassVar[Collection[str]] = ()
    """Which of the common keys ``cpu``, ``memory`` and ``gpu`` its jobs are given.

    A job that says one of the others is refused before the run, unless its config type has a parameter of that name.
    """

    @staticmethod
    def platform() -> str:
        """The platform's name, as workflow.yaml says it."""
        raise NotImplementedError("a platform must say its name: def platform() -> str")

    @classmethod
    def permissions(cls, jobs: Iterable[BaseJob]) -> str | None:
        """The least that a user must be allowed for running ``jobs``, as text for the platform's administrator.

        For ``aiflow-ext render --rbac``; offline. None: the platform knows no permissions.
        """
        return None

    @classmethod
    def capacity(cls) -> Resources | None:
        """What its jobs share on the client's machine, where they are processes of that machine.

        The driver starts a job that says ``cpu``, ``memory`` or ``gpu`` once these fit beside what the run's other jobs
        there say; a job that is larger than the whole is refused before the run. None: the platform itself lets jobs
        wait until they fit, as clusters do. ``gpu`` is not needed: it is how many ``gpus()`` names.
        """
        return None

    @classmethod
    def gpus(cls) -> Sequence[str]:
        """The GPUs of the client's machine that the driver hands out to its jobs, as CUDA_VISIBLE_DEVICES names them.

        Each attempt gets as many as its config's ``gpu``, in ``job.job_context.gpus``, for itself until its end. Called
        where ``capacity()`` is not None and a job says ``gpu``.
        """
        return ()


class AbstractEngine(Jsonable):
    """What kind of job it is. Subclass it and give it its name."""

    @staticmethod
    def engine() -> str:
        """The engine's name, as workflow.yaml says it."""
        raise NotImplementedError("an engine must say its name: def engine() -> str")

    @classmethod
    def in_process(cls, sub_graph: AISubGraph, project_desc: ProjectDesc) -> InProcessJob | None:
        """The job of a subgraph as one that runs in the client's process, for ``run --in-process``; offline.

        None, the default: jobs of this engine cannot. Raises CodeError for nodes or commands that cannot run.
        """
        return None


class AbstractSecretSource(ABC):
    """Where secrets are kept: what ``{secret: "NAME:REST"}`` under ``env`` leads to.

    Advertised under ``aiflow_ext.secret_sources`` as NAME. Only references are stored and shown.

    Attributes:
        platforms: names of the platforms that give the value to their jobs themselves, so that it never comes to the
            client's machine. ``read`` is not called, and only jobs whose plugin hands the reference on may name this
            source (``AbstractJobPlugin.secret_sources``). None, the default: the client reads it, for jobs of every
            platform.
    """

    platforms: ClassVar[Collection[str] | None] = None

    def problem(self, rest: str) -> str | None:
        """What is wrong with REST, as the end of a sentence about it; None: nothing. Offline, without reading it."""
        return None

    @abstractmethod
    def read(self, rest: str) -> str:
        """The value that REST leads to, read on the client's machine.

        When: before a run, a resume, ``render`` and ``schedule``, possibly several times, so that a missing one is
        reported before anything starts; and in ``submit_job``. From several threads, by one of them at a time.
        Raising: SecretError, or any other exception: the secret cannot be read, in its words. UnreachableError: the
        source gives no answer; before a run that is an error, later the attempt is submitted again, with pauses.
        """


class AbstractJobEnvironment(ABC):
    """Adds variables to the environment of jobs, on every platform: the ids of a trace, for example.

    Advertised under ``aiflow_ext.job_environments``. What ``variables`` returns is rendered and sent like the key
    ``env`` of a job's config, which has precedence.
    """

    @abstractmethod
    def variables(self, context: JobContext, traceparent: str | None) -> Mapping[str, str]:
        """The variables of one attempt. No secrets: they are shown by ``render``.

        When: whenever the attempt's job is generated, in any process: for ``render``, for its start, and again by a
        driver that comes back. Offline, quick, and repeatable: the same attempt gets the same variables.

        :param context: which attempt of which job in which run; no native id yet. For ``render`` the run's id is
            ``${run}``.
        :param traceparent: the variable TRACEPARENT of the process that has started the run; None: it had none.
        :return: text by name. Names that begin with ``AIFLOW_``, and what no environment can hold, are left out with a
            warning.
        Raising: logged; the job goes without these variables.
        """


class AbstractJobGenerator(ABC):
    """Makes a job of a subgraph. When each method is called and what raising means: ``aiflow_ext.host.specs``."""

    @abstractmethod
    def generate(self, sub_graph: AISubGraph, project_desc: ProjectDesc) -> BaseJob:
        """A new job for ``sub_graph``. Offline and repeatable: it starts nothing and sends nothing.

        Args:
            sub_graph: the job's nodes, and its config of the type ``job_config_type()``.
            project_desc: the project's folder, python paths and artifacts URL.
        """

    @abstractmethod
    def generate_job_resource(self, job: BaseJob) -> None:
        """Everything that the platform needs to start ``job``: files, archives, objects. Nothing is started."""


class AbstractJobSubmitter(ABC):
    """Starts, stops and cleans up after jobs."""

    @abstractmethod
    def submit_job(self, job: BaseJob) -> AbstractJobHandler:
        """Start ``job`` and return its handler."""

    @abstractmethod
    def stop_job(self, job: BaseJob) -> None:
        """End ``job``, which this object submitted. Twice, before the start and after the end are all fine."""

    @abstractmethod
    def cleanup_job(self, job: BaseJob) -> None:
        """Remove what ``job`` left on the platform. Called after its end, at least once."""


class AbstractJobPlugin(AbstractJobGenerator, AbstractJobSubmitter):
    """Runs the jobs of one engine on one platform: nine methods, of which the last four return types."""

    secret_sources: ClassVar[Collection[str]] = ()
    """Names of the secret sources that the client cannot read and whose references ``submit_job`` hands on, so that the
    platform gives the values to the job. A job that names another such source is refused before the run."""

    @abstractmethod
    def job_type(self) -> type[BaseJob]:
        """The class of the jobs that ``generate`` returns."""

    @abstractmethod
    def job_config_type(self) -> type[BaseJobConfig]:
        """The class that a job's config is structured as."""

    @abstractmethod
    def platform(self) -> type[AbstractPlatform]:
        """The class of the platform."""

    @abstractmethod
    def engine(self) -> type[AbstractEngine]:
        """The class of the engine."""
