"""An extension that wraps jobs which ask for it."""

import aiflow_ext as af


class Wraps:
    @af.hookimpl(wrapper=True)
    def submit_job(self, job):
        wrapped = "wrapped" in job.job_config.properties
        if wrapped:
            print("before")
        try:
            return (yield)
        finally:
            if wrapped:
                print("after")
