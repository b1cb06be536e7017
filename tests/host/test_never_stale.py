"""The index is never stale: distributions really built, and changed by pip while a trusted index lies there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import packaging
import pip
import pluggy
import pytest
from dist_info import install

import aiflow_ext

pytest.importorskip("pip")

# The whole of a build backend, so that an editable install is pip's own and needs nothing that is not installed.
BACKEND = """
import os, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    info = "editable_dist-3.0.dist-info"
    files = {
        "__editable_dist.pth": os.getcwd() + "\\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: editable-dist\\nVersion: 3.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": open("entry_points.txt").read(),
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    name = "editable_dist-3.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
    return name
"""


def rover(name: str) -> dict[str, dict[str, str]]:
    return {"platforms": {name: f"{name}_plugin:Platform"}, "job_plugins": {f"{name}.rover": f"{name}_plugin:Plugin"}}


class Venv:
    """A real virtual environment, with this interpreter's libraries behind its own."""

    def __init__(self, folder: Path, site_type: type[Any], build_wheel: Callable[..., Path]) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.site = site_type(folder / "elsewhere", folder / "cache")
        self.site.python = str(folder / "bin" / "python")
        libraries = {str(Path(module.__file__).parents[1]) for module in (aiflow_ext, packaging, pluggy)}
        self.site.env["PYTHONPATH"] = os.pathsep.join(sorted(libraries))
        self.packages = next(folder.glob("lib/python*/site-packages"))
        (self.packages / "README.txt").write_text("pip removes the folder with the last distribution in it")
        self.wheels, self._build = folder, build_wheel

    def wheel(self, name: str, version: str, source: str) -> str:
        files = {f"{name.replace('-dist', '_plugin')}.py": source}
        return str(self._build(self.wheels, name, rover(name.replace("-dist", "")), files, version=version))

    def pip(self, command: str, *args: str) -> None:
        options = ["-y"]
        if command == "install":
            options = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
        # What "pip --python" starts, without the pip that starts it.
        runner = str(Path(pip.__file__).with_name("__pip-runner__.py"))
        done = subprocess.run(
            [self.site.python, runner, "--disable-pip-version-check", command, "-q", *options, *args],
            capture_output=True, text=True, env=dict(os.environ, PIP_ROOT_USER_ACTION="ignore"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Venv:
    conftest = sys.modules[next(name for name in sys.modules if name.endswith("host.conftest"))]
    return Venv(tmp_path_factory.mktemp("venv"), conftest.Site, conftest.wheel)


def test_install_upgrade_downgrade_and_removal_are_each_seen_at_once(venv: Venv, source: Callable[..., str]) -> None:
    site, name, text = venv.site, "mars-dist", source("mars")
    site.settle()
    venv.pip("install", venv.wheel(name, "1.0", text))
    assert site.names(name) == {"mars": f"{name} 1.0", "mars.rover": f"{name} 1.0"}
    site.settle()
    venv.pip("install", venv.wheel(name, "2.0", text))
    assert set(site.names(name).values()) == {f"{name} 2.0"}
    site.settle()
    venv.pip("install", "--force-reinstall", venv.wheel(name, "1.0", text))
    assert set(site.names(name).values()) == {f"{name} 1.0"}
    site.settle()
    assert site.ask("mars rover")["resolved"]["version"] == "1.0"
    venv.pip("uninstall", name)
    assert site.names(name) == {}
    assert site.ask("mars rover")["error"][0] == "PluginNotInstalledError"


def test_an_editable_install_and_its_edited_entry_points_are_seen(venv: Venv, tmp_path: Path, source) -> None:
    site = venv.site
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (tmp_path / "edit_plugin.py").write_text(source("edit"))
    (tmp_path / "entry_points.txt").write_text("[aiflow_ext.job_plugins]\nedit.rover = edit_plugin:Plugin\n")
    site.settle()
    venv.pip("install", "-e", str(tmp_path))
    assert site.names("editable-dist") == {"edit.rover": "editable-dist 3.0"}
    assert "resolved" in site.ask("edit rover")
    site.settle()
    (tmp_path / "entry_points.txt").write_text("[aiflow_ext.job_plugins]\nedit.walker = edit_plugin:Plugin\n")
    venv.pip("install", "-e", str(tmp_path))
    assert site.names("editable-dist") == {"edit.walker": "editable-dist 3.0"}
    venv.pip("uninstall", "editable-dist")
    assert site.names("editable-dist") == {}


def test_a_pth_file_that_brings_a_folder_of_distributions_is_seen(venv: Venv, site, source) -> None:
    site.add("pth-dist", rover("pth"), {"pth_plugin.py": source("pth")})
    venv.site.settle()
    (venv.packages / "more.pth").write_text(f"{site.folder}\n")
    assert venv.site.names("pth-dist") == {"pth": "pth-dist 1.0", "pth.rover": "pth-dist 1.0"}
    venv.site.settle()
    assert "resolved" in venv.site.ask("pth rover")
    (venv.packages / "more.pth").unlink()
    assert venv.site.names("pth-dist") == {}


def test_a_plugin_installed_while_a_notebook_runs_is_seen_by_it(venv: Venv, source: Callable[..., str]) -> None:
    notebook = """
import sys, subprocess, json, importlib.metadata, aiflow_ext as af
list(importlib.metadata.distributions())
host = af.PluginHost()
before = [record.name for record in host.plugins() if record.distribution == "venus-dist"]
try:
    host.resolve("venus", "rover")
except af.AiflowError as error:
    before.append(type(error).__name__)
print("ready", flush=True)
sys.stdin.readline()
after = [record.name for record in host.plugins() if record.distribution == "venus-dist"]
print(json.dumps([before, after, host.resolve("venus", "rover").record.status]))
"""
    venv.site.settle()
    with subprocess.Popen([venv.site.python, "-c", notebook], env=venv.site.env, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, cwd=venv.site.folder) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        venv.pip("install", venv.wheel("venus-dist", "1.0", source("venus")))
        answer, _ = process.communicate("\n")
    assert json.loads(answer) == [["PluginNotInstalledError"], ["venus.rover", "venus"], "loaded"]
    venv.pip("uninstall", "venus-dist")


def test_entry_points_edited_in_place_are_seen(site, source: Callable[..., str]) -> None:
    info = site.add("moon-dist", rover("moon"), {"moon_plugin.py": source("moon")})
    site.settle()
    stamp = info.stat()
    (info / "entry_points.txt").write_text("[aiflow_ext.platforms]\nsun = moon_plugin:Platform\n")
    assert info.stat().st_mtime_ns == stamp.st_mtime_ns, "no folder changed: only the file itself can tell"
    assert site.names("moon-dist") == {"sun": "moon-dist 1.0"}


def test_an_edit_that_restores_size_and_mtime_is_seen(site) -> None:
    info = site.add("moon-dist", {"platforms": {"moon": "moon_plugin:Platform"}})
    site.settle()
    file = info / "entry_points.txt"
    stamp = file.stat()
    file.write_text(file.read_text().replace("moon =", "noon ="))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert site.names("moon-dist") == {"noon": "moon-dist 1.0"}


def test_metadata_edited_in_place_is_seen(site) -> None:
    info = site.add("moon-dist", rover("moon"))
    site.settle()
    (info / "METADATA").write_text((info / "METADATA").read_text().replace("Version: 1.0", "Version: 1.1"))
    assert set(site.names("moon-dist").values()) == {"moon-dist 1.1"}
    site.settle()
    (info / "METADATA").write_text("Name: moon-dist\nVersion: 1.1\nRequires-Dist: aiflow-ext>=99\n")
    states = {one["status"] for one in site.ask("plugins")["plugins"] if one["distribution"] == "moon-dist"}
    assert states == {"incompatible"}


def test_metadata_files_that_come_and_go_are_seen(site) -> None:
    info = site.add("moon-dist", rover("moon"))
    site.settle()
    text = (info / "METADATA").read_text()
    (info / "METADATA").unlink()
    assert {one["status"] for one in site.ask("plugins")["plugins"] if one["name"] == "moon"} == {"broken"}
    site.settle()
    (info / "METADATA").write_text(text)
    assert {one["status"] for one in site.ask("plugins")["plugins"] if one["name"] == "moon"} == {"available"}
    site.settle()
    (info / "entry_points.txt").unlink()
    assert site.names("moon-dist") == {}


def test_another_sys_path_has_another_index(site, tmp_path: Path) -> None:
    site.add("moon-dist", rover("moon"))
    other = type(site)(tmp_path / "other", site.cache)
    other.add("other-dist", rover("other"))
    site.settle()
    other.settle()
    assert site.names("moon-dist", "other-dist").keys() == {"moon", "moon.rover"}
    assert other.names("moon-dist", "other-dist").keys() == {"other", "other.rover"}
    both = os.pathsep.join([str(site.folder), str(other.folder)])
    assert len(site.names("moon-dist", "other-dist", PYTHONPATH=both)) == 4


def test_a_distribution_that_appears_in_the_working_folder_is_seen(site) -> None:
    site.settle()  # python -c: the working folder, which holds no distribution, is on sys.path
    install(site.folder.parent, "cwd-dist", {"engines": {"cwd": "cwd:Engine"}})
    assert site.names("cwd-dist") == {"cwd": "cwd-dist 1.0"}


def test_a_working_folder_that_changes_all_the_time_costs_no_scan(site) -> None:
    site.settle()
    (site.folder.parent / "results.csv").write_text("")
    assert not site.ask("plugins")["scanned"]
    (site.folder.parent / "results.csv").unlink()
    assert not site.ask("plugins")["scanned"]


def test_an_egg_info_that_begins_to_advertise_in_place_is_seen(site) -> None:
    egg = site.folder / "old_dist.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old-dist\nVersion: 0.1\n")
    site.settle()
    (egg / "entry_points.txt").write_text("[aiflow_ext.engines]\nold = old:Engine\n")
    assert site.names("old-dist") == {"old": "old-dist 0.1"}


def test_files_changed_in_the_two_seconds_before_the_scan_are_not_trusted(site) -> None:
    changed = os.stat(site.add("moon-dist", rover("moon")) / "entry_points.txt").st_ctime_ns
    for _ in range(2):
        assert site.ask("plugins", TEST_AT=str(changed + 1_900_000_000))["scanned"], "files this young are not trusted"
    assert not list(site.cache.rglob("*.index"))
    assert site.ask("plugins", TEST_AT=str(changed + 60_000_000_000))["scanned"]
    assert not site.ask("plugins")["scanned"]


def test_a_hit_is_read_again_from_its_own_distribution_before_import(here, source: Callable[..., str]) -> None:
    """An index that lies, with every stamp right: what the distribution itself says is what is imported."""
    from aiflow_ext.host import index
    from aiflow_ext.host.host import PluginHost
    from aiflow_ext.host.scan import scan

    info = here.add("moon-dist", rover("moon"), {"moon_plugin.py": source("moon")})
    found = scan()
    found.records = [record.replace("available") for record in found.records]
    at = next(at for at, record in enumerate(found.records) if record.name == "moon.rover")
    lie = found.records[at]
    found.records[at] = type(lie)(lie.kind, lie.name, lie.distribution, lie.version, "gone_plugin:Plugin")
    host = PluginHost()
    host._snapshot = found
    assert found.holds()
    assert [one.entry_point for one in host.plugins() if one.name == "moon.rover"] == ["gone_plugin:Plugin"]
    assert host.resolve("moon", "rover").record.entry_point == "moon_plugin:Plugin"
    assert (index.stamp_at(str(info / "METADATA"))) in found.files.values()


def test_a_hit_with_another_version_than_its_distribution_has_now_is_not_taken(here, source) -> None:
    from aiflow_ext.host import index
    from aiflow_ext.host.host import PluginHost
    from aiflow_ext.host.scan import scan

    info = here.add("moon-dist", rover("moon"), {"moon_plugin.py": source("moon")})
    found = scan()
    (info / "METADATA").write_text((info / "METADATA").read_text().replace("Version: 1.0", "Version: 1.1"))
    found.files[str(info / "METADATA")] = index.stamp_at(str(info / "METADATA"))
    host = PluginHost()
    host._snapshot = found
    assert found.holds(), "only reading the distribution again can tell"
    assert host.resolve("moon", "rover").record.version == "1.1"


@pytest.mark.parametrize("question", ["why", "resolve"])
def test_not_installed_is_never_reported_from_the_index(site, source: Callable[..., str], question: str) -> None:
    """A distribution that begins to advertise in place is outside the fingerprint: a miss always scans."""
    info = site.add("moon-dist", "[console_scripts]\nmoon = moon_plugin:main\n", {"moon_plugin.py": source("moon")})
    site.settle()
    (info / "entry_points.txt").write_text("[aiflow_ext.job_plugins]\nmoon.rover = moon_plugin:Plugin\n")
    if question == "why":
        assert site.ask("why moon rover")["why"]["resolvable"]
    else:
        assert site.ask("moon rover")["resolved"]["distribution"] == "moon-dist"


def test_a_finder_with_distributions_of_its_own_turns_the_index_off(site) -> None:
    site.settle()
    finder = """
import importlib.metadata as m, sys, json
class Brought(m.Distribution):
    def read_text(self, name):
        return {"METADATA": "Name: brought\\nVersion: 7\\n",
                "entry_points.txt": "[aiflow_ext.engines]\\nbrought = x:Y\\n"}.get(name)
    def locate_file(self, path): raise NotImplementedError
class Finder(m.DistributionFinder):
    def find_spec(self, *_): return None
    def find_distributions(self, context=m.DistributionFinder.Context()): return [Brought()]
sys.meta_path.append(Finder())
import aiflow_ext as af
print(json.dumps([record.to_dict() for record in af.plugins()]))
"""
    done = subprocess.run([sys.executable, "-c", finder], env=site.env, capture_output=True, text=True, check=True,
                          cwd=site.folder.parent)  # fmt: skip
    assert [(one["name"], one["version"]) for one in json.loads(done.stdout) if one["distribution"] == "brought"] == [
        ("brought", "7")
    ]
    assert site.names("brought") == {}, "what another finder brings must not get into the index"


def test_another_version_of_the_host_has_another_index(site) -> None:
    site.add("moon-dist", rover("moon"), requires=["aiflow-ext<99"])
    site.settle()
    newer = f"""
import aiflow_ext as af
assert af.__version__ == {aiflow_ext.__version__!r}
af.__version__ = "99.0"
print({{record.status for record in af.plugins() if record.distribution == "moon-dist"}})
"""
    done = subprocess.run([sys.executable, "-c", newer], env=site.env, capture_output=True, text=True, check=True,
                          cwd=site.folder.parent)  # fmt: skip
    assert done.stdout.strip() == "{'incompatible'}"


def put_back_mtime(folder: Path, before: os.stat_result) -> None:
    """What a coarse clock does: the folder has changed, and its mtime has not."""
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_importlibs_own_memory_of_a_folder_hides_nothing(here) -> None:
    from aiflow_ext.host.host import plugins

    here.add("moon-dist", rover("moon"))
    assert "moon-dist" in {one.distribution for one in plugins()}
    before = here.folder.stat()
    here.add("mars-dist", rover("mars"))
    put_back_mtime(here.folder, before)
    assert {"moon-dist", "mars-dist"} <= {one.distribution for one in plugins()}


@pytest.mark.parametrize("late", ["moon_plugin", "moon_needs"])
def test_a_module_that_came_since_without_a_scan_is_found(here, tmp_path: Path, monkeypatch, source, late: str) -> None:
    from aiflow_ext.host.host import PluginHost
    from aiflow_ext.host.scan import scan

    files = {"moon_plugin": "import moon_needs\n" + source("moon"), "moon_needs": ""}
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    monkeypatch.syspath_prepend(str(libraries))
    here.add("moon-dist", rover("moon"), {f"{name}.py": text for name, text in files.items() if name != late})
    host = PluginHost()
    host._snapshot = scan()
    with pytest.raises(ModuleNotFoundError):
        __import__(late)
    before = libraries.stat()
    (libraries / f"{late}.py").write_text(files[late])
    put_back_mtime(libraries, before)
    assert host.resolve("moon", "rover").record.status == "loaded"


def test_a_dependency_that_came_with_the_plugin_is_found_by_a_process_that_knew_its_folder(
    here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Callable[..., str]
) -> None:
    from aiflow_ext.host.host import PluginHost

    libraries = tmp_path / "libraries"
    libraries.mkdir()
    monkeypatch.syspath_prepend(str(libraries))
    with pytest.raises(ModuleNotFoundError):
        __import__("moon_library")
    before = libraries.stat()
    (libraries / "moon_library.py").write_text("")
    put_back_mtime(libraries, before)
    here.add("moon-dist", rover("moon"), {"moon_plugin.py": "import moon_library\n" + source("moon")})
    assert PluginHost().resolve("moon", "rover").record.status == "loaded"
