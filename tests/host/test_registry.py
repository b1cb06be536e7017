"""Registration in process: the same records and the same rules as for what is installed."""

from __future__ import annotations

import functools

import pytest

import aiflow_ext as af
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.model import errors


def make(source, name: str = "moon"):
    space: dict = {"__name__": "notebook"}
    exec(source(name), space)
    return space["Platform"], space["Engine"], space["Plugin"]


def test_what_is_registered_is_listed_and_resolved(here, source) -> None:
    platform, engine, plugin = make(source)
    assert af.register_platform(platform) is platform
    assert af.register_engine(engine) is engine
    assert af.register_job_plugin(plugin) is plugin
    mine = [one for one in PluginHost().plugins() if one.distribution == "in process"]
    assert [(one.kind, one.name, one.status) for one in mine] == [
        ("engine", "rover", "available"), ("job_plugin", "moon.rover", "available"), ("platform", "moon", "available"),
    ]  # fmt: skip
    assert PluginHost().resolve("moon", "rover").record.distribution == "in process"
    assert PluginHost().why("moon", "rover").exit_code == 0


def test_an_instance_can_be_registered_and_is_the_one_that_is_called(here, source) -> None:
    plugin = make(source)[2]()
    af.register_job_plugin(plugin)
    assert PluginHost().resolve("moon", "rover").plugin is plugin


def test_a_plugin_whose_methods_are_partials_is_read_alike_on_every_python(here, source) -> None:
    plugin = make(source)[2]
    of_class = {"job_type": af.AbstractJob, "job_config_type": af.AbstractJobConfig}
    for name, kind in of_class.items():
        setattr(plugin, name, functools.partial(lambda kind: kind, kind))
    plugin.submit_job = functools.partial(lambda self, job, word: (type(self), job, word), word="sent")
    plugin.stop_job = functools.partial(lambda word, job: (word, job), "stopped")
    af.register_job_plugin(plugin)
    resolved = PluginHost().resolve("moon", "rover")
    assert {name: getattr(resolved.hook, name)() for name in of_class} == of_class
    assert resolved.hook.submit_job(job=1) == (plugin, 1, "sent")
    assert resolved.hook.stop_job(job=2) == ("stopped", 2)


def test_registering_again_replaces_as_a_notebook_cell_does(here, source) -> None:
    host = PluginHost()
    first, second = make(source)[2](), make(source)[2]()
    af.register_job_plugin(first)
    assert host.resolve("moon", "rover").plugin is first
    af.register_job_plugin(second)
    assert host.resolve("moon", "rover").plugin is second


def test_a_rival_of_an_installed_one_is_a_conflict_that_a_pin_settles(here, source) -> None:
    here.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source()})
    plugin = af.register_job_plugin(make(source)[2]())
    with pytest.raises(errors.PluginConflictError, match="in process"):
        PluginHost().resolve("moon", "rover")
    assert PluginHost(pins={"moon.rover": "in process"}).resolve("moon", "rover").plugin is plugin
    assert PluginHost(pins={"moon.rover": "moon-dist"}).resolve("moon", "rover").record.distribution == "moon-dist"


@pytest.mark.parametrize("registered", ["Plugin", "Plugin()"])
def test_a_module_that_also_registers_what_it_advertises_is_no_conflict(here, source, registered: str) -> None:
    text = source(more=f"af.register_job_plugin({registered})\naf.register_platform(Platform)")
    here.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"},
                           "platforms": {"moon": "moon_plugin:Platform"}}, {"moon_plugin.py": text})  # fmt: skip
    host = PluginHost()
    first = host.resolve("moon", "rover")
    assert host.resolve("moon", "rover") is first
    assert PluginHost().resolve("moon", "rover").record.distribution == "moon-dist"
    assert not [one for one in host.plugins() if one.distribution == "in process"]


def test_the_policy_holds_in_process_too(here, source) -> None:
    af.register_job_plugin(make(source)[2])
    with pytest.raises(errors.PluginDisabledError):
        PluginHost(Policy(deny=["moon.rover"])).resolve("moon", "rover")


@pytest.mark.parametrize("wrong", [42, object, lambda: None, af.AbstractPlatform, af.AbstractJobPlugin])
def test_what_is_no_job_plugin_is_refused_at_once(here, wrong) -> None:
    with pytest.raises(errors.PluginTypeError, match="register_job_plugin"):
        af.register_job_plugin(wrong)


@pytest.mark.parametrize("wrong", [42, object, af.AbstractPlatform, af.AbstractEngine])
def test_what_is_no_platform_is_refused_at_once(here, wrong) -> None:
    with pytest.raises(errors.PluginTypeError, match="register_platform"):
        af.register_platform(wrong)
