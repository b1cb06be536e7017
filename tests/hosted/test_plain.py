"""Plugins of plain classes: what their methods are given, and what their entry points and configs may be."""

from __future__ import annotations

import json
from typing import Any

import pytest

BODY = """\
    with af.job("klass"):
        af.node("sql", query="select 1", options={"deep": [1, 2]})
        af.node("sql", name="second", query="select 2")
    for name in ("instance", "factory", "sql", "enum", "word"):
        with af.job(name):
            pass
"""


@pytest.fixture(scope="module")
def ran(environment, write_project, tmp_path_factory):
    jobs: dict[str, dict[str, Any]] = {
        "*": {"properties": {"taken": 1, "alpha": 0.5}},
        "klass": {"engine": "klass", "platforms": {"shapes": {"size": 3, "mode": "fast", "home": "/tmp"}}},
        "enum": {"engine": "klass", "size": 4, "mode": "slow"},
        "word": {"engine": "klass", "size": 5},
        "instance": {"engine": "instance", "words": ["a", "b"], "env": {"COLOUR": "blue"}},
        "factory": {"engine": "factory", "timeout": "2m", "env": {"COLOUR": "green"}},
        "sql": {"engine": "sql", "queue": "night", "retries": 1},
    }
    jobs |= {name: {"platform": "shapes", **keys} for name, keys in jobs.items() if name != "*"}
    root = write_project(tmp_path_factory.mktemp("plain"), jobs, BODY)
    return environment.run(root, "--json")


def shown(ran, job: str) -> dict[str, Any]:
    """What the job's submit_job printed."""
    found: dict[str, Any] = json.loads(ran.file(job, "stdout").splitlines()[-1])
    return found


@pytest.mark.parametrize("job", ["klass", "instance", "factory", "sql"])
def test_an_entry_point_may_lead_to_a_class_an_instance_or_a_factory(ran, job):
    assert ran.last(job)["state"] == "FINISHED", ran.last(job)


def test_what_generate_prints_does_not_spoil_the_json_of_the_command(ran):
    assert json.loads(ran.out)["state"] == "FINISHED"
    assert "printed by generate" in ran.err


def test_generate_finds_its_config_untouched_each_time(ran):
    # It takes a property out of the config's map, and is called several times before this one.
    assert shown(ran, "klass")["taken"] == 1


def test_nodes_of_an_engine_of_its_own_arrive_with_their_properties(ran):
    assert [node["items"] for node in shown(ran, "klass")["nodes"]] == [
        ["sql", {"query": "select 1", "options": {"deep": [1, 2]}}],
        ["sql", {"query": "select 2"}],
    ]


def test_a_config_of_plain_init_is_given_typed_values_from_the_platforms_block(ran):
    config = shown(ran, "klass")["config"]
    assert (config["size"], config["mode"], config["home"]) == ("3", "Mode.FAST", "/tmp")
    assert (config["platform"], config["engine"], config["job_name"]) == ("shapes", "klass", "klass")


def test_values_of_an_authors_own_kinds_arrive_as_they_were(ran):
    assert shown(ran, "klass")["kinds"]["home"].endswith("Path")
    assert shown(ran, "enum")["config"]["mode"] == "Mode.SLOW"
    assert shown(ran, "word")["kinds"]["word"] == "Word"


def test_a_config_may_be_an_attrs_class(ran):
    assert shown(ran, "instance")["config"]["words"] == "['a', 'b']"


def test_a_config_that_generate_makes_of_the_given_one_has_the_common_values_too(ran):
    config = shown(ran, "instance")["config"]
    assert (config["size"], config["platform"], config["engine"]) == ("7", "shapes", "instance")
    assert (config["env"], config["properties"]) == ("{'COLOUR': 'blue'}", "{'alpha': 0.5}")


def test_a_config_may_have_common_keys_as_parameters_of_its_own(ran):
    config = shown(ran, "factory")["config"]
    assert (config["limit"], config["variables"]) == ("120", "{'COLOUR': 'green'}")
    assert float(config["timeout"]) == 120


def test_a_config_may_pass_the_seeds_arguments_on_by_position(ran):
    config = shown(ran, "sql")["config"]
    assert (config["queue"], config["platform"], config["engine"]) == ("night", "shapes", "sql")
    assert config["retries"] == "1"


def test_the_context_is_filled_in(ran):
    context = shown(ran, "sql")["context"]
    assert context["run_id"] == ran.folder.name
    assert (context["job_name"], context["attempt"]) == ("sql", 1)
    assert context["work_folder"] == context["native_id"] == ran.last("sql")["native_id"]
    assert context["run_folder"] == str(ran.folder)
    assert context["artifacts_url"].endswith(ran.folder.name)


def test_a_bare_context_of_a_job_that_calls_no_super_is_filled_in_before_its_resources(run, act_config):
    seen = "c = job.job_context\nprint(c.run_id, c.job_name, c.attempt, os.path.isdir(c.work_folder), c.artifacts_url,"
    seen += " job.name, os.environ['AIFLOW_JOB'], os.environ['COLOUR'], af.current_job().properties['extra'],"
    seen += " os.path.isdir(af.current_job().checkpoint_dir))"
    job = act_config(generate_job_resource=seen, submit_job=seen, env={"COLOUR": "blue"})
    job["properties"]["extra"] = 5
    ran = run({"bare": job})
    first, second = ran.file("bare", "stdout").splitlines()
    assert first == second
    url = f"{ran.root}/.aiflow/artifacts/{ran.folder.name}"
    assert first == f"{ran.folder.name} bare 1 True {url} bare bare blue 5 True"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ValueError('a node is missing')", "ValueError: a node is missing"),
        ("open(job.job_context.work_folder)", "(raised in the-authors-own.py:2)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("return 5", "generated a int for job 'bad'; its job_type is Job"),
        ("raise af.AiflowError('no such table', hint='create it')", "no such table\n    create it"),
    ],
)
def test_a_generate_that_fails_is_reported_before_anything_is_submitted(run, act_config, source, words):
    ran = run({"bad": act_config(generate=source), "good": act_config()})
    assert ran.exit in (3, 5, 70)
    assert not ran.jobs
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_each_mistake_of_a_config_is_named_with_file_and_line(run):
    jobs = {
        "klass": {"platform": "shapes", "engine": "klass", "mode": "medium", "tags": "one"},
        "instance": {"platform": "shapes", "engine": "instance", "size": 1.5, "word": []},
    }
    ran = run(jobs)
    assert (ran.exit, ran.out) == (3, "")
    assert "workflow.yaml:1: job 'klass' lacks the key 'size' (a whole number)" in ran.err
    assert "workflow.yaml:4: job 'klass': 'mode' must be one of 'fast', 'slow'" in ran.err
    assert "workflow.yaml:5: job 'klass': 'tags' must be a list of text" in ran.err
    assert "workflow.yaml:9: job 'instance': 'size' must be a whole number, not the number 1.5" in ran.err
    assert "workflow.yaml:10: job 'instance': 'word'" in ran.err
    assert "did you mean 'words'?" in ran.err


@pytest.mark.parametrize("method", ["job_type", "job_config_type", "platform", "engine"])
def test_a_plugin_whose_types_raise_is_named_with_its_distribution_and_words(run, method):
    ran = run({"bad": {"platform": "broken", "engine": method}, "good": {"platform": "shapes", "engine": "factory"}})
    assert ran.exit == 5
    assert f"{method} is out of order" in ran.err
    assert "aiflow-ext-zoo" in ran.err
    assert "Traceback" not in ran.err
    assert not ran.jobs


def test_a_broken_plugin_stops_no_other_one(run):
    ran = run({"good": {"platform": "shapes", "engine": "factory"}})
    assert ran.exit == 0, ran.err
