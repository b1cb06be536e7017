"""Platform ``act``: each of its methods does what the job's properties say. Plain classes; nobody calls super()."""

import os

import aiflow_ext as af


class Act(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "act"


class Part(af.AbstractEngine):
    @staticmethod
    def engine():
        return "part"


class Config(af.AbstractJobConfig):
    def __init__(self, colour="red"):
        self.colour = colour


class Job(af.AbstractJob):
    def __init__(self, config):
        self.job_context = af.JobContext()
        self.job_config = config
        self.notes = []


class Handler(af.AbstractJobHandler):
    def __init__(self):
        pass


class Plugin:
    """No base class; parameters called otherwise; state made in ``__init__`` and used by every method."""

    def __init__(self):
        self.memory = []

    def _do(self, step, job, config):
        self.memory.append(step)
        if job is not None and job.job_context.work_folder and os.path.isdir(job.job_context.work_folder):
            with open(os.path.join(job.job_context.work_folder, "trace"), "a") as trace:
                trace.write(f"{step} {id(self)} {id(job)}\n")
        source = config.properties.get(step, "pass")
        scope = {"af": af, "os": os, "Handler": Handler}
        body = "".join(f"    {line}\n" for line in source.splitlines())
        exec(compile(f"def {step}(self, job):\n{body}", "the-authors-own.py", "exec"), scope)
        return scope[step](self, job)

    def generate(self, subgraph, project):
        job = Job(subgraph.config)
        made = self._do("generate", job, subgraph.config)
        return job if made is None else made

    def generate_job_resource(self, job):
        return self._do("generate_job_resource", job, job.job_config)

    def submit_job(self, j):
        return self._do("submit_job", j, j.job_config)

    def stop_job(self, job):
        self._do("stop_job", job, job.job_config)

    def cleanup_job(self, the_job):
        self._do("cleanup_job", the_job, the_job.job_config)

    def job_type(self):
        return Job

    def job_config_type(self):
        return Config

    def platform(self):
        return Act

    def engine(self):
        return Part
