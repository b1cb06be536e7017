"""What differs between two runs: ``aiflow-ext diff``."""

from __future__ import annotations

import json

import pytest

import aiflow_ext as af

CONFIG = """\
"*": {platform: local, engine: python}
fit:
  properties: {lr: 0.1}
show: {engine: cmd_line}
"""
STEPS = "def fit():\n    return 1\n"
JOBS = 'with af.job("fit"): made = af.python(fit)\nwith af.job("show"): af.cmd("wc -c {made}", made=made)\n'


@pytest.fixture
def run(cli, project):
    def run(*words, jobs=JOBS, config=CONFIG, steps=STEPS):
        done = cli("run", project.jobs(jobs, config, steps).root, "--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["run"]

    return run


@pytest.fixture
def diff(cli, project):
    def diff(one, other, code=1):
        shown = cli("diff", one, other, "--project", project.root, "--json")
        assert shown.returncode == code, shown.stderr
        return json.loads(shown.stdout)

    return diff


def test_two_runs_of_the_same_project_do_not_differ(cli, run, diff, project) -> None:
    one, other = run(), run()
    found = diff(one, other, code=0)
    assert found["same"] is True
    assert "nothing differs" in cli("diff", one, other, "--project", project.root).stdout


def test_config_differs_by_key_with_the_origin_of_each_value(cli, run, diff, project) -> None:
    one, other = run(), run("-p", "lr=0.2", "--set", "*.retries=1")
    assert sorted(diff(one, other)["config"], key=lambda each: each["key"]) == [
        {"jobs": ["fit"], "key": "properties.lr", "values": [0.1, 0.2], "where": ["workflow.yaml:3", "-p lr=0.2"]},
        {"jobs": ["fit", "show"], "key": "retries", "values": [None, 1], "where": [None, "--set *.retries=1"]},
    ]
    shown = cli("diff", one, other, "--project", project.root)
    assert shown.returncode == 1
    assert "config fit: properties.lr: 0.1 (workflow.yaml:3) -> 0.2 (-p lr=0.2)" in shown.stdout.splitlines()


def test_code_differs_as_a_unified_diff_and_so_does_the_result_that_it_gives(cli, run, diff, project) -> None:
    one, other = run(), run(steps="def fit():\n    return 22\n")
    found = diff(one, other)
    (code,) = found["code"]
    assert code["file"] == "steps.py"
    assert code["diff"].splitlines()[3:] == [" def fit():", "-    return 1", "+    return 22"]
    (result,) = found["results"]
    assert (result["job"], result["name"]) == ("fit", "fit")
    assert None not in result["sha256"]
    assert len(set(result["sha256"])) == 2
    assert found["config"] == []
    assert code["diff"] in cli("diff", one, other, "--project", project.root).stdout


def test_graph_differs_in_jobs_edges_and_steps(run, diff) -> None:
    more = JOBS.replace("wc -c", "cat") + 'with af.job("more"): af.python(fit)\naf.run_after("more", "show")\n'
    graph = diff(run(), run(jobs="\n" + more))["graph"]
    assert graph == {
        "removed": [], "added": ["more"], "changed": ["show"], "edges_removed": [],
        "edges_added": [{"source": "show", "target": "more", "when": None, "data": False}],
    }  # fmt: skip


def test_a_property_with_another_value_is_a_difference_of_config_and_not_of_the_steps_that_take_it(run, diff) -> None:
    steps = "def fit(rates, deep):\n    return 1\n"
    jobs = 'with af.job("fit"): af.python(fit, [af.property("lr"), 7], deep=af.property("net.layers"))\n'
    config = CONFIG.replace("{lr: 0.1}", "{lr: 0.1, net: {layers: [1, 2]}}").replace("show: {engine: cmd_line}\n", "")
    one = run(jobs=jobs, steps=steps, config=config)
    found = diff(one, run("-p", "lr=0.2", "-p", "net.layers=[3]", jobs=jobs, steps=steps, config=config))
    assert found["graph"]["changed"] == []
    assert {each["key"] for each in found["config"]} == {"properties.lr", "properties.net.layers"}
    changed = diff(one, run("-p", "lr=0.2", jobs=jobs.replace("7", "8"), steps=steps, config=config))
    assert changed["graph"]["changed"] == ["fit"]


@pytest.mark.parametrize("needs_files", [True, False])
def test_a_value_of_a_profile_or_a_file_of_config_has_its_place(run, diff, project, tmp_path, needs_files) -> None:
    jobs = JOBS if needs_files else 'with af.job("show"): af.cmd("true")\n'
    config = CONFIG if needs_files else '"*": {platform: local}\nshow: {engine: cmd_line}\n'
    project.write(project_yaml="name: tested\nprofiles:\n  prod: prod.yaml\n  inner:\n    show: {retries: 3}\n",
                  prod_yaml="show:\n  retries: 2\n")  # fmt: skip
    (tmp_path / "outside.yaml").write_text("show:\n  memory: 1Gi\n")
    (project.root / "over.yaml").write_text("\nshow: {retry_delay: 7}\n")
    plain = run(jobs=jobs, config=config)
    prod = run("--profile", "prod", "--config", str(tmp_path / "outside.yaml"), "--config",
               str(project.root / "over.yaml"), jobs=jobs, config=config)  # fmt: skip
    inner = run("--profile", "inner", jobs=jobs, config=config)
    places = {each["key"]: each["where"] for each in diff(plain, prod)["config"]}
    assert places == {
        "retries": [None, "prod.yaml:2" if needs_files else "prod.yaml"],
        "memory": [None, str(tmp_path / "outside.yaml")],
        "retry_delay": [None, "over.yaml:2" if needs_files else "over.yaml"],
    }
    (retries,) = diff(plain, inner)["config"]
    assert retries["where"] == [None, "project.yaml:5"]
    (project.root / "prod.yaml").unlink()
    (tmp_path / "outside.yaml").unlink()
    places = {each["key"]: each["where"][1] for each in diff(plain, prod)["config"]}
    assert (places["retries"], places["memory"]) == ("prod.yaml:2" if needs_files else None, None)


def test_a_value_has_its_place_where_the_workflow_has_parameters_of_its_own(cli, diff, project) -> None:
    jobs = "@af.workflow\ndef tested(size: int = 1):\n    with af.job('show'): af.cmd('true')\n"
    config = '"*": {platform: local}\nshow: {engine: cmd_line, retries: 1}\n'
    project.write(workflow_py=f"import aiflow_ext as af\n\n{jobs}", workflow_yaml=config)
    one, other = (json.loads(cli("run", project.root, "--json", *words).stdout)["run"]
                  for words in ((), ("-p", "size=2", "--set", "show.retries=4")))  # fmt: skip
    (retries,) = diff(one, other)["config"]
    assert retries["where"] == ["workflow.yaml:2", "--set show.retries=4"]


def test_from_python_two_runs_differ_by_the_same_data(run, diff, project) -> None:
    one, other = run(), run("-p", "lr=0.2")
    assert af.diff(one, other, project.root) == diff(one, other)
    opened = af.open_run(one, project.root)
    assert af.diff(opened, one, project.root)["same"] is True
    with pytest.raises(af.AiflowError, match="no run 'nosuch'"):
        af.diff(opened, "nosuch", project.root)


def test_versions_differ(run, diff, project) -> None:
    one, other = run(), run()
    with project.database() as db:
        db.execute("update runs set plan = json_set(plan, '$.provenance.versions.python', '3.9.0') where run = ?",
                   (one,))  # fmt: skip
    assert [*diff(one, other)["versions"]] == ["python"]


def test_the_origin_of_a_value_from_before_an_update_is_not_guessed(cli, run, diff, project) -> None:
    other, one = run(), run("--set", "show.retries=1")
    project.write(workflow_yaml=CONFIG.replace("fit:", "# moved\nfit:").replace("0.1", "0.3"))
    done = cli("resume", one, "--from", "show", "--update", "--project", project.root)
    assert done.returncode == 0, done.stderr
    (retries,) = diff(one, other)["config"]  # fit has not run again: its lr is still 0.1
    assert retries["where"] == ["--set show.retries=1", None]
    project.write(workflow_yaml=CONFIG)
    (lr, _) = sorted(diff(one, run("-p", "lr=0.2"))["config"], key=lambda each: each["key"])
    assert (lr["values"], lr["where"]) == ([0.1, 0.2], [None, "-p lr=0.2"])


def test_a_file_that_is_no_text_is_named_without_its_bytes(run, diff, project, cli) -> None:
    (project.root / "data.bin").write_bytes(b"\0\1")
    one = run()
    (project.root / "data.bin").write_bytes(b"\0\2")
    other = run()
    assert diff(one, other)["code"] == [{"file": "data.bin", "diff": None}]
    assert "file data.bin differs" in cli("diff", one, other, "--project", project.root).stdout


def test_a_run_that_is_not_there_is_a_sentence(cli, run, project) -> None:
    done = cli("diff", run(), "nosuch", "--project", project.root)
    assert done.returncode == 3
    assert "there is no run 'nosuch'" in done.stderr
