"""What the application master tells of the child that its specification describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiflow_ext_yarn.master.spec import Child, Values


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
