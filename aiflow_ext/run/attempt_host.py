"""The child process in which a nine-methods plugin runs one attempt, from its resources to its cleanup.

Returning from ``submit_job`` means FINISHED, raising means FAILED, unless the handler can tell more. SIGTERM makes it
call ``stop_job`` with the same job on the same plugin. Its exit code is the attempt's outcome, its ``reason`` file the
words to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model.errors import AiflowError, DataError
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.job import AbstractJobHandler, BaseJob, JobContext
from aiflow_ext.model.jsonable import decode, encode
from aiflow_ext.model.states import JobState
from aiflow_ext.run.generate import generate_job

SPEC = "attempt.json"
STOPPED = 143
CANNOT_TELL = "submit_job returned; its handler cannot tell more"


def write_spec(folder: Path, resolved: ResolvedPlugin, sub_graph: AISubGraph, job: BaseJob, project: Any) -> None:
    """Write what the child needs: the subgraph as data, the project, the context, and which plugin."""
    spec: dict[str, Any] = {
        "platform": resolved.platform,
        "engine": resolved.engine,
        "path": sys.path,
        "pins": {f"{resolved.platform}.{resolved.engine}": resolved.record.distribution},
        "sub_graph": _packed(sub_graph),
        "project": encode(project),
        "context": encode(job.job_context),
    }
    if resolved.record.distribution == "in process":
        spec["plugin"] = _pickled(resolved.plugin)
    temporary = folder / f"{SPEC}.part"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(spec), encoding="utf-8")
    temporary.replace(folder / SPEC)


def _packed(sub_graph: AISubGraph) -> dict[str, Any]:
    """The subgraph as data; as a pickle where an author's config holds what is not data."""
    try:
        return {"data": encode(sub_graph)}
    except TypeError:
        return _pickled(sub_graph)


def _pickled(value: Any) -> dict[str, str]:
    """What no other process can find or read (a plugin registered in the driver's own) travels by value."""
    from base64 import b64encode

    import cloudpickle

    module = sys.modules.get(type(value).__module__)
    by_value = module is not None and module.__name__ == "__main__"
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        data = cloudpickle.dumps(value)
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    return {"base64": b64encode(data).decode(), "sha256": hashlib.sha256(data).hexdigest()}


def _opened(pickled: dict[str, str]) -> Any:
    import pickle
    from base64 import b64decode

    data = b64decode(pickled["base64"])
    if hashlib.sha256(data).hexdigest() != pickled["sha256"]:
        raise DataError("the plugin was damaged on its way to the attempt host (sha256 differs)")
    return pickle.loads(data)


def main(folder: str) -> int:
    """Run the attempt whose spec is in ``folder``; returns the exit code."""
    host = _AttemptHost(Path(folder))
    try:
        return host.run()
    except AiflowError as error:
        return host.failed(str(error))
    except Exception as error:
        traceback.print_exc()
        return host.failed(f"{type(error).__name__}: {error}")


class _AttemptHost:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
        self.stopping = threading.Event()
        self.plugin: ResolvedPlugin | None = None
        self.job: BaseJob | None = None
        self.submitting = False
        self._wake = self._listen()

    def run(self) -> int:
        sys.path[:] = list(dict.fromkeys([*sys.path, *self.spec["path"]]))
        plugin = self.plugin = self._resolve()
        # Types are those that loading the plugin has registered; the data imports nothing.
        context: JobContext = decode(self.spec["context"])
        job = self.job = generate_job(plugin, self._sub_graph(), decode(self.spec["project"]), context)
        hook = plugin.hook
        try:
            hook.generate_job_resource(job=job)
            if self.stopping.is_set():
                return STOPPED
            self.submitting = True
            code = self._outcome(hook.submit_job(job=job))
        except Exception as error:
            if not self.stopping.is_set():
                traceback.print_exc()
            code = self.failed(f"{type(error).__name__}: {error}")
        if self.stopping.is_set():
            code = STOPPED
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            hook.cleanup_job(job=job)
        except Exception:  # the outcome stands; what cleanup could not do is in the log
            print("aiflow-ext: cleanup_job raised:", file=sys.stderr)
            traceback.print_exc()
        return code

    def _sub_graph(self) -> AISubGraph:
        packed = self.spec["sub_graph"]
        found = decode(packed["data"]) if "data" in packed else _opened(packed)
        assert isinstance(found, AISubGraph)
        return found

    def failed(self, words: str) -> int:
        self._note(words)
        return 1

    def _resolve(self) -> ResolvedPlugin:
        if "plugin" in self.spec:
            from aiflow_ext.host.registry import register_job_plugin

            register_job_plugin(_opened(self.spec["plugin"]))
        return PluginHost(Policy(), self.spec["pins"]).resolve(self.spec["platform"], self.spec["engine"])

    def _outcome(self, handler: Any) -> int:
        """What the handler can tell of the job's end; it is waited for where it can."""
        if not isinstance(handler, AbstractJobHandler):
            self._note(CANNOT_TELL)
            return 0
        state: Any = None
        if type(handler).wait is not AbstractJobHandler.wait:
            state = handler.wait()
        if _state(state) is None and type(handler).state is not AbstractJobHandler.state:
            pause = 0.05
            while (known := _state(handler.state())) is not None and not known.ended and not self.stopping.is_set():
                time.sleep(pause)  # a plugin's own poll: it has no way to tell us
                pause = min(pause * 1.5, 5.0)
            state = known
        known = _state(state)
        if known is None or known is JobState.FINISHED:
            if known is None:
                self._note(CANNOT_TELL)
            return 0
        return STOPPED if known is JobState.STOPPED else self.failed(f"its handler says {known}")

    def _listen(self) -> int:
        """Have SIGTERM call ``stop_job`` from a thread of its own: the main one may be inside ``submit_job``."""
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(read, True)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        threading.Thread(target=self._stop_when_told, args=(read,), daemon=True).start()
        return write

    def _stop_when_told(self, read: int) -> None:
        while os.read(read, 1)[0] != signal.SIGTERM:
            pass
        self.stopping.set()
        if self.job is None or self.plugin is None or not self.submitting:
            if self.job is None:
                os._exit(STOPPED)
            return
        try:
            self.plugin.hook.stop_job(job=self.job)
        except Exception:
            print("aiflow-ext: stop_job raised:", file=sys.stderr)
            traceback.print_exc()

    def _note(self, words: str) -> None:
        with contextlib.suppress(OSError):
            (self.folder / "reason").write_text(words[:2000], encoding="utf-8", errors="backslashreplace")


def _state(told: Any) -> JobState | None:
    """What a handler's answer means: a JobState, its name, or None for cannot tell."""
    if isinstance(told, str):
        try:
            return JobState(told.upper())
        except ValueError:
            return None
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
