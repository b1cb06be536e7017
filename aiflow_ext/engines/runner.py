"""What runs inside a job: its steps in order, values in memory between them, artifacts in and out.

Standard library only: a job's python needs nothing installed (fsspec only where the artifacts URL asks for it).
"""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from aiflow_ext.engines import artifacts, moved, ran_with
from aiflow_ext.engines.held_files import is_kept
from aiflow_ext.engines.pickles import ArtifactError, check_versions, open_pickle
from aiflow_ext.engines.remote_service import AwayError
from aiflow_ext.engines.spawned import put_project_first
from aiflow_ext.engines.tracebacks import of_user, print_traceback
from aiflow_ext.model.code import FunctionRef, Pickled
from aiflow_ext.model.current import AWAY, AWAY_CODE, OUT_OF_MEMORY, UNFINISHED
from aiflow_ext.model.errors import DataError
from aiflow_ext.model.graph import AINode, InputRef, OutputFile
from aiflow_ext.model.jsonable import loads
from aiflow_ext.model.names import safe_name
from aiflow_ext.model.own_imports import without_project

if TYPE_CHECKING:
    from aiflow_ext.engines.debugging import Debugger

MOST_UNREAD = 256 << 20  # bytes of a value that is kept although no job reads it: its pickle is in memory


def main(payload_file: str) -> NoReturn:
    """Run the payload and end this process with the job's exit code."""
    global _runner, _files, _debugger
    _runner = os.getpid()
    for variable in ("AIFLOW_REASON_FILE", "AIFLOW_PROGRESS_FILE"):
        if file := os.environ.get(variable):
            moved.hold(file)
    _note(UNFINISHED)
    os._exit = _exit_guarded
    with _failures_told():
        payload = loads(Path(payload_file).read_bytes())
        if "debugger" in payload:  # before the project is on the path, whose modules it must not find
            from aiflow_ext.engines.debugging import Debugger

            _debugger = Debugger(payload["debugger"])
        project = os.environ.get("AIFLOW_PROJECT_FOLDER")
        if project:
            _files = os.path.abspath(project), payload["root"]
            # workflow.py is imported by way of a file of ours; in the processes of multiprocessing too.
            workflow = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), payload["workflow"])
            folders = (os.path.normpath(os.path.join(project, path)) for path in payload["python_paths"])
            put_project_first([workflow, *folders])
    try:
        _run_steps(payload, _execute)
    except CommandEndedError as ended:
        _end_by(ended.signal)
    except (SystemExit, KeyboardInterrupt) as leaving:
        if _debugger is not None and os.getpid() == _runner:
            _debugger.examine(leaving.__cause__ or leaving)
        raise
    sys.stdout.flush()
    os._exit = _really_exit
    _note("")
    sys.exit(0)


def run_here(payload: dict[str, Any], execute: Callable[[list[str]], int]) -> None:
    """Run a job's steps in a process that goes on afterwards.

    Args:
        payload: what ``main`` reads from its file.
        execute: runs a command; returns its exit code, negative for a signal.

    Raises SystemExit where the job fails, whose cause is what code of the project has raised; CommandEndedError.
    """
    global _runner, _goes_on
    _runner, _goes_on = os.getpid(), True
    try:
        _run_steps(payload, execute)
    finally:
        moved.release()


class CommandEndedError(Exception):
    """A command of the job was ended by a signal.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def _run_steps(payload: dict[str, Any], execute: Callable[[list[str]], int]) -> None:
    ran_with.record(python=any(step["kind"] == "python" for step in payload["steps"]))
    with _failures_told():
        job = _Job(payload, execute)
        for number, step in enumerate(payload["steps"], 1):
            job.run(step, last=number == len(payload["steps"]))
            _write("AIFLOW_PROGRESS_FILE", str(number))


@contextmanager
def _failures_told() -> Iterator[None]:
    """Have what fails the job end in a sentence, or in the traceback of the project's code, and in SystemExit."""
    try:
        yield
    except AwayError as error:
        _fail(f"{AWAY}{error}", AWAY_CODE)
    except (ArtifactError, DataError) as error:
        if error.__cause__ is not None and _is_of_project(error.__cause__):
            _fail_as_user_code(error.__cause__)
        _fail(str(error))
    except OSError as error:
        _fail(f"{type(error).__name__}: {error}")
    except SystemExit as leaving:  # of a module while it was imported, or of a signal handler between the steps
        if _is_success(leaving) and os.getpid() == _runner:
            _fail("sys.exit() was called before the job's steps were done")
        raise


def _execute(argv: list[str]) -> int:
    return subprocess.run(argv, check=False).returncode


class _Job:
    def __init__(self, payload: dict[str, Any], execute: Callable[[list[str]], int]) -> None:
        self.payload, self._execute = payload, execute
        self._work = os.environ.get("AIFLOW_WORK_FOLDER") or os.getcwd()
        self.values: dict[tuple[str, str | None], Any] = {}
        self.files: dict[str, artifacts.Fetched] = {}
        self.loaded: dict[str, Any] = {}
        moved.hold(self._work)
        for step in payload["steps"]:
            for url in (*step["saves"].values(), *(source["url"] for source in step["inputs"] if "url" in source)):
                artifacts.hold(url)

    @property
    def work(self) -> Path:
        return moved.now(Path(self._work))

    def run(self, step: dict[str, Any], last: bool) -> None:
        if step["kind"] == "python":
            self.python(step, last)
        else:
            self.cmd_line(step)

    def python(self, step: dict[str, Any], last: bool) -> None:
        properties = step["properties"]
        inputs = [self.value(source) for source in step["inputs"]]
        function = self.opened(properties["function"])
        args = [self.filled(item, inputs) for item in properties["args"]]
        kwargs = {key: self.filled(item, inputs) for key, item in properties["kwargs"].items()}
        try:
            value = function(*args, **kwargs) if _debugger is None else _debugger.call(function, args, kwargs)
        except SystemExit as leaving:
            if os.getpid() != _runner:
                raise
            if _left_debugger(leaving):
                _fail(_NO_TERMINAL if _debugger is None else _LEFT)
            if not _is_success(leaving):
                _note("" if isinstance(leaving.code, int) else str(leaving.code))
                raise
            if step["read"] or not last:
                left = "a later node of the job was still to run" if not last else "another job reads its value"
                _fail(f"{step['id']} called sys.exit() before its end, and {left}: let it return instead")
            return
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if "bdb" in sys.modules and isinstance(error, sys.modules["bdb"].BdbQuit):
                if _goes_on:
                    raise KeyboardInterrupt(_LEFT) from None
                _fail(_NO_TERMINAL if _debugger is None else _LEFT)
            _fail_as_user_code(error)
        if os.getpid() != _runner:
            print(f"aiflow-ext: {step['id']} returned in a process that it had forked", file=sys.stderr, flush=True)
            os._exit(1)  # else it would run the rest of the job a second time
        self.values[step["id"], None] = value
        if step["read"] or (self.payload["keep"] and is_kept(value)):
            artifacts.save(step["saves"]["value"], value)
        elif self.payload["keep"] and value is not None:
            _keep(step, value)

    def cmd_line(self, step: dict[str, Any]) -> None:
        with without_project():
            from aiflow_ext.engines.command import plan_command, text_of

        names: dict[str, str] = {}
        node = AINode("cmd_line", step["properties"], step["id"])
        written = {}
        for name, value in step["properties"].get("names", {}).items():
            if isinstance(value, InputRef):
                names[name] = str(self.file(step["inputs"][value.index]))
            elif isinstance(value, OutputFile):
                folder = self.work / "outputs" / safe_name(step["id"].rsplit("/", 1)[-1])
                folder.mkdir(parents=True, exist_ok=True)
                written[name] = folder / value.path
                names[name] = str(written[name])
            else:
                names[name] = text_of(value)
        argv = plan_command(node, names, self.payload["properties"])
        sys.stdout.flush()
        try:
            code = self._execute(argv)
        except OSError as error:
            _fail(
                f"{argv[0]} cannot be started: {error.strerror}", 127 if isinstance(error, FileNotFoundError) else 126
            )
        if code < 0:
            _note(f"a command was ended by signal {_signal_name(-code)}")
            raise CommandEndedError(-code)
        if code:
            _note(f"a command ended with exit code {code}")
            sys.exit(code)
        for name, path in written.items():
            if not path.exists():
                _fail(f"the command was to write its output {name!r} to {path} and did not")
            self.values[step["id"], name] = path
            artifacts.save(step["saves"][name], path)

    def value(self, source: dict[str, Any]) -> Any:
        """The value of an input: in memory, or from its artifact, read once a job."""
        if "node" in source:
            return self.values[source["node"], source["output"]]
        url = source["url"]
        if url not in self.loaded:
            self.loaded[url] = artifacts.value_of(self.fetched(url), self.work)
        return self.loaded[url]

    def file(self, source: dict[str, Any]) -> Path:
        """The file of an input, in its stored form; a folder as it was."""
        if "node" in source:
            return Path(self.values[source["node"], source["output"]])
        fetched = self.fetched(source["url"])
        if fetched.record.form == "folder":
            return Path(self.value(source))
        if fetched.record.form == "pickle" and not fetched.record.python:  # of built-in types alone
            return self.as_json(source["url"]) or fetched.path
        return fetched.path

    def as_json(self, url: str) -> Path | None:
        """A file with a value as JSON; None for a value that JSON has no form for."""
        with without_project():
            import json
        try:
            text = json.dumps(self.value({"url": url}), indent=1, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            return None
        file = self.work / "values" / hashlib.sha256(url.encode()).hexdigest()[:16] / f"{url.rpartition('/')[2]}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="utf-8", errors="backslashreplace")  # \\udcff: as JSON writes it, too
        return file

    def fetched(self, url: str) -> artifacts.Fetched:
        """An artifact; brought and checked once a job."""
        if url not in self.files:
            self.files[url] = artifacts.fetch(url, self.work)
        return self.files[url]

    def opened(self, code: FunctionRef | Pickled) -> Any:
        """A function or value that travelled."""
        if isinstance(code, FunctionRef):
            try:
                found: Any = importlib.import_module(code.module)
                for part in code.qualname.split("."):
                    found = getattr(found, part)
            except Exception as error:
                _fail_as_user_code(error)
            return found
        if hashlib.sha256(code.data).hexdigest() != code.sha256:
            raise ArtifactError(f"{code.what} was damaged on its way (sha256 differs)")
        check_versions(code.what, code.data, code.python, code.cloudpickle)
        return open_pickle(code.data, code.what)

    def filled(self, item: Any, inputs: list[Any]) -> Any:
        """An argument with its inputs put in."""
        if isinstance(item, InputRef):
            return inputs[item.index]
        if isinstance(item, Pickled):
            return self.opened(item)
        if type(item) in (list, tuple):
            return type(item)([self.filled(part, inputs) for part in item])
        if type(item) is dict:
            return {key: self.filled(part, inputs) for key, part in item.items()}
        return item


def _keep(step: dict[str, Any], value: Any) -> None:
    """Store a value that no job reads: the job does not fail where that cannot be done."""
    url = step["saves"]["value"]
    try:
        if artifacts.is_at_hand(url):
            artifacts.save(url, value, MOST_UNREAD)
    except (ArtifactError, AwayError) as error:
        sys.stdout.flush()
        print(f"aiflow-ext: the value of {step['id']} is not kept: {error}", file=sys.stderr, flush=True)


def _is_of_project(error: BaseException) -> bool:
    """Whether it was raised in code of the project: a module that was imported to open a pickle, a ``__setstate__``."""
    project = os.environ.get("AIFLOW_PROJECT_FOLDER")
    frames = traceback.walk_tb(error.__traceback__) if project else ()
    return any(frame.f_code.co_filename.startswith(f"{project}{os.sep}") for frame, _ in frames)


def _end_by(number: int) -> NoReturn:
    """End by the signal that ended a command, so that the platform records it."""
    sys.stdout.flush()
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(128 + number)  # only where the signal is blocked


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


_files: tuple[str | None, str] = None, ""  # the project's folder here, and on the client
_debugger: Debugger | None = None  # of a job that has a terminal
_goes_on = False  # whether this process goes on when the job has ended
_runner = 0  # the runner's pid: not that of a process that a step has forked
_really_exit = os._exit
_LEFT = "the debugger was left"
_NO_TERMINAL = "a debugger was called, and a job has no terminal: aiflow-ext run PROJECT --in-process has one"


def _is_success(leaving: SystemExit) -> bool:
    """Whether the process would end with exit code 0."""
    return leaving.code is None or (isinstance(leaving.code, int) and leaving.code & 0xFF == 0)


def _left_debugger(leaving: SystemExit) -> bool:
    """Whether a debugger that a job's code called has ended the process, as from Python 3.14 on at the end of its
    input."""
    pdb = getattr(sys.modules.get("pdb"), "__file__", None)
    frames = traceback.walk_tb(leaving.__traceback__) if pdb and not _goes_on else ()
    return any(frame.f_code.co_filename == pdb for frame, _ in frames)


def _exit_guarded(status: int) -> NoReturn:
    """``os._exit`` while a job has steps to do: its exit code 0 would be taken for the end of them all."""
    if os.getpid() == _runner and status & 0xFF == 0:
        words = "os._exit(0) was called before the job's steps were done: let the function return instead"
        _note(words)
        os.write(2, f"aiflow-ext: {words}\n".encode())
        _really_exit(1)
    _really_exit(status)


def _note(words: str) -> None:
    """One line for the attempt's record, where the platform keeps one."""
    _write("AIFLOW_REASON_FILE", " ".join(words.split()))


def _write(variable: str, line: str) -> None:
    """One line into the file that a variable names, if there is one."""
    path = os.environ.get(variable)
    if path and os.getpid() == _runner:
        try:
            # Not removed first: in a pod it is mounted. An earlier attempt may have put a FIFO or a link there.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
            with open(os.open(moved.now(Path(path)), flags, 0o666), "wb") as file:
                file.write(line[:2000].encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # the log has it too


def _fail(words: str, code: int = 1) -> NoReturn:
    _note(words)
    sys.stdout.flush()
    print(f"aiflow-ext: {words}", file=sys.stderr, flush=True)
    sys.exit(code)


def _fail_as_user_code(error: BaseException) -> NoReturn:
    """The user's traceback without our own frames, as their script would print it."""
    trace = of_user(error)
    sys.stdout.flush()
    with without_project():  # it imports what it needs for marking the place
        print_traceback(error, trace, *_files)
    sys.stderr.flush()
    _note(f"{OUT_OF_MEMORY if isinstance(error, MemoryError) else ''}{type(error).__name__}: {error}")
    raise SystemExit(1) from error.with_traceback(trace)
