"""What a plan is made of where the project says little, and where each mistake of a project is said to be."""

from __future__ import annotations

import json

import pytest

import aiflow_ext as af
from aiflow_ext.host import index, scan
from aiflow_ext.model.errors import AiflowError, ConfigError, PluginNotInstalledError
from aiflow_ext.run.operations.render import render
from aiflow_ext.run.planning.make_plan import make_plan
from aiflow_ext.run.planning.plan_codec import StoredPlan, plan_to_data

SWEEP = 'for number in range(1500):\n    with af.job(f"train-{number}"): af.cmd("true")'
TWO = """\
import aiflow_ext as af

@af.workflow
def one():
    with af.job("a"): af.cmd("true")

@af.workflow
def two():
    with af.job("b"): af.cmd("true")
    {more}
"""


def refused(project, kind=ConfigError, **options):
    """The problems of a project without the part of their places that is this test's own."""
    with pytest.raises(kind) as error:
        make_plan(project.root, **options)
    return [(str(each.where).replace(f"{project.root}/", "").rpartition("/")[2], each.message, each.hint or "")
            for each in error.value.problems]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"params": [("alpha", 1)]},
            "params is a list of texts, not [('alpha', 1)]\n    write it as params=['alpha=0.2']",
        ),
        ({"sets": "a.retries=1"}, "sets is a list of texts, not 'a.retries=1'"),
        ({"only": "ab"}, "only is a list of texts, not 'ab'"),
    ],
)
def test_from_python_an_option_that_is_no_list_is_told_whole(project, options, words):
    project.jobs('with af.job("ab"): af.cmd("true")', "")
    for call in (af.run_project, af.render_project):
        with pytest.raises(ConfigError) as caught:
            call(project.root, **options)
        assert words in str(caught.value)


def test_artifacts_are_kept_with_the_run_s_state_unless_project_yaml_names_a_place(project, tmp_path, monkeypatch):
    project.jobs('with af.job("a"): af.cmd("true")', "")
    assert make_plan(project.root).desc.artifacts == str(project.root / ".aiflow" / "artifacts")
    monkeypatch.setenv("AIFLOW_STATE", str(tmp_path / "elsewhere"))
    assert make_plan(project.root).desc.artifacts.startswith(str(tmp_path / "elsewhere"))
    project.write(project_yaml="artifacts: s3://bucket/here\n")
    assert make_plan(project.root).desc.artifacts == "s3://bucket/here"


def test_a_folder_with_nothing_but_workflow_py_runs_on_local_with_the_engine_of_its_nodes(project):
    project.jobs('with af.job("a"): x = af.python(len, "abc")\nwith af.job("b"): af.cmd("cat {x}", x=x)', "")
    for text in (None, "", "# nothing\n", '"*": {retries: 1}\n', "a:\nb: {}\n", '"*": {platform: local}\n'):
        (project.root / "workflow.yaml").unlink(missing_ok=True)
        if text is not None:
            (project.root / "workflow.yaml").write_text(text)
        plan = make_plan(project.root)
        assert [(job.resolved.platform, job.resolved.engine) for job in plan.jobs.values()] == [
            ("local", "python"), ("local", "cmd_line"),
        ]  # fmt: skip
        assert {job.config.platform for job in plan.jobs.values()} == {"local"}
        assert {job.defaults for job in plan.jobs.values()} == {
            ("engine",) if text and "platform" in text else ("platform", "engine")
        }


def test_the_default_platforms_own_block_is_read(project):
    project.jobs('with af.job("a"): af.cmd("true")', "a: {platforms: {local: {retries: 3}, yarn: {retries: 4}}}\n")
    assert make_plan(project.root).jobs["a"].config.retries == 3


def test_the_star_alone_configures_every_job_of_a_loop(project):
    project.jobs(SWEEP, '"*": {platform: local, engine: cmd_line, retries: 2}\n"train-1*": {retries: 3}\n')
    plan = make_plan(project.root, sets=["train-12.retries=4"])
    assert len(plan.jobs) == 1500
    assert [plan.jobs[f"train-{number}"].config.retries for number in (0, 1, 12, 1499)] == [2, 3, 4, 3]


def test_an_engine_that_the_nodes_do_not_tell_is_named_with_where_the_job_is_opened(project):
    project.jobs('with af.job("none"): pass\nwith af.job("both"):\n    af.cmd("true")\n    af.python(len, "")', "")
    none, both = refused(project)
    assert none[:2] == ("workflow.py:6", "job 'none' has no nodes, so that its engine is not known")
    assert both[0] == "workflow.py:7"
    assert "cmd_line ('cmd'" in both[1]
    assert "workflow.py:9" in both[1]
    assert "make a job of each kind" in both[2]


@pytest.mark.parametrize("engine", ["python", "cmd_line"])
def test_an_empty_job_of_a_named_engine_is_at_the_line_that_opens_it(project, engine):
    project.jobs('\nwith af.job("a"):\n    pass', f"a: {{platform: local, engine: {engine}}}\n")
    ((where, message, _),) = refused(project, AiflowError)
    assert where == "workflow.py:6"
    assert "'a'" in message


@pytest.mark.slow
def test_what_1500_jobs_have_wrong_is_reported_once(project, monkeypatch):
    monkeypatch.chdir(project.root)  # paths in messages are short, wherever tests have their folders
    for config, words in (
        (
            "".join(f"train_{n}: {{}}\n" for n in range(1500)),
            "no job of the workflow is called 'train_0' (and 1499 more",
        ),
        ("".join(f"train-{n}: {{retries: x}}\n" for n in range(1500)), "'retries' must be a whole number"),
        ("".join(f"train-{n}: {{memry: 1}}\n" for n in range(1500)), "'memry' is not a key"),
        ("".join(f"train-{n}: {{platform: lokal}}\n" for n in range(1500)), "platform 'lokal'"),
        ('"*": {engine: python}\n', "whose engine is python (and 1499 more"),
        ('"*": {env: {T: {secret: "env:AIFLOW_NOT_THERE"}}}\n', "the variable is not set (and 1499 more"),
    ):
        project.jobs(SWEEP, config)
        ((where, message, _),) = refused(project, AiflowError)
        assert words in message
        assert ":" in where
        assert len(message) < 300


def test_a_key_must_fit_a_job_of_some_workflow_of_the_file(project):
    project.write(workflow_py=TWO.format(more=""), workflow_yaml="a: {}\nb: {retries: 1}\n'c*': {}\nbb: {}\n")
    for workflow, job in (("one", "a"), ("two", "b")):
        assert refused(project, workflow=workflow) == [
            ("workflow.yaml:3", "no job of the workflow fits 'c*'", f"the workflow's jobs are '{job}'"),
            ("workflow.yaml:4", "no job of the workflow is called 'bb'", "did you mean 'b'?"),
        ]  # fmt: skip
    project.write(workflow_yaml="a: {}\nb: {retries: 1}\n")
    assert list(make_plan(project.root, workflow="one").jobs) == ["a"]
    assert make_plan(project.root, workflow="two").jobs["b"].config.retries == 1


def test_a_workflow_beside_that_cannot_be_built_stops_nobody(project):
    project.write(workflow_py=TWO.format(more="raise SystemExit(3)"), workflow_yaml="a: {}\nb: {}\n")
    assert list(make_plan(project.root, workflow="one").jobs) == ["a"]


@pytest.mark.parametrize(
    ("config", "sets", "where", "hint"),
    [
        ("a:\n  platform: lokal\n", [], "workflow.yaml:2", "did you mean 'local'?"),
        ("a:\n  platform: LOCAL\n", [], "workflow.yaml:2", "did you mean 'local'?"),
        ("a:\n  platform: local\n  engine: cmdline\n", [], "workflow.yaml:3", "did you mean 'cmd_line'?"),
        ('"*":\n  platform: local\n  engine: local.cmd_line\n', [], "workflow.yaml:3", "write 'cmd_line' as engine"),
        ("", ["a.platform=local.cmd_line"], "--set a.platform=local.cmd_line", "write 'local' as platform and"),
        ("", ["a.engine=cmdline"], "--set a.engine=cmdline", "did you mean 'cmd_line'?"),
        ("a:\n  platforms:\n    local:\n      engine: pyhton\n", [], "workflow.yaml:4", "did you mean 'python'?"),
    ],
)
def test_a_platform_or_engine_that_nobody_provides_has_its_place_and_the_near_ones_of_its_kind(
    project, config, sets, where, hint
):
    project.jobs('with af.job("a"): af.cmd("true")', config)
    ((place, message, cure),) = refused(project, PluginNotInstalledError, sets=sets)
    assert place == where
    assert "nothing installed" in message
    assert hint in cure


def test_of_a_default_platform_that_cannot_run_a_job_it_is_said_that_it_is_one(project):
    project.jobs('with af.job("a"): af.node("spark")', "")
    ((where, message, hint),) = refused(project, PluginNotInstalledError)
    assert (where, "engine 'spark' on platform 'local'" in message) == ("workflow.py:6", True)
    assert "local is the default: platform: NAME in workflow.yaml says another one" in hint


def test_where_the_default_platform_is_not_installed_its_pip_command_is_reported(project, monkeypatch):
    project.jobs('with af.job("a"): af.cmd("true")', "")
    # An environment without plugins: the one that runs this test has them, and its index is to stay as it is.
    monkeypatch.setattr(index, "load", lambda: None)
    monkeypatch.setattr(index, "save", lambda found: None)
    monkeypatch.setattr(scan, "scan", lambda: index.Snapshot(index.key(), 0))
    ((where, message, hint),) = refused(project, PluginNotInstalledError)
    assert (where, "no job plugin is installed" in message) == ("workflow.py:6", True)
    assert "pip install aiflow-ext-local" in hint


def test_a_missing_secret_is_at_its_line_or_option(project, monkeypatch):
    monkeypatch.delenv("AIFLOW_NOT_THERE", raising=False)
    project.jobs('with af.job("a"): af.cmd("true")', 'a:\n  env:\n    T: {secret: "env:AIFLOW_NOT_THERE"}\n')
    option = 'a.env.U={secret: "file:/nowhere"}'
    found = refused(project, AiflowError, sets=[option])
    assert [where for where, _, _ in found] == ["workflow.yaml:3", 'nowhere"}']


def test_what_a_plugin_says_of_a_key_is_at_that_key_and_all_else_where_the_job_is_opened(project):
    project.jobs(
        'with af.job("a"): af.cmd("true")\nwith af.job("b"):\n    af.python(len, "")',
        'a:\n  retries: 1\n  env:\n    S: x\n    T: {secret: "kubernetes:name/key"}\nb: {engine: cmd_line}\n',
    )
    found = refused(project, AiflowError)
    assert [(where, message.partition(":")[0]) for where, message, _ in found] == [
        ("workflow.yaml:5", "job 'a'"),
        ("workflow.py:8", "node 'len' of kind 'python' is in job 'b', whose engine is cmd_line"),
    ]


def test_a_secret_that_would_be_printed_is_at_its_line(project, monkeypatch):
    monkeypatch.setenv("AIFLOW_TEST_SECRET", "do-not-print")
    project.jobs(
        'with af.job("a"): af.cmd("echo do-not-print")', 'a:\n  env: {T: {secret: "env:AIFLOW_TEST_SECRET"}}\n'
    )
    with pytest.raises(AiflowError) as error:
        render(project.root)
    (problem,) = error.value.problems
    assert str(problem.where).endswith("workflow.yaml:2")


def test_a_word_of_ours_that_is_used_wrongly_while_the_graph_is_built_has_its_line(project):
    project.jobs("af.current_job()", "")
    ((where, message, _),) = refused(project, AiflowError)
    assert (where, "outside a job" in message) == ("workflow.py:6", True)


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ("a: {platforms: {Local: {retries: 1}}}\n", "workflow.yaml:1"),
        ('"*":\n  platforms:\n    lokal: {retries: 1}\n', "workflow.yaml:3"),
        ("'?':\n  platforms:\n    nohup: {}\n    locl: {}\n", "workflow.yaml:4"),
    ],
)
def test_the_block_of_a_misspelled_platform_is_reported(project, config, where):
    project.jobs('with af.job("a"): af.cmd("true")', config)
    ((place, message, hint),) = refused(project)
    assert place == where
    assert "is read for no job" in message
    assert hint == "did you mean 'local'?"


def test_the_block_of_a_misspelled_platform_in_an_option_is_reported(project):
    project.jobs('with af.job("a"): af.cmd("true")', "a: {}\n")
    option = "a.platforms.locl.retries=1"
    assert [(where, hint) for where, _, hint in refused(project, sets=[option])] == [
        (f"--set {option}", "did you mean 'local'?")
    ]
    assert list(make_plan(project.root, sets=["a.platforms.slurm.retries=1"]).jobs) == ["a"]


def test_what_was_a_default_is_as_fixed_for_a_stored_run_as_what_was_said(project):
    project.jobs('with af.job("a"): af.cmd("true")\nwith af.job("b"): af.python(len, "")', "b: {platform: local}\n")
    data = plan_to_data(make_plan(project.root))
    stored = json.loads(json.dumps({key: value for key, value in data.items() if key != "jobs"}))
    jobs = json.loads(json.dumps(data["jobs"]))
    plan = StoredPlan(stored, lambda names: jobs if names is None else {name: jobs[name] for name in names}).whole()
    assert [(job.config.platform, job.config.engine) for job in plan.jobs.values()] == [
        ("local", "cmd_line"), ("local", "python"),
    ]  # fmt: skip
    assert stored["defaults"] == {"a": ["platform", "engine"], "b": ["engine"]}


def test_the_block_of_a_platform_that_is_not_here_can_stay(project):
    blocks = "{local: {}, locals: {x: 1}, nohup: {nice: 10}, slurm: {}}"
    project.jobs('with af.job("a"): af.cmd("true")', f"a: {{platforms: {blocks}}}\n")
    assert list(make_plan(project.root).jobs) == ["a"]


def test_mistakes_of_the_config_are_reported_together_with_a_workflow_that_cannot_be_built(project):
    project.jobs("undefined_name", "a: [x]\n")
    assert [where for where, _, _ in refused(project)] == ["workflow.yaml:1", "workflow.py:6"]


def test_a_star_that_is_not_quoted_is_explained(project):
    project.jobs('with af.job("a"): af.cmd("true")', "*: {retries: 1}\n")
    ((where, _, hint),) = refused(project)
    assert (where, hint) == ("workflow.yaml:1", "put text that begins with * in quotes")


def test_a_plugin_that_a_project_denies_is_reported_with_the_projects_file(project, cli, cli_env):
    project.jobs('with af.job("job"): af.cmd("true")', "job: {}\n")
    denied = cli("run", project.root, env={**cli_env, "AIFLOW_PLUGINS_DENY": "kind:job_plugin"})
    assert "'kind:job_plugin' is in the deny list (AIFLOW_PLUGINS_DENY)" in denied.stderr
    for lists, said in (
        ("deny: [aiflow-ext-local]", "'aiflow-ext-local' is in the deny list (plugins: deny in project.yaml:1)"),
        ("allow: [nobody]", "nothing in the allow list (plugins: allow in project.yaml:1) names it"),
    ):
        project.write(project_yaml=f"plugins: {{{lists}}}\n")
        done = cli("run", ".", cwd=project.root)
        assert done.returncode == 5
        assert said in done.stderr
        assert f"change plugins: {lists.partition(':')[0]} in project.yaml:1\n" in done.stderr
        assert "AIFLOW_PLUGINS" not in done.stderr


def test_a_pattern_of_plugins_that_is_none_is_reported_with_where_it_stands(project, cli, cli_env):
    project.jobs('with af.job("job"): af.cmd("true")', "job: {}\n")
    for pattern, words in ("foo:bar", "is not a pattern"), ("kind:x", "names no kind of plugin"):
        project.write(project_yaml=f'plugins: {{allow: ["{pattern}"]}}\n')
        done = cli("run", ".", cwd=project.root)
        assert f"{pattern!r} in the allow list (plugins: allow in project.yaml:1) {words}" in done.stderr
        listed = cli("plugins", env={**cli_env, "AIFLOW_PLUGINS_DENY": pattern})
        assert f"{pattern!r} in the deny list (AIFLOW_PLUGINS_DENY) {words}" in listed.stderr


def test_an_option_that_is_wrong_for_several_jobs_is_reported_once(project, cli):
    body = "\n".join(f'with af.job("train-{name}"): af.cmd("true")' for name in "abc")
    project.jobs(body, '"*": {platform: local}\n')
    done = cli("run", project.root, "--set", "train-*.retrys=2")
    assert done.returncode == 3
    assert done.stderr.count("error: ") == 1
    assert "--set train-*.retrys=2: job 'train-a': 'retrys' is" in done.stderr
    assert "(and 2 more like this: 'train-b', 'train-c')" in done.stderr
