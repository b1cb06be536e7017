"""The index of installed plugins, with a right checksum: whatever is in it, plugins are listed and resolved."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz import examples
from hypothesis import given
from hypothesis import strategies as st

import aiflow_ext as af
from aiflow_ext.host import index
from aiflow_ext.host.records import KINDS, STATUSES
from aiflow_ext.host.scan import scan
from aiflow_ext.model.errors import PluginError

FIELDS = st.one_of(
    st.text(max_size=12), st.sampled_from(["", "0", "99999999999999999999", "-", "?", "1 2 3 4", "\t", "\n"])
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[list[str]]]]:
    """Where the index is, and its lines, each as its fields."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        body, path = index._format(scan()), index._file(index.key())
        assert body is not None
        assert path is not None
        os.makedirs(os.path.dirname(path), mode=0o700)
        yield Path(path), [line.split("\t") for line in body.decode("utf-8", "surrogateescape").split("\n")]


@examples(40)
@given(changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), FIELDS, st.booleans()), max_size=3),
       cut=st.one_of(st.just(None), st.integers(0, 4000)))  # fmt: skip
def test_an_index_is_used_as_a_whole_or_not_at_all(
    written: tuple[Path, list[list[str]]], changes: list[tuple[int, int, str, bool]], cut: int | None
) -> None:
    path, good = written
    lines = [list(fields) for fields in good]
    for line, field, text, gone in changes:
        fields = lines[line % len(lines)]
        fields[field % len(fields) : field % len(fields) + 1] = [] if gone and len(fields) > 1 else [text]
    body = "\n".join(map("\t".join, lines)).encode("utf-8", "surrogateescape")[:cut]
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with open(descriptor, "wb") as file:
        file.write(index._head(body) + b"\n" + body)
    host = af.PluginHost()
    for record in host.plugins():
        assert record.kind in KINDS
        assert record.status in STATUSES
    with contextlib.suppress(PluginError):
        host.resolve("local", "cmd_line")
