"""What both job plugins of the platform have in common: an attempt as a Job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiflow_ext.plugin as af
from aiflow_ext.plugin import ConfigError, Problem, safe_name, secrets
from aiflow_ext.plugin.engines import Bundle, build_bundle, one_command
from aiflow_ext_kubernetes import archive, manifest, places
from aiflow_ext_kubernetes.config import KubernetesJobConfig, env_problems
from aiflow_ext_kubernetes.handler import KubernetesHandler  # with the plugin: who has it can read a handler's data
from aiflow_ext_kubernetes.places import Known, Place
from aiflow_ext_kubernetes.platform import KubernetesPlatform

SAMPLES = 8  # kinds of jobs of one place that the cluster is shown before a run

# A client is imported by what talks to a server, in ``server``: listing, generate and render do not.


class KubernetesJob(af.AbstractJob):
    """A job that is a pod of a cluster."""

    def __init__(self, job_config: af.BaseJobConfig, bundle: Bundle, template: dict[str, Any] | None) -> None:
        super().__init__(af.JobContext(), job_config)
        self.bundle, self.template = bundle, template


class KubernetesJobPlugin(af.AbstractJobPlugin):
    """Jobs as ``batch/v1`` Jobs: made suspended, then resumed, so that it is known which of them have started."""

    def __init__(self) -> None:
        # Where this plugin's jobs are, with one of each place: for what is asked without a job.
        self._generated: dict[Place, tuple[af.AISubGraph, af.ProjectDesc]] = {}
        # What check_platform shows the cluster: a job of each kind; and the Secrets that jobs name.
        self._kinds: dict[Place, dict[str, tuple[af.AISubGraph, af.ProjectDesc]]] = {}
        self._secrets: dict[Place, dict[str, str]] = {}

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> KubernetesJob:
        config = sub_graph.config
        assert isinstance(config, KubernetesJobConfig)
        problems = [Problem(f"job {sub_graph.name!r}: {words}") for words in env_problems(config.env)]
        problems += _unreachable_artifacts(sub_graph, project_desc, config)
        if problems:
            raise ConfigError(problems=problems)
        job = _made(sub_graph, project_desc)
        if job.bundle.needs_runner:
            archive.where(job.bundle, af.JobContext("run"))  # told now, where it is too large
        place = places.place_of(config)
        if job.bundle.needs_runner or place not in self._generated:
            self._generated[place] = sub_graph, project_desc
        self._kinds.setdefault(place, {}).setdefault(config.kind(), (sub_graph, project_desc))
        self._secrets.setdefault(place, {}).update(config.secrets())
        return job

    def generate_job_resource(self, job: af.BaseJob) -> None:
        from aiflow_ext_kubernetes import sending

        job, known = _ours(job), places.note(job)
        sent = self._sending(job)
        run = (known.place, known.run)
        if sent.archive is not None and run not in places.sent:
            sending.send_project(known.place, known.run, job.bundle, sent.archive)
            places.sent.add(run)
        values = secrets.resolve(manifest.own_secrets(_config(job)))
        try:
            sending.create(known.place, self._job(job, sent), manifest.secret_of(job, sent, values))
        except sending.TakenError as error:
            known.is_ours = error.kind != "Job"
            raise
        known.is_ours = True

    def submit_job(self, job: af.BaseJob) -> af.AbstractJobHandler:
        from aiflow_ext_kubernetes import sending

        known = places.note(job)
        native_id = str(_context(job).native_id)
        sending.resume(known.place, native_id)
        return _handler(native_id, known)

    def stop_job(self, job: af.BaseJob) -> None:
        known = places.note(job)
        _handler(str(_context(job).native_id), known).stop(_config(job).grace)

    def cleanup_job(self, job: af.BaseJob) -> None:
        from aiflow_ext_kubernetes.logs.keep import keep
        from aiflow_ext_kubernetes.logs.reader import forget
        from aiflow_ext_kubernetes.objects import job_at, remove

        known, native_id = places.note(job), str(_context(job).native_id)
        if known.is_ours is None:  # another process made it, or found that the name was taken
            there = job_at(known.place, native_id)
            known.is_ours = there is None or manifest.is_of(there, _context(job))
        if known.is_ours:
            may_lack = known.pod is None or known.has_run
            keep(known.place, native_id, known.folder, known.pod, may_lack=may_lack)
            remove(known.place, native_id)
        forget(known.place, native_id)
        places.attempts.pop(native_id, None)

    def job_type(self) -> type[af.BaseJob]:
        return KubernetesJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return KubernetesJobConfig

    def platform(self) -> type[af.AbstractPlatform]:
        return KubernetesPlatform

    # -- the second specification -----------------------------------------------------------------------------------

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
            "start": manifest.resume_of(),
        }
        if sent.archive is not None:
            content["project"] = {
                "at": sent.archive,
                "sha256": job.bundle.archive.sha256,
                "bytes": job.bundle.archive.size,
            }
        return af.Request("kubernetes", content)

    @af.hookimpl
    def lookup(self, job: af.BaseJob) -> af.Lookup:
        from aiflow_ext_kubernetes import status
        from aiflow_ext_kubernetes.objects import job_at, pods_of

        native_id = str(_context(job).native_id)
        for place in self._places(native_id):
            there = job_at(place, native_id)
            if there is not None and manifest.is_ours(there):
                return af.Lookup.NEVER_STARTED if status.is_new(there) else af.Lookup.FOUND
            if there is None and pods_of(place, native_id):
                return af.Lookup.FOUND
        return af.Lookup.UNKNOWN

    @af.hookimpl
    def attach(self, job: af.BaseJob) -> af.AbstractJobHandler:
        return _handler(str(_context(job).native_id), places.note(job))

    @af.hookimpl
    def watch(self, jobs: Mapping[str, af.BaseJob], since: str | None) -> Iterator[af.AttemptEvent | None]:
        from aiflow_ext_kubernetes.watch import Watcher

        # No cursors: a watch begins with what is so already, and that is one list of each kind.
        return Watcher(jobs, self._locate).events()

    @af.hookimpl
    def cleanup_run(self, run_id: str, jobs: Sequence[af.BaseJob]) -> None:
        from aiflow_ext_kubernetes import sending

        for place, (sub_graph, project) in self._generated.items():
            bundle = build_bundle(sub_graph, project)
            if bundle.needs_runner:
                sending.remove_project(place, archive.where(bundle, af.JobContext(run_id)))
        places.sent -= {each for each in places.sent if each[1] == run_id}

    @af.hookimpl
    def check_platform(self, jobs: Sequence[af.BaseJob]) -> Sequence[Problem]:
        from aiflow_ext_kubernetes.checks import problems_of

        found: list[Problem] = []
        for place, kinds in self._kinds.items():
            samples = [self._sample(*kind) for kind in list(kinds.values())[:SAMPLES]]
            found += problems_of(place, samples, self._secrets[place])
        return found

    def _sample(self, sub_graph: af.AISubGraph, project: af.ProjectDesc) -> dict[str, Any]:
        job = _made(sub_graph, project)
        job.job_context = af.JobContext("check", "check", 1, "aiflow-ext-check")
        return self._job(job, self._sending(job))

    # -- what is sent -----------------------------------------------------------------------------------------------

    def _sending(self, job: KubernetesJob) -> manifest.Sending:
        context, config, bundle = _context(job), _config(job), job.bundle
        checkpoints = None
        base = context.artifacts_url or ""
        if archive.is_url(base) or config.reaches(base.removeprefix("file://")):
            checkpoints = f"{base.rstrip('/')}/checkpoints/{safe_name(str(context.job_name))}"
        if not bundle.needs_runner:
            return manifest.Sending(one_command(bundle.command()), None, None, checkpoints)
        argv = [config.python or "python3", f"{manifest.INPUT}/{manifest.START_FILE}"]
        payload = bundle.payload(context).decode()
        return manifest.Sending(argv, payload, archive.where(bundle, context), checkpoints)

    def _job(self, job: KubernetesJob, sent: manifest.Sending) -> dict[str, Any]:
        return manifest.job_of(job, sent, job.template)

    # -- where attempts are -----------------------------------------------------------------------------------------

    def _places(self, native_id: str) -> list[Place]:
        known = places.attempts.get(native_id)
        return [known.place] if known is not None else list(self._generated) or [Place()]

    def _locate(self, native_id: str) -> Known | None:
        """What is known of an attempt; asked of every place where nothing is. None: it is in none of them."""
        from aiflow_ext_kubernetes.objects import job_at, pods_of

        known = places.attempts.get(native_id)
        if known is not None:
            return known
        for place in self._places(native_id):
            job = job_at(place, native_id)
            for thing in [job] if job is not None else pods_of(place, native_id):
                if (run := manifest.run_of(thing)) is not None:
                    found = places.attempts[native_id] = Known(place, run)
                    return found
        return None


def _made(sub_graph: af.AISubGraph, project: af.ProjectDesc) -> KubernetesJob:
    config = sub_graph.config
    assert isinstance(config, KubernetesJobConfig)
    template = manifest.read_template(config, project.root, sub_graph.name)
    return KubernetesJob(config, build_bundle(sub_graph, project), template)


def _handler(native_id: str, known: Known) -> af.AbstractJobHandler:
    place = known.place
    return KubernetesHandler(native_id, place.kubeconfig, place.context, place.namespace, known.folder)


def _unreachable_artifacts(
    sub_graph: af.AISubGraph, project: af.ProjectDesc, config: KubernetesJobConfig
) -> Iterator[Problem]:
    """The data edges of a job whose artifacts would be kept where no pod sees them."""
    artifacts = project.artifacts
    if archive.is_url(artifacts) or config.reaches(artifacts.removeprefix("file://")):
        return
    cures = (
        "name a URL that client and pods reach (artifacts: s3://bucket/path in project.yaml), or mount the same folder "
        "at the same path in the pod (volumes: in workflow.yaml)"
    )
    for edge in sub_graph.inputs:
        yield Problem(f"job {sub_graph.name!r} reads the artifact of {edge.source!r}, which is kept at {artifacts}: "
                      "pods of platform kubernetes cannot reach that", hint=cures)  # fmt: skip
    for node in sub_graph.outputs:
        yield Problem(f"job {sub_graph.name!r} passes on the value of {node!r}, to be kept at {artifacts}: pods of "
                      "platform kubernetes cannot reach that", hint=cures)  # fmt: skip


def _ours(job: af.BaseJob) -> KubernetesJob:
    assert isinstance(job, KubernetesJob)
    return job


def _context(job: af.BaseJob) -> af.JobContext:
    assert job.job_context is not None
    return job.job_context


def _config(job: af.BaseJob) -> KubernetesJobConfig:
    assert isinstance(job.job_config, KubernetesJobConfig)
    return job.job_config
