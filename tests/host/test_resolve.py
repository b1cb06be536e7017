"""Resolving: one plugin is imported and checked, and each way it can be bad has its own error."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

import aiflow_ext as af
from aiflow_ext.host import explain
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import Policy
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model import errors

ROVER = {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}


def resolve_source(here, text: str, value: str = "moon_plugin:Plugin") -> ResolvedPlugin:
    here.add("moon-dist", {"job_plugins": {"moon.rover": value}}, {"moon_plugin.py": text})
    return PluginHost(Policy(), {}).resolve("moon", "rover")


def refused(here, kind: type[errors.PluginError], text: str, value: str = "moon_plugin:Plugin") -> errors.PluginError:
    with pytest.raises(kind) as caught:
        resolve_source(here, text, value)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "moon-dist 1.0" in message, message
    assert value in message, message
    assert caught.value.problems[0].hint, "every error says what to do"
    return caught.value


def test_a_plain_class_becomes_a_resolved_plugin(here, source: Callable[..., str]) -> None:
    resolved = resolve_source(here, source())
    assert (resolved.platform, resolved.engine) == ("moon", "rover")
    assert (resolved.offers, resolved.durable) == (frozenset(), False)
    assert (resolved.job_type, resolved.config_type) == (af.AbstractJob, af.AbstractJobConfig)
    assert resolved.record.status == "loaded"
    assert resolved.hook.submit_job(job="a job") == "a job"
    sub_graph = af.AISubGraph()
    assert resolved.hook.generate(sub_graph=sub_graph, project_desc=af.ProjectDesc()).job_config is sub_graph.config
    assert resolved.hook.platform().platform() == "moon"


@pytest.mark.parametrize(
    ("more", "value"),
    [
        ("plugin = Plugin()", "moon_plugin:plugin"),
        ("def make(): return Plugin()", "moon_plugin:make"),
        ("def make(): return Plugin", "moon_plugin:make"),
        ("class Holder:\n    Inner = Plugin", "moon_plugin:Holder.Inner"),
        ("class Plugin(Plugin, af.AbstractJobPlugin): pass", "moon_plugin:Plugin [extra]"),
        ("it = Plugin()\nfor _n in dir(it):\n    if _n[0] != '_': globals()[_n] = getattr(it, _n)", "moon_plugin"),
    ],
    ids=["instance", "factory", "factory-of-a-class", "dotted", "extras", "module"],
)
def test_an_entry_point_may_lead_to_any_of_these(here, source: Callable[..., str], more: str, value: str) -> None:
    assert resolve_source(here, source(more=more), value).hook.submit_job(job=1) == 1


def test_resolving_twice_gives_the_same_object(here, source: Callable[..., str]) -> None:
    here.add("moon-dist", ROVER, {"moon_plugin.py": source()})
    host = PluginHost()
    assert host.resolve("moon", "rover") is host.resolve("moon", "rover")


def test_a_call_meets_one_implementation_however_many_plugins_are_resolved(here, source: Callable[..., str]) -> None:
    for name in ("moon", "mars", "venus"):
        here.add(f"{name}-dist", {"job_plugins": {f"{name}.rover": f"{name}_plugin:Plugin"}},
                 {f"{name}_plugin.py": source(name)})  # fmt: skip
    host = PluginHost()
    hooks = [host.resolve(name, "rover").hook for name in ("moon", "mars", "venus")]
    assert [len(hook.submit_job.get_hookimpls()) for hook in hooks] == [1, 1, 1]


def test_a_missing_dependency_names_the_module_and_the_install_command(here, source: Callable[..., str]) -> None:
    error = refused(here, errors.PluginDependencyError, "import no_such_cluster_client.api\n" + source())
    assert "no_such_cluster_client" in str(error)
    assert "pip install no_such_cluster_client" in str(error)
    assert isinstance(error.__cause__, ModuleNotFoundError)


def test_a_missing_advertised_module_is_not_called_a_missing_dependency(here) -> None:
    error = refused(here, errors.PluginImportError, "", "moon_gone:Plugin")
    assert "'moon_gone', which is not there" in str(error)
    assert "pip install --force-reinstall moon-dist" in str(error)


def test_a_missing_attribute_names_near_ones(here, source: Callable[..., str]) -> None:
    error = refused(here, errors.PluginAttributeError, source(), "moon_plugin:Plugni")
    assert "'Plugni'" in str(error)
    assert "'Plugin'" in str(error)
    assert isinstance(error.__cause__, AttributeError)


@pytest.mark.parametrize(
    "line", ["raise RuntimeError('no licence')", "import sys; sys.exit('no licence')",
             "class B(BaseException): pass\nraise B('no licence')", "from sys import no_licence"]
)  # fmt: skip
def test_whatever_an_import_raises_is_an_import_error_of_that_plugin(here, line: str) -> None:
    error = refused(here, errors.PluginImportError, line)
    assert "licence" in str(error)
    assert error.__cause__ is not None


def test_a_syntax_error_is_an_import_error(here) -> None:
    assert isinstance(refused(here, errors.PluginImportError, "def (:").__cause__, SyntaxError)


def test_keyboard_interrupt_while_importing_is_the_users(here) -> None:
    with pytest.raises(KeyboardInterrupt):
        resolve_source(here, "raise KeyboardInterrupt")


def test_a_constructor_that_raises_is_an_import_error(here, source: Callable[..., str]) -> None:
    more = "class Plugin(Plugin):\n    def __init__(self): raise OSError('no cluster')"
    error = refused(here, errors.PluginImportError, source(more=more))
    assert "OSError: no cluster" in str(error)


def test_a_constructor_that_wants_arguments_is_a_type_error(here, source: Callable[..., str]) -> None:
    more = "class Plugin(Plugin):\n    def __init__(self, url): pass"
    assert "without arguments" in str(refused(here, errors.PluginTypeError, source(more=more)))


@pytest.mark.parametrize("line", ["x = af.AbstractJobPlugins", "from aiflow_ext import Jsonabel", "1 / 0"])
def test_an_import_that_fails_names_the_authors_line(here, source: Callable[..., str], line: str) -> None:
    text = source(more=line)
    number = text.splitlines().index(line) + 1
    assert f"(raised in moon_plugin.py:{number})" in str(refused(here, errors.PluginImportError, text))


@pytest.mark.parametrize(
    ("more", "value", "expected"),
    [
        ("thing = 42", "moon_plugin:thing", "is no job plugin: int lacks the methods generate, "),
        ("", "moon_plugin:Platform", "is a platform, not a job plugin"),
        ("class Plugin(Plugin):\n    stop_job = None", "moon_plugin:Plugin", "lacks the method stop_job"),
        ("class Plugin(Plugin):\n    stop_job = None\n    def stopp_job(self, job): pass", "moon_plugin:Plugin",
         "is 'stopp_job' meant to be 'stop_job'?"),
        ("class Abstract(af.AbstractJobPlugin):\n    def generate(self, sub_graph, project_desc): pass",
         "moon_plugin:Abstract", "lacks the methods generate_job_resource, submit_job"),
        ("class Plugin(Plugin):\n    def job_type(self): return af.AbstractJob()", "moon_plugin:Plugin",
         "job_type() returned an object, BaseJob(), and not the class itself"),
        ("class Plugin(Plugin):\n    def job_config_type(self): return dict", "moon_plugin:Plugin",
         "job_config_type() returned the class dict, which is no subclass of aiflow_ext.AbstractJobConfig"),
        ("class Plugin(Plugin):\n    def platform(self): return 'moon'\n    def engine(self): raise ValueError('x')",
         "moon_plugin:Plugin", "platform() returned 'moon'"),
        ("class Platform(af.AbstractPlatform): pass", "moon_plugin:Plugin",
         "Platform.platform() raised NotImplementedError"),
        ("class Platform(af.AbstractPlatform):\n    def platform(self): return 'moon'", "moon_plugin:Plugin",
         "write: @staticmethod"),
        ("class Platform(af.AbstractPlatform):\n    @staticmethod\n    def platform(): return 'mars'",
         "moon_plugin:Plugin", "advertised for the platform 'moon', but its Platform is called 'mars'"),
        ("class Plugin(Plugin):\n    async def stop_job(self, job): pass", "moon_plugin:Plugin", "stop_job is async"),
        ("class Plugin(Plugin):\n    async def stop_job(self, job): yield", "moon_plugin:Plugin", "stop_job is async"),
        ("class Stop:\n    async def __call__(self, job): pass\nclass Plugin(Plugin):\n    stop_job = Stop()",
         "moon_plugin:Plugin", "stop_job is async"),
        ("class Plugin(Plugin):\n    def submit_job(self, job): yield", "moon_plugin:Plugin",
         "submit_job yields, so that calling it runs none of it"),
        ("class Plugin(Plugin):\n    def generate(self, graph): pass", "moon_plugin:Plugin",
         "generate takes (graph); which of sub_graph, project_desc is meant is not clear"),
        ("class Plugin(Plugin):\n    def stop_job(self, job, force): pass", "moon_plugin:Plugin",
         "stop_job wants an argument 'force'"),
        ("class Plugin(Plugin):\n    @af.hookimpl\n    def look_up(self, native_id): pass", "moon_plugin:Plugin",
         "look_up is marked as a hook, but there is no such hook; did you mean lookup"),
        ("class Plugin(Plugin):\n    @af.hookimpl(wrapper=True)\n    def stop_job(self, job): yield",
         "moon_plugin:Plugin", "stop_job is marked as a wrapper; only an extension wraps"),
    ],
)  # fmt: skip
def test_what_is_no_job_plugin_is_reported_exactly_what_is_wrong(
    here, source: Callable[..., str], more: str, value: str, expected: str
) -> None:
    assert expected in str(refused(here, errors.PluginTypeError, source(more=more), value))


def test_a_dir_method_that_raises_keeps_no_plugin_from_being_used(here, source: Callable[..., str]) -> None:
    more = "class Plugin(Plugin):\n    def __dir__(self): raise RuntimeError('no names')"
    here.add("moon-dist", {"job_plugins": {"moon.rover": "moon_plugin:Plugin"}}, {"moon_plugin.py": source(more=more)})
    assert PluginHost().resolve("moon", "rover").platform == "moon"


def test_several_wrong_types_are_named_at_once(here, source: Callable[..., str]) -> None:
    more = "class Plugin(Plugin):\n    def platform(self): return 'moon'\n    def engine(self): raise ValueError('x')"
    message = str(refused(here, errors.PluginTypeError, source(more=more)))
    assert "platform() returned 'moon'" in message
    assert "engine() raised ValueError: x" in message


def test_properties_of_the_authors_object_are_never_run(here, source: Callable[..., str]) -> None:
    more = "class Plugin(Plugin):\n    @property\n    def connection(self): raise SystemExit('connected')"
    assert resolve_source(here, source(more=more)).hook.submit_job(job=1) == 1


def test_one_broken_plugin_stops_no_other_and_leaves_its_record(here, source: Callable[..., str]) -> None:
    here.add("bad-dist", {"job_plugins": {"sun.probe": "sun_bad:Plugin"}}, {"sun_bad.py": "raise OSError('burnt')"})
    here.add("moon-dist", ROVER, {"moon_plugin.py": source()})
    host = PluginHost()
    with pytest.raises(errors.PluginImportError):
        host.resolve("sun", "probe")
    assert host.resolve("moon", "rover").record.status == "loaded"
    states = {record.name: record for record in host.plugins() if record.kind == "job_plugin"}
    assert states["sun.probe"].status == "broken"
    assert states["sun.probe"].error == "OSError: burnt"
    assert "cannot be imported" in (states["sun.probe"].reason or "")
    assert states["moon.rover"].status == "loaded"


def test_a_broken_plugin_that_is_mended_resolves_in_the_same_process(here, source: Callable[..., str]) -> None:
    here.add("moon-dist", ROVER, {"moon_plugin.py": "import moon_needs\n" + source()})
    host = PluginHost()
    with pytest.raises(errors.PluginDependencyError):
        host.resolve("moon", "rover")
    (here.folder / "moon_needs.py").write_text("")
    assert host.resolve("moon", "rover").record.status == "loaded"
    assert [record.status for record in host.plugins() if record.name == "moon.rover"] == ["loaded"]


def test_what_is_not_installed_says_what_is_and_what_is_near(here, source: Callable[..., str]) -> None:
    here.add("moon-dist", ROVER, {"moon_plugin.py": source()})
    with pytest.raises(errors.PluginNotInstalledError) as caught:
        PluginHost().resolve("mooon", "rover")
    assert caught.value.exit_code == errors.NOT_INSTALLED
    assert "installed are" in str(caught.value)
    assert "did you mean 'moon'?" in str(caught.value)
    assert "moon_plugin" not in sys.modules


def test_a_platform_of_ours_that_is_not_installed_has_its_pip_command(here, monkeypatch: pytest.MonkeyPatch) -> None:
    # One that is never installed here, as all of ours may be.
    monkeypatch.setattr(explain, "OURS", (*explain.OURS, "saturn"))
    with pytest.raises(errors.PluginNotInstalledError, match="pip install aiflow-ext-saturn"):
        PluginHost().resolve("saturn", "python")


def test_optional_hooks_count_only_where_marked(here, source: Callable[..., str]) -> None:
    more = """
    class Plugin(Plugin):
        def watch(self, jobs, since): raise AssertionError
        @af.hookimpl
        def lookup(self, the_job): return af.Lookup.FOUND
        @staticmethod
        @af.hookimpl
        def attach(job): return [job]
        @af.hookimpl
        def allocate_id(self, job): return None
    """
    resolved = resolve_source(here, source(more=more))
    assert resolved.offers == {"lookup", "attach", "allocate_id"}
    assert resolved.durable
    assert resolved.hook.lookup(job=1) is af.Lookup.FOUND
    assert resolved.hook.attach(job=1) == [1]
    assert resolved.hook.watch(jobs={}, since=None) is None
    # An id of None leaves it to the default.
    assert resolved.hook.allocate_id(job=af.BaseJob(af.JobContext("r", "train", 1))).startswith("r-train-1")


LOOKUP = "def lookup(self, job): return af.Lookup.UNKNOWN"
ATTACH = "def attach(self, job): return None"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (f"{LOOKUP}\n    {ATTACH}", "lookup and attach are not marked with @aiflow_ext.hookimpl"),
        (f"@af.hookimpl\n    {LOOKUP}\n    {ATTACH}", "attach is not marked with @aiflow_ext.hookimpl"),
        (f"{LOOKUP}\n    @staticmethod\n    def attach(job): pass", "lookup and attach are not marked"),
        (f"{LOOKUP}\n    def attach(self, job, native_id): pass", "lookup and attach are not marked"),
        (f"@af.hookimpl\n    {ATTACH}\n    @af.hookimpl\n    {LOOKUP}\n\nclass Plugin(Plugin):\n    {LOOKUP}",
         "lookup is not marked"),
        (f"@pluggy.HookimplMarker('other')\n    {ATTACH}\n    @af.hookimpl\n    {LOOKUP}", "attach is not marked"),
        (f"@property\n    @af.hookimpl\n    {ATTACH}\n    @af.hookimpl\n    {LOOKUP}", "attach is not marked"),
        (f"attach = functools.partialmethod(print)\n    @af.hookimpl\n    {LOOKUP}", "attach is not marked"),
        ("@af.hookimpl\n    def lookups(self, job): pass", "did you mean lookup"),
        ("@af.hookimpl\n    def atach(self, job): pass", "did you mean attach"),
        ("@af.hookimpl\n    def attach(self, job, more): pass", "attach wants an argument 'more'"),
    ],
)  # fmt: skip
def test_a_plugin_that_is_durable_but_for_a_marker_is_refused(here, source, body: str, named: str) -> None:
    error = refused(
        here, errors.PluginTypeError, source(more=f"import functools, pluggy\nclass Plugin(Plugin):\n    {body}\n")
    )
    assert named in str(error)


@pytest.mark.parametrize(
    ("former", "now", "cure"),
    [
        ("lookup(native_id)", "lookup(job)", "the native id is job.job_context.native_id"),
        ("attach(job, native_id)", "attach(job)", "the native id is job.job_context.native_id"),
        ("watch(native_ids, since)", "watch(jobs, since)", "jobs maps each native id to its job"),
        ("cleanup_run(run)", "cleanup_run(run_id, jobs)", "jobs are this plugin's jobs of the run"),
        ("check_platform()", "check_platform(jobs)", "jobs are this plugin's jobs of the run"),
    ],
)
def test_a_hook_with_the_arguments_of_an_earlier_version_is_named_with_its_line(
    here, source, former: str, now: str, cure: str
) -> None:
    text = source(
        more=f"""
    class Plugin(Plugin):
        @staticmethod
        @af.hookimpl
        def {former}: pass
    """
    )
    error = refused(here, errors.PluginTypeError, text)
    line = text[: text.index("@staticmethod\n    @af.hookimpl\n    def " + former)].count("\n") + 1
    assert f": {former} at {here.folder}/" in str(error)
    # A function begins at its first decorator.
    assert f"moon_plugin.py:{line} has the arguments of an earlier aiflow-ext; it is {now} now: {cure}" in str(error)


@pytest.mark.parametrize(
    ("body", "remark"),
    [
        (LOOKUP, "its method lookup is not taken as the hook of that name: mark it with @aiflow_ext.hookimpl"),
        ("def watch(self, ids, since): pass", "its method watch is not taken"),
        (f"@af.hookimpl\n    {LOOKUP}", "it offers lookup and not attach, so it is not durable"),
        (f"@af.hookimpl\n    {ATTACH}", "it offers attach and not lookup, so it is not durable"),
        (
            "@property\n    def watch(self): raise OSError",
            "its property watch is not taken as the hook of that name: make ",
        ),
        ("def lookup(self, table, key): pass", None),
        ("lookup = attach = {}", None),
        ("watch = af.AbstractJobHandler", None),
        ("def submit_job(self, job): return job\n    @af.hookimpl\n    def stop_job(self, job): pass", None),
    ],
)
def test_a_hook_that_is_not_taken_is_remarked_on(here, source, body: str, remark: str | None) -> None:
    resolved = resolve_source(here, source(more=f"class Plugin(Plugin):\n    {body}\n"))
    assert not resolved.durable
    assert len(resolved.remarks) == (remark is not None)
    assert remark is None or remark in resolved.remarks[0]


def test_a_default_native_id_is_a_dns_label_of_at_most_52_that_tells_jobs_apart(here, source) -> None:
    hook = resolve_source(here, source()).hook
    jobs = [("r", "Train It!", 1), ("r", "x" * 300, 1), ("r", "x" * 300, 2), ("q", "x" * 300, 2), ("r", "ümlaut", 1)]
    ids = [hook.allocate_id(job=af.BaseJob(af.JobContext(*job))) for job in jobs]
    assert len(set(ids)) == len(ids)
    for one in ids:
        assert len(one) <= 52
        assert one[0].isalpha()
        assert one[-1] != "-"
        assert all(char.isascii() and (char.islower() or char.isdigit() or char == "-") for char in one)
    assert hook.lookup(job=af.BaseJob()) is af.Lookup.UNKNOWN
    assert not hook.check_platform(jobs=())
