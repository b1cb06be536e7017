"""workflow.yaml as text: what is no YAML, what would build something, and where everything stands."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiflow_ext.model.errors import ConfigError
from aiflow_ext.translate.yaml_source import Located, plain_scalar, read_yaml


@pytest.fixture
def yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], Located]:
    monkeypatch.chdir(tmp_path)

    def read(text: str | bytes) -> Located:
        Path("w.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml("w.yaml")

    return read


def told(error: pytest.ExceptionInfo[ConfigError]) -> list[tuple[str | None, str]]:
    return [(problem.where, problem.message) for problem in error.value.problems]


def test_every_part_knows_its_line(yaml: Callable[[str], Located]) -> None:
    read = yaml("a:\n  b: 1\n  c:\n  - x\n  - y:\n     2\n")
    assert read.value == {"a": {"b": 1, "c": ["x", {"y": 2}]}}
    assert read.where(("a", "b")) == "w.yaml:2"
    assert read.where(("a", "c", 0)) == "w.yaml:4"
    assert read.where(("a", "c", 1, "y")) == "w.yaml:5"
    assert read.where(("a", "nowhere", "deeper")) == "w.yaml:1"


def test_an_alias_knows_where_its_anchor_stands_and_a_merge_does_not_override(yaml: Callable[[str], Located]) -> None:
    read = yaml("base: &b\n  x: 1\n  y: 2\njob:\n  <<: *b\n  y: 3\nlist: [*b]\n")
    assert read.value["job"] == {"x": 1, "y": 3}
    assert read.value["list"] == [{"x": 1, "y": 2}]
    assert (read.where(("job", "x")), read.where(("job", "y"))) == ("w.yaml:2", "w.yaml:6")


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "~"])
def test_an_empty_file_is_an_empty_mapping(yaml: Callable[[str], Located], text: str) -> None:
    assert yaml(text).value == {}


# YAML 1.2's core schema, wherever a value is read: in a file, by -p and by --set.
SCALARS = {
    "012": 12, "007": 7, "0o12": 10, "0x1F": 31, "+3": 3, "-3": -3, "0": 0, "1e3": 1000.0, "1e-3": 0.001,
    "2.5E+3": 2500.0, ".5": 0.5, "5.": 5.0, "-.5": -0.5, "0.10": 0.1, "01.5": 1.5, ".inf": float("inf"), "true": True,
    "False": False, "null": None, "~": None,
    **{text: text for text in (
        "yes", "no", "on", "off", "Yes", "NO", "y", "n", "1_000", "0b11", "0o8", "08x", "1e999", "12:30", "12:30:45",
        "1:30:00.5", "2024-05-01", "2024-05-01 10:00:00", "1.2.3", "1e", ".", "tRue", "nan", "inf", "=", "-0x1F", "0x",
    )},
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_an_unquoted_scalar_is_what_yaml_1_2_says(yaml: Callable[[str], Located], text: str, value: Any) -> None:
    block, flow = yaml(f"k: {text}").value["k"], yaml(f"k: [{text}]").value["k"][0]
    for read in (block, flow, plain_scalar(text, "-p").value):
        assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'012'", "012"),
        ("'1e-3'", "1e-3"),
        ("!!str 3", "3"),
        ("!!str 012", "012"),
        ('!!int "3"', 3),
        ('!!int "012"', 12),
        ("!!float 1", 1.0),
    ],
)
def test_quotes_and_tags_say_what_a_scalar_is(yaml: Callable[[str], Located], text: str, value: Any) -> None:
    read = yaml(f"k: {text}").value["k"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1,\n", 3),
        ("a: 1\nb: c: d\n", 2),
        ("a:\n\t- 1\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: *nobody\n", 1),
        ("a: 1\nb: \x00\n", 2),
        ("a: &x 1\nb: &x 'open\n", 3),
    ],
)
def test_invalid_yaml_is_named_with_its_line(yaml: Callable[[str], Located], text: str, line: int) -> None:
    with pytest.raises(ConfigError) as error:
        yaml(text)
    assert error.value.problems[0].where == f"w.yaml:{line}"
    assert "not valid YAML" in error.value.problems[0].message


def test_a_tab_is_explained(yaml: Callable[[str], Located]) -> None:
    with pytest.raises(ConfigError, match="indent with spaces"):
        yaml("a:\n\t- 1\n")


def test_bytes_that_are_no_text_are_named_with_their_line(yaml: Callable[[bytes], Located]) -> None:
    with pytest.raises(ConfigError) as error:
        yaml(b"a: 1\nb: \xff\n")
    assert told(error) == [("w.yaml:2", "this is not UTF-8 text")]


def test_each_key_given_twice_is_named_with_both_lines(yaml: Callable[[str], Located]) -> None:
    with pytest.raises(ConfigError) as error:
        yaml("a: 1\nb:\n  x: 1\n  x: 2\na: 3\n")
    assert told(error) == [
        ("w.yaml:4", "the key 'x' is given twice, first at w.yaml:3"),
        ("w.yaml:5", "the key 'a' is given twice, first at w.yaml:1"),
    ]


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch built']",
        "!!python/object:os.stat_result {}",
        "!!python/name:os.system ''",
        "!mine {a: 1}",
        "!!set {a}",
        "!!binary aGk=",
        "!!timestamps x",
    ],
)
def test_a_tag_that_wants_an_object_is_named_and_nothing_is_built(yaml: Callable[[str], Located], tag: str) -> None:
    with pytest.raises(ConfigError) as error:
        yaml(f"a: 1\nb: {tag}\n")
    [(where, message)] = told(error)
    assert where == "w.yaml:2"
    assert tag.split()[0] in message
    assert not os.path.exists("built")


def test_everything_readable_that_is_wrong_is_reported_at_once(yaml: Callable[[str], Located]) -> None:
    with pytest.raises(ConfigError) as error:
        yaml("a: !x 1\na: 2\n[1, 2]: 3\nb: !!int three\n<<: 5\n")
    assert [problem.where for problem in error.value.problems] == [f"w.yaml:{n}" for n in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("text", ["- a\n", "just words", "42"])
def test_a_file_that_is_no_mapping_is_an_error(yaml: Callable[[str], Located], text: str) -> None:
    with pytest.raises(ConfigError, match="not a mapping"):
        yaml(text)


def test_an_alias_bomb_is_refused_before_it_unfolds(yaml: Callable[[str], Located]) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="aliases repeat"):  # 9 ** 12 values would not fit into memory
        yaml("\n".join(lines))


def test_an_alias_of_what_it_stands_in_is_refused(yaml: Callable[[str], Located]) -> None:
    with pytest.raises(ConfigError, match="inside what it names"):
        yaml("a: &a {b: [*a]}\n")


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{a: " * 5_000 + "1" + "}" * 5_000])
def test_text_nested_without_end_is_refused_and_does_not_crash(yaml: Callable[[str], Located], text: str) -> None:
    with pytest.raises(ConfigError, match="levels deep"):
        yaml(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read_yaml(tmp_path)
    assert "cannot be read" in str(error.value)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(), st.text("{}[]:,&*!|>-?'\"#%@ \n\tab1~<=", max_size=40)).map(str), st.binary(max_size=20))
def test_no_text_leads_to_anything_but_data_or_a_config_error(tmp_path: Path, text: str, tail: bytes) -> None:
    file = tmp_path / "w.yaml"
    for data in (text.encode("utf-8", "surrogatepass"), text.encode("utf-8", "surrogatepass") + tail):
        file.write_bytes(data)
        with contextlib.suppress(ConfigError):
            assert isinstance(read_yaml(file).value, dict)


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_words_on_the_command_line_are_a_value(text: str) -> None:
    assert isinstance(plain_scalar(text, "-p").value, (str, int, float, type(None)))
