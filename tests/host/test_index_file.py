"""The index file: whatever happens to it or to its folder, the answer is right and nothing fails."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

MOON = {"platforms": {"moon": "moon_plugin:Platform"}}


@pytest.fixture
def indexed(site):
    site.add("moon-dist", MOON)
    site.settle()
    return site


def index_of(site) -> Path:
    (found,) = site.cache.rglob("*.index")
    return found


def damage_truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damage_one_bit(content: bytes) -> bytes:
    return content.replace(b"moon-dist", b"noon-dist")


def damage_newer(content: bytes) -> bytes:
    return content.replace(b"plugin index 1 ", b"plugin index 2 ", 1)


DAMAGES = {
    "truncated": damage_truncated,
    "one-byte": damage_one_bit,
    "newer": damage_newer,
    "empty": lambda content: b"",
    "head-only": lambda content: content.partition(b"\n")[0] + b"\n",
    "binary": lambda content: b"\xff\x00" * 500,
    "another-key": lambda content: content.replace(sys.version.encode()[:4], b"9.99", 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_newer_index_is_ignored_and_rewritten(indexed, damage: str) -> None:
    path = index_of(indexed)
    good = path.read_bytes()
    path.write_bytes(DAMAGES[damage](good))
    assert path.read_bytes() != good
    answer = indexed.ask("plugins", later=60)
    assert [one["distribution"] for one in answer["plugins"] if one["name"] == "moon"] == ["moon-dist"]
    assert answer["scanned"]
    assert not indexed.ask("plugins")["scanned"], "it was not rewritten"


def test_an_index_with_a_right_checksum_and_wrong_content_is_ignored(indexed) -> None:
    from aiflow_ext.host import index

    path = index_of(indexed)
    body = path.read_bytes().partition(b"\n")[2]
    for wrong in (b"\n".join(body.split(b"\n")[:-1]), b"", body.replace(b"\t", b"\n"), body.split(b"\n")[0]):
        path.write_bytes(index._head(wrong) + b"\n" + wrong)
        assert indexed.names("moon-dist") == {"moon": "moon-dist 1.0"}


@pytest.mark.parametrize(
    "env",
    [
        {"XDG_CACHE_HOME": "", "HOME": ""},
        {"XDG_CACHE_HOME": "relative", "HOME": "also/relative"},
        {"XDG_CACHE_HOME": "/proc/self"},
        {"XDG_CACHE_HOME": "/dev/null"},
    ],
    ids=["unset", "relative", "unwritable", "no-folder"],
)
def test_without_a_usable_cache_folder_all_is_as_before(site, env: dict[str, str]) -> None:
    site.add("moon-dist", MOON)
    for _ in range(2):
        assert site.names("moon-dist", **env) == {"moon": "moon-dist 1.0"}
    assert not list(site.folder.parent.rglob("*.index"))


def test_a_home_that_is_not_set_is_no_error(site) -> None:
    site.add("moon-dist", MOON)
    site.env = {key: value for key, value in site.env.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    child = "import os; os.environ['HOME'] = '~'; import aiflow_ext as af; print(len(af.plugins()) > 0)"
    done = subprocess.run([sys.executable, "-c", child], env=site.env, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_a_read_only_cache_folder_is_no_error_for_an_ordinary_user(site) -> None:
    # A folder of its own, since pytest's are closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        ordinary = type(site)(Path(folder, "site"), Path(folder, "cache"))
        ordinary.add("moon-dist", MOON)
        ordinary.cache.mkdir()
        os.chmod(ordinary.cache, 0o555)
        child = """
import importlib.metadata, os, time
now = time.time_ns
time.time_ns = lambda: now() + 60 * 10**9
import aiflow_ext.host.host, aiflow_ext.host.scan, fnmatch, packaging.requirements, packaging.markers, difflib
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
print([record.name for record in aiflow_ext.host.host.plugins() if record.distribution == "moon-dist"])
"""
        done = subprocess.run([sys.executable, "-c", child], env=ordinary.env, capture_output=True, text=True,
                              cwd=folder)  # fmt: skip
        assert done.stdout == "['moon']\n", done.stderr
        assert os.listdir(ordinary.cache) == []


def test_many_writers_at_once_leave_one_whole_index_and_nothing_else(indexed) -> None:
    index_of(indexed).unlink()
    child = """
import sys, time
now = time.time_ns
time.time_ns = lambda: now() + 60 * 10**9
import aiflow_ext as af
sys.stdin.readline()
for _ in range(20):
    assert [one.name for one in af.plugins(refresh=True) if one.distribution == "moon-dist"] == ["moon"]
    assert [one.name for one in af.plugins() if one.distribution == "moon-dist"] == ["moon"]
"""
    writers = [subprocess.Popen([sys.executable, "-c", child], env=indexed.env, stdin=subprocess.PIPE, text=True,
                                stderr=subprocess.PIPE, cwd=indexed.folder.parent) for _ in range(3)]  # fmt: skip
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, problems = writer.communicate()
        assert writer.returncode == 0, problems
    assert os.listdir(index_of(indexed).parent) == [index_of(indexed).name]
    assert not indexed.ask("plugins")["scanned"]


def test_a_name_that_would_break_the_index_costs_only_the_index(site) -> None:
    strange = type(site)(site.folder / "tab\tand\nnewline", site.cache)
    strange.add("moon-dist", MOON)
    assert strange.names("moon-dist", TEST_LATER="60") == {"moon": "moon-dist 1.0"}
    assert not list(site.cache.rglob("*.index"))


def test_old_index_files_are_removed_once_there_are_many(indexed) -> None:
    folder = index_of(indexed).parent
    for number in range(80):
        (folder / f"plugins-{number:08x}.index").write_text("old")
        os.utime(folder / f"plugins-{number:08x}.index", (number, number))
    index_now = [path for path in folder.iterdir() if path.read_bytes() != b"old"]
    index_now[0].unlink()
    indexed.settle()
    assert len(list(folder.iterdir())) <= 65
