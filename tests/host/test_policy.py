"""Policy and conflicts: what may be used is decided before anything is imported, and never by chance."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.model import errors

RECORD = PluginRecord("job_plugin", "moon.rover", "Moon_Dist", "1.0", "moon_plugin:Plugin")


@pytest.mark.parametrize(
    "pattern", ["distribution:moon-dist", "distribution:MOON.DIST", "distribution:moon-*", "kind:job_plugin",
                "kind:job*", "name:moon.rover", "name:moon.*", "moon.rover", "moon-dist", "*"],
)  # fmt: skip
def test_each_kind_of_pattern_denies(pattern: str) -> None:
    assert pattern in (Policy(deny=[pattern]).refusal(RECORD) or "")
    assert Policy(allow=[pattern]).refusal(RECORD) is None


@pytest.mark.parametrize("pattern", ["distribution:moon", "kind:platform", "name:moon", "name:rover", "moon", "?"])
def test_a_pattern_for_another_thing_does_nothing(pattern: str) -> None:
    assert Policy(deny=[pattern]).refusal(RECORD) is None
    assert Policy(allow=[pattern]).refusal(RECORD)


def test_deny_wins_over_allow() -> None:
    assert Policy(allow=["moon-dist"], deny=["kind:job_plugin"]).refusal(RECORD)


@pytest.mark.parametrize("pattern", ["dist:moon", "kind:jobs", "", "name:", ":moon"])
def test_a_pattern_that_could_never_match_is_refused_not_ignored(pattern: str) -> None:
    with pytest.raises(errors.PluginError) as caught:
        Policy(deny=[pattern])
    assert caught.value.problems[0].hint


def test_the_environment_decides_where_nothing_else_is_said(here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.add("moon-dist", {"platforms": {"moon": "moon_plugin:Platform"}})
    monkeypatch.setenv("AIFLOW_PLUGINS_DENY", "nothing, distribution:moon-dist")
    (record,) = [one for one in PluginHost().plugins() if one.name == "moon"]
    assert (record.status, "AIFLOW_PLUGINS_DENY" in (record.reason or "")) == ("disabled", True)
    (record,) = [one for one in PluginHost(Policy()).plugins() if one.name == "moon"]
    assert record.status == "available"


def test_a_denied_plugin_is_never_imported(here, source: Callable[..., str]) -> None:
    here.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source()})
    with pytest.raises(errors.PluginDisabledError, match=r"moon-dist 1\.0"):
        PluginHost(Policy(deny=["moon-dist"])).resolve("moon", "rover")
    assert "moon_plugin" not in sys.modules


@pytest.fixture
def rivals(here, source: Callable[..., str]):
    for name in ("zeta", "alpha"):
        here.add(f"{name}-dist", {"job_plugins": {"moon.rover": f"{name}_moon:Plugin"},
                                  "platforms": {"moon": f"{name}_moon:Platform"}},
                 {f"{name}_moon.py": source()})  # fmt: skip
    return here


def test_a_conflict_marks_both_and_names_both_and_the_pin(rivals) -> None:
    records = [one for one in PluginHost().plugins() if one.name == "moon.rover"]
    assert [one.distribution for one in records] == ["alpha-dist", "zeta-dist"]
    assert [one.status for one in records] == ["conflicted", "conflicted"]
    for one in records:
        assert "alpha-dist 1.0 and zeta-dist 1.0" in (one.reason or "")
        assert "AIFLOW_PLUGINS_PINS=moon.rover=" in (one.reason or "")


def test_resolving_a_conflict_raises_and_imports_neither(rivals) -> None:
    with pytest.raises(errors.PluginConflictError) as caught:
        PluginHost().resolve("moon", "rover")
    for text in ("alpha-dist 1.0", "zeta-dist 1.0", "AIFLOW_PLUGINS_PINS=moon.rover=alpha-dist"):
        assert text in str(caught.value)
    assert not {"alpha_moon", "zeta_moon"} & set(sys.modules)


@pytest.mark.parametrize("pin", ["zeta-dist", "Zeta.Dist"])
def test_a_pin_settles_a_conflict_and_only_the_pinned_is_imported(rivals, monkeypatch, pin: str) -> None:
    monkeypatch.setenv("AIFLOW_PLUGINS_PINS", f"other.name=x, moon.rover={pin}")
    host = PluginHost()
    assert host.resolve("moon", "rover").record.distribution == "zeta-dist"
    assert "alpha_moon" not in sys.modules
    states = {one.distribution: one for one in host.plugins() if one.name == "moon.rover"}
    assert states["zeta-dist"].status == "loaded"
    assert states["alpha-dist"].status == "disabled"
    assert "pin" in (states["alpha-dist"].reason or "")


def test_a_pin_to_a_distribution_that_does_not_provide_it_is_reported(rivals) -> None:
    with pytest.raises(errors.PluginConflictError, match=r"pin moon\.rover=gone-dist"):
        PluginHost(pins={"moon.rover": "gone-dist"}).resolve("moon", "rover")


def test_a_rival_that_may_not_be_used_is_no_rival(rivals) -> None:
    assert PluginHost(Policy(deny=["zeta-dist"])).resolve("moon", "rover").record.distribution == "alpha-dist"


def test_a_malformed_pin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFLOW_PLUGINS_PINS", "moon.rover")
    with pytest.raises(errors.PluginError, match="NAME=DISTRIBUTION"):
        PluginHost()


def test_the_same_object_advertised_twice_is_no_conflict(here, source: Callable[..., str]) -> None:
    groups = {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}
    here.add("moon-dist", groups, {"moon_plugin.py": source()})
    here.add("moon-meta", groups)
    host = PluginHost()
    assert {one.status for one in host.plugins() if one.name == "moon.rover"} == {"available"}
    assert host.resolve("moon", "rover").record.distribution == "moon-dist"


def test_one_distribution_seen_twice_through_a_symlink_is_one(here, tmp_path, monkeypatch, source) -> None:
    here.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source()})
    (tmp_path / "lib64").symlink_to(here.folder)
    monkeypatch.syspath_prepend(str(tmp_path / "lib64"))
    assert len([one for one in PluginHost().plugins() if one.name == "moon.rover"]) == 1


def test_the_order_of_records_is_the_same_whatever_the_order_on_disk(here) -> None:
    for name in ("zeta", "alpha", "mid"):
        here.add(f"{name}-dist", {"engines": {f"{name}-engine": "x:Y"}, "platforms": {f"a-{name}": "x:Y"}})
    records = [(one.kind, one.name) for one in PluginHost().plugins()]
    assert records == sorted(records)


AUDIT = "import aiflow_ext as af\n@af.hookimpl\ndef before_submit(job): pass\n"


def with_extension(here, source, kind: str, name: str) -> None:
    """Two distributions that provide the same name, one of them with an extension."""
    for dist in ("good", "evil"):
        groups = {kind: {name: f"{dist}_moon:Plugin"}, "platforms": {"moon": f"{dist}_moon:Platform"}}
        if dist == "evil":
            groups["extensions"] = {**groups.get("extensions", {}), "audit": "evil_audit"}
        here.add(f"{dist}-dist", groups, {f"{dist}_moon.py": source(), f"{dist}_audit.py": AUDIT})


@pytest.mark.parametrize(
    ("kind", "name"), [("job_plugins", "moon.rover"), ("secret_sources", "vault"), ("extensions", "other")]
)
@pytest.mark.parametrize(
    ("pin", "status"),
    [("", "conflicted"), ("good-dist", "disabled"), ("gone-dist", "disabled"), ("evil-dist", "loaded")],
)
def test_a_distribution_that_is_pinned_out_or_in_conflict_has_no_say_by_an_extension(
    here, source, kind, name, pin, status
) -> None:
    with_extension(here, source, kind, name)
    host = PluginHost(pins={name: pin} if pin else {})
    host.extensions()
    (audit,) = [one for one in host.plugins() if one.name == "audit"]
    assert audit.status == status, audit
    assert ("evil_audit" in sys.modules) == (status == "loaded")
    if status != "loaded":
        assert "AIFLOW_PLUGINS_PINS=audit=evil-dist" in (audit.reason or "")
        assert name in (audit.reason or "")
        with pytest.raises(errors.PluginError, match="audit"):
            host.check_extensions(["audit"])


def test_an_extension_is_used_all_the_same_where_a_pin_names_it(here, source) -> None:
    with_extension(here, source, "job_plugins", "moon.rover")
    host = PluginHost(pins={"moon.rover": "good-dist", "audit": "evil-dist"})
    assert host.extensions().hooks("before_submit")
    assert host.resolve("moon", "rover").record.distribution == "good-dist"


def test_platforms_and_engines_that_two_provide_silence_no_extension(here, source) -> None:
    with_extension(here, source, "engines", "rover")
    assert PluginHost(pins={}).extensions().hooks("before_submit")


@pytest.mark.parametrize("policy", [Policy(deny=["evil-dist"]), Policy(allow=["good-dist"])])
def test_a_distribution_that_the_policy_refuses_has_no_say_by_an_extension(here, source, policy) -> None:
    with_extension(here, source, "job_plugins", "moon.rover")
    host = PluginHost(policy)
    assert not host.extensions().hooks("before_submit")
    assert host.resolve("moon", "rover").record.distribution == "good-dist"
    assert not {"evil_audit", "evil_moon"} & set(sys.modules)
