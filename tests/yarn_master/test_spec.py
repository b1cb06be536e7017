"""What the application master tells of the child that its specification describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiflow_ext_yarn.master.spec import Child, SpecError, Values, check_image, log_pages


@pytest.mark.parametrize(
    ("left", "code", "told"),
    [
        (None, 0, (0, None)),
        ("not done", 0, (1, "not done")),
        ("not done", 3, (3, None)),
        ("not done", None, (None, None)),  # ended by a signal
        ("no data\nand more", 3, (3, "no data")),
        ("words of its own", 0, (0, "words of its own")),
    ],
)
def test_an_exit_code_0_before_the_child_was_done_is_no_success(
    tmp_path: Path, left: str | None, code: int | None, told: tuple[int | None, str | None]
) -> None:
    if left is not None:
        (tmp_path / "reason").write_text(left)
    spec = {"argv": ["true"], "mark": "m", "reason_file": "reason", "unfinished": "not done"}
    assert Child(spec, Values(str(tmp_path), {}), str(tmp_path)).result(code) == told


def test_a_job_in_an_image_does_not_start_on_the_node_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DefaultContainerExecutor, which ignores images, leaves a script of this name."""
    monkeypatch.chdir(tmp_path)
    check_image("docker")
    (tmp_path / "default_container_executor.sh").touch()
    check_image(None)
    with pytest.raises(SpecError, match="ignores that container: asks for runc"):
        check_image("runc")


@pytest.mark.parametrize(
    ("said", "steps", "progress"),
    [(None, 1, 0.5), (None, 4, 0.125), ("0", 4, 0.125), ("3\n", 4, 0.875), ("4", 4, 0.975), ("-1", 4, 0.125),
     ("all", 4, 0.125), ("9" * 12, 4, 0.125)],
)  # fmt: skip
def test_progress_is_neither_0_nor_1_while_a_job_runs(
    tmp_path: Path, said: str | None, steps: int, progress: float
) -> None:
    """0 is for one that has not begun."""
    if said is not None:
        (tmp_path / "progress").write_text(said)
    spec = {"argv": ["true"], "mark": "m", "progress_file": "progress", "steps": steps}
    child = Child(spec, Values(str(tmp_path), {}), str(tmp_path))
    assert child.progress() == progress
    assert child.env["AIFLOW_PROGRESS_FILE"] == str(tmp_path / "progress")


def test_what_the_job_runs_with_is_written_among_the_containers_logs(tmp_path: Path) -> None:
    child = Child({"argv": ["true"], "mark": "m", "ran_with": "ran-with.json"}, Values("/work", {}), str(tmp_path))
    assert child.env["AIFLOW_RAN_WITH_FILE"] == str(tmp_path / "ran-with.json")
    assert not child.has_said_what_it_ran_with()
    (tmp_path / "ran-with.json").touch()
    assert child.has_said_what_it_ran_with()
    plain = Child({"argv": ["true"], "mark": "m"}, Values("/work", {}), str(tmp_path))
    assert ("AIFLOW_RAN_WITH_FILE" in plain.env, plain.has_said_what_it_ran_with()) == (False, False)


NODE = {"NM_HOST": "n1", "NM_PORT": "8041", "NM_HTTP_PORT": "8042", "CONTAINER_ID": "container_1", "USER": "ada"}
LIVE, SERVER = "n1:8042/node/containerlogs/container_1/ada", "http://jhs:19888/jobhistory/logs"
KEPT = f"{SERVER}/n1:8041/container_1/container_1/ada"


@pytest.mark.parametrize(
    ("given", "environ", "pages"),
    [
        ({"node": True, "log_server": SERVER}, NODE, (LIVE, KEPT)),
        ({"node": True}, NODE, (LIVE, LIVE)),
        ({"log_server": SERVER}, NODE, ("", KEPT)),
        ({}, NODE, ("", "")),
        ({"node": True}, {"NM_HOST": "n1"}, ("", "")),
    ],
)
def test_where_a_containers_logs_are_shown(
    given: dict[str, object], environ: dict[str, str], pages: tuple[str, str]
) -> None:
    assert log_pages(given, environ) == pages


def test_a_url_is_moved_to_the_active_name_node(tmp_path: Path) -> None:
    env = {"DIR": "webhdfs://ada@nn1:9870/kept", "TOKENED": "webhdfs://nn1:9870/kept", "OTHER": "webhdfs://nn1:9870/x"}
    child = Child({"argv": ["true"], "mark": "m", "env": env}, Values(str(tmp_path), {}), str(tmp_path))
    child.move(["DIR", "TOKENED"], "nn2:9870")
    moved = {"DIR": "webhdfs://ada@nn2:9870/kept", "TOKENED": "webhdfs://nn2:9870/kept"}
    assert {name: child.env[name] for name in env} == {**env, **moved}
