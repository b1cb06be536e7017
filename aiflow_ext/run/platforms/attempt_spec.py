"""The input of an attempt host: the subgraph, the project, the context, and which plugin; written and read here."""

from __future__ import annotations

import hashlib
import importlib.machinery
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from aiflow_ext.host import secrets
from aiflow_ext.host.extensions import Extensions
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.loading import describe
from aiflow_ext.host.policy import Policy
from aiflow_ext.host.records import IN_PROCESS
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.host.specs import NINE
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import CodeError, DataError, PluginNotInstalledError, named
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.job import JobContext
from aiflow_ext.model.jsonable import Jsonable, decode, encode
from aiflow_ext.model.pickling import dumps
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.model.signature import signature
from aiflow_ext.regular_file import open_regular, read_regular, write_regular
from aiflow_ext.translate.shared import importing

FILE = "attempt.json"
CLEANED = "cleaned"  # a file: cleanup_job was called
_AROUND = "the job's driver has an extension around its plugin, and its attempt has not"
STOP = "stop"  # a file: the attempt is to be stopped, with so many seconds of grace
UNCLEAN = 75  # exit code of a host that only cleans up, if the platform did not answer
CLEANUP_PATIENCE = 5  # seconds for which a cleanup is retried before it is left to the driver
CLEANUP_LIMIT = 60  # seconds: a cleanup that hangs must not delay the report of the outcome


def pack(resolved: ResolvedPlugin, sub_graph: AISubGraph, project: ProjectDesc) -> dict[str, Any]:
    """The part of the input that all attempts of a job share. Raises CodeError for objects that cannot be
    serialised."""
    with importing:  # under the lock, as another thread's project may be on the path
        path = [os.path.abspath(entry) for entry in sys.path]
    packed: dict[str, Any] = {
        "platform": resolved.platform,
        "engine": resolved.engine,
        "path": path,
        "pins": {f"{resolved.platform}.{resolved.engine}": resolved.record.distribution},
        "project": encode(project),
        "wrappers": sorted({each.plugin_name for name in NINE for each in getattr(resolved.hook, name).get_hookimpls()
                            if each.wrapper or each.hookwrapper}),
    }  # fmt: skip
    if (policy := resolved.policy) is not None:
        packed["driver"] = {"allow": policy.allow, "deny": policy.deny, "pins": dict(resolved.pins)}
    home = None
    if resolved.record.distribution == IN_PROCESS:
        packed["plugin"], home = _packed_plugin(resolved)
        # Its methods may import the project's own modules, as workflow.py could.
        packed["path"] += [os.path.join(project.root, folder) for folder in project.python_paths]
    packed["sub_graph"] = _packed_graph(sub_graph, home)
    return packed


def write(folder: Path, packed: dict[str, Any], context: JobContext) -> None:
    """Write ``packed`` and the attempt's context into its folder, atomically."""
    temporary = folder / f"{FILE}.part"
    write_regular(temporary, json.dumps({**packed, "context": encode(context)}).encode())
    temporary.replace(folder / FILE)


def stop_grace(folder: Path) -> float:
    """The attempt's grace period in seconds, between the request to stop and the kill."""
    try:
        return float(read_regular(folder / STOP, 100))
    except (OSError, ValueError):
        return 10.0


class AttemptSpec:
    """The spec in an attempt's folder. Its types are those that the loaded plugin has registered: the data imports
    nothing."""

    def __init__(self, folder: Path) -> None:
        with open_regular(folder / FILE, follow=False) as file:
            self._spec = json.load(file)

    def resolve(self) -> ResolvedPlugin:
        """The plugin; to be called before the other methods."""
        if "plugin" in self._spec:
            from aiflow_ext.host.registry import register_job_plugin

            register_job_plugin(_opened(self._spec["plugin"]))
        host = PluginHost(Policy(), self._spec["pins"])
        if (kept := self._spec.get("driver")) is not None:  # the driver's policy and pins
            host = PluginHost(Policy(kept["allow"], kept["deny"]), {**kept["pins"], **self._spec["pins"]})
            secrets.use(host)
        resolved = host.resolve(self._spec["platform"], self._spec["engine"])
        if self._spec["wrappers"]:
            # The same extensions wrap the plugin as in the driver, and no others are imported.
            known = {describe(one): one for one in host.plugins()}
            names = self._spec["wrappers"]
            if missing := [name for name in names if name not in known]:
                raise PluginNotInstalledError(f"{_AROUND}: {' and '.join(missing)}: not installed any more")
            wrapping = [known[name] for name in names]
            resolved.wrap(Extensions(wrapping, [one.name for one in wrapping], _AROUND).wrappers)
        return resolved

    def sub_graph(self) -> AISubGraph:
        packed = self._spec["sub_graph"]
        found = decode(packed["data"]) if "data" in packed else _opened(packed)
        assert isinstance(found, AISubGraph)
        return found

    def project(self) -> ProjectDesc:
        found = decode(self._spec["project"])
        assert isinstance(found, ProjectDesc)
        return found

    def context(self) -> JobContext:
        found = decode(self._spec["context"])
        assert isinstance(found, JobContext)
        return found


def _packed_graph(sub_graph: AISubGraph, home: ModuleType | None) -> dict[str, Any]:
    """The subgraph as data; as a pickle if an author's config has values that data cannot represent."""
    try:
        data = encode(sub_graph)
        back = decode(json.loads(json.dumps(data)))
        if back == sub_graph and _kinds(back.config) == _kinds(sub_graph.config):
            return {"data": data}
    except Exception:  # an author's to_json, from_json or __eq__ may raise anything
        pass
    try:
        return _pickled(sub_graph, home)
    except Exception as error:
        raise CodeError(
            f"job {sub_graph.name!r}: its config or its nodes hold what cannot travel to the process that runs it: "
            f"{named(error)}",
            hint="let the config keep plain values, and make the rest in generate()",
        ) from error


def _kinds(config: BaseJobConfig) -> dict[str, type[Any]]:
    return {name: type(value) for name, value in Jsonable.to_json(config).items()}


def _packed_plugin(resolved: ResolvedPlugin) -> tuple[dict[str, str], ModuleType | None]:
    """A plugin that is registered in this process only; its class, if the object cannot be pickled."""
    cls = type(resolved.plugin)
    home = sys.modules.get(cls.__module__)
    home = home if home is not None and not _importable(home) else None
    try:
        return _pickled(resolved.plugin, home), home
    except Exception as error:
        try:
            signature(cls).bind()
            return _pickled(cls, home), home
        except Exception:  # it needs arguments, or cannot be pickled either: raise the first error
            pass
        raise CodeError(
            f"the job plugin {resolved.platform}.{resolved.engine} was registered in this process, and cannot travel "
            f"to the one that runs its jobs: {named(error)}",
            hint="make in generate_job_resource() what cannot be pickled, or install the plugin as a distribution",
        ) from error


def _importable(module: ModuleType) -> bool:
    """Whether another process with the same path can import ``module``."""
    if module.__name__ == "__main__":
        return False
    try:
        found = importlib.machinery.PathFinder.find_spec(module.__name__.partition(".")[0])
    except (ImportError, ValueError):
        return False
    return found is not None


@contextmanager
def _by_value(module: ModuleType | None) -> Iterator[None]:
    import cloudpickle

    if module is None:
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _pickled(value: Any, by_value: ModuleType | None) -> dict[str, str]:
    from base64 import b64encode

    with _by_value(by_value):
        data = dumps(value)
    return {"base64": b64encode(data).decode(), "sha256": hashlib.sha256(data).hexdigest()}


def _opened(pickled: dict[str, str]) -> Any:
    import pickle
    from base64 import b64decode

    data = b64decode(pickled["base64"])
    if hashlib.sha256(data).hexdigest() != pickled["sha256"]:
        raise DataError("what the attempt host was sent was damaged on its way (sha256 differs)")
    return pickle.loads(data)
