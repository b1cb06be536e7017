"""Job plugin ``kubernetes.flink``: a Flink application cluster of its own for each attempt, or a session cluster."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiflow_ext.plugin as af
from aiflow_ext.plugin import ConfigError, ExecutionMode, Problem
from aiflow_ext.plugin.engines import Bundle, build_bundle, is_remote, read_whole
from aiflow_ext_flink import session
from aiflow_ext_flink.artifacts import names_of, payload
from aiflow_ext_flink.config import MIB, FlinkKeys
from aiflow_ext_flink.configuration import JVM, configuration, has_tls, stop_mode
from aiflow_ext_flink.engine import FlinkEngine
from aiflow_ext_flink.ids import earlier_ids, flink_id
from aiflow_ext_flink.program import MAINS, Filled, Program, is_url, path_of, program_of, python_words
from aiflow_ext_kubernetes import (
    archive,
    flink_artifacts,
    flink_objects,
    flink_session,
    flink_session_shell,
    flink_shell,
    flink_startup,
    manifest,
)
from aiflow_ext_kubernetes.access import FLINK_RULES, RULES
from aiflow_ext_kubernetes.config import KubernetesJobConfig
from aiflow_ext_kubernetes.flink_checks import LATEST, keys_of, problems_of
from aiflow_ext_kubernetes.flink_handler import KubernetesFlinkHandler, KubernetesSessionHandler
from aiflow_ext_kubernetes.flink_watch import KubernetesFlinkWatch
from aiflow_ext_kubernetes.jobs import KubernetesJob, target_of_job
from aiflow_ext_kubernetes.target import Target

SQL_FILE = f"{manifest.WORK}/job.sql"  # of a job with artifacts, whose paths its runner puts in
MOST = 900_000  # bytes of a program's files: a ConfigMap holds 1 MiB
ELSEWHERE = "have them in the image (local:///opt/flink/usrlib/job.jar), in a volume, or at a URL"
SHELLS = 64 * MIB  # memory of the container besides Flink's own processes


class KubernetesFlinkJobConfig(FlinkKeys, KubernetesJobConfig):
    """The config of a Flink job on a cluster: the keys of Flink, and those of any job there.

    ``image`` is one with Flink in ``FLINK_HOME`` (or ``/opt/flink``), such as Flink's own. All pods of a job are alike:
    where ``memory`` is unset, each gets what the larger one of JobManager and TaskManager is configured with.
    ``restore_from: latest`` is the newest savepoint or checkpoint in the folders ``savepoints`` and ``checkpoints``.

    Args:
        exchange: for a job that reads or writes artifacts, a folder in a volume that all of its pods mount: inputs are
            brought there, and outputs written, before they are kept. Not needed where the artifacts themselves are in
            such a folder.
    """

    def __init__(self, exchange: str | None = None, **others: Any) -> None:
        super().__init__(**others)
        self.exchange = exchange


class KubernetesFlinkJob(KubernetesJob):
    """A job that is a Flink cluster of its own, or that a pod submits to a session cluster.

    Args:
        job_config: its config.
        program: what it runs.
        template: its pods' template.
        sub_graph: its node.
        bundle: what its runner runs from; None where it has no artifacts, and no runner.
    """

    def __init__(
        self,
        job_config: af.BaseJobConfig,
        program: Program,
        template: dict[str, Any] | None,
        sub_graph: af.AISubGraph,
        bundle: Bundle | None,
    ) -> None:
        super().__init__(job_config, bundle, template)
        self.program, self.sub_graph = program, sub_graph
        address = keys_of(job_config).session
        self.rules = (*RULES, *FLINK_RULES) if address is None else flink_session.rules(address)


class KubernetesFlinkJobPlugin(KubernetesFlinkWatch):
    """Flink jobs in application mode: one Indexed Job for JobManager and TaskManagers; or in a session cluster, to
    which one pod submits. The client needs no Flink."""

    def engine(self) -> type[af.AbstractEngine]:
        return FlinkEngine

    def job_type(self) -> type[af.BaseJob]:
        return KubernetesFlinkJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return KubernetesFlinkJobConfig

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> KubernetesFlinkJob:
        config = self._checked(sub_graph, project_desc)
        program, keys = program_of(sub_graph, project_desc), keys_of(config)
        keys.jars = [each if is_url(each) else os.path.join(project_desc.root, each) for each in keys.jars]
        assert isinstance(config, KubernetesFlinkJobConfig)
        name, artifacts = sub_graph.name, project_desc.artifacts or ""
        problems = [*problems_of(name, config, program, artifacts)]
        problems += flink_artifacts.problems_of(name, config, config.exchange, program, artifacts)
        if problems:
            raise ConfigError(problems=problems)
        if config.memory is None and keys.session is not None:
            config.memory = flink_session.MEMORY
        elif config.memory is None:
            larger = max(keys.jobmanager.memory, keys.taskmanagers.memory)
            config.memory = larger + SHELLS
        template = manifest.read_template(config, project_desc.root, sub_graph.name)
        bundle = None
        if names_of(program):
            bundle = build_bundle(sub_graph, project_desc, "flink")
            archive.where(bundle, af.JobContext("run"))  # raises now, where it is too large
        job = KubernetesFlinkJob(config, program, template, sub_graph, bundle)
        size = sum(map(len, _files(job).values()))
        if size > MOST:
            raise ConfigError(
                f"job {sub_graph.name!r}: the program's files have {size:,} bytes, and a ConfigMap holds {MOST:,}",
                where=program.where,
                hint=ELSEWHERE,
            )
        return job

    def generate_job_resource(self, job: af.BaseJob) -> None:
        context, address = job.job_context, _config(job).session
        assert context is not None
        if address is not None:  # an attempt whose pod was killed may have left its job
            rest = flink_session.rest_of(target_of_job(job), address)
            for former in earlier_ids(context):
                session.end_job(rest, former)
        super().generate_job_resource(job)

    def cleanup_job(self, job: af.BaseJob) -> None:
        from aiflow_ext_kubernetes.logs.beside import keep_helpers
        from aiflow_ext_kubernetes.objects import all_pods_of

        context = job.job_context
        assert context is not None
        target = target_of_job(job)
        if (address := _config(job).session) is not None:
            session.end_job(flink_session.rest_of(target, address), flink_id(context))
        keep_helpers(target, context.work_folder, all_pods_of(target, str(context.native_id)), "taskmanager")
        super().cleanup_job(job)

    @af.hookimpl
    def check_platform(self, jobs: Sequence[af.BaseJob]) -> Sequence[Problem]:
        """As for any job; and whether the session clusters that jobs name answer, and have what the jobs need."""
        found = [*super().check_platform(jobs)]
        if not found:  # the session clusters are asked through the API server
            found += session.platform_problems(
                (config, job.program, flink_session.rest_of(target_of_job(job, record=False), config.session))
                for job in map(_flink, jobs) if (config := _config(job)).session is not None
            )  # fmt: skip
        return found

    # -- what is sent -----------------------------------------------------------------------------------------------

    def _sending(self, job: KubernetesJob) -> manifest.Sending:
        flink, config, context, bundle = _flink(job), _config(job), job.job_context, job.bundle
        assert context is not None
        restored = None if config.restore_from == LATEST else config.restore_from
        earlier = [*_earlier(flink, *self._folders(flink))]
        if config.session is not None:
            return self._session_sending(flink, config.session, earlier, restored)
        kept = f"{flink_objects.ARCHIVE}/{flink_id(context)}"
        if bundle is None:
            argv = flink_shell.command(kept, _arguments(flink), earlier, restored)
            return manifest.Sending(argv, None, None, self._checkpoints(job))
        work, sql = flink_artifacts.work_folder(config.exchange, context), _filled(flink).sql
        argv = flink_shell.command(kept, [], earlier, restored, work, config.python or "python3")
        inner = flink_shell.runners_command(kept, _arguments(flink), SQL_FILE, sql)
        given = payload(bundle.payload(context), flink.program, inner)
        return manifest.Sending(argv, given, archive.where(bundle, context), self._checkpoints(job))

    def _session_sending(
        self, job: KubernetesFlinkJob, address: str, earlier: list[str], restored: str | None
    ) -> manifest.Sending:
        config, context, found = _config(job), job.job_context, flink_session.address_of(address)
        assert context is not None
        argv = flink_session_shell.command(
            found.host, found.port, flink_id(context), job.program.kind, _options(job), _session_arguments(job),
            earlier_ids(context)[::-1], earlier, restored,
        )  # fmt: skip
        if job.bundle is None:
            return manifest.Sending(argv, None, None, self._checkpoints(job))
        inner = flink_session_shell.runners_command(argv, SQL_FILE, _filled(job).sql)
        given = payload(job.bundle.payload(context), job.program, inner)
        work = flink_artifacts.work_folder(config.exchange, context)
        outer = flink_session_shell.around(work, config.python or "python3")
        return manifest.Sending(outer, given, archive.where(job.bundle, context), self._checkpoints(job))

    def _job(self, job: KubernetesJob, sent: manifest.Sending) -> dict[str, Any]:
        made, keys = super()._job(job, sent), _config(job)
        if keys.session is not None:
            assert job.job_context is not None
            found, job_id = flink_session.address_of(keys.session), flink_id(job.job_context)
            page = session.page(f"http://{keys.session}", job_id)
            return flink_objects.client_of(made, flink_startup.probe(found.host, found.port, job_id), page)
        probe = None if has_tls(keys.flink) else flink_startup.probe("localhost", flink_objects.REST)
        return flink_objects.job_of(made, keys.taskmanagers.count, probe)

    def _create_others(self, job: KubernetesJob, target: Target, made: dict[str, Any]) -> None:
        from aiflow_ext_kubernetes import sending

        ours = self._job(job, self._sending(job))
        if _config(job).session is not None:
            sending.create_owned(target, "configmaps", self._session_config_map(_flink(job), ours), made)
            return
        service = sending.create_owned(target, "services", flink_objects.service_of(ours), made)
        address = str(service["spec"].get("clusterIP") or "")
        sending.create_owned(target, "configmaps", self._config_map(_flink(job), ours, address), made)

    def _others_shown(self, job: KubernetesJob) -> dict[str, Any]:
        ours = self._job(job, self._sending(job))
        if _config(job).session is not None:
            return {"config_map": self._session_config_map(_flink(job), ours)}
        config_map = self._config_map(_flink(job), ours, "${server:the Service's clusterIP}")
        return {"service": flink_objects.service_of(ours), "config_map": config_map}

    def _config_map(self, job: KubernetesFlinkJob, made: Mapping[str, Any], address: str) -> dict[str, Any]:
        context, config = job.job_context, _config(job)
        assert context is not None
        savepoints, checkpoints = self._folders(job)
        found = configuration(
            config, flink_id(context), archive=f"file://{flink_objects.ARCHIVE}", savepoints=savepoints,
            checkpoints=checkpoints, restore_from=None,
        )  # fmt: skip
        found["execution.checkpointing.savepoint-dir"], found["execution.checkpointing.dir"] = savepoints, checkpoints
        found["execution.state-recovery.ignore-unclaimed-state"] = config.allow_non_restored_state
        for key, value in (("env.java.opts.all", " ".join(JVM)), ("user.artifacts.base-dir", flink_objects.FETCHED)):
            found.setdefault(key, value)
        return flink_objects.config_map_of(made, {**found, **flink_objects.addresses(address)}, _files(job))

    def _session_config_map(self, job: KubernetesFlinkJob, made: Mapping[str, Any]) -> dict[str, Any]:
        context, config = job.job_context, _config(job)
        assert context is not None
        checkpoints, address = config.checkpoints, flink_session.address_of(str(config.session))
        found: dict[str, Any] = {
            "env.java.opts.all": " ".join(JVM),
            **session.configuration(config, checkpoints=None if checkpoints is None else _url(checkpoints)),
            "execution.target": "remote",
            "jobmanager.rpc.address": address.host,
            "rest.address": address.host,
            "rest.port": str(address.port),
            "$internal.pipeline.job-id": flink_id(context),
        }
        files = {**_files(job), flink_objects.CLIENT_LOGGING: flink_objects.CLIENT_LOG.encode()}
        return flink_objects.config_map_of(made, found, files)

    def _folders(self, job: KubernetesFlinkJob) -> tuple[str, str]:
        """The URLs of the folders for savepoints and for checkpoints."""
        shared, keys = self._checkpoints(job) or f"{manifest.WORK}/state", _config(job)
        return _url(keys.savepoints or f"{shared}/savepoints"), _url(keys.checkpoints or f"{shared}/checkpoints")

    def _handler(self, job: af.BaseJob) -> KubernetesFlinkHandler:
        context, config = job.job_context, _config(job)
        assert context is not None
        saves = stop_mode(config) != "cancel"
        where: dict[str, Any] = {
            "drain": stop_mode(config) == "drain", "kubeconfig": config.kubeconfig, "context": config.context,
            "namespace": config.namespace, "folder": context.work_folder, "run_folder": context.run_folder,
        }  # fmt: skip
        if config.session is not None:
            savepoints = None if config.savepoints is None else _url(config.savepoints)
            return KubernetesSessionHandler(
                str(context.native_id), flink_id(context), config.session, saves, savepoints, **where
            )
        return KubernetesFlinkHandler(str(context.native_id), flink_id(context) if saves else None, **where)


def _earlier(job: KubernetesFlinkJob, savepoints: str, checkpoints: str) -> Iterator[str]:
    """Patterns of the state of a STREAM job's earlier attempts, and of earlier runs where the latest is asked for."""
    context, config = job.job_context, _config(job)
    assert context is not None
    if config.exec_mode is not ExecutionMode.STREAM:
        return
    latest = config.restore_from == LATEST
    for each in ["*"] if latest else earlier_ids(context):
        if not is_remote(checkpoints):
            yield f"{path_of(checkpoints)}/{each}/chk-*/_metadata"
        if not is_remote(savepoints):
            yield f"{path_of(savepoints)}/savepoint-{each[:6]}-*/_metadata"


def _arguments(job: KubernetesFlinkJob) -> list[str]:
    """The arguments of Flink's ``standalone-job.sh``."""
    program, config = job.program, _config(job)
    args = _filled(job).args
    files = [*([str(program.file)] if program.kind == "jar" else []), *config.jars]
    # As a URL: a path would be copied, into a folder of the image that the pod's user may not write to.
    jars = [each if is_url(each) else f"{flink_session.IN_IMAGE}{_placed(each)}" for each in files]
    if program.kind == "jar":
        main = [] if program.entry_class is None else ["--job-classname", program.entry_class]
    elif program.kind == "python":
        python = config.python or "python3"
        main = ["--job-classname", MAINS["python"]]
        args = python_words(python, _placed(str(program.file)), [_placed(each) for each in program.py_files], args)
    else:
        main = ["--job-classname", MAINS["sql"]]
        args = _sql_words(job)
    return [*(["--jars", *jars] if jars else []), *main, *(["--", *args] if args else [])]


def _options(job: KubernetesFlinkJob) -> list[str]:
    """Options of ``flink run``. A STREAM program's client does not wait for its job, which the script follows."""
    config = _config(job)
    return [
        *(["-d"] if config.exec_mode is ExecutionMode.STREAM else []),
        *([] if config.parallelism is None else ["-p", str(config.parallelism)]),
        *(["-n"] if config.allow_non_restored_state else []),
    ]


def _session_arguments(job: KubernetesFlinkJob) -> list[str]:
    """The other arguments of ``flink run``; of SQL, those of its class."""
    program, config = job.program, _config(job)
    if program.kind == "sql":
        return _sql_words(job)
    args, file = _filled(job).args, flink_session.placed(_placed(str(program.file)))
    if program.kind == "jar":
        return [*([] if program.entry_class is None else ["-c", program.entry_class]), file, *args]
    files = [flink_session.placed(_placed(each)) for each in program.py_files]
    return python_words(config.python or "python3", file, files, ["--", *args] if args else [])


def _sql_words(job: KubernetesFlinkJob) -> list[str]:
    """The arguments of Flink's class for SQL."""
    file = f"{flink_shell.CONFIG}/job.sql" if job.bundle is None else SQL_FILE
    return ["--scriptUri", f"file://{file}" if job.program.sql is not None else str(job.program.file)]


def _filled(job: KubernetesFlinkJob) -> Filled:
    """The program's words with plain values put in. Those of artifacts remain: the runner puts them in."""
    kept = {name: f"{{{name}}}" for name in names_of(job.program)}
    return job.program.filled(kept, _config(job).properties)


def _files(job: KubernetesFlinkJob) -> dict[str, bytes]:
    """The program's files that travel, by name."""
    program, config = job.program, _config(job)
    paths = [*config.jars, *([] if program.kind == "sql" else [str(program.file), *program.py_files])]
    found = {_name(path): _content(path, program) for path in paths if not is_url(path)}
    if program.sql is not None and job.bundle is None:
        found["job.sql"] = str(_filled(job).sql).encode()
    return found


def _content(path: str, program: Program) -> bytes:
    try:
        return read_whole(path)
    except OSError as error:
        hint = ELSEWHERE if error.errno == errno.EFBIG else None
        raise ConfigError(f"{path} cannot be read: {error.strerror}", where=program.where, hint=hint) from error


def _placed(path: str) -> str:
    """Where a file of the program is in the container."""
    return path if is_url(path) else f"{flink_shell.CONFIG}/{_name(path)}"


def _name(path: str) -> str:
    """The file's name as a key of a ConfigMap."""
    return re.sub(r"[^-._a-zA-Z0-9]", "_", os.path.basename(path))


def _url(path: str) -> str:
    return path if is_url(path) else f"file://{path}"


def _flink(job: af.BaseJob) -> KubernetesFlinkJob:
    assert isinstance(job, KubernetesFlinkJob)
    return job


def _config(job: af.BaseJob) -> KubernetesFlinkJobConfig:
    assert isinstance(job.job_config, KubernetesFlinkJobConfig)
    return job.job_config
