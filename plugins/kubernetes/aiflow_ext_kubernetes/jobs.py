"""The base of both job plugins of the platform: an attempt as a Job."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiflow_ext.plugin as af
from aiflow_ext.plugin import ConfigError, Problem, secrets
from aiflow_ext.plugin.engines import (
    Bundle,
    artifact_problems,
    build_bundle,
    checkpoint_url,
    is_reached,
    one_command,
)
from aiflow_ext_kubernetes import archive, manifest, sizes
from aiflow_ext_kubernetes.access import RULES, Rule
from aiflow_ext_kubernetes.config import KubernetesJobConfig, env_problems
from aiflow_ext_kubernetes.handler import KubernetesHandler  # loaded with the plugin, for its handlers' data
from aiflow_ext_kubernetes.pinned import of_run
from aiflow_ext_kubernetes.platform import KubernetesPlatform
from aiflow_ext_kubernetes.target import Target, absolute, target_of

SHARE = "mount the same folder at the same path in the pod (volumes: in workflow.yaml)"
SHELL_LESS = "make it one command that is a list, and that reads and writes no artifact; or take distroless out"
SAMPLES = 8  # kinds of jobs of one target that are dry-run before a run

# urllib3 is imported by what talks to a server, in ``server``: listing, generate and render do not.


class KubernetesJob(af.AbstractJob):
    """A job that is a pod of a cluster.

    Attributes:
        rules: what must be permitted for it.
    """

    rules: tuple[Rule, ...] = RULES

    def __init__(self, job_config: af.BaseJobConfig, bundle: Bundle | None, template: dict[str, Any] | None) -> None:
        super().__init__(af.JobContext(), job_config)
        self.bundle, self.template = bundle, template


class KubernetesJobPlugin(af.AbstractJobPlugin):
    """Jobs as ``batch/v1`` Jobs: created suspended, then resumed, so that it is known which of them have started."""

    secret_sources = ("kubernetes",)

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> KubernetesJob:
        config = self._checked(sub_graph, project_desc)
        template = manifest.read_template(config, project_desc.root, sub_graph.name)
        bundle = build_bundle(sub_graph, project_desc)
        job = KubernetesJob(config, bundle, template)
        if config.distroless and (words := _needs_shell(bundle)) is not None:
            raise ConfigError(f"job {sub_graph.name!r}: distroless is for an image without /bin/sh, and {words}",
                              hint=SHELL_LESS)  # fmt: skip
        if bundle.needs_runner:
            archive.where(bundle, af.JobContext("run"))  # raises now, where it is too large
        return job

    def _checked(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> KubernetesJobConfig:
        """The config of a job, with absolute paths. Raises ConfigError."""
        config = sub_graph.config
        assert isinstance(config, KubernetesJobConfig)
        config.kubeconfig = absolute(config.kubeconfig, project_desc.root)
        problems = [Problem(f"job {sub_graph.name!r}: {words}") for words in env_problems(config.env)]
        problems += artifact_problems(sub_graph, project_desc, config.shared_folders, who="pods of platform kubernetes",
                                      cure=SHARE)  # fmt: skip
        plain = {name: secrets.plain(value) for name, value in config.env.items() if not secrets.is_secret(value)}
        problems += sizes.problems_of(sub_graph.name, plain)
        if problems:
            raise ConfigError(problems=problems)
        return config

    def generate_job_resource(self, job: af.BaseJob) -> None:
        from aiflow_ext_kubernetes import sending
        from aiflow_ext_kubernetes.seen import seen_of

        job, target = _ours(job), target_of_job(job)
        sent, seen = self._sending(job), seen_of(target, _native_id(job))
        if sent.archive is not None:
            assert job.bundle is not None
            sending.send_project(target, str(_context(job).run_id), job.bundle, sent.archive)
        values = secrets.resolve(manifest.own_secrets(_config(job)))
        made, secret = self._job(job, sent), manifest.secret_of(job, sent, values)
        sizes.check(str(_context(job).job_name), made, secret, values)
        try:
            self._create_others(job, target, sending.create(target, made, secret))
        except sending.TakenError as error:
            seen.is_ours = error.kind != "Job"
            raise
        seen.is_ours = True

    def _create_others(self, job: KubernetesJob, target: Target, made: dict[str, Any]) -> None:
        """Create what an engine needs besides the Job, which owns it; the Job is still suspended. Idempotent."""

    def submit_job(self, job: af.BaseJob) -> af.AbstractJobHandler:
        from aiflow_ext_kubernetes import sending

        sending.resume(target_of_job(job), _native_id(job), _config(job).queue)
        return self._handler(job)

    def stop_job(self, job: af.BaseJob) -> None:
        self._handler(job).stop(_config(job).grace)

    def cleanup_job(self, job: af.BaseJob) -> None:
        from aiflow_ext_kubernetes import seen as seeing
        from aiflow_ext_kubernetes.kept import has_failed
        from aiflow_ext_kubernetes.logs.beside import keep_failed
        from aiflow_ext_kubernetes.logs.keep import is_kept, keep
        from aiflow_ext_kubernetes.logs.reader import forget
        from aiflow_ext_kubernetes.objects import job_at, pods_of, remove

        target, native_id, folder = target_of_job(job), _native_id(job), _context(job).work_folder
        seen = seeing.seen_of(target, native_id)
        if seen.is_ours is None:  # another process made it, or found that the name was taken
            there = job_at(target, native_id)
            seen.is_ours = there is None or manifest.is_of(there, _context(job))
        if seen.is_ours:
            if not is_kept(folder):
                if seen.pod is None and (pods := pods_of(target, native_id)):
                    seen.note_pod(pods[-1])
                keep_failed(target, folder, seen.pod, seen.failed)
                keep(target, native_id, folder, seen.pod, may_lack=seen.pod is None or seen.has_run)
            if not (_config(job).keep == "failed" and has_failed(target, native_id)):
                remove(target, native_id)
        forget(target, native_id)
        seeing.forget(target, native_id)

    def job_type(self) -> type[af.BaseJob]:
        return KubernetesJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return KubernetesJobConfig

    def platform(self) -> type[af.AbstractPlatform]:
        return KubernetesPlatform

    # -- the optional hooks -----------------------------------------------------------------------------------------

    @af.hookimpl
    def render(self, job: af.BaseJob) -> af.Request:
        job = _ours(job)
        config, sent = _config(job), self._sending(job)
        shown = secrets.shown(manifest.own_secrets(config))
        content: dict[str, Any] = {
            "context": config.context or "${current context}",
            "namespace": config.namespace or "${the context's namespace}",
            "job": self._job(job, sent),
            "secret": manifest.secret_of(job, sent, shown),
            **self._others_shown(job),
            "start": manifest.resume_of(config.queue),
        }
        if sent.archive is not None:
            assert job.bundle is not None
            content["project"] = {
                "at": sent.archive,
                "sha256": job.bundle.archive.sha256,
                "bytes": job.bundle.archive.size,
            }
        return af.Request("kubernetes", content)

    def _others_shown(self, job: KubernetesJob) -> dict[str, Any]:
        """What :meth:`_create_others` creates."""
        return {}

    @af.hookimpl
    def lookup(self, job: af.BaseJob) -> af.Lookup:
        from aiflow_ext_kubernetes import status
        from aiflow_ext_kubernetes.objects import job_at, pods_of

        target, native_id = target_of_job(job), _native_id(job)
        there = job_at(target, native_id)
        if there is not None and manifest.is_ours(there):
            return af.Lookup.NEVER_STARTED if status.is_new(there) else af.Lookup.FOUND
        if there is None and pods_of(target, native_id):
            return af.Lookup.FOUND
        return af.Lookup.UNKNOWN

    @af.hookimpl
    def attach(self, job: af.BaseJob) -> af.AbstractJobHandler:
        return self._handler(job)

    @af.hookimpl
    def watch(self, jobs: Mapping[str, af.BaseJob], since: str | None) -> Iterator[af.AttemptEvent | None]:
        from aiflow_ext_kubernetes.watch import Watcher

        # No cursors: a watch begins with the current state, which is one list of each kind.
        return Watcher(jobs).events()

    @af.hookimpl
    def cleanup_run(self, run_id: str, jobs: Sequence[af.BaseJob]) -> None:
        from aiflow_ext_kubernetes import sending

        cleaned: set[Target] = set()
        for job in jobs:
            target, bundle = target_of_job(job), _ours(job).bundle
            if bundle is not None and bundle.needs_runner and target not in cleaned:
                sending.remove_project(target, run_id, archive.where(bundle, af.JobContext(run_id)))
                cleaned.add(target)

    @af.hookimpl
    def remove_run(self, run_id: str, jobs: Sequence[af.BaseJob]) -> None:
        from aiflow_ext_kubernetes.kept import remove_all

        for target in {target_of_job(job) for job in jobs if _config(job).keep == "failed"}:
            remove_all(target, run_id)

    @af.hookimpl
    def check_platform(self, jobs: Sequence[af.BaseJob]) -> Sequence[Problem]:
        from aiflow_ext_kubernetes.checks import problems_of

        samples: dict[Target, dict[str, dict[str, Any]]] = {}  # a Job of each kind, as it would be sent
        named: dict[Target, dict[str, str]] = {}  # the Secrets that jobs name
        queues: dict[Target, set[str]] = {}
        rules: dict[Target, dict[Rule, None]] = {}
        for job in jobs:
            config, target = _config(job), target_of_job(job, record=False)
            of_target, kind = samples.setdefault(target, {}), config.kind()
            if kind not in of_target and len(of_target) < SAMPLES:
                of_target[kind] = self._sample(_ours(job))
            named.setdefault(target, {}).update(config.secrets())
            queues.setdefault(target, set()).update([] if config.queue is None else [config.queue])
            rules.setdefault(target, {}).update(dict.fromkeys(_ours(job).rules))
        return [
            problem
            for target, each in samples.items()
            for problem in problems_of(target, list(each.values()), named[target], queues[target], rules[target])
        ]

    def _sample(self, job: KubernetesJob) -> dict[str, Any]:
        sample = copy.copy(job)
        sample.job_context = af.JobContext("check", "check", 1, "aiflow-ext-check")
        return self._job(sample, self._sending(sample))

    # -- what is sent -----------------------------------------------------------------------------------------------

    def _sending(self, job: KubernetesJob) -> manifest.Sending:
        context, config, bundle = _context(job), _config(job), job.bundle
        assert bundle is not None
        checkpoints = self._checkpoints(job)
        if not bundle.needs_runner:
            return manifest.Sending(one_command(bundle.command()), None, None, checkpoints)
        argv = [config.python or "python3", f"{manifest.INPUT}/{manifest.START_FILE}"]
        payload = bundle.payload(context).decode()
        return manifest.Sending(argv, payload, archive.where(bundle, context), checkpoints)

    def _checkpoints(self, job: KubernetesJob) -> str | None:
        """The folder that all attempts of a job share; None where the pod does not reach it."""
        base = _context(job).artifacts_url or ""
        return checkpoint_url(base, _context(job)) if is_reached(base, _config(job).shared_folders) else None

    def _job(self, job: KubernetesJob, sent: manifest.Sending) -> dict[str, Any]:
        return manifest.job_of(job, sent, job.template)

    def _handler(self, job: af.BaseJob) -> KubernetesHandler:
        config, context = _config(job), _context(job)
        return KubernetesHandler(_native_id(job), config.kubeconfig, config.context, config.namespace,
                                 context.work_folder, context.run_folder)  # fmt: skip


def _needs_shell(bundle: Bundle) -> str | None:
    """Why a job needs a shell or a python in its image; None if it does not."""
    if bundle.needs_runner:
        return "the job needs a python that reads and writes its artifacts"
    return "a shell runs its command" if one_command(bundle.command())[:2] == ["/bin/sh", "-c"] else None


def _ours(job: af.BaseJob) -> KubernetesJob:
    assert isinstance(job, KubernetesJob)
    return job


def _context(job: af.BaseJob) -> af.JobContext:
    assert job.job_context is not None
    return job.job_context


def _config(job: af.BaseJob) -> KubernetesJobConfig:
    assert isinstance(job.job_config, KubernetesJobConfig)
    return job.job_config


def _native_id(job: af.BaseJob) -> str:
    return str(_context(job).native_id)


def target_of_job(job: af.BaseJob, *, record: bool = True) -> Target:
    """Where an attempt is: the cluster and namespace in which its run began."""
    return of_run(target_of(_config(job)), _context(job).run_folder, record=record)
