"""What a client does: an attempt step by step, as a driver would take them, or a whole run."""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import os
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiflow_ext as af
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model.attempt import AttemptEvent
from aiflow_ext.model.jsonable import encode
from aiflow_ext.run.operations.resume import take_up
from aiflow_ext.run.operations.start import Run, prepare
from aiflow_ext.run.planning.plan import Plan, PlannedJob, generate, make_plan
from aiflow_ext.run.planning.plan_codec import StoredPlan, plan_to_data
from aiflow_ext.run.platforms import supervised
from aiflow_ext.run.platforms.plugin_adapter import HostedAdapter, PluginAdapter, adapter_for
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store
from aiflow_ext.testing import crash
from aiflow_ext.testing.likeness import difference, lost_in_copies
from aiflow_ext.testing.places import Place
from aiflow_ext.testing.watching import Made, Watching

_plugin: ResolvedPlugin | None = None


def hello(platform: str, engine: str) -> dict[str, Any]:
    """Load the plugin and say what it is, or why it cannot be had."""
    global _plugin
    try:
        found = _plugin = PluginHost().resolve(platform, engine)
    except af.AiflowError as error:
        return {"error": f"{type(error).__name__}: {error}{_trace(error.__cause__)}", "facts": {}}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}{_trace(error)}", "facts": {}}
    record = found.record
    module = record.entry_point.partition(":")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    facts = {"offers": sorted(found.offers), "durable": found.durable, "files": crash.files_of(found.plugin),
             "distribution": record.distribution, "version": record.version, "module": module,
             "file": file and os.path.abspath(file)}  # fmt: skip
    return {"error": None, "facts": facts}


def serve(channel: socket.socket, root: str) -> None:
    """Do what is asked for until the other side hangs up."""
    client = ClientSide(Path(root))
    with channel.makefile("rb") as lines:
        for line in lines:
            asked = json.loads(line)
            try:
                value = getattr(client, f"do_{asked['call']}")(**asked["arguments"])
                answer: dict[str, Any] = {"value": _plain(value)}
            except BaseException as error:
                answer = {"raised": [type(error).__name__, str(error), _trace(error)]}
            channel.sendall(json.dumps(answer).encode() + b"\n")


class ClientSide:
    """The calls; each ``do_NAME`` is one that a test asks for by that name."""

    def __init__(self, root: Path) -> None:
        self.root, self.project = root, root / "project"
        self.handler: af.AbstractJobHandler | None = None
        self._run: Run | None = None
        self._thread: threading.Thread | None = None
        self._raised: BaseException | None = None
        self._occupied = 0.0, 0.0
        self._made: Made | None = None
        temporary = root / "tmp"
        os.environ["TMPDIR"] = str(temporary)
        tempfile.tempdir = None

    # -- an attempt -------------------------------------------------------------------------------------------------

    def do_open(
        self, run: str, job: str | None = None, number: int = 1, native_id: str | None = None
    ) -> dict[str, Any]:
        """Generate an attempt's job, in this process."""
        self.plan: Plan = make_plan(self.project)
        self.planned: PlannedJob = self.plan.jobs[job or next(iter(self.plan.jobs))]
        state = state_folder(self.plan.desc.root)
        Store(state).close()
        home = state / "runs" / run
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        context = self.plan.context(self.planned.name, run, home, number)
        self.adapter: PluginAdapter = adapter_for(self.planned, self.plan.desc)
        self.job = generate(self.plan, self.planned, context)
        self.context = self.job.job_context or context
        self.context.native_id = native_id
        Path(str(self.context.work_folder)).mkdir(parents=True, exist_ok=True)
        return {"folder": self.context.work_folder, "run_folder": str(home)}

    def do_allocate_id(self) -> Any:
        return self.adapter.allocate(self.job)

    def do_take_id(self, native_id: str) -> None:
        """Put the allocated id into the job, as the driver does once it is on record."""
        self.context.native_id = native_id

    def do_generate_job_resource(self) -> None:
        self.adapter.prepare(self.job)

    def do_submit_job(self) -> str | None:
        """Submit; the handler as JSON comes from ``handler``."""
        self.handler = self.adapter.submit(self.job)
        return None if self.handler is None else type(self.handler).__name__

    def do_lookup(self) -> str:
        return str(self.adapter.lookup(self.job))

    def do_attach(self) -> str:
        self.handler = self.adapter.attach(self.job)
        if self.handler is None:
            raise TypeError("it returned None, and no handler")
        return type(self.handler).__name__

    def do_stop_attempt(self, grace: float) -> None:
        """Stop as the driver does."""
        self.adapter.stop(self.job, self.handler, grace)

    def do_cleanup_attempt(self) -> None:
        """Clean up as the driver does."""
        self.adapter.cleanup(self.job)

    def do_cleanup_run(self, run: str) -> None:
        context = self.plan.context(self.planned.name, run, state_folder(self.plan.desc.root) / "runs" / run)
        self.adapter.cleanup_run(run, [generate(self.plan, self.planned, context)])

    def do_check_platform(self) -> list[str]:
        return [f"{type(problem).__name__}: {problem}" for problem in self.adapter.check([self.job])]

    def do_render(self) -> Any:
        request = self.adapter.render(self.job)
        return None if request is None else {"kind": request.kind, "content": encode(request.content)}

    def do_events(self, seconds: float, cursor: str | None = None, until: str | None = None) -> list[dict[str, Any]]:
        """What a watch of this attempt tells until its end (or the state ``until``), or in so many seconds."""
        native_id = str(self.context.native_id)
        told: list[dict[str, Any]] = []
        raised: list[BaseException] = []
        deadline = time.monotonic() + seconds

        def read() -> None:
            since = cursor
            while time.monotonic() < deadline:  # a watch may end, and is taken up again, as a driver does
                for event in self.adapter.watch({native_id: self.job}, since) or ():
                    if isinstance(event, AttemptEvent) and event.native_id == native_id:
                        since = event.cursor or since
                        told.append({"state": _word(event.state), "exit_code": event.exit_code,
                                     "signal": event.signal, "cursor": event.cursor})  # fmt: skip
                        if told[-1]["state"] in (*_ENDS, until):
                            return
                    if time.monotonic() > deadline:
                        return
                time.sleep(0.1)

        def watch() -> None:
            try:
                with self._measured():
                    read()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=watch, daemon=True)  # it may say nothing for as long as nothing happens
        thread.start()
        thread.join(max(0.0, deadline - time.monotonic()) + 1.0)
        if raised:
            raise raised[0]
        return list(told)

    def do_over(self) -> str | None:
        """What was submitted last has come to its end, in words; None: it has not, as far as can be told."""
        if self._thread is not None:
            if self._thread.is_alive():
                return None
            if self._raised is not None:
                return f"{type(self._raised).__name__}: {self._raised}"
            if self._run is None:  # submit_job has returned, and its job may go on
                return None
            ends = self._run.record.summary()["jobs"]
            told = [f"job {job['name']!r} is {job['state']}: {job['reason']}" for job in ends]
            folders = [job["attempts"][-1]["folder"] for job in ends if job["attempts"]]
            texts = [_end_of(Path(folder, "stderr").read_bytes()) for folder in folders
                     if Path(folder, "stderr").is_file()]  # fmt: skip
            return "; ".join(told) + "".join(texts)
        if self.handler is None:
            return None
        state = _word(self.handler.state())
        if state not in _ENDS:
            return None
        return f"the handler says {state}{_end_of(self.handler.logs('stderr', 0))}"

    def do_occupied(self) -> tuple[float, float]:
        """Seconds for which the last wait, or the last look at a watch, has used a processor or wanted one; and of how
        many."""
        return self._occupied

    @contextlib.contextmanager
    def _measured(self) -> Iterator[None]:
        before, began = (_wanted_cpu(), sum(os.times()[:4])), time.monotonic()
        try:
            yield
        finally:
            used = max(_wanted_cpu() - before[0], sum(os.times()[:4]) - before[1])
            self._occupied = used, time.monotonic() - began

    def do_printed(self) -> str:
        """What has been written to this client's standard output, and every other one's of the trial."""
        sys.stdout.flush()
        return (self.root / "client.out").read_text(encoding="utf-8", errors="replace")

    # -- the handler ------------------------------------------------------------------------------------------------

    def do_handler(self) -> str:
        return af.dumps(self.handler)

    def do_take_handler(self, text: str) -> None:
        self.handler = af.loads(text)

    def do_state(self) -> str | None:
        return _word(self._handler.state())

    def do_wait(self, seconds: float | None = None) -> str | None:
        with self._measured():
            return _word(self._handler.wait(seconds))

    def do_logs(self, stream: str = "stdout", offset: int = 0) -> Any:
        return self._handler.logs(stream, offset)

    def do_stop(self, grace: float) -> Any:
        return self._handler.stop(grace)

    @property
    def _handler(self) -> af.AbstractJobHandler:
        assert self.handler is not None
        return self.handler

    # -- the nine methods themselves --------------------------------------------------------------------------------

    def do_enter(self) -> None:
        """Make this process what the plugin's methods are called in: an attempt host, where it needs one."""
        native_id = self.context.native_id = self.adapter.allocate(self.job)
        if isinstance(self.adapter, HostedAdapter):
            supervised.prepare_folder(native_id)
            os.environ.update(self.adapter.process(self.job).env)
            os.chdir(Path(native_id, "work"))

    def do_bare(self, method: str) -> None:
        """Call one of the nine that take a job."""
        getattr(self.planned.resolved.hook, method)(job=self.job)

    def do_bare_submit(self) -> None:
        """Call ``submit_job`` in a thread: it may block until the job has ended."""

        def submit() -> None:
            try:
                self.planned.resolved.hook.submit_job(job=self.job)
            except BaseException as error:
                self._raised = error

        self._thread = threading.Thread(target=submit, daemon=True)
        self._thread.start()

    def do_bare_submitted(self, seconds: float) -> str | None:
        """Wait for ``submit_job`` to return; what it raised, if it did."""
        assert self._thread is not None
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"submit_job has not returned within {seconds:g} s")
        return None if self._raised is None else f"{type(self._raised).__name__}: {self._raised}"

    def do_heed_files(self) -> None:
        """From now on know which files this process makes."""
        if self._made is None:
            self._made = Made()

    def do_left(self) -> dict[str, Any]:
        """The files that it has made, outside of the runs' folders, and that are there; and what it holds."""
        assert self._made is not None
        gc.collect()
        runs = f"{state_folder(self.project)}{os.sep}"
        made = sorted(path for path in self._made.paths if not path.startswith(runs) and os.path.lexists(path))
        descriptors = len(os.listdir("/proc/self/fd"))
        return {"files": made, "descriptors": descriptors, "threads": threading.active_count()}

    # -- generate and render ----------------------------------------------------------------------------------------

    def do_generate_differences(self) -> list[str]:
        """How jobs differ that should be equal, and what generate has changed."""
        desc = encode(self.plan.desc)
        context = self.plan.context(self.planned.name, str(self.context.run_id), Path(str(self.context.run_folder)))
        first, second = (generate(self.plan, self.planned, context) for _ in range(2))
        found = [("a second call gives another job", difference(first, second))]
        data = json.loads(json.dumps(plan_to_data(self.plan)))
        stored = StoredPlan(data, lambda names: data["jobs"]).whole()
        anew = stored.jobs[self.planned.name]
        graph = encode(anew.sub_graph)
        with _elsewhere(self.root / "tmp"):
            third = generate(stored, anew, context)
        words = "from the stored graph, by somebody else in another folder, as a run is resumed, comes another job"
        found.append((words, difference(first, third)))
        found.append(("generate has changed its sub_graph", difference(graph, encode(anew.sub_graph))))
        found.append(("generate has changed its project_desc", difference(desc, encode(self.plan.desc))))
        return [f"{words}: {what}" for words, what in found if what is not None]

    def do_lost_in_copies(self) -> list[str]:
        """What a copy of the job's config lacks, or has otherwise."""
        return lost_in_copies(self.planned.config)

    def do_watched(self, call: str, readable: list[str]) -> list[str]:
        """What ``generate`` or ``render`` opens, writes, starts and connects to, having been called once before.

        ``readable``: what generate may read beside the project.
        """
        context = self.plan.context(self.planned.name, str(self.context.run_id), Path(str(self.context.run_folder)))
        ours = [os.path.dirname(str(af.__file__)), *crash.files_of(self.planned.resolved.plugin)]
        watching = Watching([str(self.project), *ours, *readable] if call == "generate" else None)
        try:
            with watching:
                if call == "generate":
                    generate(self.plan, self.planned, context)
                else:
                    self.adapter.render(self.job)
        except Exception:
            if not watching.seen:  # else it was refused, and that is told
                raise
        return watching.seen

    # -- a whole run ------------------------------------------------------------------------------------------------

    def do_prepare_run(self, jobs: int | None = None) -> dict[str, Any]:
        """A run that stands ready."""
        self._run = prepare(self.project, jobs=jobs)
        return {"run": self._run.record.run_id, "folder": self._run.record.folder}

    def do_take_up(self, run: str) -> None:
        """A run that an earlier client has left."""
        self._run = take_up(run, project=str(self.project))

    def do_drive(self) -> dict[str, Any]:
        """Drive the run to its end; its record."""
        assert self._run is not None
        return self._run.driver.run().summary()

    def do_drive_traced(self, at: int | list[Any] | None, files: list[str]) -> dict[str, Any]:
        """Drive the run, and be killed at the line with the number ``at``, or at that place; None: count the lines."""
        assert self._run is not None
        return crash.drive(self._run, Place(*at) if isinstance(at, list) else at, files)

    def do_sabotage(self, how: str) -> None:
        """From now on submit each attempt twice, or not at all: to see whether the counting would notice."""
        crash.sabotage(how)

    def do_dropped(self) -> None:
        """Wait until something was submitted and dropped."""
        crash.dropped.wait()

    def do_drive_aside(self) -> None:
        """Drive the run in a thread."""
        run = self._run
        assert run is not None

        def drive() -> None:
            try:
                run.driver.run()
            except BaseException as error:
                self._raised = error

        self._thread = threading.Thread(target=drive, daemon=True)
        self._thread.start()

    def do_stands(self, run: str) -> dict[str, Any]:
        """How far a run has come that another client drives, or drove: its record, from the store."""
        state = state_folder(self.project)
        return Store(state).run(run).summary()

    def do_driven(self) -> dict[str, Any]:
        """Wait for the end of the run that is driven in a thread; its record."""
        assert self._run is not None
        assert self._thread is not None
        self._thread.join()
        if self._raised is not None:
            raise self._raised
        return self._run.record.summary()

    def do_native_id_of(self, job: str) -> str | None:
        """The native id of the last attempt of a job of the run."""
        assert self._run is not None
        last = self._run.record.jobs[job].last
        return None if last is None else last.native_id

    # -- around it --------------------------------------------------------------------------------------------------

    def do_environ(self, variables: dict[str, str]) -> None:
        """Set variables of this process."""
        os.environ.update(variables)

    def do_listed(self, url: str) -> list[str]:
        """What is below a URL."""
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url)
        return [str(each) for each in fs.find(path)]

    def do_stop_one(self, job: str, grace: float) -> None:
        """Stop one job of the run that is driven in a thread; returns at once."""
        assert self._run is not None
        Store(state_folder(self.project)).ask(self._run.record.run_id, "stop", job, grace)
        self._run.driver.look_at_requests()

    def do_stop_run(self, grace: float) -> dict[str, Any]:
        """Stop the run that is driven in a thread, and wait for its end."""
        assert self._run is not None
        assert self._thread is not None
        self._run.driver.stop(grace)
        self._thread.join()
        if self._raised is not None:
            raise self._raised
        return self._run.record.summary()


_ENDS = ("FINISHED", "FAILED", "STOPPED", "LOST")


def _end_of(stderr: Any) -> str:
    """The end of what a job wrote on standard error, for a message."""
    text = stderr.decode("utf-8", "replace").strip()[-1500:] if isinstance(stderr, bytes) else ""
    return "".join(f"\n    stderr: {line}" for line in text.splitlines())


def _wanted_cpu() -> float:
    """Seconds that this thread has run, or waited for a processor: on a busy machine, too, that is all of a spin."""
    try:
        with open("/proc/thread-self/schedstat") as file:
            return sum(map(int, file.read().split()[:2])) / 1e9
    except (OSError, ValueError):
        return time.thread_time()


@contextlib.contextmanager
def _elsewhere(folder: Path) -> Iterator[None]:
    """What differs where somebody else takes a run up again: who, from where, in which language."""
    kept, here = dict(os.environ), os.getcwd()
    os.environ.update(dict.fromkeys(("USER", "LOGNAME", "HOSTNAME", "EDITOR", "TERM", "SHELL"), "somebody-else"))
    os.environ.update(LANG="C", TZ="Asia/Tokyo", PWD=str(folder))
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(kept)


def _word(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    return value


_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def _trace(error: BaseException | None) -> str:
    """The traceback, without this room's frames."""
    if error is None:
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    cause = _trace(error.__cause__) if error.__cause__ is not None else ""
    last = traceback.format_exception_only(type(error), error)
    return cause + "\nTraceback:\n" + "".join([*traceback.format_list(frames), *last])
