"""The project archive: what travels, what is named as unable to, and one address for one content."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiflow_ext as af
from aiflow_ext.engines.archive import ProjectArchive
from aiflow_ext.model.errors import CodeError
from aiflow_ext.translate.files import files_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "workflow.py").write_text("x = 1\n")
    return root


def scan(root: Path, *exclude: str, artifacts: str = "") -> ProjectArchive:
    return ProjectArchive(af.ProjectDesc(root=str(root), exclude=exclude, artifacts=artifacts))


def sent(archive: ProjectArchive) -> set[str]:
    names = [name for name, _ in (*archive.files, *archive.links)]
    return {name.removeprefix("project/") for name in names if name.startswith("project/")}


def problem_of(root: Path, *exclude: str) -> str:
    with pytest.raises(CodeError) as caught:
        scan(root, *exclude)
    (problem,) = caught.value.problems
    return str(problem)


def tree(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


def test_the_same_project_has_the_same_address_wherever_and_whenever(root: Path, tmp_path: Path) -> None:
    (root / "data").mkdir()
    (root / "data" / "a").write_text("a")
    first = scan(root)
    copy = tmp_path / "elsewhere"
    shutil.copytree(root, copy)
    os.utime(copy / "workflow.py", (1, 1))
    (copy / "workflow.py").chmod(0o600)
    assert scan(copy).sha256 == first.sha256
    assert len(first.sha256) == 64
    assert first.home(tmp_path) == tmp_path / first.sha256[:16]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "workflow.py").write_text("x = 2\n"),
        lambda root: (root / "workflow.py").chmod(0o755),
        lambda root: (root / "workflow.py").rename(root / "other.py"),
        lambda root: (root / "more").write_text(""),
        lambda root: (root / "link").symlink_to("workflow.py"),
    ],
    ids=["content", "exec bit", "name", "a file", "a link"],
)
def test_any_change_that_a_job_could_see_is_another_address(root: Path, change: Callable[[Path], object]) -> None:
    before = scan(root).sha256
    change(root)
    assert scan(root).sha256 != before


def test_the_tar_is_the_same_to_the_byte_and_unpacks_to_the_same_tree(root: Path, tmp_path: Path) -> None:
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o775)
    (root / "sub").mkdir()
    (root / "sub" / "link").symlink_to("../run.sh")
    archive = scan(root)
    archive.write(tmp_path / "one.tgz")
    os.utime(root / "run.sh", (1, 1))
    scan(root).write(tmp_path / "two.tgz")
    assert (tmp_path / "one.tgz").read_bytes() == (tmp_path / "two.tgz").read_bytes()
    with tarfile.open(tmp_path / "one.tgz") as tar:
        assert all((info.mtime, info.uid, info.uname) == (0, 0, "") for info in tar)
        tar.extractall(tmp_path / "unpacked")
    home = archive.copy_to(tmp_path / "bundle")
    assert tree(tmp_path / "unpacked") == tree(home)
    assert tree(home)["project/run.sh"] == (b"#!/bin/sh\n", 0o755)
    assert tree(home)["project/workflow.py"] == (b"x = 1\n", 0o644)
    assert tree(home)["project/sub/link"] == "../run.sh"


def test_names_of_any_bytes_travel(root: Path, tmp_path: Path) -> None:
    names = [b"with space", "\u00e9\U0001f642".encode(), b"new\nline", b"raw\xff\xfe", b"-rf", b"q'\"$`", b"x" * 250]
    for name in names:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
    archive = scan(root)
    home = archive.copy_to(tmp_path / "bundle")
    archive.write(tmp_path / "a.tgz")
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "xzf", tmp_path / "a.tgz", "-C", tmp_path / "unpacked"], check=True)
    for made in (home, tmp_path / "unpacked"):
        for name in names:
            assert Path(os.fsdecode(os.fsencode(made) + b"/project/" + name)).read_bytes() == name


FILES = st.dictionaries(st.text("ab\n\\0 ", min_size=1, max_size=4), st.binary(max_size=8), max_size=5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FILES, min_size=2, max_size=4))
def test_two_projects_share_an_address_only_if_they_are_one(tmp_path: Path, projects: list[dict[str, bytes]]) -> None:
    seen: dict[str, dict[str, bytes]] = {}
    for files in projects:
        root = tmp_path / hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            (root / name).write_bytes(content)
        assert seen.setdefault(scan(root).sha256, files) == files


def test_what_is_never_part_of_a_project_stays_behind(root: Path) -> None:
    left = [".git/config", "__pycache__/x.pyc", "a/__pycache__/y.pyc", "b.pyc", ".aiflow/runs/r", "venv/pyvenv.cfg",
            "venv/lib/big.py", "conda/conda-meta/history", "out/run/x.json", "node_modules/m"]  # fmt: skip
    for name in [*left, "a/kept.py"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    assert sent(scan(root, artifacts=str(root / "out"))) == {"workflow.py", "a/kept.py"}


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["data"], {"workflow.py", "sub/b.csv", "sub/c.txt"}),
        (["data/"], {"workflow.py", "sub/b.csv", "sub/c.txt"}),
        (["./data/", "/sub"], {"workflow.py"}),
        (["*.csv"], {"workflow.py", "data/deep/d.txt", "sub/c.txt"}),
        (["**/*.csv"], {"workflow.py", "data/deep/d.txt", "sub/c.txt"}),
        (["sub/*.csv", "deep"], {"workflow.py", "data/a.csv", "sub/c.txt"}),
        (["data/**"], {"workflow.py", "sub/b.csv", "sub/c.txt"}),
        (["[ds]*", "nothing"], {"workflow.py"}),
    ],
)
def test_exclude_takes_names_and_paths_and_patterns_of_both(root: Path, patterns: list[str], left: set[str]) -> None:
    for name in ("data/a.csv", "data/deep/d.txt", "sub/b.csv", "sub/c.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    assert sent(scan(root, *patterns)) == left


def test_a_file_of_2_gb_is_named_with_the_way_to_leave_it_out_and_is_never_read(root: Path) -> None:
    (root / "data").mkdir()
    with open(root / "data" / "big.bin", "wb") as file:
        file.truncate(2 * 2**30)
    started = time.process_time()
    told = problem_of(root)
    assert time.process_time() - started < 0.5  # reading it would take more
    assert "data/big.bin (2048 MB)" in told
    assert "the limit is 512 MB" in told
    assert "exclude in project.yaml" in told
    assert sent(scan(root, "data/*.bin")) == {"workflow.py"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: (root / "a").symlink_to("a"), "leads round in a circle"),
        (lambda root: (root / "a").symlink_to("missing"), "a link to missing, which is not there"),
        (lambda root: (root / "a").symlink_to("/etc/passwd"), "a link out of the project, to /etc/passwd"),
        (lambda root: (root / "a").symlink_to(".."), "a link out of the project"),
        (lambda root: os.mkfifo(root / "a"), "is no file, folder or link"),
        (lambda root: socket.socket(socket.AF_UNIX).bind(os.path.relpath(root / "a")), "is no file, folder or link"),
        (lambda root: ((root / ".git").mkdir(), (root / "a").symlink_to(".git")), "a link to .git, which is left out"),
    ],
    ids=["loop", "dangling", "out", "parent", "fifo", "socket", "left out"],
)  # fmt: skip
def test_what_would_lead_nowhere_in_a_job_is_named(root: Path, make: Callable[[Path], object], words: str) -> None:
    make(root)
    told = problem_of(root)
    assert f"{root}/a: " in told
    assert words in told
    assert "exclude" in told
    assert "a" not in sent(scan(root, "a"))


def test_every_file_that_cannot_travel_is_named_at_once(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "gone").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    with pytest.raises(CodeError) as caught:
        scan(root)
    assert sorted(Path(str(problem.where)).name for problem in caught.value.problems) == ["gone", "loop", "pipe"]


def test_a_link_that_stays_inside_stays_a_link(root: Path, tmp_path: Path) -> None:
    (root / "data" / "deep").mkdir(parents=True)
    (root / "data" / "deep" / "f").write_text("x")
    (root / "to_folder").symlink_to("data")
    (root / "absolute").symlink_to(root / "data" / "deep" / "f")
    (root / "through").symlink_to("to_folder/deep/f")
    (root / "data" / "up").symlink_to("..")  # a circle of folders, which nobody walks
    project = scan(root).copy_to(tmp_path / "bundle") / "project"
    for name in ("absolute", "through", "to_folder/deep/f", "data/up/data/deep/f"):
        assert (project / name).read_text() == "x"
    assert not os.path.isabs(os.readlink(project / "absolute"))


@pytest.fixture
def open_root() -> Iterator[Path]:
    """Where other users may come, as they may not into pytest's folders, which each start of pytest closes."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "workflow.py").write_text("x = 1\n")
        yield Path(folder)


def test_a_file_that_the_user_may_not_read_is_named(open_root: Path) -> None:
    root = open_root
    (root / "secret").write_text("x")
    (root / "closed").mkdir()
    (root / "secret").chmod(0)
    (root / "closed").chmod(0)
    code = (
        "import os, sys, aiflow_ext as af\nfrom aiflow_ext.engines.archive import ProjectArchive\n"
        "def told():\n"
        "    try: ProjectArchive(af.ProjectDesc(root=sys.argv[1]))\n"
        "    except af.AiflowError as error: return error\n"
        "told()  # all is imported now: an ordinary user may not even read root's interpreter\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(told())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    (root / "closed").chmod(0o700)
    assert f"{root}/secret: cannot be read: no permission" in done.stdout
    assert f"{root}/closed: cannot be read: Permission denied" in done.stdout
    assert done.stdout.count("exclude it in project.yaml") == 2


def test_processes_that_copy_at_once_end_up_with_one_whole_copy(root: Path, tmp_path: Path) -> None:
    for number in range(200):
        (root / f"f{number}").write_text("x" * number)
    code = (
        "import sys, pathlib, aiflow_ext as af; from aiflow_ext.engines.archive import ProjectArchive\n"
        "archive = ProjectArchive(af.ProjectDesc(root=sys.argv[1])); print('ready', flush=True); sys.stdin.read(1)\n"
        "print(archive.copy_to(pathlib.Path(sys.argv[2])))"
    )
    argv = [sys.executable, "-B", "-c", code, str(root), str(tmp_path / "bundle")]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("x")
        worker.stdin.flush()
    (home,) = {worker.communicate()[0].strip() for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert os.listdir(tmp_path / "bundle") == [Path(home).name]
    assert len(os.listdir(Path(home, "project"))) == 201


def test_a_second_copy_costs_nothing_and_leaves_the_first(root: Path, tmp_path: Path) -> None:
    archive = scan(root)
    home = archive.copy_to(tmp_path / "bundle")
    inode = (home / "project").stat().st_ino
    assert archive.copy_to(tmp_path / "bundle") == home
    assert (home / "project").stat().st_ino == inode


def test_files_that_hold_secrets_by_custom_stay_here_unless_they_are_included(root):
    for name in (".env", ".env.local", ".env.example", ".envrc", "deep/.env", "token", "x.env", "env"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("PASSWORD=hunter2\n")
    (root / "alias").symlink_to("token")
    desc = af.ProjectDesc(root=str(root), secret_files=["token", "alias"])
    archive = ProjectArchive(desc)
    assert sent(archive) == {"workflow.py", ".env.example", "x.env", "env"}
    assert files_of(desc).withheld == [".env", ".env.local", ".envrc", "alias", "deep/.env", "token"]
    everything = af.ProjectDesc(root=str(root), secret_files=["token", "alias"], include=[".env*", "token", "alias"])
    assert files_of(everything).withheld == []
    assert sent(ProjectArchive(everything)) == sent(archive) | {*files_of(desc).withheld}
    one = af.ProjectDesc(root=str(root), include=["deep/.env"], exclude=["token", "alias"])
    assert sent(ProjectArchive(one)) == sent(archive) | {"deep/.env"}
