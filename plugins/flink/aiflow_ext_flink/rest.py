"""A client of Flink's REST API: deadlines for whole answers, limits to their size, readable failures.

https://nightlies.apache.org/flink/flink-docs-release-2.3/docs/ops/rest_api/. urllib3 is imported on the first request.
"""

from __future__ import annotations

import functools
import http.client
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import LARGEST_ANSWER, Deadline, MalformedJson, TooSlow, parse_json, pool_classes, within

if TYPE_CHECKING:
    import ssl

    import urllib3

CONNECT, READ = 3.0, 20.0  # seconds to connect, and for a whole answer
_AWAY = "is the JobManager up, and the address right?"


class Unreachable(UnreachableError):
    """The JobManager does not answer, or not yet: it is starting, or has no leader."""


class Refused(PlatformError):
    """The JobManager refuses a request.

    Attributes:
        status: of the HTTP answer.
        said: Flink's own words.
    """

    def __init__(self, words: str, status: int, said: str = "") -> None:
        super().__init__(words)
        self.status, self.said = status, said


class FlinkRest:
    """Flink's REST API at one address. Safe to use from any thread.

    Args:
        address: ``host:port``, or a URL, with a path where a proxy is before it.
        seconds: for a whole answer.
        tls: for https, with the client's certificate where the server asks for one; None: the system's authorities.
    """

    def __init__(self, address: str, seconds: float = READ, tls: ssl.SSLContext | None = None) -> None:
        self.url = (address if "://" in address else f"http://{address}").rstrip("/")
        self.seconds, self.tls = seconds, tls

    def overview(self) -> dict[str, Any]:
        """The cluster: ``taskmanagers``, ``slots-total``, ``slots-available``, ``flink-version``, ``jobs-running``."""
        return self._object("GET", "/overview")

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs: ``jid``, ``name``, ``state``, ``start-time`` and ``end-time`` (ms), ``tasks`` by state."""
        found = self._object("GET", "/jobs/overview").get("jobs")
        jobs = found if isinstance(found, list) else []
        return [each for each in jobs if isinstance(each, dict) and isinstance(each.get("jid"), str)]

    def job(self, job_id: str) -> dict[str, Any]:
        """One job: ``state``, ``timestamps``, ``vertices``."""
        return self._object("GET", f"/jobs/{_quoted(job_id)}")

    def job_status(self, job_id: str) -> str:
        """The state of one job: ``RUNNING``."""
        return str(self._object("GET", f"/jobs/{_quoted(job_id)}/status").get("status", ""))

    def exceptions(self, job_id: str) -> dict[str, Any]:
        """What failed: ``exceptionHistory: {entries: [{exceptionName, stacktrace, timestamp, taskName}]}``."""
        return self._object("GET", f"/jobs/{_quoted(job_id)}/exceptions?maxExceptions=5")

    def restarts(self, job_id: str) -> int:
        """How often a job has been restarted; 0 where Flink does not say."""
        found = self._ask("GET", f"/jobs/{quote(job_id)}/metrics?get=numRestarts")
        values = [each.get("value") for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        return next((int(value) for value in values if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value)), 0)

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        """Its checkpoints: ``counts``, ``latest: {completed: {external_path}, savepoint, failed, restored}``."""
        return self._object("GET", f"/jobs/{_quoted(job_id)}/checkpoints")

    def config(self) -> dict[str, Any]:
        """The cluster's ``flink-version`` and the like."""
        return self._object("GET", "/config")

    def configuration(self) -> dict[str, str]:
        """The keys that the JobManager is configured with; those of secrets have other values."""
        found = self._ask("GET", "/jobmanager/config")
        entries = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        return {str(each.get("key")): str(each.get("value")) for each in entries}

    def application(self, application_id: str) -> dict[str, Any]:
        """One application of an application cluster, with the ``jobs`` that its program has submitted."""
        return self._object("GET", f"/applications/{_quoted(application_id)}")

    def cancel(self, job_id: str) -> None:
        """Cancel a job. One that has ended, or is not there, is left alone."""
        try:
            self._ask("PATCH", f"/jobs/{_quoted(job_id)}?mode=cancel")
        except Refused as error:
            if error.status not in (404, 409):
                raise

    def stop(self, job_id: str, folder: str | None, *, drain: bool = False) -> str:
        """Have a job take a savepoint and end. Returns the id of that request, for :meth:`savepoint`.

        Args:
            job_id: the job's.
            folder: where the savepoint is to be; None: the folder that the cluster is configured with.
            drain: whether windows and timers fire before.
        """
        body = {"drain": drain, **({} if folder is None else {"targetDirectory": folder})}
        return str(self._object("POST", f"/jobs/{_quoted(job_id)}/stop", body).get("request-id", ""))

    def savepoint(self, job_id: str, request: str) -> str | None:
        """The path of the savepoint that was asked for; None while it is made. Raises PlatformError if it failed."""
        found = self._object("GET", f"/jobs/{_quoted(job_id)}/savepoints/{_quoted(request)}")
        if _within_object(found, "status").get("id") != "COMPLETED":
            return None
        operation = _within_object(found, "operation")
        if location := operation.get("location"):
            return str(location)
        from aiflow_ext_flink.verdict import root_cause

        words = root_cause(str(_within_object(operation, "failure-cause").get("stack-trace", "")))
        raise PlatformError(f"the savepoint failed: {words or 'Flink does not say why'}")

    def upload(self, name: str, content: bytes) -> str:
        """Upload a jar to a session cluster. Returns its id there, for :meth:`run`."""
        fields = {"jarfile": (name, content, "application/x-java-archive")}
        found = self._object("POST", "/jars/upload", fields=fields).get("filename", "")
        return str(found).rpartition("/")[2]

    def run(self, jar_id: str, request: dict[str, Any]) -> str:
        """Run a jar that was uploaded: ``entryClass``, ``programArgsList``, ``parallelism``, ``jobId``,
        ``savepointPath``, ``flinkConfiguration``. Returns the job's id."""
        return str(self._object("POST", f"/jars/{_quoted(jar_id)}/run", request).get("jobid", ""))

    def jars(self) -> list[dict[str, Any]]:
        """The jars that were uploaded: ``id``, and the ``name`` that each was given."""
        found = self._object("GET", "/jars").get("files")
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    def remove_jar(self, jar_id: str) -> None:
        """Remove a jar that was uploaded."""
        try:
            self._ask("DELETE", f"/jars/{_quoted(jar_id)}")
        except Refused as error:
            if error.status not in (400, 404):
                raise

    def _object(self, method: str, path: str, body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        found = self._ask(method, path, body, **more)
        if not isinstance(found, dict):
            raise PlatformError(f"{self.url} answers {method} {path} with what is no object", hint=_AWAY)
        return found

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, fields: dict[str, Any] | None = None
    ) -> Any:
        import urllib3

        options: dict[str, Any] = {
            "preload_content": False, "decode_content": False, "redirect": False, "retries": False,
        }  # fmt: skip
        if body is not None:
            options.update(body=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
        elif fields is not None:
            options["fields"] = fields
        if self.seconds > READ:
            options["timeout"] = urllib3.Timeout(connect=CONNECT, read=self.seconds)
        try:
            with within(Deadline(self.seconds)):
                answer = _pool(self.tls).request(method, self.url + path, **options)
                try:
                    content = answer.read(LARGEST_ANSWER + 1)
                finally:
                    answer.release_conn()
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, TooSlow) as error:
            raise Unreachable(f"{self.url} does not answer: {_short(error)}", hint=_AWAY) from error
        return self._read(answer.status, content, f"{method} {path}")

    def _read(self, status: int, content: bytes, asked: str) -> Any:
        try:
            found = parse_json(content) if content else {}
        except MalformedJson as error:
            if status >= 500:
                raise Unreachable(f"{self.url} answers {asked} with status {status}", hint=_AWAY) from error
            raise PlatformError(f"{self.url} answers {asked} with what is no JSON: {error}", hint=_AWAY) from error
        if status < 300:
            return found
        words = _words_of(found)
        if status in (502, 503, 504) or "Service temporarily unavailable" in words:
            raise Unreachable(f"{self.url} is not ready: {words or status}", hint=_AWAY)
        told = f"Flink refuses {asked} (status {status}): {words[:1000] or 'it does not say why'}"
        raise Refused(told, status, words[:1000].removeprefix("Internal server error. "))


@functools.lru_cache(maxsize=2)
def _pool(tls: ssl.SSLContext | None) -> urllib3.PoolManager:
    import urllib3

    timeout = urllib3.Timeout(connect=CONNECT, read=READ)
    pool = urllib3.PoolManager(num_pools=16, maxsize=8, timeout=timeout, ssl_context=tls)
    pool.pool_classes_by_scheme = pool_classes()
    return pool


def _within_object(found: dict[str, Any], key: str) -> dict[str, Any]:
    """An object in an object; an empty one where there is something else."""
    inner = found.get(key)
    return inner if isinstance(inner, dict) else {}


def said_in(content: bytes) -> str:
    """Flink's own words in its answer to a request that it refuses; '' where it has none."""
    try:
        return _words_of(parse_json(content))[:1000]
    except MalformedJson:
        return ""


def _words_of(found: Any) -> str:
    errors = found.get("errors") if isinstance(found, dict) else None
    return " ".join(_first_line(str(each)) for each in errors[:3]) if isinstance(errors, list) else ""


def _quoted(part: str) -> str:
    """An id as one part of a path, whatever a server gave as one."""
    return quote(part, safe="", errors="replace")


def _first_line(text: str) -> str:
    """The line of an error that matters: of a stack trace, the root cause."""
    text = text.removeprefix("<Exception on server side:\n")
    if "\n" not in text:
        return text.strip()
    from aiflow_ext_flink.verdict import root_cause

    return root_cause(text) or text.partition("\n")[0].strip()


def _short(error: BaseException) -> str:
    return (
        re.sub(r"<[^>]*>|HTTPConnectionPool\([^)]*\): ?", "", str(error)[:2000]).strip(" :")[:300]
        or type(error).__name__
    )
