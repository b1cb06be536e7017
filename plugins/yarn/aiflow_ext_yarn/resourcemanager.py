"""The ResourceManager's REST API, of whichever of several is the active one.

After a (re)start its web port answers before the applications are recovered: known ones are then *not found*, and a
second submission of a known id ends the ResourceManager. So *not found* counts, and applications are submitted, only
while ``haState`` is ACTIVE (measured with Hadoop 3.4.3; it is ``INITIALIZING`` for one to two seconds).
"""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from aiflow_ext.plugin import PlatformError
from aiflow_ext_yarn.answers import Fields
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.gateway import api_of
from aiflow_ext_yarn.http import Http, Response
from aiflow_ext_yarn.http_failures import Busy, Refused, Unreachable, origin
from aiflow_ext_yarn.reports import ENDED, LIVE, UNSAVED, Json, application_report, largest_container
from aiflow_ext_yarn.trust import same_place

# RemoteExceptions that say that there is no such application, by status; 400: it is no application's id.
_ABSENT = {404: ("NotFoundException",),
           400: ("BadRequestException", "IllegalArgumentException", "NumberFormatException")}  # fmt: skip
# What lists leave out of a report; ResourceManagers before Hadoop 3.0 refuse names that they do not know.
_LEFT_OUT = "resourceRequests,timeouts,appNodeLabelExpression,amNodeLabelExpression,resourceInfo"
_LEFT_OUT_BEFORE = "resourceRequests"
_before: set[tuple[str, ...]] = set()  # clusters that have refused
_preferred: dict[tuple[str, ...], str] = {}
# As Hadoop writes it; it reads application_1_7 too, and takes it for application_1_0007.
_ID = re.compile(r"application_\d{1,19}_(\d{4}|[1-9]\d{4,9})", re.ASCII)


class Listing(NamedTuple):
    """Applications of a tag.

    Attributes:
        size: bytes of the answer.
        at: when the ResourceManager answered by its own clock, in seconds since the epoch, rounded down; None where it
            does not say.
    """

    reports: list[Json]
    size: int
    at: float | None


class ResourceManager:
    """Calls to the active ResourceManager. Each raises Unreachable if none is active now."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.http = cluster, Http(cluster)
        self._key = tuple(cluster.resource_managers)

    # -- which one --------------------------------------------------------------------------------------------------

    def active(self) -> tuple[str, Json]:
        """The active ResourceManager's URL and its ``clusterInfo``."""
        failures = []
        for base in self._bases():
            try:
                info = self._info(base)
            except Unreachable as error:
                failures.append(error)
                continue
            state = str(info.get("haState", "ACTIVE"))
            if state == "ACTIVE":
                self._prefer(base)
                return base, info
            words = "is on standby" if state == "STANDBY" else f"is not ready yet: its state is {state}"
            failures.append(Unreachable(f"the ResourceManager at {base} {words}"))
        raise _combined(failures)

    def _info(self, base: str) -> Json:
        answer = self.http.request("GET", f"{api_of(base)}/info")
        if (busy := answer.busy()) is not None:
            raise busy
        if 300 <= answer.status < 400:
            location = answer.headers.get("location", "")
            raise _standby(base, "" if same_place(location, self.cluster.resource_managers) else location)
        if answer.status >= 500:
            raise Unreachable(f"the ResourceManager at {base} answers with status {answer.status}")
        found = answer.json()
        info = found.get("clusterInfo") if isinstance(found, dict) else None
        if not isinstance(info, dict):
            raise PlatformError(f"{base} is no ResourceManager: its /ws/v1/cluster/info is no clusterInfo",
                                hint="is it the right port? Its web port is 8088 by default")  # fmt: skip
        return info

    def _bases(self) -> list[str]:
        first = _preferred.get(self._key)
        rest = [base for base in self.cluster.resource_managers if base != first]
        return [first, *rest] if first is not None else rest

    def _prefer(self, base: str) -> None:
        _preferred[self._key] = base

    def call(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Json | None = None
    ) -> Response:
        """Send one request to the first ResourceManager that is not on standby; a standby's redirect is followed."""
        failures: list[Unreachable] = []
        waiting, tried = self._bases(), set()
        while waiting:
            base = waiting.pop(0)
            if base in tried:
                continue
            tried.add(base)
            try:
                answer = self._request(base, method, path, params, body)
            except Busy:
                raise
            except Unreachable as error:
                failures.append(error)
                continue
            if 300 <= answer.status < 400 or answer.body.startswith(b"This is standby RM"):
                # Followed only to an address that config or Hadoop's files name, because secrets are posted there.
                location = answer.headers.get("location") or answer.headers.get("refresh", "").partition("url=")[2]
                active = same_place(location, self.cluster.resource_managers)
                if active is not None:
                    waiting.insert(0, active)
                failures.append(_standby(base, location if active is None else ""))
                continue
            if answer.status in (502, 503, 504) and not answer.remote()[0]:
                failures.append(Unreachable(f"the ResourceManager at {base} answers with status {answer.status}"))
                continue
            self._prefer(base)
            return answer
        raise _combined(failures)

    def _request(
        self, base: str, method: str, path: str, params: Mapping[str, Any] | None, body: Json | None
    ) -> Response:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        answer = self.http.request(method, f"{api_of(base)}{path}", params, body=data, headers=headers)
        if (busy := answer.busy()) is not None:
            raise busy
        return answer

    # -- applications -----------------------------------------------------------------------------------------------

    def new_application(self) -> tuple[str, Json]:
        """A new application id, and the largest container that may be requested (``memory`` in MiB, ``vCores``)."""
        answer = self.call("POST", "/apps/new-application")
        found = Fields(self.json_of(answer, "asking for an application id"), origin(answer.url), "a new application")
        native_id = found.text("application-id", "")
        if not _ID.fullmatch(native_id):  # folders are called so
            raise PlatformError("no ResourceManager: asked for an application id, it answers without one",
                                hint="is it the right port? Its web port is 8088 by default")  # fmt: skip
        return native_id, largest_container(found.object("maximum-resource-capability"))

    def submit(self, application: Json) -> None:
        """Start an application; an existing one is not changed.

        Raises PlatformError if it is refused.
        """
        base, _ = self.active()
        if "resourceInformations" in application["resource"]:
            from aiflow_ext_yarn import rpc_submission

            rpc_submission.submit(self.cluster, application, self._delegation() if self.cluster.kerberos else None)
            return
        answer = self._request(base, "POST", "/apps", None, application)
        if 300 <= answer.status < 400:
            raise Unreachable(f"the ResourceManager at {base} has just become a standby")
        if answer.status in (200, 201, 202):
            return
        kind, words = answer.remote()
        if "already present" in words or "already exists" in words:
            return
        if answer.status >= 500 and not kind:
            raise Unreachable(f"the ResourceManager at {base} answers with status {answer.status}: {words}")
        raise PlatformError(
            f"the ResourceManager refuses application {application['application-id']}: {_first_line(words)}",
            hint=_hint(words),
        )

    def _delegation(self) -> str:
        """A delegation token of the ResourceManager's own, for its RPC."""
        answer = self.call("POST", "/delegation-token", body={"renewer": self.cluster.renewer})
        return str(self.json_of(answer, "asking for a delegation token").get("token", ""))

    def report(self, application: str) -> Json | None:
        """An application's report; None, as a proof of absence, if an active ResourceManager does not know it."""
        if not _ID.fullmatch(application):
            return None
        found = self._report_in(self.call("GET", f"/apps/{quote(application)}"), application)
        if found is not None:
            return found
        for _ in range(3):
            before = self.active()
            answer = self._request(before[0], "GET", f"/apps/{quote(application)}", None, None)
            found = self._report_in(answer, application)
            after = self.active()
            if found is not None:
                return found
            if _same_incarnation(before, after):
                return None
        raise Unreachable("the ResourceManager restarts again and again: what it knows cannot be told")

    def _report_in(self, answer: Response, application: str) -> Json | None:
        if 300 <= answer.status < 400:
            raise Unreachable(f"the ResourceManager at {origin(answer.url)} is on standby")
        if answer.remote()[0] in _ABSENT.get(answer.status, ()):
            return None
        found = Fields(self.json_of(answer, "asking for an application"), origin(answer.url), "an application's report")
        told = application_report(found.object("app"))
        if told["id"] != application:
            raise PlatformError(f"{origin(answer.url)}, asked for {application}, reports {told['id'][:100]!r}")
        return told

    def live(self, tag: str) -> Listing:
        """The applications with a tag that have not ended. A missing one proves nothing: use :meth:`report`."""
        return self._apps({"applicationTags": tag, "states": LIVE})

    def ended(self, tag: str, since: float | None) -> Listing:
        """The applications with a tag that have ended; none before ``since``, in seconds since the epoch.

        One that ended just now may be missing: its end has a time before the ResourceManager has stored and shows it.
        """
        begin = {} if since is None else {"finishedTimeBegin": int(since * 1000)}
        return self._apps({"applicationTags": tag, "states": ",".join(ENDED), **begin})

    def _apps(self, params: dict[str, Any]) -> Listing:
        while True:
            short = self._key in _before
            answer = self.call("GET", "/apps", {**params, "deSelects": _LEFT_OUT_BEFORE if short else _LEFT_OUT})
            if short or answer.status != 400:
                break
            _before.add(self._key)
        found = Fields(self.json_of(answer, "asking for a run's applications"), origin(answer.url), "an answer")
        reports = [application_report(each) for each in found.object("apps").objects("app")]
        return Listing(reports, len(answer.body), answer.date())

    def kill(self, application: str) -> str | None:
        """Kill an application; returns its present state, or None if it is proved not to exist."""
        answer = self.call("PUT", f"/apps/{quote(application)}/state", body={"state": "KILLED"})
        if answer.status == 404 and self.report(application) is None:
            return None
        if answer.status == 404:
            raise Unreachable(f"{origin(answer.url)} does not find {application}, of which it reports")
        found = Fields(self.json_of(answer, f"killing {application}"), origin(answer.url), "an application's state")
        return found.text("state", "")

    def signal(self, container: str) -> bool:
        """Send SIGTERM to a container's process; False if this ResourceManager cannot (before Hadoop 3.3)."""
        answer = self.call("POST", f"/containers/{quote(container)}/signal/GRACEFUL_SHUTDOWN")
        return bool(answer.status == 200)

    def limit(self, application: str, seconds: float) -> None:
        """Set an application's lifetime: seconds from its submission, by the ResourceManager's clock, until it is
        killed. An existing lifetime is not changed.

        Raises Unreachable while the ResourceManager is still saving the application, and accepts no lifetime for it.
        """
        report = self.report(application)
        if report is None or report["state"] in ENDED:
            return
        if report["expiry"] != "UNLIMITED":
            return
        if report["state"] in UNSAVED:
            raise Unreachable(f"application {application} is still being saved")
        began = report["startedTime"] / 1000 or time.time()
        expiry = datetime.datetime.fromtimestamp(began + seconds, datetime.timezone.utc)
        text = expiry.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        answer = self.call("PUT", f"/apps/{quote(application)}/timeout",
                           body={"timeout": {"type": "LIFETIME", "expiryTime": text}})  # fmt: skip
        if answer.status != 200:
            raise PlatformError(f"the lifetime of {application} cannot be set: {_first_line(answer.remote()[1])}")

    # -- the cluster ------------------------------------------------------------------------------------------------

    def labels(self) -> list[str] | None:
        """The cluster's node labels; None if this ResourceManager does not report them."""
        answer = self.call("GET", "/get-node-labels")
        if answer.status != 200:
            return None
        found = answer.json()
        said = (found.get("nodeLabelInfo") if isinstance(found, dict) else None) or []
        each = said if isinstance(said, list) else [said]  # one alone is no list
        return sorted(str(label.get("name")) for label in each if isinstance(label, dict))

    def setting(self, name: str) -> str | None:
        """The value of a property in the ResourceManager's own configuration; None if it does not answer."""
        base, _ = self.active()
        try:
            found = self.http.request("GET", f"{base}/conf", {"name": name, "format": "json"}).json()
            told = found["property"]
            return str(told["value"]) if told.get("key") == name else None
        except Unreachable:
            raise
        except (PlatformError, LookupError, TypeError, AttributeError):  # for administrators alone; or of another form
            return None

    def requester(self) -> str | None:
        """The user whom the ResourceManager takes this client for; None before Hadoop 3.3, which does not tell."""
        found = self.call("GET", "/userinfo")
        if found.status != 200:
            return None
        told = Fields(found.json(), origin(found.url), "an answer of /userinfo")
        return told.text("requestedUser", "") or None

    def clock_skew(self) -> float | None:
        """Seconds that the ResourceManager's clock is ahead of this machine's, from the Date of its answer."""
        before = time.time()
        answer = self.call("GET", "/info")
        then = answer.date()
        if then is None:
            return None
        # Date has whole seconds, and was written between the question and the answer.
        now = time.time()
        return max(0.0, then - now) or min(0.0, then + 1 - before)

    def json_of(self, answer: Response, what: str) -> Json:
        """The object that an answer to ``what`` ("asking for ...") holds. Raises PlatformError for a refusal, and for
        an answer of another form."""
        if answer.status >= 400:
            kind, words = answer.remote()
            if kind in ("ForbiddenException", "AccessControlException", "AuthorizationException"):
                raise Refused(f"the ResourceManager forbids user {self.cluster.user!r} {what}: {_first_line(words)}",
                              hint="ask whoever runs the cluster, or act as another user: user: NAME")  # fmt: skip
            if kind:
                raise PlatformError(f"the ResourceManager refuses {what}: {_first_line(words)}", hint=_hint(words))
            if answer.status >= 500:
                raise Unreachable(f"{origin(answer.url)} answers with status {answer.status} ({what}): {words}")
        found = answer.json()
        if not isinstance(found, dict):
            raise PlatformError(f"{origin(answer.url)} is no ResourceManager: {what}, it answers {str(found)[:60]!r}",
                                hint="is it the right port? Its web port is 8088 by default")  # fmt: skip
        return found


def _standby(base: str, location: str) -> Unreachable:
    """The error that a ResourceManager is on standby, with the address that it redirects to."""
    if not location:
        return Unreachable(f"the ResourceManager at {base} is on standby")
    return Unreachable(
        f"the ResourceManager at {base} is on standby and leads to {location[:200]!r}, which neither config nor "
        "HADOOP_CONF_DIR names: nothing is sent there",
        hint="if it is a ResourceManager of the cluster, name both: resource_manager: [URL, URL]",
    )


def _same_incarnation(one: tuple[str, Json], other: tuple[str, Json]) -> bool:
    return one[0] == other[0] and all(one[1].get(key) == other[1].get(key) for key in ("id", "startedOn"))


def _combined(failures: list[Unreachable]) -> Unreachable:
    """One error for all ResourceManagers."""
    if len(failures) == 1:
        return failures[0]
    words = "; ".join(each.problems[0].message for each in failures)
    hints = [each.problems[0].hint for each in failures if each.problems[0].hint]
    return Unreachable(f"no ResourceManager is active: {words}", hint=hints[0] if hints else None)


def _first_line(words: str) -> str:
    """The sentence of a Java exception's message."""
    line = words.strip().splitlines()[0] if words.strip() else "it does not say why"
    return line.rpartition("Exception: ")[2][:400]


def _hint(words: str) -> str | None:
    lowered = words.lower()
    if "queue" in lowered:
        return "name a queue of the cluster that takes you: queue: NAME"
    if "memory" in lowered or "cores" in lowered or "resource request" in lowered:
        return "ask for less (memory:, cpu:, gpu:, resources:), or for what the cluster has"
    if "label" in lowered:
        return "name a node label of the cluster, or take node_label: away"
    return None
