"""Kept logs: read from the attempt's folder before a platform is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiflow_ext.plugin.engines import STREAMS, read_log_file


@pytest.mark.parametrize("stream", STREAMS)
def test_a_kept_log_is_read_from_its_byte_on_and_is_none_until_it_is_kept(tmp_path: Path, stream: str) -> None:
    assert read_log_file(tmp_path, stream, 0) is None
    (tmp_path / stream).write_bytes(b"one\r\ntwo")
    assert [read_log_file(tmp_path, stream, offset) for offset in (0, 5, 8, 99)] == [b"one\r\ntwo", b"two", b"", b""]


def test_no_other_file_of_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"stdout or stderr, not 'payload\.json'"):
        read_log_file(tmp_path, "payload.json", 0)
