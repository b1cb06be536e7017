"""How often clients ask a ResourceManager, in virtual time: the fake one answers at once."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from cluster_server import Cluster

from aiflow_ext.plugin import AINode, AISubGraph, JobContext, JobState, ProjectDesc
from aiflow_ext.plugin.engines import build_bundle
from aiflow_ext_yarn import poll_hints
from aiflow_ext_yarn.cluster import cluster_of
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.request import run_tag
from aiflow_ext_yarn.watch import Polls

EPOCH = 1_800_000_000.0


class Simulation:
    """A ResourceManager and its clients, whose time goes on from one event to the next.

    Attributes:
        now: seconds since the simulation began.
        late: of each end, how many seconds later its client noticed it.
    """

    def __init__(self, rm: Cluster, folder: Path) -> None:
        self.rm, self.now, self.late = rm, 0.0, list[float]()
        rm.clock = lambda: EPOCH + self.now
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._config = YarnJobConfig(resource_manager=rm.url, webhdfs=rm.url, user="ada")
        graph = AISubGraph(self._config, "a", [AINode("cmd_line", {"command": "true"}, "a/1")])
        self._bundle = build_bundle(graph, ProjectDesc("p", str(folder)), "cmd_line")

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), action))

    def run(self, seconds: float) -> list[str]:
        """Go on for so long; returns what the ResourceManager was asked for."""
        end, before = self.now + seconds, len(self.rm.asked)
        while self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end
        return self.rm.asked[before:]

    def job(self, run: str, native_id: str) -> YarnJob:
        job = YarnJob(self._config, self._bundle, cluster_of(self._config))
        job.job_context = JobContext(run_id=run, native_id=native_id)
        return job


class Client:
    """A run, which follows its jobs as ``watch`` does.

    Args:
        ended: called when an end is noticed.
    """

    def __init__(self, simulation: Simulation, name: str, ended: Callable[[Client], None]) -> None:
        self.simulation, self.name, self.ended = simulation, name, ended
        self.jobs: dict[str, YarnJob] = {}
        self.ends: dict[str, float] = {}
        self.polls = Polls(self.jobs, lambda: simulation.now)
        simulation.at(simulation.now, self.go_on)

    def submit(self, seconds: float) -> None:
        """Start a job that takes so long."""
        sim, native_id = self.simulation, self.simulation.rm.new_id()
        sim.rm.start(native_id, run_tag(self.name))
        self.jobs[native_id] = sim.job(self.name, native_id)
        self.ends[native_id] = sim.now + seconds
        sim.at(sim.now + seconds, lambda: sim.rm.finish(native_id))
        poll_hints.submitted(native_id)
        self.polls.changed()

    def go_on(self) -> None:
        sim = self.simulation
        for event, _, _ in list(self.polls.poll()):
            if event.state.ended:
                assert event.state is JobState.FINISHED
                sim.late.append(sim.now - self.ends[event.native_id])
                del self.jobs[event.native_id]
                self.ended(self)
        sim.at(max(min(self.polls.due(), sim.now + 0.5), sim.now + 0.001), self.go_on)


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    random.seed(15)
    with Cluster() as rm:
        yield Simulation(rm, tmp_path)


@pytest.mark.slow
@pytest.mark.thorough
def test_fifty_clients_whose_jobs_change_all_the_time_ask_fifty_times_a_second_at_most(simulation: Simulation) -> None:
    clients = [
        Client(simulation, f"changing-{number}", lambda it: it.submit(random.uniform(1, 5))) for number in range(50)
    ]
    for client in clients:
        for _ in range(3):
            client.submit(random.uniform(1, 5))
    minutes = [len(simulation.run(60)) for _ in range(2)]
    assert all(asked <= 50 * 60 for asked in minutes), minutes
    assert len(simulation.late) > 50 * 60 / 2
    assert max(simulation.late) <= 2


@pytest.mark.parametrize("seconds", [0.5, 1.5, 30, 120])
def test_the_end_of_a_single_job_is_noticed_soon(simulation: Simulation, seconds: float) -> None:
    Client(simulation, f"single-{seconds}", lambda _: None).submit(seconds)
    asked = simulation.run(seconds + 2)
    assert simulation.late[0] <= min(0.05 + 0.2 * seconds, 1.8)
    assert len(asked) <= 16 + 0.75 * seconds + 3


def test_a_job_that_is_submitted_while_its_absence_is_told_is_not_lost(simulation: Simulation) -> None:
    native_id = simulation.rm.new_id()
    polls = Polls({native_id: simulation.job("doubted", native_id)}, lambda: simulation.now)

    def submit(path: str) -> None:
        if "LISTSTATUS" in path:  # after the ResourceManager has said that it does not know it
            simulation.rm.start(native_id, run_tag("doubted"))
            poll_hints.submitted(native_id)

    simulation.rm.before = submit
    assert list(polls.poll()) == []
    simulation.now += 5
    assert [event.state for event, _, _ in polls.poll()] == [JobState.RUNNING]


def test_a_job_that_runs_for_hours_is_asked_for_every_five_seconds(simulation: Simulation) -> None:
    Client(simulation, "long", lambda _: None).submit(7200)
    simulation.run(3600)
    assert len(simulation.run(600)) <= 600 / 4.4


def test_a_large_list_is_asked_for_rarely_and_ends_are_noticed_all_the_same(simulation: Simulation) -> None:
    """Of 1000 applications, a few end: the lists of those that have ended are small."""
    client = Client(simulation, "large", lambda it: it.submit(20))
    for _ in range(1000):
        client.submit(3600)
    simulation.run(60)
    for _ in range(3):
        client.submit(10)
    asked = simulation.run(60)
    size = len(simulation.rm.listing(run_tag("large")))
    lists = [each for each in asked if "RUNNING" in each]
    assert 2 <= len(lists) <= 60 / (size / (128 << 10)) + 1
    assert len(asked) <= 60
    assert len(simulation.late) >= 9
    assert max(simulation.late) <= 2
