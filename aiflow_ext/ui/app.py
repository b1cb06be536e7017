"""What the server answers: the page's own files, and below ``/api/`` what it shows, as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from aiflow_ext.host.host import PluginHost
from aiflow_ext.model.errors import PROJECT, AiflowError, ConfigError
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.platform_checks import problems_to_data
from aiflow_ext.run.operations.run_job import request_of, settings_of
from aiflow_ext.run.store.find import job_of
from aiflow_ext.ui import artifacts
from aiflow_ext.ui.actions import resume_run, stop_run
from aiflow_ext.ui.answer import Answer, in_json
from aiflow_ext.ui.follow import LOOK, LOOK_AT_ALL, ListFollower, RunFollower
from aiflow_ext.ui.guard import DATA, Guard
from aiflow_ext.ui.log import Log, streams_of
from aiflow_ext.ui.pictures import drawn
from aiflow_ext.ui.plugins import LOADING, inventory
from aiflow_ext.ui.runs import Runs
from aiflow_ext.view.style import STYLE

T = TypeVar("T")
STATIC = Path(__file__).with_name("static")
_ALIVE = 15.0  # seconds after which a stream says that it lives, so that a page that is gone is noticed
_MOST_ASKED = 1 << 16  # bytes of a request
_RUN = DATA + "runs/{run}"


def make_app(token: str, runs: Runs, is_ending: Callable[[], bool]) -> Guard:
    """The server's app.

    Args:
        token: what requests need.
        runs: the runs that it shows.
        is_ending: whether streams are to end, because the server does.
    """
    page = _Page(runs, is_ending)
    app = Starlette(
        routes=[
            Route("/", page.index),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route(DATA + "runs", page.list),
            Route(DATA + "events", page.list_events),
            Route(_RUN, page.run),
            Route(_RUN + "/events", page.run_events),
            Route(_RUN + "/stop", page.stop, methods=["POST"]),
            Route(_RUN + "/resume", page.resume, methods=["POST"]),
            Route(_RUN + "/log", page.log),
            Route(_RUN + "/streams", page.streams),
            Route(_RUN + "/{picture}.svg", page.picture),
            Route(_RUN + "/job", page.job),
            Route(_RUN + "/settings", page.settings),
            Route(_RUN + "/request", page.request),
            Route(_RUN + "/artifacts", page.artifacts),
            Route(_RUN + "/preview", page.preview),
            Route(_RUN + "/ticket", page.make_ticket, methods=["POST"]),
            Route("/ticket/{number}", page.ticket),
            Route(DATA + "plugins", page.plugins),
            Route(DATA + "why", page.why),
            Route("/view.css", page.style),
        ],
        exception_handlers={AiflowError: _explained},
    )
    return Guard(app, token)


class _Page:
    def __init__(self, runs: Runs, is_ending: Callable[[], bool]) -> None:
        self._runs, self._is_ending = runs, is_ending
        self._tickets = artifacts.Tickets()

    async def index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def list(self, request: Request) -> Response:
        return Answer(await run_in_threadpool(self._runs.listed))

    async def run(self, request: Request) -> Response:
        """A run as ``aiflow-ext status --json`` shows it."""

        return Answer(
            await self._of_run(request, lambda observed: {**observed.record.summary(), "driver": observed.driver})
        )

    async def list_events(self, request: Request) -> Response:
        return self._events(ListFollower(self._runs), LOOK_AT_ALL)

    async def run_events(self, request: Request) -> Response:
        follower = await run_in_threadpool(RunFollower, self._runs, request.path_params["run"])
        return self._events(follower, LOOK)

    async def stop(self, request: Request) -> Response:
        return await self._done(stop_run, request)

    async def resume(self, request: Request) -> Response:
        return await self._done(resume_run, request)

    async def log(self, request: Request) -> Response:
        """The bytes of a log; with ``follow`` until no more can come."""
        asked = request.query_params
        runs, run_id = self._runs, request.path_params["run"]
        attempt, offset, most = (_number(asked, key) for key in ("attempt", "offset", "most"))

        def begin() -> tuple[Log, bytes, Callable[[], None]]:
            with contextlib.ExitStack() as held:
                observed = held.enter_context(runs.observed(run_id))
                log = Log(observed, asked.get("job", ""), attempt, asked.get("stream", "stdout"), offset)
                first = log.read()  # what cannot be read is said in an answer of its own
                return log, first, held.pop_all().close

        log, first, close = await run_in_threadpool(begin)
        headers = {"X-Log-Begin": str(log.begin), "X-Log-Size": "" if log.size is None else str(log.size)}
        body = self._bytes(log, first, close, follow="follow" in asked, most=most or None)
        return StreamingResponse(body, headers=headers, media_type="application/octet-stream")

    async def streams(self, request: Request) -> Response:
        """The names of the logs of an attempt: stdout, stderr, and other containers whose logs were kept."""
        job, attempt = request.query_params.get("job", ""), _number(request.query_params, "attempt")
        return Answer(await self._of_run(request, lambda observed: streams_of(observed, job, attempt), only=job))

    async def picture(self, request: Request) -> Response:
        """The graph or the timeline of a run, as SVG; of the timeline a ``page``, in it the jobs that the table has."""
        picture, asked = request.path_params["picture"], request.query_params
        page, state, words = _number(asked, "page"), asked.get("state", ""), asked.get("words", "")
        made = await self._of_run(request, lambda observed: drawn(observed, picture, page, state, words))
        return Response(made, media_type="image/svg+xml")

    async def style(self, request: Request) -> Response:
        """The style of these pictures."""
        return Response(STYLE, media_type="text/css")

    async def job(self, request: Request) -> Response:
        """A job, as one of ``jobs`` of ``aiflow-ext status --json``."""
        job = request.query_params.get("job", "")
        return Answer(await self._of_run(request, lambda observed: job_of(observed.record, job).summary(), only=job))

    async def settings(self, request: Request) -> Response:
        """The settings of a job with their origins, in the shape of ``aiflow-ext config show --json``."""
        job = request.query_params.get("job", "")
        settings, remark = await self._of_run(request, lambda observed: settings_of(observed, job))
        return Answer({"settings": [each.to_dict() for each in settings], "remark": remark})

    async def request(self, request: Request) -> Response:
        """What is sent for an attempt of a job, as ``aiflow-ext render --json`` shows it."""
        job, attempt = request.query_params.get("job", ""), _number(request.query_params, "attempt")
        return Answer(await self._of_run(request, lambda observed: request_of(observed, job, attempt or None)))

    async def artifacts(self, request: Request) -> Response:
        """What a job has kept."""
        job = request.query_params.get("job", "")
        return Answer(await self._of_run(request, lambda observed: artifacts.listed(observed, job)))

    async def preview(self, request: Request) -> Response:
        """The beginning of an artifact."""
        job, name = request.query_params.get("job", ""), request.query_params.get("name", "")
        return Answer(await self._of_run(request, lambda observed: artifacts.preview(observed, job, name)))

    async def make_ticket(self, request: Request) -> Response:
        """An address for an artifact that answers once."""
        asked, runs, run_id = await _asked(request), self._runs, request.path_params["run"]
        wanted = artifacts.Wanted(*(str(asked.get(key, "")) for key in artifacts.Wanted._fields))

        def answer() -> Response:
            with runs.observed(run_id) as observed:
                return artifacts.answer_with(observed, wanted)

        return Answer({"url": f"/ticket/{self._tickets.add(answer)}"})

    async def ticket(self, request: Request) -> Response:
        answer = self._tickets.take(request.path_params["number"])
        if answer is None:
            return Response("this address has answered before, or is too old\n", 404, media_type="text/plain")
        return await run_in_threadpool(answer)

    async def plugins(self, request: Request) -> Response:
        """As ``aiflow-ext plugins --proof --json``."""
        return Answer(await run_in_threadpool(inventory))

    async def why(self, request: Request) -> Response:
        """As ``aiflow-ext why PLATFORM ENGINE --json``; with ``load`` the plugin is loaded, in a process of its own."""
        asked = request.query_params
        limit = LOADING if "load" in asked else None
        platform, engine = asked.get("platform", ""), asked.get("engine", "")
        found = await run_in_threadpool(lambda: PluginHost().why(platform, engine, limit=limit).to_dict())
        return Answer(found)

    async def _of_run(self, request: Request, read: Callable[[Observed], T], only: str | None = None) -> T:
        """What is read of a run, or of one job of it, in a thread."""
        runs, run_id = self._runs, request.path_params["run"]

        def call() -> T:
            with runs.observed(run_id, only) as observed:
                return read(observed)

        return await run_in_threadpool(call)

    async def _done(self, act: Callable[[Runs, str, dict[str, Any]], dict[str, Any]], request: Request) -> Response:
        asked = await _asked(request)
        return Answer(await run_in_threadpool(act, self._runs, request.path_params["run"], asked))

    def _events(self, follower: RunFollower | ListFollower, interval: float) -> Response:
        return StreamingResponse(self._lines(follower, interval), media_type="text/event-stream")

    async def _lines(self, follower: RunFollower | ListFollower, interval: float) -> AsyncIterator[bytes]:
        """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
        loop = asyncio.get_running_loop()
        spoke = 0.0
        try:
            while not self._is_ending():
                try:
                    events = await run_in_threadpool(follower.look)
                except AiflowError as error:
                    yield _event("gone", _in_json(error))
                    return
                for name, data in events:
                    yield await run_in_threadpool(_event, name, data)
                if events:
                    spoke = loop.time()
                elif loop.time() - spoke > _ALIVE:
                    spoke = loop.time()
                    yield b": alive\n\n"
                await asyncio.sleep(interval)
        finally:
            follower.close()

    async def _bytes(
        self, log: Log, data: bytes, close: Callable[[], None], *, follow: bool, most: int | None
    ) -> AsyncIterator[bytes]:
        left = most
        try:
            over = not follow
            while left is None or left > 0:
                if data:
                    data = data if left is None else data[:left]
                    left = None if left is None else left - len(data)
                    yield data
                elif over or self._is_ending():
                    return
                else:
                    over = await run_in_threadpool(log.is_over)
                    if not over:
                        await asyncio.sleep(LOOK)
                data = await run_in_threadpool(log.read)
        except AiflowError:  # it was readable until now: the page asks for what is left when it is opened again
            return
        finally:
            close()


async def _asked(request: Request) -> dict[str, Any]:
    """The JSON object that was sent. Raises AiflowError for anything else."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_ASKED:
            break
    try:
        asked = json.loads(body) if len(body) <= _MOST_ASKED else None
        # A lone surrogate can stand in no store and no command, NUL in no command.
        if b"\\u0000" in json.dumps(asked, ensure_ascii=False).encode():
            asked = None
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise ConfigError("a JSON object was expected")
    return asked


def _number(asked: QueryParams, key: str) -> int:
    """A whole number of the query; 0 where it is missing. Raises ConfigError for anything else."""
    given = asked.get(key, "0")
    if not given.removeprefix("-").isdecimal() or len(given) > 18:
        raise ConfigError(f"{key} is {given[:40]!r}, which is no number")
    return int(given)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), in_json(data))


def _in_json(error: AiflowError) -> dict[str, Any]:
    problems = problems_to_data(error.problems)
    return {"error": {"type": type(error).__name__, "exit_code": error.exit_code, "problems": problems}}


async def _explained(request: Request, error: Exception) -> Response:
    assert isinstance(error, AiflowError)
    return Answer(_in_json(error), 404 if error.exit_code == PROJECT else 409)
