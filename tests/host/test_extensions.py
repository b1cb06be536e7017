"""Extensions: only wrappers around the nine, their own three hooks, and no way to stop anybody by being broken."""

from __future__ import annotations

import logging
import sys

import pytest

from aiflow_ext.host.extensions import Extensions, call
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.model import errors

WRAPPER = """
import aiflow_ext as af
class Watch:
    @af.hookimpl(wrapper=True)
    def submit_job(self, job):
        answer = yield
        return ("{name}", answer)
"""


def extend(here, name: str, text: str, value: str = "Watch") -> None:
    here.add(f"{name}-dist", {"extensions": {name: f"{name}_ext:{value}"}}, {f"{name}_ext.py": text})


def hooks(body: str, marked: str = "@af.hookimpl") -> str:
    return f"import aiflow_ext as af\nseen = []\nclass Watch:\n    {marked}\n    {body}\n"


def states(extensions: Extensions) -> dict[str, str]:
    return {one.name: one.status for one in extensions.records}


@pytest.mark.parametrize("first", ["resolve", "extensions"])
def test_wrappers_wrap_every_plugin_whichever_was_loaded_first(here, source, first: str) -> None:
    here.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source()})
    extend(here, "watch", WRAPPER.format(name="watched"))
    host = PluginHost()
    if first == "resolve":
        assert host.resolve("moon", "rover").hook.submit_job(job=1) == 1
        assert "watch_ext" not in sys.modules
    assert states(host.extensions()) == {"watch": "loaded"}
    assert host.resolve("moon", "rover").hook.submit_job(job=1) == ("watched", 1)
    assert host.extensions() is host.extensions()
    assert [one.status for one in host.plugins() if one.kind == "extension"] == ["loaded"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (hooks("def submit_job(self, job): return 1"), "submit_job is one of the nine: an extension may only wrap it"),
        (hooks("def submit_job(self, job): return 1", "@af.hookimpl(wrapper=True)"), "must be a generator function"),
        (hooks("def submit_job(self, the_job): return (yield)", "@af.hookimpl(wrapper=True)"), "argument 'the_job'"),
        (hooks("def lookup(self, job): return 1"), "lookup is a job plugin's alone"),
        (hooks("def on_transition(self, event): yield", "@af.hookimpl(wrapper=True)"), "on_transition cannot be"),
        (hooks("def on_transitions(self, event): pass"), "did you mean on_transition"),
        (hooks("def before_submit(job): pass", "@staticmethod"), "before_submit is not marked"),
        (
            hooks("def on_transition(self, event): pass") + "    def before_submit(self, job): pass\n",
            "before_submit is not marked",
        ),
        (
            hooks("def on_transition(self, event): pass")
            + "    @property\n    def before_submit(self): return print\n",
            "before_submit is not marked",
        ),
        (
            hooks("def on_transition(self, event): pass")
            + "    before_submit = type('C', (), {'__call__': print})()\n",
            "before_submit is not marked",
        ),
        (
            hooks("def on_transition(self, event): pass") + "    def __dir__(self): raise OSError('no names')\n",
            "looking for its hooks raised OSError: no names",
        ),
        (
            hooks("def on_transition(self, event): pass") + "    def submit_job(self, job): yield\n",
            "submit_job is not marked with @aiflow_ext.hookimpl(wrapper=True)",
        ),
        (
            hooks("def on_transition(self, event): pass") + "    def before_submitt(self, job): pass\n",
            "there is no hook before_submitt; did you mean before_submit?",
        ),
        (hooks("async def on_transition(self, event): pass"), "on_transition is async"),
        (hooks("async def before_submit(self, job): yield"), "before_submit is async"),
        (hooks("async def submit_job(self, job): yield", "@af.hookimpl(wrapper=True)"), "submit_job is async"),
        (hooks("def on_transition(self, event): yield"), "on_transition yields"),
        (hooks("def before_submit(self, job, budget): pass"), "before_submit wants an argument 'budget'"),
        (hooks("def should_retry(self, a, b, c): pass"), "wants an argument 'c'"),
        ("import no_such_thing", "no_such_thing"),
        ("raise SystemExit(3)", "SystemExit"),
        (hooks("def __init__(self): raise OSError('no disk')"), "no disk"),
        ("x = 1", "no attribute 'Watch'"),
    ],
)
def test_a_bad_extension_is_recorded_and_logged_and_stops_no_run(here, caplog, text: str, reason: str) -> None:
    extend(here, "bad", text)
    extend(here, "watch", hooks("def before_submit(self, job): seen.append(job)"))
    with caplog.at_level(logging.WARNING, "aiflow_ext.host"):
        extensions = PluginHost().extensions()
    assert states(extensions) == {"bad": "broken", "watch": "loaded"}
    (bad,) = [one for one in extensions.records if one.name == "bad"]
    assert reason in (bad.reason or "")
    assert bad.error
    assert reason in caplog.text
    (hook,) = extensions.hooks("before_submit")
    call(hook, "job")
    assert sys.modules["watch_ext"].seen == ["job"]


def test_hooks_come_in_the_order_of_names_but_for_tryfirst_and_trylast(here) -> None:
    for name, mark in (("a", "(trylast=True)"), ("b", ""), ("c", "(tryfirst=True)"), ("d", "")):
        extend(here, name, hooks("def should_retry(self, attempt, outcome): pass", f"@af.hookimpl{mark}"))
    extensions = PluginHost().extensions()
    assert [hook.extension for hook in extensions.hooks("should_retry")] == ["c", "b", "d", "a"]
    assert extensions.hooks("on_transition") == ()


def test_a_hook_that_returns_what_would_have_to_be_awaited_is_a_mistake(here) -> None:
    extend(
        here,
        "watch",
        hooks("def before_submit(self, job): return self.ask(job)")
        + """
    async def ask(self, job): raise PermissionError
""",
    )
    (hook,) = PluginHost().extensions().hooks("before_submit")
    with pytest.raises(TypeError, match="returned an awaitable"):
        call(hook, "job")


def test_a_module_can_be_an_extension(here) -> None:
    extend(here, "watch", "import aiflow_ext as af\n@af.hookimpl\ndef should_retry(attempt): return attempt\n", "")
    info = here.folder / "watch_dist-1.0.dist-info"
    (info / "entry_points.txt").write_text("[aiflow_ext.extensions]\nw = watch_ext\n")
    (hook,) = PluginHost().extensions().hooks("should_retry")
    assert call(hook, 4, "outcome") == 4


def test_what_is_like_a_hook_and_none_is_left_alone(here) -> None:
    extend(
        here,
        "watch",
        hooks("def before_submit(self, job): pass")
        + """
    platform = "a value"
    def engine(self): return "also a job plugin's method"
    def should_retry_job(self, job): return True
    def lookup(self, key): return key
    _on_transition = None
""",
    )
    assert states(PluginHost().extensions()) == {"watch": "loaded"}


@pytest.mark.parametrize(
    ("text", "name", "kind", "words"),
    [
        ("raise OSError('no licence')", "guard", errors.PluginImportError, "no licence"),
        ("import no_such_thing", "guard", errors.PluginDependencyError, "pip install no_such_thing"),
        (hooks("def before_submit(self, job): pass"), "gaurd", errors.PluginNotInstalledError, "did you mean 'guard'"),
        (hooks("async def before_submit(self, job): pass"), "guard", errors.PluginTypeError, "before_submit is async"),
    ],
)
def test_a_required_extension_that_cannot_be_had_is_an_error_of_its_kind(here, text, name, kind, words) -> None:
    extend(here, "guard", text)
    with pytest.raises(kind) as caught:
        PluginHost().extensions([name])
    assert "project.yaml requires an extension" in str(caught.value)
    assert words in str(caught.value)


def test_a_required_extension_that_the_policy_excludes_is_an_error(here) -> None:
    extend(here, "guard", hooks("def before_submit(self, job): pass"))
    with pytest.raises(errors.PluginDisabledError, match="extension 'guard'"):
        PluginHost(Policy(deny=["guard"])).extensions(["guard"])


def test_required_extensions_are_checked_by_metadata_without_importing_them(here) -> None:
    extend(here, "guard", "raise SystemExit")
    PluginHost().check_extensions(["guard"])
    with pytest.raises(errors.PluginNotInstalledError, match="'budget'"):
        PluginHost().check_extensions(["guard", "budget"])
    assert "guard_ext" not in sys.modules
