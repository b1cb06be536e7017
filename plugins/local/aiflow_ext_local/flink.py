"""Job plugin ``local.flink``: a Flink cluster for each job, as processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiflow_ext.plugin as af
from aiflow_ext.plugin import PlatformError, Problem, secrets, supervised
from aiflow_ext.plugin.engines import Bundle, build_bundle
from aiflow_ext_flink import session
from aiflow_ext_flink.config import FlinkKeys
from aiflow_ext_flink.configuration import configuration, stop_mode
from aiflow_ext_flink.engine import FlinkEngine
from aiflow_ext_flink.home import VERSION, flink_home, jar_of, java, minor, version_of
from aiflow_ext_flink.ids import earlier_ids, flink_id
from aiflow_ext_flink.program import DRIVERS, Program, is_url, path_of, program_of, slot_problems
from aiflow_ext_flink.rest import FlinkRest
from aiflow_ext_flink.savepoint import wrong_with
from aiflow_ext_local import flink_run
from aiflow_ext_local.flink_attempt import ask_to_stop, refused_to_stop
from aiflow_ext_local.jobs import LocalJob, LocalJobConfig, LocalJobPlugin, interpreter
from aiflow_ext_local.machine import output_of

_PYTHONS = ((3, 9), (3, 12))  # which PyFlink has wheels for


class LocalFlinkJobConfig(FlinkKeys, LocalJobConfig):
    """The keys of a flink job on this machine.

    ``restore_from: latest`` is the newest savepoint or checkpoint in the folders ``savepoints`` and ``checkpoints``;
    the job begins without one where there is none yet.
    """


class LocalFlinkJob(LocalJob):
    """A Flink program that runs in a cluster of its own, as processes of this machine."""

    def __init__(self, job_config: af.BaseJobConfig, bundle: Bundle, program: Program) -> None:
        super().__init__(job_config, bundle)
        self.program = program


class FlinkHandler(supervised.ProcessHandler):
    """The handler of a flink job.

    Args:
        native_id: the attempt's.
        saves: whether stopping it takes a savepoint.
        session: ``host:port`` of the session cluster that it runs in; None for a cluster of its own.
        flink_id: the attempt's id at Flink.
    """

    def __init__(self, native_id: str, saves: bool, session: str | None = None, flink_id: str = "") -> None:
        super().__init__(native_id)
        self.saves, self.session, self.flink_id = saves, session, flink_id

    def stop(self, grace: float = 10.0) -> bool | None:
        """Stop the job, by a savepoint where that was asked for: however long it takes, unless ``grace`` is 0.

        Raises PlatformError where the savepoint fails; the job then runs on.
        """
        if self.saves and grace > 0 and supervised.lookup(self.native_id) is af.Lookup.FOUND:
            self._save()
        found = super().stop(grace)
        if self.session is not None:  # its process may have been killed before it could cancel the job
            session.end_job(FlinkRest(self.session), self.flink_id)
        return found

    def _save(self) -> None:
        asked = ask_to_stop(Path(self.native_id))
        while True:
            state = self.wait(0.2)
            if state is None or state.ended:
                return
            if words := refused_to_stop(Path(self.native_id), asked):
                raise PlatformError(
                    f"{words}; the job runs on",
                    hint="stop it again, or without a savepoint: aiflow-ext stop --grace 0",
                )


class LocalFlinkJobPlugin(LocalJobPlugin):
    """Runs a job's Flink program: a JobManager and TaskManagers that live as long as the job."""

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> LocalFlinkJob:
        program = program_of(sub_graph, project_desc)
        config = sub_graph.config
        assert isinstance(config, FlinkKeys)
        problems = [] if config.session is None else [*session.problems(sub_graph.name, sub_graph.config, program)]
        problems += [
            Problem(
                f"{path} of node {program.node.name!r} in job {sub_graph.name!r} is not on this machine",
                program.where,
                "local.flink takes files: give a path",
            )
            for path in [program.file or "", *program.py_files, *config.jars]
            if is_url(path)
        ]
        problems += [
            Problem(f"there is no {each}, which job {sub_graph.name!r} names under jars", program.where)
            for each in config.jars
            if not is_url(each) and not Path(project_desc.root, each).is_file()
        ]
        problems += _elsewhere(sub_graph.name, config, program)
        problems += slot_problems(sub_graph.name, config, program)
        if problems:
            raise af.CodeError(problems=problems)
        return LocalFlinkJob(config, build_bundle(sub_graph, project_desc, "flink"), program)

    def generate_job_resource(self, job: af.BaseJob) -> None:
        super().generate_job_resource(job)
        supervised.Status().write(_native_id(job))

    def submit_job(self, job: af.BaseJob) -> FlinkHandler:
        super().submit_job(job)
        return self.attach(job)

    def stop_job(self, job: af.BaseJob) -> None:
        super().stop_job(job)
        if (address := _config(job).session) is not None:
            session.end_job(FlinkRest(address), _id(job))

    def cleanup_job(self, job: af.BaseJob) -> None:
        if (address := _config(job).session) is not None:  # what is left where its process was killed
            rest = FlinkRest(address)
            session.end_job(rest, _id(job))
            session.remove_jars(rest, _id(job))
        super().cleanup_job(job)

    def engine(self) -> type[af.AbstractEngine]:
        return FlinkEngine

    def job_type(self) -> type[af.BaseJob]:
        return LocalFlinkJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return LocalFlinkJobConfig

    # -- the optional hooks -------------------------------------------------------------------------------------------

    @af.hookimpl
    def attach(self, job: af.BaseJob) -> FlinkHandler:
        return FlinkHandler(_native_id(job), stop_mode(_config(job)) != "cancel", _config(job).session, _id(job))

    @af.hookimpl
    def check_platform(self, jobs: Sequence[af.BaseJob]) -> Iterator[Problem]:
        """Whether Flink, Java and, for scripts, PyFlink are on this machine, and whether session clusters answer."""
        told: set[str] = set()
        found = [*map(_flink, jobs)]
        yield from session.platform_problems((config, job.program, FlinkRest(config.session)) for job in found
                                             if (config := _config(job)).session is not None)  # fmt: skip
        problems = [each for job in {_needs(job): job for job in found}.values() for each in _lacking(job)]
        for problem in [*problems, *(each for job in found for each in _unreadable(job))]:
            if str(problem) not in told:
                told.add(str(problem))
                yield problem

    # -- the process ------------------------------------------------------------------------------------------------

    def _argv(self, job: LocalJob) -> list[str]:
        # Without the job's variables for Python: they are for its script, and this is ours.
        return [sys.executable, "-I", flink_run.__file__, f"{_native_id(job)}/payload.json"]

    def _payload(self, job: LocalJob) -> bytes:
        assert isinstance(job, LocalFlinkJob)
        context, config, program = job.job_context, _config(job), job.program
        assert context is not None
        environment, native_id, id = _environment(config), _native_id(job), flink_id(context)
        shared = supervised.checkpoints(native_id)
        project = job.bundle.archive.home(Path(str(context.run_folder), "bundle")) / "project"

        def placed(path: str) -> str:
            given = Path(job.bundle.project.root, path)
            return str(project / given.relative_to(job.bundle.project.root)
                       if given.is_relative_to(job.bundle.project.root) else given)  # fmt: skip

        savepoints, checkpoints = (
            _folder(job.bundle.project.root, said) if said else f"{shared}/{name}"
            for said, name in ((config.savepoints, "savepoints"), (config.checkpoints, "checkpoints"))
        )
        python = interpreter(config.python)
        stream = config.exec_mode is af.ExecutionMode.STREAM
        spec = {
            "path": [entry for entry in sys.path if entry],
            "id": id,
            "kind": program.kind,
            "file": placed(program.file) if program.file else None,
            "entry_class": program.entry_class,
            "args": program.args,
            "sql": program.sql,
            "py_files": [placed(each) for each in program.py_files],
            "python_paths": [os.path.normpath(project / each) for each in job.bundle.project.python_paths],
            "jars": [placed(each) for each in config.jars],
            "names": dict(program.names),
            "inputs": program.inputs(job.bundle.sub_graph, context),
            "outputs": program.output_urls(context),
            "properties": dict(config.properties),
            "stream": stream,
            "on_stop": stop_mode(config),
            "restore_from": _restore_from(job),
            "former": earlier_ids(context) if stream or config.session else [],
            "savepoints": savepoints,
            "checkpoints": checkpoints,
            "taskmanagers": config.taskmanagers.count,
            "jobmanager_memory": config.jobmanager.memory,
            "taskmanager_memory": config.taskmanagers.memory,
            "python": python,
            "session": config.session,
            "savepoint_url": None,
            "allow_non_restored_state": config.allow_non_restored_state,
        }  # fmt: skip
        if config.session is None:
            spec.update(_where_flink_is(environment, python, starts=True))
            spec["configuration"] = {
                **configuration(
                    config, id, archive=Path(native_id, flink_run.ARCHIVE).as_uri(), savepoints=savepoints,
                    checkpoints=checkpoints, restore_from=None,
                ),
                "execution.checkpointing.savepoint-dir": _url(savepoints),
                "execution.checkpointing.dir": _url(checkpoints),
            }  # fmt: skip
        else:
            here = session.is_here(config.session)
            spec["savepoint_url"] = _url(savepoints) if here or config.savepoints else None
            spec["configuration"] = session.configuration(
                config, checkpoints=_url(checkpoints) if here or config.checkpoints else None
            )
            spec["parallelism"] = config.parallelism
            if program.kind == "sql":
                spec.update(_where_flink_is(environment, python, starts=False))
        return af.dumps(spec).encode()


def _elsewhere(name: str, config: FlinkKeys, program: Program) -> Iterator[Problem]:
    """What a job would restore from folders that this machine does not see, where it has a cluster of its own."""
    assert isinstance(config, LocalFlinkJobConfig)
    latest, stream = config.restore_from == "latest", config.exec_mode is af.ExecutionMode.STREAM
    asked = [
        ("restore_from: latest", config.savepoints, latest),
        ("restore_from: latest", config.checkpoints, latest),
        ("a retry", config.checkpoints, stream and bool(config.retries)),
    ]
    for what, folder, is_asked in asked:
        if is_asked and config.session is None and folder is not None and is_url(_folder("/", folder)):
            words = f"{what} looks into folders of this machine, and {folder} is none"
            hint = "name a folder of this machine; or the savepoint itself under restore_from:, and no retries:"
            yield Problem(f"job {name!r}: {words}", program.where, hint)


def _folder(root: str, said: str) -> str:
    """A folder that the config says: a path of this machine, also where it is said as a URL; or the URL of another."""
    path = path_of(said)
    return path if is_url(path) else str(Path(root, os.path.expanduser(path)))


def _restore_from(job: LocalJob) -> str | None:
    """What the first attempt begins with, as the config says it; a relative path is one of the project."""
    config = job.job_config
    assert isinstance(config, LocalFlinkJobConfig)
    said = config.restore_from
    if said is None or said == "latest" or (config.session is not None and not session.is_here(config.session)):
        return said
    return _folder(job.bundle.project.root, said)


def _unreadable(job: LocalFlinkJob) -> Iterator[Problem]:
    """What is wrong with the savepoint that a job is to begin with, before its first attempt.

    Later ones begin with its checkpoints, and Flink may then have removed the savepoint.
    """
    config, context, said = _config(job), job.job_context, _restore_from(job)
    begun = context is not None and bool(context.work_folder) and Path(str(context.work_folder)).parent.is_dir()
    here = config.session is None or session.is_here(config.session)
    if begun or not here or said is None or said == "latest" or is_url(said):
        return
    if words := wrong_with(said):
        hint = "name the folder of a savepoint, or of a retained checkpoint (chk-N), that is complete"
        yield Problem(f"restore_from: {said} {words}", job.program.where, hint)


def _url(folder: str) -> str:
    """The URL of a folder."""
    return folder if is_url(folder) else Path(folder).as_uri()


def _where_flink_is(environment: Mapping[str, str], python: str, *, starts: bool) -> dict[str, Any]:
    """Where Flink is, and Java if the job starts a cluster; in ``render`` they need not be there."""
    try:
        return {"flink": str(flink_home(environment, python)), "java": java(environment) if starts else None}
    except PlatformError as error:
        return {"flink": None, "java": None, "lacks": f"{error.message}: {error.problems[0].hint}"}


def _environment(config: af.BaseJobConfig) -> dict[str, str]:
    """The job's variables as far as they are known before it is sent: no secrets."""
    said = {name: secrets.plain(value) for name, value in config.env.items() if not secrets.is_secret(value)}
    return {**os.environ, **said}


def _flink(job: af.BaseJob) -> LocalFlinkJob:
    assert isinstance(job, LocalFlinkJob)
    return job


def _needs(job: LocalFlinkJob) -> tuple[Any, ...]:
    """Equal for jobs that need the same of this machine: an interpreter is asked once, not for each job."""
    config = _config(job)
    return job.program.kind, config.session, config.python, tuple(sorted(_environment(config).items()))


def _lacking(job: LocalFlinkJob) -> Iterator[Problem]:
    config = _config(job)
    kind = job.program.kind
    if config.session is not None and kind == "jar":  # it needs nothing of this machine
        return
    environment, python = _environment(config), interpreter(config.python)
    home: Path | None = None
    try:
        home = flink_home(environment, python)
        if config.session is None:
            java(environment)
    except PlatformError as error:
        yield from error.problems
    if home is None:
        return
    version = version_of(home)
    if config.session is None and version and version.partition(".")[0] != VERSION.partition(".")[0]:
        hint = f"pip install apache-flink-libraries=={VERSION}, or set FLINK_HOME to a Flink {VERSION}"
        yield Problem(f"{home} has Flink {version}, and local.flink starts clusters of Flink 2 alone", hint=hint)
        return
    needs = DRIVERS.get(kind)
    if needs and jar_of(home, needs) is None:
        said = f"{home}/opt has no {needs}-{VERSION}.jar, which a flink job with {kind}= needs"
        yield Problem(said, hint=f"a downloaded Flink has it; Maven: org.apache.flink:{needs}:{VERSION}")
    if kind == "python":
        yield from _without_pyflink(python, environment, home, version)


def _without_pyflink(python: str, environment: Mapping[str, str], home: Path, version: str) -> Iterator[Problem]:
    """What is wrong with the interpreter of a PyFlink script, for the Flink of that version in the folder ``home``."""
    asks = (
        "import sys\ntry: from pyflink.version import __version__ as found\nexcept ImportError: found = '-'\n"
        "print(*sys.version_info[:2], found)"
    )
    hint = "name one under python: whose version is 3.9 to 3.12 and that has PyFlink: pip install apache-flink==2.3.0"
    try:
        major, second, has = output_of([python, "-c", asks], seconds=60.0, env=environment).split()
    except (OSError, ValueError, subprocess.SubprocessError):
        said = "cannot be started" if not os.path.exists(python) else "has no PyFlink"
        yield Problem(f"the python {python} {said}", hint=hint)
        return
    if not (major.isdecimal() and second.isdecimal() and _PYTHONS[0] <= (int(major), int(second)) <= _PYTHONS[1]):
        yield Problem(f"the python {python} is {major}.{second}, which PyFlink does not support", hint=hint)
    elif has == "-":
        yield Problem(f"the python {python} has no PyFlink", hint=hint)
    elif version and minor(has) != minor(version):
        hint = f"a script needs both of one version: pip install apache-flink=={version}, or name another python:"
        yield Problem(f"the python {python} has PyFlink {has}, and {home} is Flink {version}", hint=hint)


def _config(job: af.BaseJob) -> LocalFlinkJobConfig:
    assert isinstance(job.job_config, LocalFlinkJobConfig)
    return job.job_config


def _id(job: af.BaseJob) -> str:
    assert job.job_context is not None
    return flink_id(job.job_context)


def _native_id(job: af.BaseJob) -> str:
    assert job.job_context is not None
    return str(job.job_context.native_id or job.job_context.work_folder)
