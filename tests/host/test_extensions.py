"""Extensions: only wrappers around the nine, their own three hooks, and no way to stop anybody by being broken."""

from __future__ import annotations

import logging
import sys

import pytest

from aiflow_ext.host.extensions import Extensions
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
        (hooks("def lookup(self, native_id): return 1"), "lookup is a job plugin's alone"),
        (hooks("def on_transition(self, event): yield", "@af.hookimpl(wrapper=True)"), "on_transition cannot be"),
        (hooks("def on_transitions(self, event): pass"), "did you mean on_transition"),
        (hooks("def before_submit(job): pass", "@staticmethod"), "before_submit is not marked"),
        (
            hooks("def on_transition(self, event): pass") + "    def before_submit(self, job): pass\n",
            "before_submit is not marked",
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
def test_a_bad_extension_is_recorded_and_logged_and_stops_nobody(here, caplog, text: str, reason: str) -> None:
    extend(here, "bad", text)
    extend(here, "watch", hooks("def before_submit(self, job): seen.append(job)"))
    with caplog.at_level(logging.WARNING, "aiflow_ext.host"):
        extensions = PluginHost().extensions()
    assert states(extensions) == {"bad": "broken", "watch": "loaded"}
    (bad,) = [one for one in extensions.records if one.name == "bad"]
    assert reason in (bad.reason or "")
    assert bad.error
    assert reason in caplog.text
    extensions.before_submit("job")
    assert sys.modules["watch_ext"].seen == ["job"]


def test_before_submit_refuses_with_the_extensions_name_and_the_cause(here) -> None:
    extend(here, "watch", hooks("def before_submit(self, job): raise ValueError('over budget')"))
    with pytest.raises(errors.PluginError, match=r"watch-dist 1\.0.* refuses .*: ValueError: over budget") as caught:
        PluginHost().extensions().before_submit("job")
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_in_on_transition_is_returned_and_logged_and_the_others_are_told(here, caplog) -> None:
    extend(here, "a", hooks("def on_transition(self, event): raise OSError('mail server')"))
    extend(here, "b", hooks("def on_transition(self, event): raise SystemExit"))
    extend(here, "c", hooks("def on_transition(self, event): seen.append(event)"))
    problems = PluginHost().extensions().on_transition("event")
    assert [type(error) for _, error in problems] == [OSError, SystemExit]
    assert sys.modules["c_ext"].seen == ["event"]
    assert "mail server" in caplog.text


def test_the_first_number_of_seconds_counts_and_nonsense_is_passed_over(here) -> None:
    answers = {"a": "None", "b": "'soon'", "c": "1/0", "d": "-1", "e": "True", "f": "7", "g": "9"}
    for name, answer in answers.items():
        extend(here, name, hooks(f"def should_retry(self, attempt, outcome): return {answer}"))
    assert PluginHost().extensions().should_retry("attempt", "outcome") == 7.0


def test_tryfirst_and_trylast_are_heard(here) -> None:
    for name, answer, mark in (("a", 1, "(trylast=True)"), ("b", 2, ""), ("c", 3, "(tryfirst=True)")):
        extend(here, name, hooks(f"def should_retry(self, attempt, outcome): return {answer}", f"@af.hookimpl{mark}"))
    assert PluginHost().extensions().should_retry(1, 2) == 3.0


def test_without_extensions_nothing_is_refused_and_nothing_retried(here) -> None:
    extensions = PluginHost().extensions()
    extensions.before_submit("job")
    assert extensions.on_transition("event") == []
    assert extensions.should_retry(1, 2) is None
    assert extensions.wrappers == ()


def test_a_module_can_be_an_extension(here) -> None:
    extend(here, "watch", "import aiflow_ext as af\n@af.hookimpl\ndef should_retry(attempt): return attempt\n", "")
    info = here.folder / "watch_dist-1.0.dist-info"
    (info / "entry_points.txt").write_text("[aiflow_ext.extensions]\nw = watch_ext\n")
    assert PluginHost().extensions().should_retry(4, "outcome") == 4.0


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
