"""workflow.yaml to typed job configs: layers, the command line, common keys, and every kind of config class."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiflow_ext.model.config import BaseJobConfig, Grow, PeriodicConfig, RetryDelay
from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.jsonable import dumps, loads
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.translate.config import WorkflowConfig, load_workflow_config
from aiflow_ext.translate.job_config import Structurer

Load = Callable[..., WorkflowConfig]

DIGITS = """\
"*": {retries: 1}
prepare:
  platform: local
  engine: python
train:
  platform: kubernetes
  engine: python
  properties: {alpha: 0.1, model: {depth: 2}}
  env: {A: 1}
  platforms:
    kubernetes: {image: "team/ml:1", memory: 1Gi}
    yarn: {queue: default}
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def read(text: str, sets: Sequence[str] = (), params: Sequence[str] = ()) -> WorkflowConfig:
        Path("workflow.yaml").write_text(textwrap.dedent(text))
        return load_workflow_config(Path("workflow.yaml"), sets, params)

    return read


def typed(config: WorkflowConfig, job: str = "train", kind: type[Any] = BaseJobConfig) -> Any:
    problems: list[Problem] = []
    made = Structurer().structure(kind, config.layered(job), problems)
    assert not problems, "\n".join(map(str, problems))
    return made


def wrong(config: WorkflowConfig, job: str = "train", kind: type[Any] = BaseJobConfig) -> list[str]:
    problems: list[Problem] = []
    assert Structurer().structure(kind, config.layered(job), problems) is None
    return [f"{problem.where}: {problem.message}" for problem in problems]


def refused(load: Load, text: str, sets: Sequence[str] = (), params: Sequence[str] = ()) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(text, sets, params)
    return [str(problem) for problem in error.value.problems]


def job(**keys: Any) -> str:
    """A file with the one job ``train``; a value is YAML text."""
    lines = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    return f"train:\n  platform: local\n  engine: python\n{lines}"


# Layers.


def test_jobs_are_the_keys_in_order_and_the_star_is_none(load: Load) -> None:
    config = load("b: {}\n'*': {}\na:\n")
    assert config.jobs == ("b", "a")
    assert config.where("a") == "workflow.yaml:3"


def test_the_chosen_platforms_block_alone_is_read(load: Load) -> None:
    layer = load(DIGITS).layered("train")
    assert layer.value == {
        "retries": 1,
        "platform": "kubernetes",
        "engine": "python",
        "properties": {"alpha": 0.1, "model": {"depth": 2}},
        "env": {"A": "1"},
        "image": "team/ml:1",
        "memory": "1Gi",
    }
    assert [layer.where((key,)) for key in ("retries", "image", "properties")] == [
        "workflow.yaml:1", "workflow.yaml:11", "workflow.yaml:8",
    ]  # fmt: skip


def test_moving_a_job_is_one_line(load: Load) -> None:
    moved = load(DIGITS, ["train.platform=yarn"]).layered("train")
    assert Structurer().platform_and_engine(moved, []) == ("yarn", "python")
    assert moved.value["queue"] == "default"
    assert "image" not in moved.value
    assert moved.where(("platform",)) == "--set train.platform=yarn"


def test_the_nearer_layer_wins_whatever_the_order_on_the_command_line(load: Load) -> None:
    text = """
        "*": {retries: 1, timeout: 1, python: a, platforms: {local: {queue: star, kind: star}}}
        train: {platform: local, engine: python, timeout: 2, queue: own, properties: {x: 1}}
        """
    layer = load(text, ["train.retries=4", "*.retries=3", "*.timeout=3", "*.properties.x=2"], ["x=5"]).layered("train")
    got = {key: layer.value[key] for key in ("retries", "timeout", "python", "queue", "kind")}
    assert got == {"retries": 4, "timeout": 3, "python": "a", "queue": "own", "kind": "star"}
    assert layer.value["properties"] == {"x": 5}


def test_properties_env_and_the_block_merge_key_by_key_and_the_rest_replaces(load: Load) -> None:
    text = """
        "*":
          properties: {a: 1, deep: {x: 1, y: 1}}
          env: {A: a, B: a}
          labels: {team: ml}
          platforms: {local: {one: 1, two: 1}}
        train:
          platform: local
          engine: python
          properties: {b: 2, deep: {x: 2}}
          env: {B: b}
          labels: {own: true}
          platforms: {local: {two: 2, env: {C: c}}}
        """
    value = load(text).layered("train").value
    assert value["properties"] == {"a": 1, "b": 2, "deep": {"x": 2}}
    assert value["env"] == {"A": "a", "B": "b", "C": "c"}
    assert value["labels"] == {"own": True}
    assert (value["one"], value["two"]) == (1, 2)


def test_where_names_the_line_of_each_merged_key(load: Load) -> None:
    config = load('"*":\n  env: {A: a}\ntrain:\n  platform: local\n  env:\n    B: b\n', ["train.env.C=c"])
    assert config.where("train", "env", "A") == "workflow.yaml:2"
    assert config.where("train", "env", "B") == "workflow.yaml:6"
    assert config.where("train", "env", "C") == "--set train.env.C=c"


def test_jobs_share_nothing_that_one_of_them_could_change(load: Load) -> None:
    config = load('"*": {platform: local, engine: python, properties: {a: [1]}}\none:\ntwo:\n', ["one.properties.b=1"])
    first, second = typed(config, "one"), typed(config, "two")
    first.properties["a"].append(2)
    assert second.properties == {"a": [1]}
    assert typed(config, "one").properties == {"a": [1], "b": 1}


def test_a_setting_of_one_job_is_not_said_of_another(load: Load) -> None:
    config = load("'*':\n  properties: {a: {x: 1}}\none:\ntwo:\n", ["one.properties.a.x=2"])
    assert config.where("one", "properties", "a", "x") == "--set one.properties.a.x=2"
    assert config.where("two", "properties", "a", "x") == "workflow.yaml:2"
    assert config.layered("two").value == {"properties": {"a": {"x": 1}}}


# The command line.


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("train.retries=2", ["retries"], 2),
        ("train.properties.alpha=1e-3", ["properties", "alpha"], 0.001),
        ("train.properties.model.depth=3", ["properties", "model"], {"depth": 3}),
        ("train.properties={beta: 1}", ["properties"], {"alpha": 0.1, "model": {"depth": 2}, "beta": 1}),
        ("train.properties.new.deep=x", ["properties", "new"], {"deep": "x"}),
        ("train.args=[a, 1]", ["args"], ["a", 1]),
        ("train.platforms.kubernetes.image=x:2", ["image"], "x:2"),
        ("train.platforms.kubernetes={image: y}", ["image"], "y"),
        ("train.platforms={kubernetes: {image: z}}", ["image"], "z"),
        ('train.env."A.B"=c', ["env", "A.B"], "c"),
        ("train.note=a: b", ["note"], "a: b"),
        ("train.note=*.csv", ["note"], "*.csv"),
        ("train.note=#fff", ["note"], "#fff"),
        ("train.note='3'", ["note"], "3"),
        ("train.note=a=b", ["note"], "a=b"),
        ("train.note=", ["note"], None),
        ("*.note=1", ["note"], 1),
    ],
)
def test_set_sets_one_key(load: Load, text: str, path: list[str], value: Any) -> None:
    layer = load(DIGITS, [text]).layered("train")
    found: Any = layer.value
    for step in path:
        found = found[step]
    assert found == value
    if not isinstance(value, dict):
        assert layer.where(path) == f"--set {text}"


def test_set_of_another_platforms_block_changes_nothing(load: Load) -> None:
    config = load(DIGITS, ["train.platforms.yarn.queue=big"])
    assert "queue" not in config.layered("train").value


def test_a_job_whose_name_has_dots_can_be_set(load: Load) -> None:
    assert load("a.b: {x: 1}\na: {}\n", ["a.b.x=2"]).layered("a.b").value == {"x": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trian.retries=2", "there is no job 'trian'\n    did you mean 'train'"),
        ("nobody.retries=2", "there is no job 'nobody'\n    the jobs in workflow.yaml are prepare, train"),
        ("retries", "there is no = in it\n    write it as --set JOB.KEY=VALUE"),
        ("retries=2", "it names no job"),
        ("train=2", "it names no key"),
        ("train.=2", "it names no key"),
        ("train.a..b=2", "'a..b' is no key"),
        ("=2", "it names no job"),
        ("", "there is no = in it"),
        ("train.x=[1", "not valid YAML"),
        ("train.x=!!python/object:os.stat_result {}", "!!python/object:os.stat_result wants an object built"),
        ("train.x={a: 1, a: 2}", "given twice"),
        ("train.platform.x=1", "'platform' of job 'train' is the text 'kubernetes' (workflow.yaml:6)"),
        ("train.platforms.kubernetes.image.x=1", "'platforms.kubernetes.image' of job 'train' is the text"),
        ("train.platforms=3", "platforms holds a mapping"),
        ("train.platforms.kubernetes=3", "platforms holds a mapping"),
        ("train.platforms={kubernetes: 3}", "platforms holds a mapping"),
    ],
)
def test_a_set_that_cannot_be_is_reported(load: Load, text: str, words: str) -> None:
    [problem] = refused(load, DIGITS, [text])
    assert problem.startswith(f"--set {text}: ")
    assert words in problem


def test_a_param_reaches_every_job_that_has_it(load: Load) -> None:
    text = "a: {properties: {x: 1}}\nb: {properties: {x: 2, y: {z: 1}}}\nc: {}\n"
    config = load(text, (), ["x=0.2", "y.z=[1, 2]"])
    values = [config.layered(job).value.get("properties") for job in "abc"]
    assert values == [{"x": 0.2}, {"x": 0.2, "y": {"z": [1, 2]}}, None]
    assert config.where("b", "properties", "y", "z") == "-p y.z=[1, 2]"


def test_a_param_of_the_star_reaches_every_job_and_beats_set(load: Load) -> None:
    config = load("'*': {properties: {x: 1}}\na:\nb:\n", ["a.properties.x=2"], ["x=3"])
    assert [config.layered(job).value["properties"] for job in "ab"] == [{"x": 3}, {"x": 3}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alhpa=1", "no job has a property 'alhpa'\n    did you mean 'alpha'"),
        ("zzz=1", "no job has a property 'zzz'\n    the properties in workflow.yaml are alpha, model"),
        ("model.dept=1", "no job has a property 'model.dept'"),
        ("alpha", "there is no = in it"),
        ("=1", "there is no name before the ="),
        ("alpha={", "not valid YAML"),
    ],
)
def test_a_param_that_cannot_be_is_reported(load: Load, text: str, words: str) -> None:
    [problem] = refused(load, DIGITS, (), [text])
    assert problem.startswith(f"-p {text}: ")
    assert words in problem


def test_without_a_file_there_are_no_jobs_and_settings_say_so() -> None:
    assert load_workflow_config(None, (), ()).jobs == ()
    with pytest.raises(ConfigError) as error:
        load_workflow_config(None, ["a.b=1"], ["x=1"])
    assert len(error.value.problems) == 2


# Keys that are patterns.

SWEEP = """\
"*": {retries: 1, env: {A: star}}
"train-*": {retries: 2, timeout: 60, env: {A: all, B: all}}
"train-b*": {retries: 3, platforms: {local: {python: py}, yarn: {python: no}}}
train-big: {retries: 4}
"""
JOBS = {
    "train-a": "workflow.py:5",
    "train-b1": "workflow.py:6",
    "train-big": "workflow.py:7",
    "report": "workflow.py:8",
}


def of_jobs(text: str, jobs: Mapping[str, str | None], sets: Sequence[str] = (), params: Sequence[str] = ()) -> Any:
    Path("workflow.yaml").write_text(textwrap.dedent(text))
    return load_workflow_config(Path("workflow.yaml"), sets, params, None, jobs)


def test_every_fitting_pattern_is_a_layer_and_of_each_key_the_most_exact_one_wins(load: Load) -> None:
    config = of_jobs(SWEEP, JOBS)
    assert {job: config.layered(job).value for job in JOBS} == {
        "report": {"retries": 1, "env": {"A": "star"}},
        "train-a": {"retries": 2, "timeout": 60, "env": {"A": "all", "B": "all"}},
        "train-b1": {"retries": 3, "timeout": 60, "env": {"A": "all", "B": "all"}, "python": "py"},
        "train-big": {"retries": 4, "timeout": 60, "env": {"A": "all", "B": "all"}, "python": "py"},
    }
    assert config.unused == ()


def test_a_mistake_under_a_pattern_is_told_of_the_pattern_and_at_its_line(load: Load) -> None:
    config = of_jobs('"train-*":\n  retries: x\n', {"train-1": None, "train-2": None})
    problems: list[Problem] = []
    for job in config.jobs:
        Structurer().check_common(config.layered(job), problems)
    assert [f"{each.where}: {each.message}" for each in problems] == [
        "workflow.yaml:2: \"train-*\": 'retries' must be a whole number, not the text 'x'"
    ]


@pytest.mark.parametrize(
    ("exact", "less"),
    [("a-b*", "a-*"), ("a-?", "a-*"), ("a-[bc]", "a-?"), ("*-bc", "a-*"), ("a-bc", "a-b[c]"), ("a-*c", "**c")],
)
def test_what_makes_a_pattern_the_more_exact_one(load: Load, exact: str, less: str) -> None:
    job = "a-b" if exact in ("a-?", "a-[bc]") else "a-bc"
    for first, second in ((exact, less), (less, exact)):
        text = "".join(f'"{key}": {{retries: {1 if key == exact else 2}}}\n' for key in (first, second))
        assert of_jobs(text, {job: None}).layered(job).value == {"retries": 1}


def test_two_patterns_that_are_equally_exact_and_differ_are_told_unless_something_more_exact_settles_it(
    load: Load,
) -> None:
    text = '"*-big": {retries: 1, env: {A: 1}}\n"big-*": {retries: 2, env: {A: 1, B: 2}}\n'
    with pytest.raises(ConfigError) as error:
        of_jobs(text, {"big-big": None, "big-small": None})
    (problem,) = error.value.problems
    assert problem.where == "workflow.yaml:2"
    assert "\"*-big\" and \"big-*\" both fit job 'big-big', are equally exact, and differ in 'retries'" in str(problem)
    assert "workflow.yaml:1" in str(problem.hint)
    settled = of_jobs(text + "big-big: {retries: 3}\n", {"big-big": None})
    assert settled.layered("big-big").value == {"retries": 3, "env": {"A": "1", "B": "2"}}


def test_a_key_that_is_a_jobs_name_is_that_jobs_own_whatever_it_holds(load: Load) -> None:
    config = of_jobs('"a[1]": {retries: 1}\n"a*": {retries: 3, timeout: 2}\n', {"a[1]": None, "a2": None})
    assert config.layered("a[1]").value == {"retries": 1, "timeout": 2}
    assert config.layered("a2").value == {"retries": 3, "timeout": 2}


def test_a_key_that_fits_no_job_is_unused(load: Load) -> None:
    config = of_jobs('"train-*": {}\n"tran-*": {}\nreport: {}\nnowhere: {}\n', JOBS)
    assert config.unused == ("tran-*", "nowhere")
    assert config.fitting_none_of(["tran-1"]) == ["nowhere"]


def test_set_takes_a_pattern_between_the_star_and_a_name_whatever_the_order(load: Load) -> None:
    sets = ["train-big.retries=9", "train-*.retries=7", "train-b*.retries=8", "*.retries=6", "*.timeout=1"]
    config = of_jobs(SWEEP, JOBS, sets)
    found = {job: config.layered(job).value["retries"] for job in JOBS}
    assert found == {"report": 6, "train-a": 7, "train-b1": 8, "train-big": 9}
    assert {config.layered(job).value["timeout"] for job in JOBS} == {1}


def test_set_of_a_pattern_that_fits_no_job_is_reported(load: Load) -> None:
    with pytest.raises(ConfigError) as error:
        of_jobs(SWEEP, JOBS, ["tain-*.retries=1"])
    (problem,) = error.value.problems
    assert (problem.where, problem.message) == ("--set tain-*.retries=1", "no job fits 'tain-*'")


def test_set_and_param_reach_jobs_that_the_file_does_not_name(load: Load) -> None:
    config = of_jobs('"*": {properties: {x: 1}}\n', {"a": None, "b.c": None}, ["b.c.retries=2"], ["x=5"])
    assert config.layered("a").value == {"properties": {"x": 5}}
    assert config.layered("b.c").value == {"properties": {"x": 5}, "retries": 2}


def test_many_patterns_and_many_jobs_are_matched_by_how_they_begin(load: Load) -> None:
    jobs = {f"fold-{fold}-seed-{seed}": None for fold in range(300) for seed in range(10)}
    text = "".join(f'"fold-{fold}-*": {{retries: {fold}}}\n' for fold in range(300))
    config = of_jobs(text, jobs)
    assert all(config.layered(job).value == {"retries": int(job.split("-")[1])} for job in jobs)


# What is wrong with the file as a whole.


def test_everything_wrong_in_the_file_and_on_the_command_line_is_reported_at_once(load: Load) -> None:
    text = """\
        a: {platform: local}
        a: {platform: local}
        1: {}
        b: [x]
        retries: 3
        c:
          platforms: [local]
        d:
          platforms: {1: {}, local: 3, yarn: {platform: yarn}}
        """
    problems = refused(load, text, ["e.x=1"], ["q=1"])
    assert [problem.split(": ")[0] for problem in problems] == [
        *(f"workflow.yaml:{line}" for line in (2, 3, 4, 5, 7, 9, 9, 9)), "--set e.x=1", "-p q=1",
    ]  # fmt: skip
    assert "under a job's name" in problems[3]


def test_a_key_that_is_no_name_is_reported_in_yamls_words(load: Load) -> None:
    problems = refused(load, '2: {}\ntrue: {}\n~: {}\n"": {}\n"a*": [x]\n"*": 3\n')
    assert [problem.split("\n")[0] for problem in problems] == [
        "workflow.yaml:1: a job's name is text, not the number 2",
        "workflow.yaml:2: a job's name is text, not true",
        "workflow.yaml:3: a job's name is text, not nothing",
        "workflow.yaml:4: a job's name must not be empty",
        'workflow.yaml:5: "a*" must be a mapping, not a list',
        'workflow.yaml:6: "*" must be a mapping, not the number 3',
    ]


def test_problems_can_be_gathered_with_those_of_others(load: Load, tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text("a: 3\nb: {}\n")
    problems: list[Problem] = []
    config = load_workflow_config(tmp_path / "workflow.yaml", ["c.x=1"], (), problems)
    assert config.jobs == ("b",)
    assert len(problems) == 2


def test_a_job_without_platform_and_engine_is_reported_with_what_was_meant(load: Load) -> None:
    config = load("train:\n  platfrom: local\n  retries: x\n")
    problems: list[Problem] = []
    assert Structurer().platform_and_engine(config.layered("train"), problems) is None
    assert [problem.message for problem in problems] == [
        "job 'train' lacks the key 'platform'",
        "job 'train' lacks the key 'engine'",
        "job 'train': 'retries' must be a whole number, not the text 'x'",
    ]
    assert "is 'platfrom' (workflow.yaml:2) meant" in str(problems[0])
    assert problems[0].where == "workflow.yaml:1"


@pytest.mark.parametrize("value", ["3", "[a]", "true", '""', "{a: 1}"])
def test_a_platform_that_is_no_name_is_reported(load: Load, value: str) -> None:
    problems: list[Problem] = []
    layer = load(f"train: {{platform: {value}, engine: python}}\n").layered("train")
    assert Structurer().platform_and_engine(layer, problems) is None
    assert len(problems) == 1


# The common keys.


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("retries", "3", 3),
        ("retries", "", 0),
        ("retry_delay", "1.5", 1.5),
        ("retry_delay", "30s", 30.0),
        ("retry_delay", "{first: 10s}", RetryDelay(10.0, 2.0, 600.0)),
        ("retry_delay", "{first: 20m}", RetryDelay(1200.0, 2.0, 1200.0)),
        ("retry_delay", "{first: 500ms, factor: 1.5, max: 1h}", RetryDelay(0.5, 1.5, 3600.0)),
        ("timeout", "10m", 600.0),
        *(
            ("timeout", text, value)
            for text, value in {
                "500ms": 0.5,
                "0.5s": 0.5,
                ".5s": 0.5,
                "1h30m": 5400.0,
                "1h 30m": 5400.0,
                "1.5h": 5400.0,
                "1H30M": 5400.0,
                "1w": 604800.0,
                "2d12h": 216000.0,
                "1m30s500ms": 90.5,
                "90": 90.0,
                "'90'": 90.0,
                "1e3": 1000.0,
                "5 m": 300.0,
                "010": 10.0,
            }.items()
        ),
        ("timeout", "2h", 7200.0),
        ("timeout", "1d", 86400.0),
        ("timeout", "1.5 H", 5400.0),
        ("timeout", "90", 90.0),
        ("timeout", "null", None),
        ("retry_on", "[failed, lost]", ("failed", "lost")),
        ("cpu", "500m", 0.5),
        ("memory", "1.5Ki", 1536),
        ("gpu", "2", 2),
        ("grow", "{memory: 1.5, max: 2Ki}", Grow(1.5, 2048)),
        ("retry_on", "timeout", ("timeout",)),
        ("retry_on", "[]", ()),
        ("exec_mode", "stream", ExecutionMode.STREAM),
        ("exec_mode", "Batch", ExecutionMode.BATCH),
        ("job_name", "other", "other"),
        ("python", "/usr/bin/python3", "/usr/bin/python3"),
        ("properties", "{a: [1, {b: null}]}", {"a": [1, {"b": None}]}),
        ("properties", "", {}),
        ("env", "", {}),
        ("env", "{A: text, B: 1.10, C: yes, D: 0755}", {"A": "text", "B": "1.10", "C": "yes", "D": "0755"}),
        ("env", "{T: {secret: 'env:HF_TOKEN'}}", {"T": {"secret": "env:HF_TOKEN"}}),
        ("env", "{T: {secret: kubernetes:a/b}}", {"T": {"secret": "kubernetes:a/b"}}),
    ],
)
def test_a_common_key_is_read(load: Load, key: str, text: str, value: Any) -> None:
    found = getattr(typed(load(job(**{key: text}))), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "cron", "interval", "time_zone"),
    [
        ('{cron: "0 3 * * *"}', "0 3 * * *", None, "UTC"),
        ('{cron: "0 3 * * *", time_zone: Europe/Berlin}', "0 3 * * *", None, "Europe/Berlin"),
        ("{interval: 10m}", None, 600.0, "UTC"),
        ('{cron_config: "*/10 * * * *"}', "*/10 * * * *", None, "UTC"),
        ("{interval: 3650d}", None, 3650 * 86400.0, "UTC"),
        ('{interval_config: "1,0,0,30"}', None, 86430.0, "UTC"),
    ],
)
@pytest.mark.parametrize("key", ["periodic", "periodic_config"])
def test_periodic_is_read(load: Load, key: str, text: str, cron: Any, interval: Any, time_zone: str) -> None:
    found = typed(load(job(**{key: text}))).periodic_config
    assert isinstance(found, PeriodicConfig)
    assert (found.cron, found.interval, found.time_zone) == (cron, interval, time_zone)


@pytest.mark.parametrize(
    ("key", "text", "path"),
    [
        ("retries", "-1", "retries"),
        ("retries", "'3'", "retries"),
        ("retries", "1.0", "retries"),
        ("retries", "true", "retries"),
        ("retry_delay", "-1", "retry_delay"),
        ("retry_delay", "{}", "retry_delay"),
        ("retry_delay", "{factor: 2}", "retry_delay"),
        ("retry_delay", "{first: 1s, factr: 2}", "retry_delay.factr"),
        ("retry_delay", "{first: soon}", "retry_delay.first"),
        ("retry_delay", "{first: 1s, factor: 0.5}", "retry_delay.factor"),
        ("retry_delay", "{first: 1s, factor: .inf}", "retry_delay.factor"),
        ("retry_delay", "{first: 1m, max: 1s}", "retry_delay.max"),
        ("retry_delay", "[1s, 2s]", "retry_delay"),
        ("timeout", "0", "timeout"),
        *(
            ("timeout", text, "timeout")
            for text in (
                "10 weeks",
                "30m1h",
                "1h1h",
                "1h30",
                "-5m",
                "5us",
                "1y",
                "m",
                "''",
                "h1",
                "1:30:00",
                "0x10s",
                "1_000s",
                "1..5s",
                "٣s",
                "PT1H",
                "0ms",
            )
        ),
        ("timeout", "true", "timeout"),
        ("timeout", ".inf", "timeout"),
        ("timeout", ".nan", "timeout"),
        ("timeout", "[1]", "timeout"),
        ("retry_on", "[failed, tiemout]", "retry_on[1]"),
        ("retry_on", "fialed", "retry_on"),
        ("retry_on", "3", "retry_on"),
        ("exec_mode", "streaming", "exec_mode"),
        ("exec_mode", "1", "exec_mode"),
        ("job_name", "3", "job_name"),
        ("python", "3.11", "python"),
        ("properties", "[a]", "properties"),
        ("properties", "{a: {1: b}}", "properties.a[1]"),
        ("env", "[A=b]", "env"),
        ("env", "{A: [b]}", "env.A"),
        ("env", "{A: }", "env.A"),
        ("env", "{A: {b: c}}", "env.A"),
        ("env", "{'A=B': c}", "env.A=B"),
        ("env", "{1: c}", "env[1]"),
        ("env", "{A: {secret: hf_abc}}", "env.A.secret"),
        ("env", "{A: {secret: ':x'}}", "env.A.secret"),
        ("env", "{A: {secret: 'env:'}}", "env.A.secret"),
        ("env", "{A: {secret: 3}}", "env.A.secret"),
        ("periodic", "daily", "periodic"),
        ("periodic", "{}", "periodic"),
        ("periodic", "{interval: 1m, cron: '* * * * *'}", "periodic"),
        ("periodic", "{interval: 0}", "periodic.interval"),
        *(
            ("periodic", f"{{interval: {text}}}", "periodic.interval")
            for text in ("-1", "1e300", "1e-9", "500ms", "200000d", "5300w", ".nan", ".inf", "'0,0,0,0'", "1ns")
        ),
        ("periodic", "{cron: '* *'}", "periodic.cron"),
        ("periodic", "{cron: '0 0 3 * * *'}", "periodic.cron"),
        ("periodic", "{cron: '0 */1 * * * * *'}", "periodic.cron"),
        ("periodic", "{cron: '0 0 30 2 *'}", "periodic.cron"),
        ("periodic", "{cron: '@daily'}", "periodic.cron"),
        ("periodic", "{cron: '61 * * * *'}", "periodic.cron"),
        ("periodic", "{cron: '* * * * *', time_zone: Europe/Berlni}", "periodic.time_zone"),
        ("periodic", "{interval: 1m, zone: UTC}", "periodic.zone"),
        ("periodic_config", "{cron: 3}", "periodic_config.cron"),
    ],
)
def test_a_common_key_that_is_wrong_is_named(load: Load, key: str, text: str, path: str) -> None:
    config = load(job(**{key: text}))
    [problem] = wrong(config)
    assert problem.startswith(f"workflow.yaml:4: job 'train': '{path}' ")
    problems: list[Problem] = []
    Structurer().check_common(config.layered("train"), problems)
    assert [f"{each.where}: {each.message}" for each in problems] == [problem]


class Nightly(BaseJobConfig):
    def __init__(self, cron: str = "0 3 * * *") -> None:
        self.periodic_config = PeriodicConfig(cron)


class Forgotten(BaseJobConfig):
    tags: list[str] = attrs.field(factory=list)


def test_a_plugins_own_period_is_checked_too(load: Load) -> None:
    assert typed(load(job()), kind=Nightly).periodic_config == PeriodicConfig("0 3 * * *")
    [problem] = wrong(load(job(cron="0 0 3 * * *")), kind=Nightly)
    assert "'periodic.cron' must be a cron expression of five fields" in problem


def test_equal_numbers_that_are_written_otherwise_are_each_jobs_own_text(load: Load) -> None:
    config = load(
        '"*": {platform: local, engine: cmd_line}\na: {env: {V: 1.10}}\nb: {env: {V: 1.1}}\n', ["b.env.W=010"]
    )
    structurer, problems = Structurer(), list[Problem]()
    made = [structurer.structure(BaseJobConfig, config.layered(job), problems) for job in config.jobs]
    assert [each.env for each in made if each is not None] == [{"V": "1.10"}, {"V": "1.1", "W": "010"}]


def test_a_mistake_of_a_config_class_is_reported_as_its_plugins(load: Load) -> None:
    [problem] = wrong(load(job()), kind=Forgotten)
    made = Structurer()
    problems: list[Problem] = []
    assert made.structure(Forgotten, load(job()).layered("train"), problems) is None
    assert f"{problems[0].where}: {problems[0].message}" == problem
    assert problem == (
        "workflow.yaml:1: job 'train': Forgotten.tags is a field of a class that is not decorated: write @attrs.define"
    )


@pytest.mark.parametrize(
    ("cron", "hint"),
    [
        ("30 0 3 * * 1 *", "leave out the seconds and the year: '0 3 * * 1'"),
        ("30 0 3 * * 1", "leave out the seconds: '0 3 * * 1'"),
        ("0 0 12 ? * MON", "leave out the seconds: '0 12 * * MON'"),
        ("0 3 1 1 * 2026", "leave out the year: '0 3 1 1 *'"),
        ("0 3 1 1 * 2026-2030", "leave out the year: '0 3 1 1 *'"),
        ("@daily", "write '0 0 * * *'"),
    ],
)
def test_a_cron_expression_of_another_kind_is_reported_with_the_one_to_write(load: Load, cron: str, hint: str) -> None:
    problems: list[Problem] = []
    Structurer().check_common(load(job(periodic=f"{{cron: '{cron}'}}")).layered("train"), problems)
    assert problems[0].hint == hint


@pytest.mark.parametrize(
    "env", ["{A: {secret: sesame}}", "[A=sesame]", "{A: [sesame]}", "sesame", "{A: {value: sesame}}"]
)
def test_what_may_be_a_secret_is_never_shown(load: Load, env: str) -> None:
    problems: list[Problem] = []
    Structurer().structure(BaseJobConfig, load(job(env=env)).layered("train"), problems)
    assert problems
    assert not [problem for problem in problems if "sesame" in str(problem)]


def test_unknown_keys_wrong_types_and_missing_values_of_a_job_are_reported_at_once(load: Load) -> None:
    text = """\
        "*": {retires: 1}
        train:
          platform: kubernetes
          engine: python
          retries: many
          platforms:
            kubernetes: {imag: x, memory: 3}
        """
    config = load(text, ["train.timeout=never"])
    assert wrong(config, kind=Plain) == [
        "workflow.yaml:5: job 'train': 'retries' must be a whole number, not the text 'many'",
        "workflow.yaml:7: job 'train': 'memory' must be a size with its unit, such as 3Mi, not the number 3",
        "--set train.timeout=never: job 'train': 'timeout' must be a duration, not the text 'never'",
        "workflow.yaml:1: \"*\": 'retires' is not a key of a kubernetes.python job",
        "workflow.yaml:7: job 'train': 'imag' is not a key of a kubernetes.python job",
        "workflow.yaml:2: job 'train' lacks the key 'image' (text)",
    ]


def test_the_nearest_valid_key_is_named_among_the_plugins_and_the_common_ones(load: Load) -> None:
    problems: list[Problem] = []
    Structurer().structure(Plain, load(job(image="x", memmory="1", enviro="{}")).layered("train"), problems)
    assert "did you mean 'memory'" in str(problems[0])
    assert "did you mean 'env'" in str(problems[1])
    assert "its keys are image, platform" in str(problems[0])


def test_the_hint_says_where_keys_of_one_platform_alone_belong(load: Load) -> None:
    problems: list[Problem] = []
    Structurer().structure(Plain, load(job(partition="ml")).layered("train"), problems)
    hints = {problem.message: str(problem.hint) for problem in problems}
    lacks, unknown = (next(hints[each] for each in hints if word in each) for word in ("'image'", "'partition'"))
    assert lacks == "add image: with text, or under platforms: {local: {image: ...}}, which is read on local alone"
    assert unknown.endswith("one that only another platform has goes under platforms: {PLATFORM: {partition: ...}}")


def test_one_mistake_under_the_star_is_reported_once_for_all_jobs(load: Load) -> None:
    config = load('"*": {platform: local, engine: python, image: x, retires: 1}\na:\nb: {engine: cmd_line}\n')
    problems: list[Problem] = []
    Structurer().structure(Plain, config.layered("a"), problems)
    Structurer().structure(BaseJobConfig, config.layered("b"), problems)
    assert [problem.message.split("'")[1] for problem in problems] == ["retires", "image"]


def test_a_config_of_the_base_type_takes_no_other_key(load: Load) -> None:
    [problem] = wrong(load(job(image="x")))
    assert problem == "workflow.yaml:4: job 'train': 'image' is not a key of a local.python job"


# The classes that plugin authors write.


class Plain(BaseJobConfig):
    """Calls nobody."""

    def __init__(self, image: str, memory: str = "1Gi"):
        self.image, self.memory = image, memory


class Passing(BaseJobConfig):
    def __init__(self, image: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image = image


class Insisting(BaseJobConfig):
    def __init__(self, image: str, **kwargs: Any) -> None:
        super().__init__("local", engine="python", retries=5, **kwargs)
        self.image = image


class Seed(BaseJobConfig):
    """The seed's own shape: positional, with None for what is not given."""

    def __init__(self, platform, engine, job_name, periodic_config=None, exec_mode=None, properties=None, image=None):  # type: ignore[no-untyped-def]
        self.platform, self.engine, self.job_name = platform, engine, job_name
        self.periodic_config, self.exec_mode, self.properties = periodic_config, exec_mode, properties
        self.image = image


class Dropping(BaseJobConfig):
    def __init__(self, image: str) -> None:
        super().__init__()
        self.image = image


@attrs.define
class Attrs(BaseJobConfig):
    image: str
    nodes: list[Plain] = attrs.field(factory=list)


@attrs.define(slots=True, kw_only=True)
class Slotted(BaseJobConfig):
    image: str
    retries: int = 2


@attrs.frozen
class Frozen(BaseJobConfig):
    image: str
    _count: int = 0


ALL = "image: x\n  retries: 3\n  properties: {a: 1}\n  env: {A: b}\n  exec_mode: stream\n  timeout: 1m"


@pytest.mark.parametrize("kind", [Plain, Passing, Insisting, Seed, Dropping, Attrs, Slotted, Frozen])
def test_every_config_class_gets_its_keys_and_all_common_values(load: Load, kind: type[Any]) -> None:
    text = f"train:\n  platform: local\n  engine: python\n  {ALL}\n"
    found = typed(load(text), kind=kind)
    assert isinstance(found, kind)
    assert (found.image, found.platform, found.engine, found.job_name) == ("x", "local", "python", "train")
    assert (found.retries, found.timeout, found.exec_mode) == (3, 60.0, ExecutionMode.STREAM)
    assert (found.properties, found.env, found.periodic_config) == ({"a": 1}, {"A": "b"}, None)
    assert (found.retry_on, found.python, found.retry_delay) == (BaseJobConfig.retry_on, None, 0.0)
    again = loads(dumps(found))
    assert (again.image, again.retries, again.env, again.exec_mode) == ("x", 3, {"A": "b"}, ExecutionMode.STREAM)


@pytest.mark.parametrize("kind", [Plain, Passing, Seed, Dropping, Attrs, Frozen])
def test_common_values_that_nobody_gave_are_the_defaults(load: Load, kind: type[Any]) -> None:
    found = typed(load(job(image="x")), kind=kind)
    assert (found.exec_mode, found.retries, found.timeout) == (ExecutionMode.BATCH, 0, None)
    assert (found.properties, found.env) == ({}, {})
    assert found.properties is not BaseJobConfig.properties


def test_an_authors_own_default_of_a_common_key_stays_until_somebody_says_otherwise(load: Load) -> None:
    assert typed(load(job(image="x")), kind=Slotted).retries == 2
    assert typed(load(job(image="x")), kind=Insisting).retries == 5
    assert typed(load(job(image="x", retries="7")), kind=Insisting).retries == 7


class Typed(BaseJobConfig):
    """Declares common keys with types of its own."""

    def __init__(
        self,
        timeout: int = 5,
        env: dict[str, str] | None = None,
        python: str = "python3",
        exec_mode: str = "batch",
        periodic: PeriodicConfig | None = None,
        retry_on: list[str] | None = None,
        retry_delay: str = "0s",
    ) -> None:
        self.got = {
            "timeout": timeout, "env": env, "python": python, "exec_mode": exec_mode, "periodic": periodic,
            "retry_on": retry_on, "retry_delay": retry_delay,
        }  # fmt: skip


def test_an_author_who_declares_a_common_key_receives_it_in_their_type(load: Load) -> None:
    text = job(
        timeout="10m", env="{A: 1}", python="py", exec_mode="stream", periodic="{interval: 1}", retry_on="[lost]",
        retry_delay="30s",
    )  # fmt: skip
    found = typed(load(text), kind=Typed)
    assert found.got == {
        "timeout": 600, "env": {"A": "1"}, "python": "py", "exec_mode": "stream", "retry_on": ["lost"],
        "periodic": PeriodicConfig(interval=1.0), "retry_delay": "30s",
    }  # fmt: skip
    assert type(found.got["timeout"]) is int
    assert (found.timeout, found.exec_mode, found.retry_on) == (600.0, ExecutionMode.STREAM, ("lost",))


def test_a_common_value_that_the_author_cannot_take_is_reported(load: Load) -> None:
    assert wrong(load(job(timeout="1.5", env="{A: {secret: 'env:X'}}")), kind=Typed) == [
        "workflow.yaml:5: job 'train': 'env.A' must be text, not a mapping",
        "workflow.yaml:4: job 'train': 'timeout' must be a whole number, not the number 1.5",
    ]


def test_without_a_value_the_authors_default_is_what_the_host_sees(load: Load) -> None:
    found = typed(load(job()), kind=Typed)
    assert found.got["timeout"] == 5
    assert (found.exec_mode, found.retries) == (ExecutionMode.BATCH, 0)


class Demanding(BaseJobConfig):
    def __init__(self, platform: str, engine: str, exec_mode: Any, properties: Any, periodic_config: Any) -> None:
        self.got = (platform, engine, exec_mode, properties, periodic_config)


def test_a_common_value_that_an_author_demands_is_the_default_where_nobody_gave_it(load: Load) -> None:
    assert typed(load(job()), kind=Demanding).got == ("local", "python", ExecutionMode.BATCH, {}, None)


class Adding(BaseJobConfig):
    def __init__(self, properties: dict[str, Any] | None = None) -> None:
        super().__init__(properties={"theirs": 1, **(properties or {})})


def test_what_an_author_adds_to_properties_stays(load: Load) -> None:
    assert typed(load(job(properties="{a: 2}")), kind=Adding).properties == {"theirs": 1, "a": 2}


class Fixed(BaseJobConfig):
    def __init__(self) -> None:
        pass

    @property
    def platform(self) -> str:  # type: ignore[override]
        return "local"


class Picky(BaseJobConfig):
    def __init__(self, disk: str, nodes: int = 1) -> None:
        if not disk.endswith("Gi"):
            raise ValueError("disk is said in Gi")
        if nodes > 8:
            raise RuntimeError("too many")


def test_a_fixed_value_is_fine_where_it_is_the_same(load: Load) -> None:
    assert typed(load(job()), kind=Fixed).platform == "local"
    [problem] = wrong(load(job(), ["train.platform=yarn"]), kind=Fixed)
    assert problem.startswith("--set train.platform=yarn: job 'train': 'platform' is 'yarn', but Fixed insists")


def test_an_authors_exception_is_reported_with_the_line_it_speaks_of(load: Load) -> None:
    assert wrong(load(job(nodes="1", disk="3")), kind=Picky) == [
        "workflow.yaml:5: job 'train': 'disk' must be text, not the number 3"
    ]
    assert wrong(load(job(nodes="1", disk="3Mi")), kind=Picky) == [
        "workflow.yaml:5: job 'train': 'disk' is refused by Picky: disk is said in Gi"
    ]
    assert wrong(load(job(nodes="9", disk="3Gi")), kind=Picky) == [
        "workflow.yaml:1: job 'train' is refused by Picky: RuntimeError: too many"
    ]


def test_nested_classes_are_structured_with_their_lines(load: Load) -> None:
    text = "train:\n  platform: local\n  engine: python\n  image: x\n  nodes:\n  - image: a\n  - imag: b\n"
    assert wrong(load(text), kind=Attrs) == [
        "workflow.yaml:7: job 'train': 'nodes[1].imag' is not a key of this mapping",
        "workflow.yaml:7: job 'train': 'nodes[1]' lacks the key 'image' (text)",
    ]


def test_ai_flows_flat_file_is_read_as_it_is(load: Load) -> None:
    text = """\
        train:
          platform: local
          engine: cmd_line
          job_name: train_job
          exec_mode: BATCH
          periodic_config: {interval_config: 1h}
          properties: {entry: main.py, args: [a]}
        """
    found = typed(load(text))
    assert (found.job_name, found.exec_mode, found.periodic_config.interval) == ("train_job", ExecutionMode.BATCH, 3600)
    assert found.properties == {"entry": "main.py", "args": ["a"]}


def test_a_period_is_replaced_under_either_name_and_the_last_word_counts(load: Load) -> None:
    config = load(
        "'*': {periodic: {interval: 1}}\ntrain:\n  platform: l\n  engine: e\n  periodic_config: {interval: 2}\n"
    )
    assert typed(config).periodic_config.interval == 2
    text = "'*': {periodic_config: {interval: 1}}\ntrain: {platform: l, engine: e, periodic: {interval: 2}}\n"
    assert typed(load(text, ["train.periodic_config={interval: 3}"])).periodic_config.interval == 3
    text = text.replace("periodic:", "periodic_config:").replace("'*': {periodic_config:", "'*': {periodic:")
    assert typed(load(text, ["train.periodic={interval: 3}"])).periodic_config.interval == 3


scalars = st.sampled_from(
    ["a", "3", "true", "null", "[1, a]", "{x: 1}", "{1: a}", "'q'", "1e-3", "10m", "!x y", "*", "&"]
)
keys = st.sampled_from([
    "platform", "engine", "env", "properties", "retries", "retry_on", "timeout", "periodic", "periodic_config",
    "platforms", "image", "memory", "exec_mode", "1", "[a]", "job_name", "<<",
])  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from(["'*'", "train", "b"]), st.dictionaries(keys, scalars, max_size=5) | scalars),
    st.lists(st.text(max_size=8) | st.builds("train.{}={}".format, keys, scalars), max_size=2),
    st.lists(st.text(max_size=8) | st.builds("x={}".format, scalars), max_size=2),
)
def test_no_file_and_no_option_leads_to_a_traceback(
    tmp_path: Path, jobs: dict[str, Any], sets: list[str], params: list[str]
) -> None:
    text = ""
    for name, entry in jobs.items():
        inner = (
            "".join(f"\n  {key}: {value}" for key, value in entry.items()) if isinstance(entry, dict) else f" {entry}"
        )
        text += f"{name}:{inner}\n"
    file = tmp_path / "workflow.yaml"
    file.write_text(text)
    problems: list[Problem] = []
    try:
        config = load_workflow_config(file, sets, params, problems)
    except ConfigError:
        return
    for name in config.jobs:
        Structurer().platform_and_engine(config.layered(name), problems)
        for kind in (BaseJobConfig, Passing, Attrs):
            Structurer().structure(kind, config.layered(name), problems)
