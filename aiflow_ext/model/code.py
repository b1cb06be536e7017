"""Code and values on their way to a job, as data: by reference, or by value as a pickle that is opened only there."""

from __future__ import annotations

from aiflow_ext.model.jsonable import Jsonable


class FunctionRef(Jsonable):
    """A function that the job imports: ``module:qualname``."""

    def __init__(self, module: str, qualname: str) -> None:
        self.module, self.qualname = module, qualname


class Pickled(Jsonable):
    """A value as a pickle, with what must be checked before it is opened.

    Args:
        data: the pickle.
        what: the value in words, for messages.
        sha256: of ``data``, as the producer recorded it.
        python: ``major.minor`` of the producer.
        cloudpickle: version of the cloudpickle that wrote it.
    """

    def __init__(self, data: bytes, what: str, sha256: str, python: str, cloudpickle: str) -> None:
        self.data, self.what, self.sha256, self.python, self.cloudpickle = data, what, sha256, python, cloudpickle

    def __repr__(self) -> str:
        return f"Pickled({self.what}, {len(self.data)} bytes)"
