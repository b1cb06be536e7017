"""``doctor``: every plugin is told apart, whatever its import does, and each fault comes with what to do."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broken_plugins import KINDS, Broken, add_plugin
from patience import PATIENCE

from aiflow_ext.model.errors import OK, PLATFORM, PLUGIN, PROJECT

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(site: Any, cli: Any) -> Doctor:
    """Runs ``doctor ARGS --json`` in the site; returns the exit code, and what it has found with plugins by name."""

    def call(*args: str | Path, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        done = cli("doctor", *args, "--json", env={**site.env, **(env or {})})
        found = json.loads(done.stdout)
        found["by_name"] = {f"{each['name']} of {each['distribution']}": each for each in found.get("plugins", ())}
        return done.returncode, found

    return call


def is_alive(pid: str) -> bool:
    """Whether a process is there and has not ended; init may not have reaped it yet."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """What the doctor says of a site with a plugin of each kind, and of whole ones between them."""
    site = tmp_path_factory.mktemp("ward")
    for kind, broken in KINDS.items():
        add_plugin(site, kind, broken, slow=5.1)
        add_plugin(site, f"{kind}next")
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIFLOW_")}
    env |= {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(site / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "aiflow_ext", "doctor", "--limit", "9", "--json"],
        env=env, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return done.returncode, {each["name"]: each for each in found["plugins"] if each["kind"] == "job_plugin"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_broken_plugin_is_named_with_its_own_reason_and_a_cure(ward: Any, kind: str) -> None:
    code, plugins = ward
    found = plugins[f"{kind}.rover"]
    assert code == PLUGIN
    assert found["status"] == KINDS[kind].status
    assert KINDS[kind].words in " ".join([found["reason"] or "", *found["remarks"]])
    assert found["fault"] is (found["status"] != "loaded")
    assert bool(found["cures"]) is found["fault"]
    whole = plugins[f"{kind}next.rover"]
    assert (whole["status"], whole["reason"], whole["remarks"]) == ("loaded", None, [])


def test_every_kind_of_record_is_examined(site: Any, doctor: Doctor) -> None:
    source = """
        import aiflow_ext.plugin as af
        def sow(): pass
        number = 3
        class Silent: pass
        class Loud:
            @af.hookimpl
            def on_transition(self, event): pass
        class Vault(af.AbstractSecretSource):
            def read(self, rest): return rest
        class Farm(af.AbstractPlatform):
            @staticmethod
            def platform(): return "farm"
    """
    groups = {
        "platforms": {"farm": "kinds:Farm", "barn": "kinds:Farm"},
        "engines": {"plough": "kinds:Farm"},
        "extensions": {"loud": "kinds:Loud", "silent": "kinds:Silent"},
        "secret_sources": {"vault": "kinds:Vault", "bare": "kinds:Silent"},
        "authoring": {"sow": "kinds:sow", "number": "kinds:number"},
    }
    site.add("kinds-dist", groups, {"kinds.py": source})
    code, found = doctor()
    told = {each["name"]: each["reason"] for each in found["plugins"] if each["distribution"] == "kinds-dist"}
    assert code == PLUGIN
    assert [name for name, reason in told.items() if reason is None] == ["sow", "loud", "farm", "vault"]
    assert "is advertised as 'barn', and calls itself 'farm'" in told["barn"]
    assert "is no subclass of aiflow_ext.AbstractEngine" in told["plough"]
    assert "it marks no hook" in told["silent"]
    assert "is no source of secrets" in told["bare"]
    assert "is no function" in told["number"]


def test_what_an_import_has_started_is_ended_wherever_it_has_moved(site: Any, doctor: Doctor, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    starts = (
        "import os, subprocess, sys\n"
        "if os.fork() == 0:\n    os.setsid()\n    os.environ.pop('AIFLOW_MARK', None)\n"
        "    child = subprocess.Popen(['sleep', '1000'], start_new_session=True, env={})\n"
        f"    open({str(pids)!r}, 'a').write(f'{{os.getpid()}} {{child.pid}} ')\n    child.wait()\n    os._exit(0)\n"
        f"import time\nwhile not os.path.exists({str(pids)!r}) or not open({str(pids)!r}).read(): time.sleep(0.01)\n"
    )
    add_plugin(site.folder, "starts", Broken(starts, "loaded", ""))
    code, found = doctor()
    assert code == OK
    remarks = found["by_name"]["starts.rover of starts-dist"]["remarks"]
    assert remarks == ["importing it starts processes, and leaves them running"]
    assert not any(map(is_alive, pids.read_text().split()))


def test_a_plugin_that_kills_the_process_above_it_is_reported_and_ended_and_the_others_are_examined(
    site: Any, doctor: Doctor, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    kills = f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\nos.kill(os.getppid(), 9)\n"
    add_plugin(site.folder, "angry", Broken(kills + "time.sleep(1000)", "", ""))
    for number in range(5):
        add_plugin(site.folder, f"calm{number}")
    code, found = doctor()
    assert code == PLUGIN
    assert "is ended by SIGKILL" in found["by_name"]["angry.rover of angry-dist"]["reason"]
    others = [each for each in found["plugins"] if each["distribution"].startswith("calm")]
    assert [each["status"] for each in others] == ["loaded"] * 10
    assert not is_alive(pid_file.read_text())


def test_what_one_import_leaves_behind_does_not_reach_another(site: Any, doctor: Doctor) -> None:
    add_plugin(site.folder, "poison", Broken("import sys; sys.modules['colorsys'] = None", "", ""))
    for number in range(5):
        add_plugin(site.folder, f"victim{number}", Broken("import colorsys", "", ""))
    code, found = doctor()
    assert code == OK
    assert {each["status"] for each in found["plugins"]} == {"loaded"}


def test_a_doctor_that_is_killed_leaves_nothing_behind(site: Any, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    hangs = f"import os, time\nopen({str(pid_file)!r}, 'w').write(f'{{os.getpid()}} ')\ntime.sleep(1000)"
    add_plugin(site.folder, "hangs", Broken(hangs, "", ""))
    command = subprocess.Popen([sys.executable, "-m", "aiflow_ext", "doctor"], env=site.env, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + PATIENCE
    while not pid_file.exists() or not pid_file.read_text():
        assert time.monotonic() < limit
        time.sleep(0.02)
    command.kill()
    command.wait()
    while is_alive(pid_file.read_text().strip()):
        assert time.monotonic() < limit, "the import goes on"
        time.sleep(0.02)


def test_a_conflict_is_one_fault_with_a_pin_for_each_distribution(site: Any, cli: Any) -> None:
    add_plugin(site.folder, "twice", KINDS["conflict"])
    done = cli("doctor", env=site.env)
    _, *faults = done.stdout.split("fault: ")
    (fault,) = faults
    assert "job plugin 'twice.rover' is conflicted: twice-dist 1.0 and twice-rival 1.0 both provide it" in fault
    for owner in ("twice-dist", "twice-rival"):
        assert f"AIFLOW_PLUGINS_PINS=twice.rover={owner} chooses the one of {owner}" in fault
    done = cli("doctor", env=site.env | {"AIFLOW_PLUGINS_PINS": "twice.rover=twice-rival"})
    assert "fault" not in done.stdout


def test_what_was_not_asked_for_is_no_fault(site: Any, doctor: Doctor) -> None:
    add_plugin(site.folder, "denied")
    header = "Name: extra-dist\nVersion: 1.0\nRequires-Dist: not-installed; extra == 'more'\n"
    site.add("extra-dist", {"job_plugins": {"extra.rover": "extra:Plugin [more]"}}, header=header)
    code, found = doctor(env={"AIFLOW_PLUGINS_DENY": "denied-dist"})
    assert code == OK
    extra = found["by_name"]["extra.rover of extra-dist"]
    assert (extra["status"], extra["cures"]) == ("incompatible", ["pip install 'extra-dist[more]'"])
    denied = found["by_name"]["denied.rover of denied-dist"]
    assert (denied["status"], denied["cures"]) == ("disabled", ["change AIFLOW_PLUGINS_DENY"])


def test_copies_modules_and_requirements_that_hide_or_lack_are_noted(site: Any, doctor: Doctor, tmp_path: Path) -> None:
    other = tmp_path / "other"
    add_plugin(other, "copied")
    site.add("copied-dist", {"job_plugins": {"copied.rover": "copied_dist:Plugin"}}, version="0.9")
    add_plugin(site.folder, "covered")
    (other / "covered_dist.py").write_text("raise ValueError('the wrong one')\n")
    site.add("needy-dist", {"authoring": {"where": "os:getcwd"}}, requires=["pluggy<0.1", "not-installed-here>=2"])
    (site.folder / "needy_dist-1.0.dist-info" / "entry_points.txt").write_text(
        "[aiflow_ext.authoring]\nn = os:getcwd\n"
    )
    code, found = doctor(env={"PYTHONPATH": f"{other}:{site.folder}"})
    notes = {note["message"]: note for note in found["notes"]}
    text = "\n".join(notes)
    assert f"copied-dist 0.9 is hidden by copied-dist 1.0 in {other}" in text
    assert f"the module 'covered_dist' of covered-dist is hidden by the one in {other}" in text
    assert "needy-dist requires pluggy<0.1, and" in text
    assert "needy-dist requires not-installed-here>=2, which is not installed" in text
    assert all(note["hint"] for note in notes.values())
    assert "the wrong one" in found["by_name"]["covered.rover of covered-dist"]["reason"]
    assert code == PLUGIN


@pytest.mark.parametrize("damage", ["gone", "empty", "no text"])
def test_damaged_metadata_are_told_and_keep_nothing_else_from_being_examined(
    site: Any, doctor: Doctor, damage: str
) -> None:
    def harm(file: Path) -> None:
        file.unlink() if damage == "gone" else file.write_bytes(b"\xff\0" if damage == "no text" else b"")

    add_plugin(site.folder, "whole")
    add_plugin(site.folder, "headless")
    harm(site.folder / "headless_dist-1.0.dist-info" / "METADATA")
    harm(site.add("needed", "") / "METADATA")
    site.add("needy-dist", {"authoring": {"where": "os:getcwd"}}, requires=["needed>=2"])
    silent = site.add("silent-dist", {"authoring": {"there": "os:getcwd"}}, requires=["aiflow-ext"])
    digest = hashlib.sha256((silent / "entry_points.txt").read_bytes()).digest()
    listed = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    (silent / "RECORD").write_text(f"{silent.name}/entry_points.txt,sha256={listed},40\n")
    undamaged = doctor()[1]["notes"]
    harm(silent / "entry_points.txt")

    code, found = doctor()
    assert code == PLUGIN
    assert found["by_name"]["whole.rover of whole-dist"]["status"] == "loaded"
    assert "METADATA" in found["by_name"]["headless.rover of headless_dist"]["reason"]
    notes = {note["message"]: note["hint"] for note in found["notes"]}
    assert notes["needy-dist requires needed>=2, and 1.0 is installed"] == "pip install 'needed>=2'"
    (said,) = [message for message in notes if "silent-dist" in message]
    assert "entry_points.txt of silent-dist 1.0 is not the one that was installed" in said
    assert notes[said] == "pip install --force-reinstall silent-dist"
    assert not [note for note in undamaged if "silent-dist" in note["message"]]


def test_a_misspelt_name_in_the_policy_is_noted_and_one_that_is_nowhere_near_is_not(site: Any, doctor: Doctor) -> None:
    add_plugin(site.folder, "moon")
    patterns = "moon-dits,kind:extension,distribution:quite-another-one,name:moon.*,aiflow-ext-slurm"
    code, found = doctor(env={"AIFLOW_PLUGINS_DENY": patterns})
    (note,) = [each for each in found["notes"] if "the deny list" in each["message"]]
    assert note["message"] == "'moon-dits' in the deny list (AIFLOW_PLUGINS_DENY) matches nothing that is installed"
    assert "did you mean 'moon-dist'" in note["hint"]
    assert code == OK


def test_an_index_that_says_something_else_than_metadata_is_found_and_mended(site: Any) -> None:
    add_plugin(site.folder, "moon")
    site.settle()
    (file,) = (site.cache / "aiflow-ext").glob("*.index")
    head, _, body = file.read_bytes().partition(b"\n")
    body = body.replace(b"moon_dist:Plugin", b"mars_dist:Plugin")
    words = head.split(b" ")
    file.write_bytes(b" ".join([*words[:-2], f"{zlib.crc32(body):08x}".encode(), words[-1]]) + b"\n" + body)
    (note,) = site.ask("examine", later=60)["notes"]
    assert note.startswith(f"{file}: the index said something else than the metadata do; it has been written again")
    assert site.ask("examine", later=60)["notes"] == []


CHECKS = {
    "fine": ("return []", OK, None),
    "problem": ("return [af.Problem('the moon is down', hint='wait for the night')]", PLATFORM, "the moon is down"),
    "raises": ("raise ValueError('no orbit')", PLATFORM, "the platform's check failed: ValueError: no orbit"),
    "exits": ("import os; os._exit(0)", PLATFORM, "it called os._exit(0)"),
    "segfault": ("import ctypes; ctypes.string_at(0)", PLATFORM, "the process that checks it is ended by SIGSEGV"),
}


@pytest.mark.parametrize("case", CHECKS)
def test_each_platform_of_a_project_is_checked(site: Any, doctor: Doctor, project: Any, case: str) -> None:
    body, code, words = CHECKS[case]
    more = f"""
        class Plugin(Plugin):
            def generate(self, sub_graph, project_desc):
                return af.AbstractJob(af.JobContext(), sub_graph.config)
            @af.hookimpl
            def check_platform(self, jobs):
                assert [job.job_context.job_name for job in jobs] == ["a", "b"]
                {body}
    """
    add_plugin(site.folder, "moon", Broken(textwrap.dedent(more), "loaded", ""))
    project.jobs("for each in 'ab':\n    with af.job(each):\n        pass", '"*": {platform: moon, engine: rover}\n')
    ended, found = doctor(project.root)
    (check,) = found["project"]["platforms"]
    assert (check["platform"], check["engine"], check["jobs"]) == ("moon", "rover", ["a", "b"])
    assert ended == code
    assert [words in each["message"] for each in check["problems"]] == ([] if words is None else [True])
    assert not (project.root / ".aiflow").exists()


def test_a_project_that_run_would_refuse_ends_with_its_code(site: Any, doctor: Doctor, project: Any) -> None:
    project.jobs("with af.job('a'):\n    pass", "a: {platform: local, engine: python, retires: 1}\n")
    code, found = doctor(project.root)
    assert code == PROJECT
    (problem,) = found["project"]["problems"]
    assert "retires" in problem["message"]
    assert problem["where"].endswith("workflow.yaml:1")


def test_a_project_that_ends_the_process_is_reported(site: Any, doctor: Doctor, project: Any) -> None:
    project.write(workflow_py="import ctypes\nctypes.string_at(0)\n", workflow_yaml="a: {}\n")
    code, found = doctor(project.root)
    assert code == PLUGIN
    assert "the process that plans it is ended by SIGSEGV" in found["project"]["problems"][0]["message"]


def test_the_policy_of_the_project_holds_for_all_that_is_examined(site: Any, doctor: Doctor, project: Any) -> None:
    add_plugin(site.folder, "moon", KINDS["exit"])
    project.jobs("with af.job('a'):\n    af.cmd('true')", "a: {platform: local, engine: cmd_line}\n")
    project.write(project_yaml="plugins: {deny: [moon-dist]}\n")
    code, found = doctor(project.root)
    assert code == OK, found
    assert "project.yaml" in found["by_name"]["moon.rover of moon-dist"]["cures"][0]
