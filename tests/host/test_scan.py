"""What metadata says, the malformed included: a record for each advertised plugin, never an absence."""

from __future__ import annotations

import zipfile

import importlib_metadata
import pytest

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.metadata import read_entries, read_header
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.model import errors

MOON = {"platforms": {"moon": "moon_plugin:Platform"}}


def listed(*distributions: str) -> list[PluginRecord]:
    return [one for one in PluginHost().plugins() if one.distribution in distributions]


def only(distribution: str) -> PluginRecord:
    (record,) = listed(distribution)
    return record


def test_a_record_tells_all_that_metadata_tells(here) -> None:
    here.add("moon-dist", MOON)
    assert only("moon-dist").to_dict() == {
        "kind": "platform", "name": "moon", "distribution": "moon-dist", "version": "1.0",
        "entry_point": "moon_plugin:Platform", "status": "available", "reason": None, "error": None,
    }  # fmt: skip


def test_a_record_is_frozen_and_can_be_copied_and_sent() -> None:
    import copy
    import pickle

    record = PluginRecord("platform", "moon", "moon-dist", "1.0", "moon_plugin:Platform")
    with pytest.raises(AttributeError):
        record.status = "loaded"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        record.more = 1  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record
    assert "moon-dist" in repr(record)


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("[aiflow_ext.platforms]\nmoon\n", "moon", "is not NAME = MODULE:ATTRIBUTE"),
        ("[aiflow_ext.platforms]\nmoon = moon-plugin:Platform\n", "moon", "is not MODULE:ATTRIBUTE"),
        ("[aiflow_ext.platforms]\nmoon = moon_plugin:\n", "moon", "is not MODULE:ATTRIBUTE"),
        ("[aiflow_ext.platforms]\n= x:y", "bad-dist", "is not NAME = MODULE:ATTRIBUTE"),
        ("[aiflow_ext.platforms\nmoon = moon_plugin:Platform\n", "bad-dist", "is not a group that can be read"),
        ("[aiflow_ext.job_plugin]\nmoon.rover = x:y\n", "bad-dist", "'[aiflow_ext.job_plugin]' is not a group"),
        ("[aiflow_ext.job_plugins]\nmoonrover = x:y\n", "moonrover", "<platform>.<engine>"),
        ("[aiflow_ext.job_plugins]\n.rover = x:y\n", ".rover", "<platform>.<engine>"),
        ("[aiflow_ext.platforms]\nmoon = a:b\nmoon = c:d\n", "moon", "twice, as 'a:b' and as 'c:d'"),
    ],
)
def test_malformed_entry_points_are_a_broken_record_and_affect_no_other(
    here, text: str, name: str, reason: str
) -> None:
    here.add("bad-dist", text)
    here.add("moon-dist", MOON)
    record = only("bad-dist")
    assert (record.name, record.status) == (name, "broken")
    assert reason in (record.reason or "")
    assert only("moon-dist").status == "available"


def test_entry_points_that_are_no_utf_8_are_a_broken_record(here) -> None:
    (here.add("bad-dist", MOON) / "entry_points.txt").write_bytes(b"[aiflow_ext.platforms]\nmoon = x:y\n# \xff\n")
    assert (only("bad-dist").status, only("bad-dist").name) == ("broken", "moon")
    assert "not UTF-8" in (only("bad-dist").reason or "")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Metadata-Version: 2.1\nName: bad-dist\n\n", "no Version"),
        ("Version: 1.0\n\n", "no Name"),
        ("", "no METADATA"),
        ("Name: bad-dist\nVersion: 1.0\nRequires-Dist: aiflow-ext >=> 3\n", "'aiflow-ext >=> 3' cannot be read"),
    ],
)
def test_malformed_metadata_is_a_broken_record_with_the_folders_name(here, header: str, reason: str) -> None:
    here.add("bad-dist", MOON, header=header)
    (record,) = [one for one in PluginHost().plugins() if one.name == "moon"]
    assert (record.status, record.distribution.replace("_", "-"), record.version) == ("broken", "bad-dist", "1.0")
    assert reason in (record.reason or "")


def test_resolving_a_plugin_with_malformed_metadata_says_what_is_malformed(here, source) -> None:
    here.add("bad-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source()}, header="")
    with pytest.raises(errors.PluginError, match="no METADATA") as caught:
        PluginHost().resolve("moon", "rover")
    assert caught.value.problems[0].hint


def test_a_stale_folder_without_metadata_does_not_hide_the_real_one(here, tmp_path, monkeypatch) -> None:
    here.add("moon-dist", MOON, version="2.0")
    (here.folder / "moon_dist-1.0.dist-info").mkdir()
    early = tmp_path / "early"
    (early / "moon_dist-0.5.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(early))
    assert (only("moon-dist").version, only("moon-dist").status) == ("2.0", "available")


def test_the_first_on_sys_path_wins_as_python_has_it(here, tmp_path, monkeypatch) -> None:
    here.add("moon-dist", MOON, version="2.0")
    early = type(here)(tmp_path / "early", here.cache)
    early.add("Moon.Dist", MOON, version="1.0")
    monkeypatch.syspath_prepend(str(early.folder))
    (record,) = [one for one in PluginHost().plugins() if one.name == "moon"]
    assert record.version == importlib_metadata.version("moon-dist") == "1.0"


@pytest.mark.parametrize("name", ["zipped.zip", "zip_dist-1.0-py3-none-any.whl"])
def test_a_distribution_in_an_archive_is_listed_and_resolved(here, tmp_path, monkeypatch, source, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        info = "zip_dist-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Name: zip-dist\nVersion: 1.0\n")
        archive.writestr(f"{info}/entry_points.txt", "[aiflow_ext.job_plugins]\nzip.rover = zipped:Plugin\n")
        archive.writestr("zipped.py", source("zip"))
    monkeypatch.syspath_prepend(str(tmp_path / name))
    host = PluginHost()
    assert host.resolve("zip", "rover").record.distribution == "zip-dist"


def test_an_old_egg_info_is_read_with_its_requirements(here) -> None:
    egg = here.folder / "old_dist-0.1.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old-dist\nVersion: 0.1\n")
    (egg / "entry_points.txt").write_text("[aiflow_ext.platforms]\nold = old:Platform\n")
    assert only("old-dist").status == "available"
    (egg / "requires.txt").write_text("aiflow-ext>=99\n")
    assert only("old-dist").status == "incompatible"


def test_the_listing_agrees_with_importlib_metadata(here) -> None:
    text = "[ console_scripts ]\nx = y:z\n\n# comment\n[aiflow_ext.platforms]\n moon = m:P [extra]\nsun=s : P\n"
    here.add("moon-dist", text)
    theirs = {(one.name, one.value) for one in importlib_metadata.distribution("moon-dist").entry_points
              if one.group == "aiflow_ext.platforms"}  # fmt: skip
    assert {(one.name, one.entry_point) for one in listed("moon-dist")} == theirs


def test_other_entry_point_groups_are_ignored() -> None:
    assert read_entries("[aiflow_ext.wizardry]\nx = y:z\n[console_scripts]\naiflow_ext.x = y\n") == []


def test_a_header_is_read_as_an_email_header_is() -> None:
    header = read_header("name: moon\r\nVERSION: 1.0\r\nRequires-Dist: aiflow-ext\r\n  >=1\r\n\r\nName: not this\r\n")
    assert (header.name, header.version, header.requires) == ("moon", "1.0", ["aiflow-ext >=1"])


def test_an_entry_point_whose_extra_is_not_installed_says_which_one(here) -> None:
    requires = ["moon-engine>=1; extra == 'engine'", "sun-dist; extra == 'other'", "aiflow-ext"]
    groups = {"job_plugins": {"moon.rover": "moon_plugin:Rover [engine]", "moon.lander": "moon_plugin:Lander"}}
    here.add("moon-dist", groups, requires=requires)
    lander, rover = listed("moon-dist")
    assert (lander.status, rover.status) == ("available", "incompatible")
    cure = "pip install 'moon-dist[engine]'"
    assert rover.reason == f"it needs the extra 'engine': moon-engine is not installed; {cure}"
    why = PluginHost().why("moon", "rover")
    assert (why.exit_code, why.cures) == (errors.PLUGIN, [cure])
    with pytest.raises(errors.PluginDependencyError, match="moon-engine is not installed"):
        PluginHost().resolve("moon", "rover")
    here.add("moon-engine", {"engines": {"rover": "moon_engine:Engine"}})
    assert {one.status for one in PluginHost().plugins(refresh=True) if one.distribution == "moon-dist"} == {
        "available"
    }


def test_an_authoring_function_that_is_refused_says_why(here, monkeypatch) -> None:
    import aiflow_ext as af

    here.add("moon-dist", {"authoring": {"rover": "moon_words:rover"}}, {"moon_words.py": "rover = 3\n"})
    with pytest.raises(errors.PluginTypeError, match="authoring 'rover' of moon-dist"):
        _ = af.rover
    monkeypatch.setenv("AIFLOW_PLUGINS_DENY", "moon-dist")
    with pytest.raises(errors.PluginDisabledError, match="the policy denies it"):
        _ = af.rover
