"""Artifacts: whole or not at all, on this machine's files and through fsspec; a sentence where that is missing."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.engines import artifacts
from aiflow_ext.engines.artifacts import ArtifactError, load, save
from aiflow_ext.model.current import AWAY, AWAY_CODE

Jobs = Any  # of conftest.py

TWO = """
    with af.job("a"): x, f = af.python(lambda: {"a": (1, 2)}), af.python(write)
    with af.job("b"): c = af.cmd("cat {f} {f} > {o}", f=f, o=af.output("o"))
    with af.job("c"): af.python(lambda x, c: print(x, c.read_text()), x, c)
"""
STEPS = "from pathlib import Path\ndef write():\n    Path('f').write_text('hello')\n    return Path('f')\n"


def test_a_file_url_needs_no_fsspec(jobs: Jobs) -> None:
    jobs.artifacts = f"file://{jobs.artifacts}"
    assert jobs.write(TWO, STEPS).fine("a", "b", "c").out == "{'a': (1, 2)} hellohello\n"


@pytest.mark.parametrize("scheme", ["local://", "simplecache::local://"])
def test_any_other_url_goes_through_fsspec(jobs: Jobs, scheme: str) -> None:
    jobs.python = sys.executable
    jobs.artifacts = scheme + jobs.artifacts
    assert jobs.write(TWO, STEPS).fine("a", "b", "c").out == "{'a': (1, 2)} hellohello\n"
    (data,) = Path(jobs.folder, "artifacts").rglob("*.pkl")
    data.write_bytes(b"other")
    assert "is not what its producer recorded" in jobs.run("c").reason
    data.unlink()
    assert "is gone; its record is still there" in jobs.run("c").reason


def test_a_file_system_that_does_not_answer_ends_a_job_with_an_exit_code_of_its_own(jobs: Jobs) -> None:
    jobs.python, jobs.artifacts = sys.executable, "webhdfs://ada@127.0.0.1:1/kept"
    jobs.env = {"AIFLOW_ARTIFACT_PATIENCE": "0"}
    ended = jobs.write(TWO, STEPS).run("a")
    assert ended.code == AWAY_CODE
    assert ended.reason.startswith(f"{AWAY}webhdfs://ada@127.0.0.1:1/kept/run-1/a/1/")
    assert "Traceback" not in ended.err


def test_without_fsspec_the_package_to_install_is_named(jobs: Jobs) -> None:
    jobs.artifacts = "memory://team"
    ended = jobs.write(TWO, STEPS).run("a")
    assert ended.code == 1
    assert "memory://team/run-1/a/1/lambda" in ended.reason
    assert "needs the package fsspec in the job's python" in ended.reason
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://x/y", "is of no file system that fsspec knows"),
        ("dropbox://bucket/x", f"needs another package in this python ({sys.executable})"),
        ("hdfs://namenode/x", "pip install pyarrow; hdfs:// needs Java and Hadoop's libhdfs there, too"),
    ],
)
def test_a_url_that_cannot_be_opened_here_is_a_sentence(tmp_path: Path, url: str, words: str) -> None:
    for attempt in (lambda: save(url, "text"), lambda: load(url, tmp_path)):
        with pytest.raises(ArtifactError) as caught:
            attempt()
        assert words in str(caught.value)
        assert url in str(caught.value)


def test_every_form_comes_back_from_a_file_system_that_is_not_this_machines(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("file")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "f").write_text("deep")
    for number, value in enumerate(["text", b"\0\xff", b"", [1, {"a": 2}], tmp_path / "file.txt", tmp_path / "folder"]):
        url = f"memory://artifacts/run/{number}"
        record = save(url, value)
        assert artifacts.fetch(url, tmp_path).record == record
        back = load(url, tmp_path)
        if isinstance(value, Path):
            assert back.name == value.name
            assert (back / "deep" / "f" if value.is_dir() else back).read_text() in ("deep", "file")
        else:
            assert back == value


def test_a_writer_killed_midway_leaves_nothing_that_a_reader_takes_for_whole(tmp_path: Path) -> None:
    url, pipe = f"{tmp_path}/artifacts/a", tmp_path / "big.bin"
    os.mkfifo(pipe)
    code = "import sys; from aiflow_ext.engines.artifacts import Path, save; save(sys.argv[1], Path(sys.argv[2]))"
    writer = subprocess.Popen([sys.executable, "-c", code, url, str(pipe)])
    with open(pipe, "wb") as source:
        source.write(b"x" * 4 * 2**20)  # returns when all but a pipe's buffer has been taken
        source.flush()
        assert list(Path(url).iterdir())
        with pytest.raises(ArtifactError, match="never completed"):
            load(url, tmp_path)
        writer.kill()
        writer.wait()
    assert [path.suffix for path in Path(url).iterdir()] == [".part"]
    with pytest.raises(ArtifactError, match="never completed"):
        load(url, tmp_path)
    save(url, "whole")
    assert load(url, tmp_path) == "whole"


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from aiflow_ext.engines.artifacts import save, ArtifactError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: save(sys.argv[1], b'x' * 5000)\n"
        "except ArtifactError as error: print(error)"
    )
    url = f"{tmp_path}/artifacts/a"
    said = subprocess.run([sys.executable, "-B", "-c", code, url], capture_output=True, text=True, check=True).stdout
    assert f"the artifact {url} cannot be written: " in said
    assert "File too large" in said
    assert list(Path(url).iterdir()) == []


def test_a_folder_with_a_link_to_nowhere_or_round_itself_is_a_sentence(tmp_path: Path) -> None:
    for name, target in (("dangling", "missing"), ("around", "around"), ("up", tmp_path)):
        folder = tmp_path / name / "model"
        folder.mkdir(parents=True)
        (folder / name).symlink_to(target)
        with pytest.raises(ArtifactError, match="cannot be written"):
            save(f"{tmp_path}/artifacts/{name}", folder)
        with pytest.raises(ArtifactError, match="never completed"):
            load(f"{tmp_path}/artifacts/{name}", tmp_path)


def test_what_is_complete_is_read_only_so_that_no_reader_changes_it_for_the_next(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    save(f"{tmp_path}/a", tmp_path / "f")
    assert load(f"{tmp_path}/a", tmp_path).stat().st_mode & 0o222 == 0
    assert (tmp_path / "f").stat().st_mode & 0o200


def test_a_form_of_a_later_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    url = f"{tmp_path}/a"
    Path(f"{url}.json").write_bytes(save(url, "x")._replace(form="arrow").to_bytes())
    with pytest.raises(ArtifactError, match="has the form 'arrow', which this version does not know"):
        load(url, tmp_path)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("[]", "it is a JSON list"),
        ("3", "it is a JSON int"),
        ("[" * 100_000, "it is nested too deeply"),
        ("not json", "damaged"),
        ({"file": "../../other"}, "its 'file' is '../../other', which is no plain file name"),
        ({"file": ".."}, "no plain file name"),
        ({"file": "/etc/passwd"}, "no plain file name"),
        ({"form": "folder", "name": "../x"}, "its 'name' is '../x', which is no plain file name"),
        ({"size": "1"}, "its 'size' is no int"),
        ({"size": True}, "its 'size' is no int"),
        ({"size": -1}, "negative"),
        ({"sha256": None}, "its 'sha256' is missing"),
        ({"form": ["str"]}, "its 'form' is no str"),
        ({"files": 1.5}, "its 'files' is no int"),
        (" " * (1 << 20) + "{}", "longer than"),
    ],
)
@pytest.mark.parametrize("scheme", ["", "local://"])
def test_a_record_that_is_no_record_is_a_sentence(tmp_path: Path, scheme: str, record: Any, words: str) -> None:
    url = f"{scheme}{tmp_path}/a"
    fields = save(url, "x")._asdict()
    text = record if isinstance(record, str) else json.dumps(fields | record)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ArtifactError, match=words):
        load(url, tmp_path)
    assert not (tmp_path.parent / "other").exists()


def test_a_fifo_or_an_endless_device_in_place_of_an_artifact_is_a_sentence(tmp_path: Path) -> None:
    for name in ("fifo", "endless"):
        save(f"{tmp_path}/{name}", "x")
        (tmp_path / name / "value.txt").unlink()
    os.mkfifo(tmp_path / "fifo" / "value.txt")
    (tmp_path / "endless" / "value.txt").symlink_to("/dev/zero")
    for name, kind in (("fifo", "a FIFO"), ("endless", "a device")):
        with pytest.raises(ArtifactError, match=f"cannot be read: it is {kind}, not a regular file"):
            load(f"{tmp_path}/{name}", tmp_path)
        os.rename(tmp_path / name / "value.txt", tmp_path / f"{name}.json")
        with pytest.raises(ArtifactError, match=f"cannot be read: it is {kind}, not a regular file"):
            load(f"{tmp_path}/{name}", tmp_path)


def test_a_file_that_is_longer_than_its_record_says_is_not_read_to_its_end(tmp_path: Path) -> None:
    save(f"{tmp_path}/a", "x")
    (tmp_path / "a" / "value.txt").chmod(0o600)
    os.truncate(tmp_path / "a" / "value.txt", 1 << 40)
    with pytest.raises(ArtifactError, match="not what its producer recorded"):
        load(f"{tmp_path}/a", tmp_path)


def test_the_bytes_that_were_checked_are_those_that_are_unpickled(tmp_path: Path) -> None:
    save(f"{tmp_path}/a", {"x": 1})
    fetched = artifacts.fetch(f"{tmp_path}/a", tmp_path)
    (tmp_path / "a" / "value.pkl").chmod(0o600)
    (tmp_path / "a" / "value.pkl").write_bytes(pickle.dumps("swapped"))
    assert artifacts.value_of(fetched, tmp_path) == {"x": 1}


def test_the_folder_that_was_checked_is_the_one_that_is_used(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("good")
    save(f"{tmp_path}/a", tmp_path / "model")
    fetched = artifacts.fetch(f"{tmp_path}/a", tmp_path)
    packed = tmp_path / "a" / "model.tar"
    packed.chmod(0o600)
    packed.write_bytes(packed.read_bytes().replace(b"good", b"evil"))
    with pytest.raises(ArtifactError, match="not what its producer recorded"):
        artifacts.value_of(fetched, tmp_path)
    assert not list(tmp_path.glob("input-*"))


def _tar(*members: tuple[str, str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            if kind == "file":
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
            else:
                info.type = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE,
                             "device": tarfile.CHRTYPE, "folder": tarfile.DIRTYPE}[kind]  # fmt: skip
                info.linkname = text
                tar.addfile(info)
    return packed.getvalue()


def _sparse() -> bytes:
    header = tarfile.TarInfo("model/weights")
    header.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(600 << 20)}
    body = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
    header.size = len(body)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(header, io.BytesIO(body))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (_tar(("../outside", "file", "x")), "its member '../outside' leads out of it"),
        (_tar(("/tmp/outside", "file", "x")), "leads out of it"),
        (_tar(("model", "link", "/etc")), "leads out of it"),
        (_tar(("model", "link", "..")), "leads out of it"),
        (_tar(("model", "folder", ""), ("model/up", "link", "../.."), ("model/up/x", "file", "x")), "leads out of it"),
        (_tar(("model", "hard", "/etc/passwd")), "no folder, link or whole file"),
        (_tar(("model", "fifo", "")), "no folder, link or whole file"),
        (_tar(("model", "device", "")), "no folder, link or whole file"),
        (_sparse(), "no folder, link or whole file"),
        (b"no tar at all" * 100, "cannot be unpacked"),
        (b"", "cannot be unpacked"),
    ],
)
def test_a_tar_that_we_did_not_pack_is_a_sentence_and_leaves_nothing(tmp_path: Path, packed: bytes, words: str) -> None:
    (tmp_path / "model").mkdir()
    record = save(f"{tmp_path}/a", tmp_path / "model")
    (tmp_path / "packed").write_bytes(packed)
    stored = save(f"{tmp_path}/b", tmp_path / "packed")
    Path(f"{tmp_path}/b.json").write_bytes(stored._replace(form="folder", name=record.name).to_bytes())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArtifactError, match=words):
        load(f"{tmp_path}/b", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
