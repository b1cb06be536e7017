"""The version window and what a distribution requires of the machine, both told before import."""

from __future__ import annotations

import os
import sys

import pytest

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.window import outside_window, unmet
from aiflow_ext.model import errors


@pytest.mark.parametrize("requires", ["aiflow-ext", "aiflow-ext>=1.0", "aiflow-ext (>=1,<2)", "other>=99",
                                      "aiflow-ext-local>=99",
                                      "aiflow-ext>=99; python_version < '3'", "aiflow-ext>=99; extra == 'new'",
                                      "aiflow-ext @ https://example.invalid/a.whl"])  # fmt: skip
def test_what_does_not_exclude_this_version(requires: str) -> None:
    assert outside_window([requires], "1.5") == ""


@pytest.mark.parametrize("requires", ["aiflow-ext>=2", "Aiflow_Ext<1", "AIFLOW.EXT==1.4", "aiflow-ext[remote]>=2",
                                      "aiflow-ext>=2; python_version >= '3'"])  # fmt: skip
def test_what_excludes_this_version_is_reported_in_a_sentence(requires: str) -> None:
    sentence = outside_window(["aiflow-ext>=1", requires], "1.5")
    assert sentence.startswith("it requires aiflow-ext")
    assert sentence.endswith("and this is aiflow-ext 1.5")


def test_a_pre_release_of_the_host_is_inside_the_window_of_its_release() -> None:
    assert outside_window(["aiflow-ext>=1.0"], "1.5.dev3") == ""


def test_an_incompatible_distribution_is_listed_and_never_imported(here, source) -> None:
    here.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source()},
             requires=["aiflow-ext>=99"])  # fmt: skip
    with pytest.raises(errors.PluginIncompatibleError, match="aiflow-ext>=99") as caught:
        PluginHost().resolve("moon", "rover")
    assert "moon-dist 1.0" in str(caught.value)
    assert "moon_plugin" not in sys.modules


def machine(sysname: str, release: str) -> os.uname_result:
    return os.uname_result((sysname, "host", release, "#1 SMP", "x86_64"))


@pytest.mark.parametrize(
    ("release", "requirement", "met"),
    [("5.4.0-150-generic", "linux-5.4", True), ("5.4", "linux-5.4", True), ("5.3.18", "linux-5.4", False),
     ("5.10.0", "linux-5.4", True), ("4.19.128-microsoft", "linux-5.4", False), ("6.1", "linux", True)],
)  # fmt: skip
def test_kernels_are_compared_as_numbers(monkeypatch, release: str, requirement: str, met: bool) -> None:
    # A fake: another kernel cannot be had on demand.
    monkeypatch.setattr(os, "uname", lambda: machine("Linux", release))
    assert bool(unmet(requirement)) is not met
    if not met:
        assert unmet(requirement) == f"it needs Linux 5.4 or newer, and this is Linux {release}"


def test_another_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: machine("Darwin", "24.1"))  # a fake, as above
    assert unmet("linux-5.4") == "it needs Linux 5.4 or newer, and this is Darwin"


@pytest.mark.parametrize("requirement", ["freebsd", "linux-five", "linuxes", "gpu"])
def test_an_unknown_requirement_is_not_met_and_named(here, requirement: str) -> None:
    here.add("moon-dist", {"requires": {requirement: "moon_plugin"}, "platforms": {"moon": "moon_plugin:P"},
                           "engines": {"rover": "moon_plugin:E"}})  # fmt: skip
    records = [one for one in PluginHost().plugins() if one.distribution == "moon-dist"]
    assert [one.status for one in records] == ["incompatible", "incompatible"]
    assert all(repr(requirement) in (one.reason or "") for one in records)


def test_a_met_requirement_is_no_record_of_its_own(here) -> None:
    here.add("moon-dist", {"requires": {"linux": "moon_plugin"}, "platforms": {"moon": "moon_plugin:P"}})
    records = [one for one in PluginHost().plugins() if one.distribution == "moon-dist"]
    assert [(one.kind, one.status) for one in records] == [("platform", "available")]
