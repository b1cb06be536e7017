"""What a run was made of: its parameters, layers, code and versions, and the columns of ``runs --params``."""

from __future__ import annotations

import json
import sys

import pytest

import aiflow_ext as af

CONFIG = """\
"*": {platform: local, engine: cmd_line}
fit:
  properties: {lr: 0.1, size: 3}
test:
  properties: {lr: 0.1}
"""


@pytest.fixture
def sweep(project):
    return project.jobs('with af.job("fit"): af.cmd("true")\nwith af.job("test"): af.cmd("true")', CONFIG)


def provenance(cli, project, *words):
    done = cli("run", project.root, "--json", *words)
    assert done.returncode == 0, done.stderr
    shown = cli("status", json.loads(done.stdout)["run"], "--project", project.root, "--json")
    return json.loads(shown.stdout)["provenance"]


def test_status_shows_parameters_with_their_origin_the_layers_and_the_versions(cli, sweep) -> None:
    found = provenance(cli, sweep, "-p", "lr=0.2", "--set", "fit.retries=1")
    places = {each["name"]: (each["value"], each["from"], each["jobs"]) for each in found["parameters"]}
    assert places["lr"] == (0.2, "-p lr=0.2", ["fit", "test"])
    assert places["size"][0] == 3
    assert places["size"][1].endswith("workflow.yaml:3")
    assert found["layers"] == ["workflow.yaml", "--set fit.retries=1", "-p lr=0.2"]
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"].keys() == {"python", "aiflow-ext", "aiflow-ext-local"}


def test_a_parameter_that_is_no_number_of_json_is_recorded_as_text(cli, sweep) -> None:
    found = provenance(cli, sweep, "-p", "lr=.nan", "-p", "size=-.inf")
    assert {each["name"]: each["value"] for each in found["parameters"]} == {"lr": "nan", "size": "-inf"}
    assert found["code"]


def test_the_digest_of_the_code_is_the_same_until_a_file_changes(cli, sweep) -> None:
    first, again = provenance(cli, sweep)["code"], provenance(cli, sweep)["code"]
    (sweep.root / "workflow.py").write_text((sweep.root / "workflow.py").read_text() + "# changed\n")
    assert first == again != provenance(cli, sweep)["code"]


def test_runs_with_params_has_a_column_for_each_parameter_that_differs(cli, sweep) -> None:
    for words in (["-p", "lr=0.2"], ["-p", "lr=0.3"], ["--set", "test.properties.lr=0.5"]):
        provenance(cli, sweep, *words)
    found = json.loads(cli("runs", "--project", sweep.root, "--params", "--json").stdout)
    assert [run["parameters"] for run in reversed(found)] == [
        {"fit.lr": 0.2, "test.lr": 0.2}, {"fit.lr": 0.3, "test.lr": 0.3}, {"fit.lr": 0.1, "test.lr": 0.5},
    ]  # fmt: skip
    head, *rows = cli("runs", "--project", sweep.root, "--params").stdout.splitlines()
    assert head.split("\t")[:4] == ["run", "state", "fit.lr", "test.lr"]
    assert [row.split("\t")[2] for row in rows] == ["0.1", "0.3", "0.2"]
    assert "parameters" not in json.loads(cli("runs", "--project", sweep.root, "--json").stdout)[0]


def test_a_variable_that_is_set_is_recorded_without_its_value(cli, sweep) -> None:
    found = provenance(cli, sweep, "--set", "fit.env.TOKEN=hunter2")
    assert "--set fit.env.TOKEN=..." in found["layers"]
    assert "hunter2" not in json.dumps(found)


def test_a_parameter_that_is_a_secrets_value_is_refused_before_the_run(sweep, monkeypatch) -> None:
    monkeypatch.setenv("HUB", "hunter2-hunter2")
    with pytest.raises(af.AiflowError, match="would be printed and stored") as raised:
        af.run_project(sweep.root, params={"size": "hunter2-hunter2"}, sets=["fit.env.TOKEN={secret: 'env:HUB'}"])
    assert "hunter2" not in str(raised.value)
    assert af.runs(sweep.root) == []


def test_a_run_of_an_older_version_has_no_provenance_and_is_listed(cli, sweep) -> None:
    provenance(cli, sweep)
    with sweep.database() as db:
        db.execute("update runs set plan = json_remove(plan, '$.provenance')")
    assert json.loads(cli("status", "latest", "--project", sweep.root, "--json").stdout)["provenance"] is None
    assert json.loads(cli("runs", "--project", sweep.root, "--params", "--json").stdout)[0]["parameters"] == {}
