"""Jobs of the engines python and cmd_line in their client's process, for ``run --in-process``.

A job sees what it sees in a process of its own: its variables, its work folder, and modules of the project that no
other job has imported. Its project is the folder itself, not a copy.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import IO, Any, NoReturn

from aiflow_ext.engines import ran_with, runner
from aiflow_ext.engines.bundle import build_bundle
from aiflow_ext.engines.environment import MARK, job_environment
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.in_process import InProcessEnd, InProcessJob
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.jsonable import loads
from aiflow_ext.model.names import safe_name
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.model.ran_with import RAN_WITH
from aiflow_ext.regular_file import read_regular
from aiflow_ext.translate.load import process_restored
from aiflow_ext.translate.workflow_name import workflow_name

LINGER = 0.5  # seconds that what a command has left in the background may go on to print into the job's log
GRACE = 5.0  # seconds between SIGTERM and SIGKILL of what a job has started, where the user interrupts it
LONGEST_REASON = 8000  # bytes


class HereJob(InProcessJob):
    """A job of either engine. Raises CodeError as ``build_bundle``."""

    def __init__(self, sub_graph: AISubGraph, project: ProjectDesc, engine: str) -> None:
        self._bundle = build_bundle(sub_graph, project, engine, is_sent=False)

    def run(
        self, context: JobContext, env: Mapping[str, str], examine: Callable[[BaseException], None] | None = None
    ) -> InProcessEnd:
        payload = loads(self._bundle.payload(context))
        reason = f"{context.work_folder}/reason"
        kept = {"AIFLOW_REASON_FILE": reason, ran_with.VARIABLE: f"{context.work_folder}/{RAN_WITH}"}
        with self._process_of_job(context, {**env, **kept}):
            try:
                runner.run_here(payload, _execute)
            except runner.CommandEndedError as ended:
                return InProcessEnd(None, ended.signal, _words(reason))
            except KeyboardInterrupt:
                _end_processes()
                raise
            except SystemExit as leaving:
                if leaving.__cause__ is not None and examine is not None:
                    examine(leaving.__cause__)
                code = _exit_code(leaving)
                return InProcessEnd(code, None, _words(reason) or f"exit code {code}", leaving.__cause__)
        return InProcessEnd()

    @contextmanager
    def _process_of_job(self, context: JobContext, env: Mapping[str, str]) -> Iterator[None]:
        """Have this process be as the job's own; it is as it was afterwards."""
        project, work = self._bundle.project, f"{context.work_folder}/work"
        root, environ, leave, finders = Path(project.root).resolve(), dict(os.environ), os._exit, list(sys.meta_path)
        job = BaseJob(context, self._bundle.sub_graph.config)
        checkpoints = f"{context.run_folder}/checkpoints/{safe_name(str(context.job_name))}"
        variables = job_environment(job, work_folder=work, project_folder=str(root), checkpoint_dir=checkpoints)
        name = workflow_name(root, project.python_paths)
        with process_restored(root, [str(root / path) for path in project.python_paths], name, afresh=True):
            os.environ.update({**env, **variables, "PWD": work})
            os.chdir(work)
            os._exit = _leaving(leave)  # type: ignore[assignment]
            sys.meta_path.insert(0, _WorkflowFinder(name, root / "workflow.py"))
            try:
                yield
            finally:
                os._exit, sys.meta_path[:] = leave, finders
                os.environ.clear()
                os.environ.update(environ)


class _WorkflowFinder:
    """Finds the module of workflow.py by the name that it has in jobs."""

    def __init__(self, name: str, file: Path) -> None:
        self._name, self._file = name, file

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self._file) if name == self._name else None

    def invalidate_caches(self) -> None: ...


def _leaving(really: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
    """``os._exit`` of a job: it ends the job, not the process that it shares with others."""
    here = os.getpid()

    def leave(status: int) -> NoReturn:
        if os.getpid() != here:  # forked by the job
            really(status)
        if status & 0xFF == 0:
            raise SystemExit("os._exit(0) was called before the job's steps were done: let the function return instead")
        raise SystemExit(status)

    return leave


def _exit_code(leaving: SystemExit) -> int:
    """The exit code that the process of a job would have."""
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF or 1
    print(leaving.code, file=sys.stderr)
    return 1


def _words(path: str) -> str | None:
    try:
        return read_regular(path, LONGEST_REASON).decode("utf-8", "replace").strip() or None
    except OSError:
        return None


def _execute(argv: list[str]) -> int:
    """Run a command in the foreground; what it prints goes where the job's own output goes, as it comes."""
    sys.stderr.flush()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pipes = ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
    copying = [threading.Thread(target=_copy, args=each, daemon=True) for each in pipes]
    for thread in copying:
        thread.start()
    try:
        return process.wait()
    except BaseException:  # Ctrl-C: on a terminal the command has got it, too
        _end_processes([process.pid])
        process.wait()
        raise
    finally:
        for thread in copying:
            thread.join(LINGER)


def _end_processes(roots: Sequence[int] = ()) -> None:
    """End what the job has started, by its mark, and these processes with all that they have started."""
    from aiflow_ext.supervise import proc
    from aiflow_ext.supervise.sweep import Sweep, sweep

    known = ((pid, proc.start_time(pid)) for pid in roots)
    sweep(Sweep(mark=os.environ[MARK], grace=GRACE, roots=[(pid, start) for pid, start in known if start is not None]))


def _copy(pipe: IO[bytes], stream: Any) -> None:
    with pipe:
        while data := os.read(pipe.fileno(), 1 << 16):
            stream.buffer.write(data)
