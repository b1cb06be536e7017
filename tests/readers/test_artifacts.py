"""The record of an artifact: whatever is in it, the artifact is what was stored or an error in words."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from fuzz import SCALARS, examples, spoilt
from hypothesis import given
from hypothesis import strategies as st

from aiflow_ext.engines.artifacts import ArtifactError, load, save

VALUES = ["text", b"bytes", bytearray(b"array"), {"a": 1}, Path(__file__)]
RECORDS: list[dict[str, Any]] = []
with tempfile.TemporaryDirectory() as made:
    for value in VALUES:
        RECORDS.append(json.loads(save(f"{made}/{len(RECORDS)}", value).to_bytes()))
ANY = st.one_of(
    st.tuples(st.integers(0, len(VALUES) - 1)).flatmap(lambda at: st.tuples(st.just(at[0]), spoilt(RECORDS[at[0]]))),
    st.tuples(
        st.integers(0, len(VALUES) - 1),
        st.dictionaries(st.sampled_from([*RECORDS[3], "name", "later"]), SCALARS),
    ),
)


@examples(80)
@given(made=ANY, cut=st.one_of(st.none(), st.integers(0, 200)), tail=st.binary(max_size=3))
def test_an_artifact_is_what_was_stored_or_an_error(made: tuple[int, Any], cut: int | None, tail: bytes) -> None:
    number, record = made
    with tempfile.TemporaryDirectory() as folder:
        save(f"{folder}/a", VALUES[number])
        text = json.dumps(record).encode("utf-8", "surrogatepass")
        written = Path(f"{folder}/a.json")
        written.chmod(0o600)
        written.write_bytes(text[:cut] + tail)
        try:
            found = load(f"{folder}/a", Path(folder))
        except ArtifactError:
            return
        assert _bytes(found) == _bytes(VALUES[number])


def _bytes(value: Any) -> bytes:
    """What of a value does not depend on its form, which the record alone tells."""
    if isinstance(value, Path):
        return value.read_bytes()
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return bytes(value) if isinstance(value, (bytes, bytearray)) else repr(value).encode()
