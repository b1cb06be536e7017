"""Periodic jobs: when they are due, and that each firing has one run whoever is killed."""

from __future__ import annotations

import itertools
import random
import re
import select
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from patience import PATIENCE

from aiflow_ext.model import errors
from aiflow_ext.model.config import PeriodicConfig
from aiflow_ext.model.errors import ConfigError
from aiflow_ext.run.operations.due import previous_and_next
from aiflow_ext.run.operations.schedule import Schedule
from aiflow_ext.run.store.store import Store

CMD = '"*": {platform: local, engine: cmd_line}\n'


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("given", "now", "last", "following"),
    [
        ({"interval": 600.0}, "2026-03-01T10:05:00", "2026-03-01T10:00:00", "2026-03-01T10:10:00"),
        ({"interval": 600.0}, "2026-03-01T10:10:00", "2026-03-01T10:10:00", "2026-03-01T10:20:00"),
        ({"cron": "0 6 * * *"}, "2026-03-01T05:59:59", "2026-02-28T06:00:00", "2026-03-01T06:00:00"),
        ({"cron": "0 6 * * *"}, "2026-03-01T06:00:00", "2026-03-01T06:00:00", "2026-03-02T06:00:00"),
        # Berlin goes to summer time at 02:00 on 29 March 2026: 06:00 there is 05:00 UTC before and 04:00 after.
        (
            {"cron": "0 6 * * *", "time_zone": "Europe/Berlin"},
            "2026-03-28T12:00:00",
            "2026-03-28T05:00:00",
            "2026-03-29T04:00:00",
        ),
    ],
)
def test_when_a_job_was_due_and_is_due_next(given, now, last, following):
    assert previous_and_next(PeriodicConfig(**given), at(now)) == (at(last), at(following))


@pytest.mark.parametrize("cron", ["30 2 * * *", "15 1-3 * * *", "*/30 * * * *", "0 * * * *", "0 0 * * *"])
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Berlin", "2026-03-28T20:00:00"),
        ("Europe/Berlin", "2026-10-24T20:00:00"),
        ("America/New_York", "2026-11-01T00:00:00"),
        ("Australia/Lord_Howe", "2026-04-04T10:00:00"),
        ("America/Santiago", "2026-09-05T20:00:00"),
    ],
)
def test_where_the_clock_is_changed_moments_follow_each_other_and_none_is_due_in_the_past(zone, day, cron):
    given = PeriodicConfig(cron=cron, time_zone=zone)
    fired, following, now = [], None, at(day)
    for _ in range(12 * 12):
        last, then = previous_and_next(given, now)
        assert last <= now < then
        if not fired or last != fired[-1]:
            assert following in (None, last)
            fired.append(last)
        following, now = then, now + timedelta(minutes=5)
    if cron.endswith("* * * *"):  # so often that what is skipped or repeated on the clock is as long as ever
        assert {after - before for before, after in itertools.pairwise(fired)} == {
            timedelta(minutes=30 if cron[0] == "*" else 60)
        } or zone == "Australia/Lord_Howe"


def clock(zone, start, hours, cron):
    """What the hands show each time a job is due in the hours after ``start``, with the offset from UTC."""
    given, there = PeriodicConfig(cron=cron, time_zone=zone), ZoneInfo(zone)
    now = datetime.fromisoformat(start).replace(tzinfo=there).astimezone(timezone.utc)
    end, shown = now + timedelta(hours=hours), []
    while (moment := previous_and_next(given, now)[1]) <= end:
        assert previous_and_next(given, moment)[0] == moment
        assert previous_and_next(given, moment - timedelta(microseconds=1))[1] == moment
        shown.append(moment.astimezone(there).strftime("%H:%M%z")[:-2])
        now = moment
    return " ".join(shown)


SPRING, AUTUMN = ("Europe/Berlin", "2026-03-28T23:00", 8), ("Europe/Berlin", "2026-10-24T23:00", 8)
HALF_ON, HALF_BACK = ("Australia/Lord_Howe", "2026-10-03T23:00", 6), ("Australia/Lord_Howe", "2026-04-04T23:00", 6)
MIDNIGHT = ("America/Santiago", "2026-09-05T22:00", 6)


@pytest.mark.parametrize(
    ("where", "cron", "due"),
    [
        (SPRING, "15 */2 * * *", "00:15+01 03:00+02 04:15+02 06:15+02"),
        (AUTUMN, "15 */2 * * *", "00:15+02 02:15+02 04:15+01"),
        (SPRING, "30 2 * * *", "03:00+02"),
        (AUTUMN, "30 2 * * *", "02:30+02"),
        (SPRING, "0 3 * * *", "03:00+02"),
        (SPRING, "0 2,3 * * *", "03:00+02"),
        (SPRING, "*/20 2 * * *", "03:00+02"),
        (AUTUMN, "*/20 2 * * *", "02:00+02 02:20+02 02:40+02"),
        (SPRING, "15 * * * *", "23:15+01 00:15+01 01:15+01 03:15+02 04:15+02 05:15+02 06:15+02 07:15+02"),
        (AUTUMN, "15 0-23 * * *", "23:15+02 00:15+02 01:15+02 02:15+02 02:15+01 03:15+01 04:15+01 05:15+01"),
        (HALF_ON, "15 */2 * * *", "00:15+10 02:30+11 04:15+11"),
        (HALF_BACK, "45 1 * * *", "01:45+11"),
        (HALF_ON, "15 * * * *", "23:15+10 00:15+10 01:15+10 02:45+11 03:15+11 04:15+11 05:15+11"),
        (MIDNIGHT, "0 0 * * *", "01:00-03"),
        (MIDNIGHT, "30 0 * * 0", "01:00-03"),
        (("Pacific/Apia", "2011-12-29T13:00", 40), "0 12 * * *", "00:00+14 12:00+14"),  # 30 December was left out
    ],
)
def test_a_moment_that_the_clock_skips_is_due_at_the_change_and_one_that_comes_twice_once(where, cron, due):
    assert clock(*where, cron) == due


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cron": "0 0 3 * * *"}, "must be a cron expression of five fields"),
        ({"cron": "0 0 3 * * * *"}, "must be a cron expression of five fields"),
        ({"cron": "0 0 30 2 *"}, "is no cron expression"),
        ({"interval": 0.0}, "must be from 1s to 3650d"),
        ({"interval": -1.0}, "must be a duration"),
        ({"interval": 1e-9}, "must be from 1s to 3650d"),
        ({"interval": 1e300}, "must be from 1s to 3650d"),
        ({"interval": float("nan")}, "must be a duration"),
        ({"cron": "0 0 * * *", "time_zone": "Europe/Berln"}, "must be a time zone"),
    ],
)
def test_a_period_that_a_plugin_has_made_is_named_too(given, words):
    with pytest.raises(ConfigError, match=words):
        previous_and_next(PeriodicConfig(**given), at("2026-03-01T10:05:00"))


def test_a_period_that_no_scheduler_could_keep_is_named_by_run_with_its_line(project, cli):
    periods = ["{cron: '0 0 3 * * * *'}", "{interval: 1e300}", "{interval: 0}"]
    jobs = "".join(f"job{n}:\n  periodic: {each}\n" for n, each in enumerate(periods))
    body = "".join(f'with af.job("job{n}"): af.cmd("true")\n' for n in range(len(periods)))
    done = cli("run", project.jobs(body, CMD + jobs).root)
    assert done.returncode == errors.PROJECT
    for line, words in ((3, "five fields"), (5, "from 1s to 3650d"), (7, "from 1s to 3650d")):
        assert re.search(rf"workflow\.yaml:{line}: .*{words}", done.stderr)
    assert not (project.root / ".aiflow").exists()


def firings(root):
    """The firing's id of each run, and whether it has ended."""
    store = Store(root / ".aiflow", create=False)
    try:
        with store.database.reading() as db:
            rows = db.execute("select run, firing, ended_at from runs")
            return {row[0]: (row[1], row[2] is not None) for row in rows}
    finally:
        store.close()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_scheduler_killed_at_any_moment_fires_nothing_twice_and_leaves_no_firing_undone(project, cli_env, tmp_path):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    marks = tmp_path / "marks"
    marks.mkdir()
    command = f"set -C; read u < /proc/sys/kernel/random/uuid; : > {marks}/$AIFLOW_RUN.$u"
    project.jobs(f'with af.job("tick"): af.cmd({command!r})', CMD + "tick: {periodic: {interval: 1s}}\n")
    argv = [sys.executable, "-m", "aiflow_ext", "schedule", str(project.root)]
    env = {**cli_env, "XDG_STATE_HOME": str(tmp_path / "home")}
    for _ in range(10):
        fires = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert fires.stdout.readline()  # it has begun
        select.select([], [], [], chance.uniform(0.0, 1.5))
        fires.kill()
        fires.communicate()
    fires = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = set(firings(project.root))
    deadline = time.monotonic() + PATIENCE
    try:
        while not all(firings(project.root)[run][1] for run in before) or set(firings(project.root)) == before:
            assert time.monotonic() < deadline, f"seed {seed}: {firings(project.root)}"
            select.select([], [], [], 0.1)
    finally:
        fires.terminate()
        fires.wait()
    while not all(ended for _, ended in firings(project.root).values()):
        assert time.monotonic() < deadline, f"seed {seed}: {firings(project.root)}"
        select.select([], [], [], 0.1)
    found = firings(project.root)
    assert len({firing for firing, _ in found.values()}) == len(found) > 1
    executed = Counter(path.name.partition(".")[0] for path in marks.iterdir())
    assert executed == dict.fromkeys(found, 1), f"seed {seed}"


def test_a_firing_whose_scheduler_died_before_its_driver_began_is_taken_up_again(
    project, cli_env, tmp_path, monkeypatch
):
    """The death between the record and the driver is injected: nothing else comes there on demand."""
    project.jobs('with af.job("tick"): af.cmd("true")', CMD + "tick: {periodic: {interval: 1h}}\n")
    dies = (
        "import os, sys\nimport aiflow_ext.run.operations.detach as detach\n"
        "detach.drive = lambda *_: os.kill(os.getpid(), 9)\n"
        "detach.detach(sys.argv[1], only=['tick'], firing='tested/tick@then')"
    )
    subprocess.run([sys.executable, "-c", dies, str(project.root)], env=cli_env)
    assert list(firings(project.root).values()) == [("tested/tick@then", False)]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    Schedule(str(project.root)).run(until=datetime.now(timezone.utc))
    deadline = time.monotonic() + PATIENCE
    while list(firings(project.root).values()) != [("tested/tick@then", True)]:
        assert time.monotonic() < deadline
        select.select([], [], [], 0.05)


SWEEP = """
import aiflow_ext as af

@af.workflow
def sweep():
    with af.job("fit"): af.cmd("test {properties.day} != bad")

@af.workflow
def other():
    with af.job("tick"): af.cmd("true")
"""


def scheduled(project, cli_env, schedule, expected):
    """Run a scheduler of this project.yaml until it has told of ``expected``; returns what it printed and its exit
    code."""
    project.write(workflow_py=SWEEP, project_yaml=f"schedule:\n{schedule}",
                  workflow_yaml=f"{CMD}fit: {{properties: {{day: today}}}}\ntick: {{}}\n")  # fmt: skip
    return told_until(project, cli_env, expected)


def told_until(project, cli_env, expected):
    """What a scheduler prints, and its exit code: it is ended once, by the first line that has ``expected``."""
    argv = [sys.executable, "-m", "aiflow_ext", "schedule", str(project.root)]
    lines, ended = [], False
    with subprocess.Popen(argv, env=cli_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as fires:
        for line in fires.stdout:
            lines.append(line)
            if not ended and re.search(expected, line):
                fires.terminate()
                ended = True  # a second signal would end it at once
        fires.wait()
    return "".join(lines), fires.returncode


def test_whole_workflows_are_fired_with_parameters_of_their_own_and_a_failed_firing_is_told(project, cli_env):
    entries = (
        "  good: {interval: 1s, workflow: sweep}\n  nightly: {interval: 1s, workflow: sweep, params: {day: bad}}\n"
    )
    told, code = scheduled(project, cli_env, entries, r"nightly FAILED")
    assert told.startswith("firing good, nightly when due")
    assert re.search(r"nightly fired: run sweep-\S+ \(nightly@", told)
    assert re.search(r"nightly FAILED: run (sweep-\S+): job 'fit' of run \1 is FAILED: .*exit code 1", told)
    assert code == errors.JOB_FAILED
    assert {firing.partition("@")[0] for firing, _ in firings(project.root).values()} >= {"nightly"}


def test_where_no_firing_fails_the_exit_code_says_so_and_periodic_jobs_are_fired_beside(project, cli_env):
    entries = "  good: {interval: 1s, workflow: other}\n"
    told, code = scheduled(project, cli_env, entries, r"good FINISHED: run other-\S+$")
    assert code == errors.OK, told
    assert "other" in {run.partition("-")[0] for run in firings(project.root)}


@pytest.mark.parametrize("today", ["nightly", "weekly"])
def test_a_firing_that_fails_while_no_scheduler_runs_is_told_once_by_the_next(project, cli_env, tmp_path, today):
    gate = tmp_path / "gate"
    command = f"until test -e {gate}; do sleep 0.05; done; exit 3"
    project.jobs(f"with af.job('fit'): af.cmd({command!r})", CMD)
    project.write(project_yaml="schedule: {nightly: {interval: 1s}}\n")
    argv = [sys.executable, "-m", "aiflow_ext", "schedule", str(project.root)]
    with subprocess.Popen(argv, env=cli_env, stdout=subprocess.PIPE, text=True) as fires:
        assert next(line for line in fires.stdout if "nightly fired" in line)
        fires.kill()
    project.write(project_yaml=f"schedule: {{{today}: {{interval: 3650d}}}}\n")  # not due any more
    gate.touch()
    deadline = time.monotonic() + PATIENCE
    while not all(ended for _, ended in firings(project.root).values()):
        assert time.monotonic() < deadline
        select.select([], [], [], 0.05)
    runs = len(firings(project.root))
    told, code = told_until(project, cli_env, f"firing {today} when due")
    assert len(re.findall(r"nightly FAILED: run tested-\S+: .*exit code 3", told)) == runs >= 1, told
    assert code == errors.JOB_FAILED
    told, code = told_until(project, cli_env, f"firing {today} when due")
    assert ("FAILED" in told, code) == (False, errors.OK)


def test_a_workflow_is_fired_with_the_parameter_that_it_requires(project, cli_env):
    project.write(
        workflow_py="import aiflow_ext as af\n@af.workflow\ndef sweep(days: list[str]):\n"
        "    for day in days:\n        with af.job(day): af.cmd('true')\n",
        workflow_yaml=CMD,
        project_yaml="schedule:\n  nightly: {interval: 1s, params: {days: [mon, tue]}}\n",
    )
    told, code = told_until(project, cli_env, "FINISHED")
    assert re.search(r"nightly FINISHED: run sweep-", told), told
    assert code == errors.OK


def test_a_firing_that_cannot_be_started_is_one_failure_and_is_not_tried_at_every_look(
    project, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    project.jobs('with af.job("tick"): af.cmd("true")', CMD + "tick: {periodic: {interval: 1h}}\n")
    schedule = Schedule(str(project.root))
    (item,) = schedule.due.values()
    schedule.store.firings.set_last(item.key, 0.0)
    (project.root / "workflow.yaml").write_text("broken")
    for _ in range(3):
        schedule.look_at(item, datetime.now(timezone.utc))
    assert (schedule.failures, caplog.text.count("cannot be fired")) == (1, 1)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("n: {cron: '0 0 * *', workflow: sweep}", "project.yaml:2: 'schedule.n.cron' .*five fields"),
        ("n: {workflow: sweep}", "project.yaml:2: 'schedule.n' has neither cron nor interval"),
        ("n@1: {interval: 1h, workflow: sweep}", "project.yaml:2: .*'schedule.n@1' is no name of an entry"),
        ("n: {interval: 1h, workflow: swep}", "did you mean 'sweep'"),
        ("n: {interval: 1h, workflow: sweep, params: {dya: 1}}", "did you mean 'day'"),
        ("n: {interval: 1h, workflw: sweep}", "did you mean 'workflow'"),
        (
            "n: {interval: 1h, workflow: sweep, profile: q}",
            "yaml:2: the entry 'n' of schedule: .*no profile 'q'",
        ),
        (
            "n: {interval: 1h, workflow: sweep, params: {dya: 1}}\n  m: {interval: 1h, workflow: other, profile: q}",
            "project.yaml:2: the entry 'n'[^*]*project.yaml:3: the entry 'm'",
        ),
    ],
)
def test_a_mistake_in_the_schedule_is_named_before_anything_is_fired(project, cli_env, entry, words):
    told, code = scheduled(project, cli_env, f"  {entry}\n", "firing")
    assert code == errors.PROJECT
    assert re.search(words, told), told
    assert "Traceback" not in told


def test_a_parameter_of_an_entry_is_what_p_would_make_of_it(project, cli_env):
    project.write(workflow_py="import aiflow_ext as af\n@af.workflow\ndef etl(day: str):\n"
                              "    with af.job('load'): af.cmd('test {day} = 007', day=day)\n",
                  project_yaml="schedule: {nightly: {interval: 1s, params: {day: 007}}}\n",
                  workflow_yaml=CMD)  # fmt: skip
    argv = [sys.executable, "-m", "aiflow_ext", "schedule", str(project.root)]
    with subprocess.Popen(argv, env=cli_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as fires:
        ended = next((line for line in fires.stdout if re.search("nightly (FINISHED|FAILED)", line)), "")
        fires.terminate()
        fires.communicate()
    assert "nightly FINISHED" in ended
