"""Secrets: references are stored and shown, values are read when they are sent, and every missing one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiflow_ext.host.secrets import is_secret, read, resolve, shown
from aiflow_ext.model.errors import SecretError

REFERENCE = {"secret": "env:TOKEN_OF_TEST"}


def test_what_is_shown_is_the_reference_whether_it_can_be_read_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "hunter2")
    env = {"TOKEN": REFERENCE, "DEBUG": True, "N": 3, "WORD": "x"}
    assert shown(env) == {"TOKEN": "${secret:env:TOKEN_OF_TEST}", "DEBUG": "true", "N": "3", "WORD": "x"}
    assert resolve(env) == {"TOKEN": "hunter2", "DEBUG": "true", "N": "3", "WORD": "x"}


def test_a_file_gives_its_text_without_the_last_newline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("two\nlines \n")
    assert read(f"file:{tmp_path}/token") == "two\nlines "
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read("file:~/token") == "two\nlines "


def test_every_missing_secret_is_named_at_once_with_its_variable_and_no_value(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"\xff\xfe")
    env = {
        "A": {"secret": "env:NOT_SET_ANYWHERE"},
        "B": {"secret": f"file:{tmp_path}/missing"},
        "C": {"secret": f"file:{tmp_path}"},
        "D": {"secret": f"file:{tmp_path}/raw"},
        "E": {"secret": "kubernetes:name/key"},
        "F": {"secret": "hunter2"},
    }
    with pytest.raises(SecretError) as caught:
        resolve(env)
    told = [problem.message for problem in caught.value.problems]
    assert [message.split(":")[0] for message in told] == [f"variable {name}" for name in env]
    for words, message in zip(("not set", "No such file", "a folder", "not text", "this machine"), told, strict=False):
        assert words in message
    assert all(problem.hint for problem in caught.value.problems)


def test_only_a_mapping_of_the_one_key_is_a_secret() -> None:
    assert is_secret({"secret": "env:X"})
    assert not any(map(is_secret, ({"secret": "env:X", "more": 1}, "env:X", None, {})))
