"""``why``: an answer for a person, with what to do, and no plugin imported to give it."""

from __future__ import annotations

import json
import sys

import pytest

from aiflow_ext.host import explain
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.model.errors import NOT_INSTALLED, PLUGIN

ROVER = {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}


def why(host: PluginHost, platform: str = "moon", engine: str = "rover") -> str:
    found = host.why(platform, engine)
    assert json.loads(json.dumps(found.to_dict()))["exit_code"] == found.exit_code
    assert bool(found.cures) is bool(found.exit_code), "what cannot be used has a cure, and what can needs none"
    assert "moon_plugin" not in sys.modules
    return f"{found.exit_code}: " + "\n".join(found.lines())


def test_what_can_be_resolved_is_0(here, source) -> None:
    here.add("moon-dist", ROVER, {"moon_plugin.py": source()})
    assert why(PluginHost()) == "0: job plugin 'moon.rover' of moon-dist 1.0 (moon_plugin:Plugin) is available"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("mooon", "rover"), "to do: did you mean 'moon'?"),
        (("MOON", "rover"), "did you mean 'moon'?"),
        (("moon.rover", "rover"), "to do: 'moon.rover' is a platform and an engine: write 'moon' as platform and"),
        (("moon", "moon.rover"), "to do: 'moon.rover' is a platform and an engine: write 'rover' as engine"),
        (("moon", "Rover"), "did you mean 'rover'?"),
        (("moon", "probe"), "the engine 'probe' is there on platform mars"),
        (("Saturn", "python"), "pip install aiflow-ext-saturn, and write 'saturn' as platform"),
        (("moon", "rovr"), "nothing installed runs engine 'rovr' on platform 'moon'; its engines here are rover"),
        (("saturn", "python"), "pip install aiflow-ext-saturn"),
        (("satrun", "python"), "pip install aiflow-ext-saturn"),
        (("pluto", "x"), "nothing installed provides the platform 'pluto'"),
    ],
)
def test_what_is_not_installed(here, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, str], expected: str) -> None:
    # One of ours that is never installed here, as all of them may be.
    monkeypatch.setattr(explain, "OURS", (*explain.OURS, "saturn"))
    here.add("moon-dist", ROVER)
    if asked[1] == "probe":
        here.add("mars-dist", {"job_plugins": {"mars.probe": "mars_plugin:Plugin"}})
    text = why(PluginHost(), *asked)
    assert text.startswith(f"{NOT_INSTALLED}: ")
    assert expected in text


def test_an_advertised_module_that_is_not_there(here) -> None:
    here.add("moon-dist", ROVER)
    assert "its module 'moon_plugin' is not there" in why(PluginHost())


def test_policy_window_conflict_and_malformed_metadata_each_have_their_sentence_and_cure(
    here, source, monkeypatch
) -> None:
    here.add("moon-dist", ROVER, {"moon_plugin.py": source()})
    text = why(PluginHost(Policy(deny=["moon-dist"])))
    assert text.startswith(f"{PLUGIN}: ")
    assert "change the policy that aiflow_ext.PluginHost was given" in text
    monkeypatch.setenv("AIFLOW_PLUGINS_DENY", "moon-dist")
    assert "change AIFLOW_PLUGINS_DENY" in why(PluginHost())
    monkeypatch.setenv("AIFLOW_PLUGINS_DENY", "")
    monkeypatch.setenv("AIFLOW_PLUGINS_ALLOW", "other")
    assert "change AIFLOW_PLUGINS_ALLOW" in why(PluginHost())
    monkeypatch.delenv("AIFLOW_PLUGINS_ALLOW")
    rival = here.add("sun-dist", {"job_plugins": {"moon.rover": "sun_plugin:Plugin"}})
    text = why(PluginHost())
    assert "AIFLOW_PLUGINS_PINS=moon.rover=moon-dist" in text
    assert "AIFLOW_PLUGINS_PINS=moon.rover=sun-dist" in text
    assert why(PluginHost(pins={"moon.rover": "moon-dist"})).startswith("0: ")
    (rival / "METADATA").write_text("Name: sun-dist\nVersion: 1.0\nRequires-Dist: aiflow-ext>=99\n")
    assert "sun-dist 1.0 (sun_plugin:Plugin) is incompatible: it requires aiflow-ext>=99" in why(PluginHost())
    (rival / "METADATA").unlink()
    assert "is broken: it has no METADATA" in why(PluginHost(Policy(deny=["moon-dist"])))
