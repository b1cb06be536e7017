"""The graph and the timeline as SVG: what they show, for eyes and for screen readers, and that nothing in them runs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from aiflow_ext.model.states import JobState
from aiflow_ext.view.graph import graph_svg
from aiflow_ext.view.seen import Attempt, Edge, Job, jobs_of
from aiflow_ext.view.style import STYLE
from aiflow_ext.view.timeline import timeline_svg
from aiflow_ext.view.words import SIGNS

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</script><img src=x onerror=alert(1)>\"' \x1b[31m\u202e]]>&\x00\ud800\ufffe\uffff"
EVENT = re.compile(r"^on", re.IGNORECASE)


def parsed(svg: str) -> ElementTree.Element:
    """The picture, parsed strictly; only what may be there is."""
    root = ElementTree.fromstring(svg.encode())
    for each in root.iter():
        assert each.tag.removeprefix(SVG) in {"svg", "g", "a", "title", "text", "rect", "path"}
        assert not [name for name in each.attrib if EVENT.match(name) or name == "style"]
    return root


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if name in each.get("class", "").split()]


def ran(number: int, state: JobState, *moments: float | None, reason: str | None = None) -> Attempt:
    return Attempt(number, state, *moments, reason=reason)


@pytest.fixture
def jobs() -> list[Job]:
    return [
        Job("fetch", JobState.FINISHED, "local.python", None, (ran(1, JobState.FINISHED, 100.0, 101.0, 110.0),)),
        Job("fit", JobState.RUNNING, "kubernetes.python", None, (
            ran(1, JobState.FAILED, 112.0, 120.0, 130.0, reason="ValueError: too large"),
            ran(2, JobState.RUNNING, 140.0, 142.0, None))),
        Job("serve", JobState.QUEUED, "yarn.cmd_line", None, (ran(1, JobState.QUEUED, 150.0, None, None),)),
        Job("tell"),
    ]  # fmt: skip


EDGES = [Edge("fetch", "fit", data=True), Edge("fetch", "tell"), Edge("serve", "tell", "ready"),
         Edge("fit", "tell", "failed")]  # fmt: skip


def test_names_are_as_wide_as_their_place_also_where_characters_are_wide() -> None:
    root = parsed(graph_svg([Job("\u8a13" * 40), Job("w" * 40), Job("\u8a13" * 11)], []))
    names = [each.text for each in of_class(root, "name")]
    assert names == ["\u8a13" * 8 + "\u2026" + "\u8a13" * 3, "w" * 15 + "\u2026" + "w" * 7, "\u8a13" * 11]


def test_a_graph_shows_each_job_with_its_state_as_sign_word_and_class(jobs: list[Job]) -> None:
    root = parsed(graph_svg(jobs, EDGES, now=162.0))
    boxes = {each.get("data-job"): each for each in of_class(root, "box")}
    assert list(boxes) == ["fetch", "fit", "serve", "tell"]
    for job in jobs:
        box = boxes[job.name]
        assert str(job.state) in box.get("class", "")
        assert [each.text for each in box.iter(f"{SVG}text")][:2] == [SIGNS[job.state], job.name]
        assert box.get("aria-label") == box.findtext(f"{SVG}title")
    assert boxes["fit"].get("aria-label") == "fit: RUNNING, 20.0 s, 2 attempts, kubernetes.python"
    assert root.get("aria-label") == "graph of 4 jobs: 1 RUNNING, 1 QUEUED, 1 waiting, 1 FINISHED"


def test_edges_differ_for_data_order_and_conditions_which_are_named(jobs: list[Job]) -> None:
    root = parsed(graph_svg(jobs, EDGES))
    kinds = [each.get("class", "").split()[1] for each in of_class(root, "edge")]
    assert sorted(kinds) == ["condition", "condition", "data", "order"]
    assert sorted(str(each.text) for each in of_class(root, "when")) == ["failed", "ready"]


def test_boxes_lead_where_the_caller_says(jobs: list[Job]) -> None:
    root = parsed(graph_svg(jobs, EDGES, link=lambda name: f"#job={name}&x"))
    assert [each.get("href") for each in root.iter(f"{SVG}a")] == [f"#job={job.name}&x" for job in jobs]
    assert not list(parsed(graph_svg(jobs, EDGES)).iter(f"{SVG}a"))


def test_a_large_graph_is_drawn_as_groups_says_so_and_keeps_failed_jobs() -> None:
    many = [Job(f"fit-{number}", JobState.FINISHED) for number in range(2000)]
    many += [Job(f"join-{number}", JobState.FAILED if number == 7 else JobState.INIT) for number in range(1000)]
    edges = [Edge(f"fit-{number}", f"join-{number // 2}", data=True) for number in range(2000)]
    svg = graph_svg(many, edges)
    root = parsed(svg)
    words = [str(each.text) for each in of_class(root, "below")]
    assert sorted(words) == ["2,000 jobs FINISHED", "999 jobs waiting", "FAILED"]
    assert [each.get("data-job") for each in of_class(root, "FAILED")] == ["join-7"]
    assert {str(each.text) for each in of_class(root, "name")} == {"fit-*", "join-*", "join-7"}
    assert of_class(root, "note")[0].text == (
        "3,000 jobs: those of one layer and one state are one box; 1 failed job drawn by name"
    )
    assert len(of_class(root, "edge")) == 2
    assert len(svg) < 10_000


def test_a_long_chain_of_many_jobs_stays_a_picture_of_bounded_size() -> None:
    many = [Job(f"step-{number}", JobState.FAILED) for number in range(3000)]
    svg = graph_svg(many, [Edge(f"step-{number}", f"step-{number + 1}") for number in range(2999)])
    assert len(of_class(parsed(svg), "box")) == 60
    assert len(svg) < 100_000


def test_a_timeline_tells_waiting_queued_running_and_the_time_between_attempts(jobs: list[Job]) -> None:
    root = parsed(timeline_svg(jobs, EDGES, started_at=100.0, until=162.0))
    rows = {each.get("data-job"): each for each in of_class(root, "row")}
    assert list(rows) == ["fetch", "fit", "serve", "tell"]
    said = [str(each.text) for each in rows["fit"].iter(f"{SVG}title")]
    assert said == [
        "fit",
        "waited for its turn for 2.0 s",
        "attempt 1: FAILED; queued for 8.0 s",
        "attempt 1: FAILED; ran for 10.0 s: ValueError: too large",
        "waited for the next attempt for 10.0 s",
        "attempt 2: RUNNING; queued for 2.0 s",
        "attempt 2: RUNNING; has run for 20.0 s",
    ]
    assert "queued for 12.0 s" in str([each.text for each in rows["serve"].iter(f"{SVG}title")])
    assert rows["fit"].get("aria-label") == "fit: RUNNING, 2 attempts"
    assert [each.text for each in of_class(root, "time")] == ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "1 min"]


def test_bars_are_as_long_as_the_time_that_they_show(jobs: list[Job]) -> None:
    root = parsed(timeline_svg(jobs, EDGES, started_at=100.0, until=162.0))
    wide = {each.findtext(f"{SVG}title"): float(each.get("width", "")) for each in of_class(root, "bar")}
    failed, runs = wide["attempt 1: FAILED; ran for 10.0 s: ValueError: too large"], wide[
        "attempt 2: RUNNING; has run for 20.0 s"]  # fmt: skip
    assert runs / failed == pytest.approx(2, abs=0.01)


def test_a_timeline_of_many_jobs_shows_those_that_run_and_failed_and_counts_the_rest() -> None:
    many = [Job(f"j{number}", JobState.FINISHED) for number in range(500)]
    many[400], many[450] = many[400]._replace(state=JobState.FAILED), many[450]._replace(state=JobState.RUNNING)
    root = parsed(timeline_svg(many, [], started_at=0.0, until=10.0, most=3))
    assert [each.get("data-job") for each in of_class(root, "row")] == ["j0", "j400", "j450"]
    assert "and 497 more jobs" in str(of_class(root, "note")[0].text)


def test_the_pages_of_a_timeline_have_each_job_once_those_that_failed_first() -> None:
    many = [Job(f"j{number}", JobState.FAILED if number % 5 == 4 else JobState.FINISHED) for number in range(10)]
    pages = []
    for page in range(5):
        root = parsed(timeline_svg(many, [], started_at=0.0, until=10.0, most=3, page=page))
        pages.append([each.get("data-job") for each in of_class(root, "row")])
    assert pages == [["j0", "j4", "j9"], ["j1", "j2", "j3"], ["j5", "j6", "j7"], ["j8"], []]


def test_a_timeline_of_some_jobs_still_knows_what_they_have_waited_for() -> None:
    first = Job("a", JobState.FINISHED, attempts=(Attempt(1, JobState.FINISHED, 0.0, 0.0, 6.0),))
    then = Job("b", JobState.FINISHED, attempts=(Attempt(1, JobState.FINISHED, 8.0, 8.0, 9.0),))
    svg = timeline_svg([first, then], [Edge("a", "b")], started_at=0.0, until=9.0, only=lambda job: job.name == "b")
    assert [each.get("data-job") for each in of_class(parsed(svg), "row")] == ["b"]
    assert "waited for its turn for 2.0 s" in svg


@pytest.mark.parametrize("span", [0.0, 0.3, 59.0, 4000.0, 90_000.0, 10_000_000.0])
def test_an_axis_has_some_times_whatever_its_length(span: float) -> None:
    root = parsed(timeline_svg([Job("a")], [], started_at=5.0, until=5.0 + span))
    assert 2 <= len(of_class(root, "time")) <= 10


def test_moments_out_of_order_do_no_harm() -> None:
    odd = (ran(1, JobState.FAILED, 50.0, 20.0, 10.0), ran(2, JobState.LOST, None, None, 900.0))
    root = parsed(timeline_svg([Job("a", JobState.LOST, attempts=odd)], [], started_at=30.0, until=40.0))
    assert all(float(each.get("width", "")) > 0 for each in of_class(root, "bar"))


def test_what_others_have_written_is_text_in_every_picture() -> None:
    attempts = (ran(1, JobState.FAILED, 1.0, 2.0, 3.0, reason=HOSTILE),)
    hostile = [Job(HOSTILE, JobState.FAILED, HOSTILE, HOSTILE, attempts), Job("b")]
    edges = [Edge(HOSTILE, "b", HOSTILE)]
    link = lambda name: f"#{name}"  # noqa: E731
    for svg in (
        graph_svg(hostile, edges, link=link),
        graph_svg(hostile, edges, most=1),
        graph_svg([each._replace(state=JobState.INIT) for each in hostile], edges, most=1),
        timeline_svg(hostile, edges, started_at=0.0, until=9.0, link=link),
    ):
        parsed(svg)
        assert "<img" not in svg
        assert not re.search("[\x00-\x08\x1b\u202e\ud800]", svg)


def test_every_state_has_a_colour_and_a_sign_of_its_own() -> None:
    assert set(SIGNS) == set(JobState)
    assert len({*SIGNS.values()}) == len(SIGNS)
    for state in JobState:
        assert f".{state} " in STYLE or f".{state}," in STYLE
    assert "prefers-color-scheme: dark" in STYLE


def test_jobs_are_read_from_a_status_of_a_version_with_other_states() -> None:
    attempt = {
        "number": 1,
        "state": "PAUSED",
        "submitted_at": 1.0,
        "started_at": None,
        "ended_at": None,
        "reason": "so",
    }
    shown = {"name": "a", "platform": "local", "engine": "python", "state": "PAUSED", "reason": None}
    (job,) = jobs_of({"jobs": [{**shown, "attempts": [attempt], "of a later version": 1}]})
    assert job == Job("a", JobState.INIT, "local.python", "so", (Attempt(1, JobState.INIT, 1.0, None, None, "so"),))
