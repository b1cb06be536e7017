"""Platform ``broken``: in each engine another of the four methods that return types raises."""

from zoo_shapes import Base, engine_called

import aiflow_ext as af


class Broken(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "broken"


def broken(method):
    def raises(self):
        raise RuntimeError(f"{method} is out of order")

    names = {"engine_type": engine_called(method), "platform": lambda self: Broken}
    return type(f"Broken_{method}", (Base,), {**names, method: raises})


job_type, job_config_type, platform, engine = map(broken, ("job_type", "job_config_type", "platform", "engine"))
