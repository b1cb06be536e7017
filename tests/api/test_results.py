"""What runs have kept, read by af.open_run and by `aiflow-ext artifacts`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import aiflow_ext as af
from tests.conftest import Project

STEPS = """
from pathlib import Path

def data(): return [1, 2, 3]
def fit(values): return {"mean": sum(values) / len(values)}
def show(values, words): return None
def folder():
    Path("out").mkdir()
    Path("out/inner.txt").write_text("in it")
    return Path("out")
def broken(): raise ValueError("no data today")
"""
BODY = """
with af.job("data"): d = af.python(data)
with af.job("fit"): m = af.python(fit, d)
with af.job("report"): af.cmd("cat {m} > {out}", m=m, out=af.output("report.bin"))
with af.job("folder"): af.python(folder)
with af.job("two"):
    af.cmd("echo a > {a}; echo b > {b}", a=af.output("a.txt"), b=af.output("b.txt"))
with af.job("reader"): af.python(show, m, "x")
with af.job("broken"): af.python(broken)
"""
CONFIG = '"*": {platform: local, engine: python}\nreport: {engine: cmd_line}\ntwo: {engine: cmd_line}\n'


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of a project whose run has ended. Tests do not change it."""
    project = Project(tmp_path_factory.mktemp("ran")).jobs(BODY, CONFIG, STEPS)
    af.run_project(project.root)  # one job is to fail
    return project.root


def test_values_files_and_folders_of_an_ended_run_are_read_by_their_jobs_from_any_folder(ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = af.open_run(af.runs(ran)[0]["run"])
    assert run.state == af.JobState.FAILED
    assert run.jobs["data"].result == [1, 2, 3]
    assert run.jobs["fit"].result == {"mean": 2.0}
    assert run.jobs["report"].result.name == "report.bin"
    assert (run.jobs["folder"].result / "inner.txt").read_text() == "in it"
    assert run.jobs["two"].artifacts["cmd.b"].load().read_text() == "b\n"
    assert [each["run"] for each in af.runs(ran)] == [run.run_id]


def test_a_job_without_one_result_says_why(ran):
    jobs = af.open_run("latest", ran).jobs
    for name, words in (
        ("broken", "job 'broken' is FAILED, so that it has no result: ValueError: no data today"),
        ("reader", "has kept no result, or it was removed since"),
        ("two", "artifacts['cmd.a'], artifacts['cmd.b']"),
    ):
        with pytest.raises(af.AiflowError) as raised:
            _ = jobs[name].result
        assert words in str(raised.value)
    with pytest.raises(af.AiflowError, match="did you mean 'report'"):
        jobs["repotr"]


def test_results_at_a_url_are_read_too_and_refused_once_they_were_changed(project, cli, cli_env, monkeypatch, tmp_path):
    config = '"*": {platform: local, engine: cmd_line}\n'
    project.jobs('with af.job("a"): af.cmd("echo hi > {out}", out=af.output("out.txt"))', config)
    project.write(project_yaml=f"artifacts: local://{tmp_path}/far\n")
    assert cli("run", project.root).returncode == 0
    monkeypatch.setenv("XDG_STATE_HOME", cli_env["XDG_STATE_HOME"])
    job = af.open_run("latest", project.root).jobs["a"]
    assert job.result.read_text() == "hi\n"
    (kept,) = job.artifacts.values()
    assert kept.load(tmp_path / "mine").is_relative_to(tmp_path / "mine")
    (file,) = tmp_path.glob("far/*/a/1/*/out.txt")
    file.write_text("ho\n")
    with pytest.raises(af.AiflowError, match="is not what its producer recorded"):
        _ = job.result


UNREAD = """
import threading
from pathlib import Path
def score(): return {"score": 0.9}
def report():
    Path("report.txt").write_text("fine")
    return Path("report.txt")
def lock(): return threading.Lock()
def large(): return b"x" * (257 << 20)
def nothing(): pass
"""


def test_a_value_that_no_job_reads_is_kept_unless_its_config_says_keep_false(project):
    names = ("score", "report", "unkept", "unkept_report")
    body = "\n".join(f'with af.job("{name}"): af.python({name.removeprefix("un")})' for name in names)
    body = body.replace("kept_report)", "report)").replace("kept)", "score)")
    project.jobs(body, '"*": {platform: local, engine: python}\n"unkept*": {keep: false}\n', UNREAD)
    af.run_project(project.root, check=True)
    jobs = af.open_run("latest", project.root).jobs
    assert jobs["score"].result == {"score": 0.9}
    assert jobs["report"].result.read_text() == "fine"
    assert [*jobs["unkept"].artifacts, *jobs["unkept_report"].artifacts] == []


def test_a_job_finishes_whose_unread_value_cannot_be_kept_and_its_stderr_says_why(project, cli):
    body = "\n".join(f'with af.job("{name}"): af.python({name})' for name in ("lock", "large", "nothing"))
    project.jobs(body, '"*": {platform: local, engine: python}\n', UNREAD)
    assert cli("run", project.root).returncode == 0
    for name, words in (("lock", "a value of type lock cannot be stored"), ("large", "has more than 256 MiB")):
        logged = cli("logs", "latest", name, "--stderr", "--project", project.root).stdout
        assert logged.startswith(f"aiflow-ext: the value of {name}/{name} is not kept: ")
        assert words in logged
    assert cli("logs", "latest", "nothing", "--stderr", "--project", project.root).stdout == ""
    assert cli("artifacts", "latest", "--project", project.root).stdout == "job\tname\tkind\tbytes\tpath\n"


def test_keep_that_is_none_of_its_words_is_refused_with_its_line(project, cli):
    project.jobs('with af.job("a"): af.python(score)', "a: {platform: local, engine: python, keep: maybe}\n", UNREAD)
    refused = cli("run", project.root)
    assert refused.returncode == 3
    assert "workflow.yaml:1" in refused.stderr
    assert "must be true, false or failed, not the text 'maybe'" in refused.stderr


PICKLES = """
import os
class Opened:
    def __reduce__(self): return os.mkdir, (os.environ["OPENED"],)
def make(): return Opened()
def read(value): pass
"""


def test_the_command_lists_and_copies_results_and_opens_no_pickle(project, cli, cli_env, tmp_path):
    project.jobs(
        'with af.job("made"): m = af.python(make)\nwith af.job("read"): af.python(read, m)',
        f'"*": {{platform: local, engine: python, env: {{OPENED: {tmp_path}/in-job}}}}\n', PICKLES,
    )  # fmt: skip
    assert cli("run", project.root).returncode == 0
    cli_env["OPENED"] = str(tmp_path / "opened")
    listed = cli("artifacts", "latest", "--project", project.root)
    assert listed.stdout.splitlines()[0] == "job\tname\tkind\tbytes\tpath"
    assert listed.stdout.splitlines()[1].startswith("made\tmake\tpickle\t")
    home = tmp_path / "got"
    fetched = cli("artifacts", "latest", "made", "--project", project.root, "--fetch", home, "--json")
    (row,) = json.loads(fetched.stdout)
    assert row["path"] == str(home / "made" / "make" / "value.pkl")
    assert Path(row["path"]).stat().st_size == row["size"]
    assert not os.path.exists(cli_env["OPENED"])


HELD = """
from pathlib import Path
def made():
    Path("model.bin").write_text("weights")
    Path("logs").mkdir()
    Path("logs/one.txt").write_text("line")
    return {"model": Path("model.bin"), "score": 0.9, "logs": Path("logs")}
"""


@pytest.mark.parametrize("where", ["", "artifacts: local://{home}/far\n"])
def test_files_inside_of_a_value_are_listed_and_copied_with_it(project, cli, tmp_path, where):
    project.jobs('with af.job("fit"): af.python(made)', '"*": {platform: local, engine: python}\n', HELD)
    project.write(project_yaml=where.format(home=tmp_path))
    assert cli("run", project.root).returncode == 0
    listed = json.loads(cli("artifacts", "latest", "--project", project.root, "--json").stdout)
    assert [row["name"] for row in listed] == ["made", "made/files/0", "made/files/1"]
    (file,) = (row for row in listed if row["kind"] == "file")
    assert (file["size"], file["path"].rpartition("/")[2]) == (7, "model.bin")
    home = tmp_path / "got"
    copied = json.loads(cli("artifacts", "latest", "--project", project.root, "--fetch", home, "--json").stdout)
    paths = {row["kind"]: Path(row["path"]) for row in copied}
    assert paths["file"].read_text() == "weights"
    assert (paths["folder"] / "one.txt").read_text() == "line"
    assert paths["pickle"].is_relative_to(home)
    (value,) = af.open_run("latest", project.root).jobs["fit"].artifacts.values()
    (model,) = (each for each in value.files if each.kind == "file")
    assert model.fetch(tmp_path / "alone") == model.copied_to(tmp_path / "alone")
    assert model.load().read_text() == "weights"


def test_the_command_copies_folders_unpacked_and_replaces_an_earlier_copy(ran, cli, tmp_path):
    home = tmp_path / "got"
    for _ in range(2):
        assert cli("artifacts", "latest", "folder", "--project", ran, "--fetch", home).returncode == 0
        (home / "folder/folder/out/stale.txt").write_text("of an earlier copy")
    assert cli("artifacts", "latest", "folder", "--project", ran, "--fetch", home).returncode == 0
    assert [each.name for each in (home / "folder/folder/out").iterdir()] == ["inner.txt"]
    missing = cli("artifacts", "latest", "nothing", "--project", ran)
    assert (missing.returncode, "has no job 'nothing'" in missing.stderr) == (3, True), missing


@pytest.mark.parametrize("is_file", [False, True])
def test_a_record_that_claims_files_without_end_ends_all_the_same(project, cli, is_file):
    project.jobs("with af.job('fit'): af.python(fit)", '"*": {platform: local, engine: python}\n',
                 "def fit(): return [1]")  # fmt: skip
    assert cli("run", project.root).returncode == 0
    (row,) = json.loads(cli("artifacts", "latest", "--project", project.root, "--json").stdout)
    value = Path(row["path"]).parent
    record = Path(f"{value}.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "files": 10**18}))
    if is_file:  # where their folder should be, so that none of them is merely missing
        (value / "files").write_text("")
    listed = cli("artifacts", "latest", "--project", project.root)
    assert (listed.returncode == 0, "cannot be read" in listed.stderr) == (not is_file, is_file)
    assert cli("report", "latest", "--project", project.root).returncode == 0
