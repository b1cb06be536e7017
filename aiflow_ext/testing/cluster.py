"""Level cluster: a platform that is reached over a network, may not answer, and that other users use too."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, NoReturn

from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.conformance import JobPluginConformance
from aiflow_ext.testing.levels import level
from aiflow_ext.testing.places import Place
from aiflow_ext.testing.trial import by_name

OUTAGE = 10.0  # seconds for which the server does not answer
FEW, MANY = 2, 6  # jobs of the two runs whose requests are compared
DRAWN = 50  # lines of the kill loop besides all those next to I/O

cluster = level("cluster", "lookup", "attach", "watch", "check_platform")


class Wrong(NamedTuple):
    """A configuration with which the platform cannot be reached.

    Args:
        config: keys of the job's config with wrong values.
        env: variables of the client with wrong values.
        named: text that the problem must contain: the address, the user.
    """

    config: Mapping[str, Any]
    env: Mapping[str, str]
    named: str


class ClusterConformance(JobPluginConformance):
    """The kit for a platform that is a cluster: all of ``JobPluginConformance``, and the level *cluster*.

    Override the methods that begin with ``the_``, ``delete_`` and ``count_``, which depend on the cluster. Set
    ``artifacts`` to a URL that client and jobs reach.
    """

    def the_server_is_gone(self) -> AbstractContextManager[Any]:
        """A context manager: inside it, the platform's server answers no client; jobs go on."""
        self._override("the_server_is_gone", "a context manager that stops the server, or the way to it")

    def away(self) -> AbstractContextManager[Any]:
        """The same, for a single attempt in the level durable."""
        return self.the_server_is_gone()

    def delete_native(self, native_id: str) -> None:
        """Delete an attempt's object by the platform's own means, behind the plugin's back."""
        self._override("delete_native", "delete it as an administrator would")

    def lose(self, native_id: str) -> bool:
        """Not used: a test of this level deletes the attempt's object."""
        return False

    def count_requests(self) -> AbstractContextManager[dict[str, int]]:
        """A context manager that counts requests: afterwards the mapping has the numbers of ``watches`` (or lists, or
        polls that were begun) and ``archives`` (uploads of the project)."""
        self._override("count_requests", "count them in the server's own log, or in a proxy before it")

    def the_wrong_address(self) -> Wrong:
        """A config and an environment with the address of a server that does not exist."""
        self._override("the_wrong_address", "give a config, or variables, of a server that does not exist")

    def the_refused_credential(self) -> Wrong:
        """A config and an environment with a credential that the server does not accept."""
        self._override("the_refused_credential", "give a config, or variables, with a credential that has run out")

    def _override(self, name: str, cure: str) -> NoReturn:
        complain(f"{self.name}: the level cluster needs {name}(self) in {type(self).__name__}", cure, "level-cluster")

    def points(self, counted: dict[str, Any], wanted: int | None) -> tuple[list[int | Place], list[int | Place], str]:
        """The lines at which the client is killed: each one next to I/O and ``DRAWN`` others, as a kill takes seconds.

        Args:
            counted: the lines that an attempt executes, from a run that was counted.
            wanted: how many kills; None: the default.
        """
        first, last = counted["intent"], counted["acknowledged"] + 1
        beside = [Place(*place) for *place, number in counted["beside"] if first <= number <= last]
        draw, count = random.Random(self._seed()), len(beside)
        if wanted is not None:
            count = min(count, math.ceil(wanted * 0.6))
            beside = [beside[index] for index in sorted(draw.sample(range(len(beside)), count))]
        drawn, more, words = super().points(counted, DRAWN if wanted is None else wanted - count)
        words = f", {len(beside)} next to I/O of {sum(first <= each[-1] <= last for each in counted['beside'])}{words}"
        return [*beside, *drawn], more, words

    # -- the server -------------------------------------------------------------------------------------------------

    @cluster
    def test_the_server_is_gone_and_back(self) -> None:
        """Jobs end and are started while the server does not answer: each is executed once, and none is given up."""
        works = {"first": self.jobs.counts(10), "second": self.jobs.prints_and_exits("x", 0, "2")}
        self.trial.write(works)
        self.trial.order("second", "first")
        client = self.trial.client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        self.trial.marks.wait("half", self.patience)
        with self.the_server_is_gone():
            self.trial.marks.put("go")
            time.sleep(OUTAGE)  # no synchronisation: the length of the outage
        record = by_name(client("driven", timeout=2 * self.patience))
        for name in works:
            self.must_be(record, "FINISHED", f"the server was gone for {OUTAGE:g} s and came back, {name!r} ended well",
                         "raise UnreachableError where there is no answer: it is asked again", "level-cluster",
                         name)  # fmt: skip
        counted = {name: self.trial.marks.count(mark) for name, mark in (("first", "half"), ("second", "start2"))}
        attempts = {name: len(record["jobs"][name]["attempts"]) for name in works}
        if set(counted.values()) != {1} or set(attempts.values()) != {1}:
            counts = f"executions were {counted}, attempts {attempts}"
            complain(f"{self.name}: the server was gone for {OUTAGE:g} s and came back; {counts}",
                     "take what is there under the native id for success", "submitted-once")  # fmt: skip

    @cluster
    def test_what_somebody_deletes_is_lost(self) -> None:
        """An attempt whose object is deleted from outside is LOST, with a reason."""
        self.trial.write({"job": self.jobs.sleeps(self.patience * 3)})
        client = self.trial.client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        self.trial.marks.wait("start", self.patience)
        self.delete_native(client("native_id_of", job="job"))
        record = by_name(client("driven"))
        self.must_be(record, "LOST", "its object was deleted by somebody else",
                     "let watch tell LOST once the platform answers that it is not there", "level-cluster")  # fmt: skip
        if not self.attempt_of(record)["reason"]:
            complain(f"{self.name}: its object was deleted by somebody else, and the record gives no reason",
                     "give AttemptEvent(reason=) what is known", "level-cluster")  # fmt: skip

    @cluster
    def test_many_jobs_cost_no_more_watches_and_archives(self) -> None:
        """The project is sent once a run, and one watch follows all of its jobs."""
        found = []
        for jobs in (FEW, MANY):
            works = {f"job {number}": self.jobs.prints_and_exits("x", 0, str(number)) for number in range(jobs)}
            self.trial.write(works)
            with self.count_requests() as counted:
                self.trial.run(jobs=jobs)
            found.append(dict(counted))
        few, many = found
        if many != few or few.get("watches", 0) < 1 or few.get("archives", 0) > 1:
            complain(f"{self.name}: a run of {FEW} jobs took {few}, one of {MANY} jobs {many}",
                     "send the project once a run, follow all native ids in one watch", "level-cluster")  # fmt: skip

    @cluster
    def test_artifacts_are_at_the_url(self) -> None:
        """A value that one job makes and another one reads is at the artifacts URL, for the client too."""
        if "://" not in self.artifacts:
            complain(f"{self.name}: artifacts is {self.artifacts!r}, which is no URL",
                     "set it to a URL that client and jobs reach", "level-cluster")  # fmt: skip
        works = {"make": self.jobs.makes(1000, "x"), "read": self.jobs.reads("x")}
        record = self.trial.write(works).run()
        for name in works:
            self.must_be(record, "FINISHED", "an artifact crosses from one job to another",
                         "use aiflow_ext.engines.bundle", "artifacts", name)  # fmt: skip
        there = self.trial.client()("listed", url=f"{self.artifacts.rstrip('/')}/{self.trial.runs[-1]}")
        if not there:
            complain(f"{self.name}: nothing is at {self.artifacts}, where the artifact should be",
                     "pass JobContext.artifacts_url on to the job", "artifacts")  # fmt: skip

    # -- check_platform ---------------------------------------------------------------------------------------------

    @cluster
    def test_a_wrong_address_is_named(self) -> None:
        """check_platform names the address that does not answer."""
        self._must_name(self.the_wrong_address(), "address")

    @cluster
    def test_a_refused_credential_is_named(self) -> None:
        """check_platform reports a credential that the server refuses."""
        self._must_name(self.the_refused_credential(), "credential")

    def _must_name(self, wrong: Wrong, what: str) -> None:
        self.trial.config = {**self.trial.config, **wrong.config}
        self.trial.write({"job": self.jobs.prints_and_exits("x", 0)})
        client = self.trial.client()
        client("environ", variables=dict(wrong.env))
        client("open", run=self.trial.new_run())
        found = client("check_platform")
        if not any(wrong.named in words for words in found):
            complain(f"{self.name}: the {what} is wrong, and check_platform tells {found or 'nothing'}, without "
                     f"{wrong.named!r}", "return a Problem that names it, and what to do", "level-cluster")  # fmt: skip
