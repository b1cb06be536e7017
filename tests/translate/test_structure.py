"""Objects from mappings: every kind of class, strictly, with every mistake at once and never a traceback."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import importlib.util
import ipaddress
import logging
import os
import re
import sys
import threading
import types
import typing
import uuid
import zoneinfo
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiflow_ext as af
from aiflow_ext.model.errors import Problem
from aiflow_ext.translate.signature import signature_of
from aiflow_ext.translate.structure import structure

if typing.TYPE_CHECKING:
    from nowhere import NotThere  # type: ignore[import-not-found]

T = TypeVar("T")
JobId = NewType("JobId", int)


class Pull(enum.Enum):
    ALWAYS = "Always"
    NEVER = "Never"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.define
class Resources:
    cpu: float
    memory: str = "1Gi"


@attrs.frozen
class Image:
    name: str
    pull: Pull = Pull.ALWAYS


@dataclasses.dataclass
class Volume:
    name: str
    size: int = 1
    seed: dataclasses.InitVar[int] = 0
    where: str = dataclasses.field(init=False, default="here")


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Options(TypedDict, total=False):
    fast: bool
    level: int


class Plain:
    def __init__(self, image: Image, replicas: int = 1, anything=None) -> None:  # type: ignore[no-untyped-def]
        self.image, self.replicas, self.anything = image, replicas, anything


@attrs.define
class Box(Generic[T]):
    item: T
    items: list[T] = attrs.field(factory=list)


@attrs.define
class Types:
    whole: int = 0
    real: float = 0.0
    text: str = ""
    flag: bool = False
    maybe: Optional[int] = None  # noqa: UP045
    either: int | list[str] = 0
    old: Union[str, None] = None  # noqa: UP007
    names: list[str] = attrs.field(factory=list)
    some: Sequence[int] = ()
    pair: tuple[int, str] = (0, "")
    many: tuple[int, ...] = ()
    unique: set[str] = attrs.field(factory=set)
    labels: dict[str, int] = attrs.field(factory=dict)
    numbered: Mapping[int, str] = attrs.field(factory=dict)
    loose: dict = attrs.field(factory=dict)  # type: ignore[type-arg]
    mode: Literal["fast", "slow", 3] = "slow"
    pull: Pull = Pull.NEVER
    level: Level = Level.LOW
    path: Path = Path()
    resources: Resources | None = None
    images: list[Image] = attrs.field(factory=list)
    by_name: dict[str, Resources] = attrs.field(factory=dict)
    volume: Volume | None = None
    point: Point | None = None
    options: Options = attrs.field(factory=Options)
    box: Box[int] | None = None
    plain: Plain | None = None
    job: JobId = JobId(0)
    noted: Annotated[int, "a note"] = 0
    day: datetime.date | None = None
    delay: datetime.timedelta | None = None
    queue: collections.deque[int] = attrs.field(factory=collections.deque)
    anything: Any = None
    unknown: NotThere = None


def tried(cls: Any, data: Mapping[Any, Any]) -> tuple[Any, list[Problem]]:
    problems: list[Problem] = []
    made = structure(cls, data, where=lambda path: "at " + "/".join(map(str, path)), problems=problems, what="it")
    assert (made is None) == bool(problems)
    return made, problems


def made(cls: Any, data: Mapping[Any, Any]) -> Any:
    result, problems = tried(cls, data)
    assert not problems
    return result


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("whole", 3, 3),
        ("real", 1, 1.0),
        ("text", "3", "3"),
        ("flag", True, True),
        ("maybe", None, None),
        ("either", ["a"], ["a"]),
        ("either", 3, 3),
        ("old", None, None),
        ("some", [1, 2], [1, 2]),
        ("pair", [1, "a"], (1, "a")),
        ("many", [1, 2, 3], (1, 2, 3)),
        ("unique", ["a", "a"], {"a"}),
        ("labels", {"a": 1}, {"a": 1}),
        ("numbered", {1: "a"}, {1: "a"}),
        ("loose", {1: {"a": []}}, {1: {"a": []}}),
        ("mode", "fast", "fast"),
        ("mode", 3, 3),
        ("pull", "Always", Pull.ALWAYS),
        ("pull", "never", Pull.NEVER),
        ("level", 2, Level.HIGH),
        ("level", "low", Level.LOW),
        ("path", "a/b", Path("a/b")),
        ("resources", {"cpu": 2}, Resources(2.0)),
        ("images", [{"name": "a"}, {"name": "b", "pull": "Never"}], [Image("a"), Image("b", Pull.NEVER)]),
        ("by_name", {"x": {"cpu": 1}}, {"x": Resources(1.0)}),
        ("volume", {"name": "v", "size": 2, "seed": 3}, Volume("v", 2)),
        ("point", {"x": 1}, Point(1.0)),
        ("options", {"fast": True}, {"fast": True}),
        ("box", {"item": 1, "items": [2]}, Box(1, [2])),
        ("job", 7, 7),
        ("noted", 7, 7),
        ("day", "2024-05-01", datetime.date(2024, 5, 1)),
        ("delay", "10m", datetime.timedelta(minutes=10)),
        ("queue", [1], collections.deque([1])),
        ("anything", {"a": [1, None]}, {"a": [1, None]}),
        ("unknown", [1], [1]),
    ],
)
def test_a_value_that_fits_is_taken(name: str, value: Any, expected: Any) -> None:
    found = getattr(made(Types, {name: value}), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("whole", "3", "'whole' must be a whole number, not the text '3'"),
        ("whole", True, "'whole' must be a whole number, not true"),
        ("whole", 1.0, "'whole' must be a whole number, not the number 1.0"),
        ("whole", None, "'whole' must be a whole number, not nothing"),
        ("real", "x", "'real' must be a number"),
        ("real", False, "'real' must be a number, not false"),
        ("real", 10**400, "'real' must be a number, not a huge number"),
        ("text", 3, "'text' must be text, not the number 3"),
        ("flag", 1, "'flag' must be true or false, not the number 1"),
        ("maybe", "x", "'maybe' must be a whole number, not the text 'x'"),
        ("either", "x", "'either' must be a whole number or a list of text, not the text 'x'"),
        ("either", [1], "'either[0]' must be text, not the number 1"),
        ("names", "abc", "'names' must be a list of text, not the text 'abc'"),
        ("names", {"a": 1}, "'names' must be a list of text, not a mapping"),
        ("names", ["a", 2], "'names[1]' must be text"),
        ("pair", [1], "'pair' must have 2 items, not 1"),
        ("unique", [["a"]], "'unique[0]' must be text"),
        ("labels", {"a": "x"}, "'labels.a' must be a whole number"),
        ("labels", {1: 1}, "'labels[1]' is a key that must be text"),
        ("labels", ["a"], "'labels' must be a mapping, not a list"),
        ("mode", "fsat", "'mode' must be one of 'fast', 'slow', 3, not the text 'fsat'"),
        ("mode", True, "'mode' must be one of"),
        ("pull", "Alwys", "'pull' must be one of 'Always', 'Never'"),
        ("level", True, "'level' must be one of 1, 2"),
        ("path", 3, "'path' must be a path"),
        ("resources", {"cpu": "x"}, "'resources.cpu' must be a number"),
        ("resources", {"cpu": 1, "memoryy": "x"}, "'resources.memoryy' is not a key of this mapping"),
        ("resources", {}, "'resources' lacks the key 'cpu' (a number)"),
        ("resources", "big", "'resources' must be a mapping, not the text 'big'"),
        ("images", [{"name": "a"}, {"name": 1}], "'images[1].name' must be text"),
        ("by_name", {"x": {"cpu": []}}, "'by_name.x.cpu' must be a number, not a list"),
        ("volume", {"name": "v", "where": "x"}, "'volume.where' is not a key"),
        ("options", {"fsat": True}, "'options.fsat' is not a key"),
        ("box", {"item": "x"}, "'box.item' must be a whole number"),
        ("plain", {"image": {"name": "a", "pul": 1}}, "'plain.image.pul' is not a key"),
        ("job", "7", "'job' must be a whole number"),
        ("day", "someday", "'day' must be a date such as"),
        ("delay", "soon", "'delay' must be a duration"),
    ],
)
def test_a_value_that_does_not_fit_is_named(name: str, value: Any, words: str) -> None:
    _, [problem] = tried(Types, {name: value})
    assert words in problem.message
    assert problem.where is not None
    assert problem.where.startswith(f"at {name}") or "lacks" in problem.message


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ({"whole": "3"}, "write 3 without quotes"),
        ({"text": 3}, "in quotes"),
        ({"text": True}, "YAML reads this word as true or false"),
        ({"names": "abc"}, "write a list: [abc]"),
        ({"mode": "fsat"}, "did you mean 'fast'"),
        ({"pull": "Alwys"}, "did you mean 'Always'"),
        ({"wole": 3}, "did you mean 'whole'"),
    ],
)
def test_what_to_do_is_said(data: Mapping[str, Any], hint: str) -> None:
    _, [problem] = tried(Types, data)
    assert problem.hint is not None
    assert hint in problem.hint


def test_everything_is_reported_at_once() -> None:
    _, problems = tried(
        Types, {"whole": "x", "images": [{"nam": "a"}, {"name": "b", "pull": 3}], "resourses": {}, 3: 4, "flag": 0}
    )
    assert [problem.where for problem in problems] == [
        "at whole", "at images/0/nam", "at images/0", "at images/1/pull", "at resourses", "at 3", "at flag",
    ]  # fmt: skip


# Plain classes, as the seed's authors write them.


class Unannotated:
    def __init__(self, a, b=2, *rest, c, **more):  # type: ignore[no-untyped-def]
        self.a, self.b, self.c, self.more = a, b, c, more


class Base:
    def __init__(self, queue: str, priority: int = 0) -> None:
        self.queue, self.priority = queue, priority


class Middle(Base):
    def __init__(self, nodes: "int", **kwargs: Any) -> None:  # noqa: UP037
        super().__init__(**kwargs)
        self.nodes = nodes


class Leaf(Middle):
    def __init__(self, name: str = None, **kwargs: Any) -> None:  # type: ignore[assignment]  # noqa: RUF013
        super().__init__(**kwargs)
        self.name = name


class NoInit:
    pass


class PositionalOnly:
    def __init__(self, a: int, /, b: int) -> None:
        self.both = (a, b)


def test_an_unannotated_parameter_takes_the_value_as_it_is() -> None:
    found = made(Unannotated, {"a": [1], "c": None, "other": {"x": 1}})
    assert (found.a, found.b, found.c, found.more) == ([1], 2, None, {"other": {"x": 1}})


def test_kwargs_stand_for_the_parameters_of_the_next_init() -> None:
    found = made(Leaf, {"name": None, "nodes": 2, "queue": "q", "priority": 5})
    assert (found.name, found.nodes, found.queue, found.priority) == (None, 2, "q", 5)
    _, problems = tried(Leaf, {"nodes": "2", "priority": "5", "quque": "q"})
    assert [problem.where for problem in problems] == ["at nodes", "at priority", "at quque"]
    assert "its keys are name, nodes, queue, priority" in str(problems[2])


def test_what_lacks_behind_kwargs_is_reported_as_a_key() -> None:
    _, problems = tried(Leaf, {"nodes": 1})
    assert [problem.message for problem in problems] == ["it lacks the key 'queue'"]


def test_a_class_without_an_init_takes_no_key() -> None:
    assert isinstance(made(NoInit, {}), NoInit)
    _, [problem] = tried(NoInit, {"a": 1})
    assert problem.hint == "it has none"


def test_positional_only_parameters_are_given() -> None:
    assert made(PositionalOnly, {"a": 1, "b": 2}).both == (1, 2)


# What authors' own code raises.


def positive(instance: Any, attribute: Any, value: int) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name} must be positive")


@attrs.define
class Checked:
    size: int = attrs.field(default=1, validator=positive)
    _hidden: int = attrs.field(default=0, alias="shown")
    kind: Any = attrs.field(default="a", validator=attrs.validators.in_(["a", "b"]))
    strict: Any = attrs.field(default="", validator=attrs.validators.instance_of(str))
    number: int = attrs.field(default=0, converter=int)


class Raises:
    def __init__(self, how: str, other: int = 0) -> None:
        raise {"key": KeyError, "value": ValueError, "zero": ZeroDivisionError, "stop": StopIteration}[how](
            "no such how"
        )


@pytest.mark.parametrize(
    ("data", "where", "words"),
    [
        ({"size": -1, "kind": "a"}, "at size", "is refused by Checked: size must be positive"),
        ({"kind": "c"}, "at kind", "'kind' must be in"),
        ({"strict": 3}, "at strict", "'strict' must be <class 'str'>"),
        ({"number": "abc"}, "at ", "invalid literal for int()"),
    ],
)
def test_a_validators_or_converters_words_are_reported_with_the_line(
    data: dict[str, Any], where: str, words: str
) -> None:
    _, [problem] = tried(Checked, data)
    assert words in problem.message
    assert problem.where == where


def test_attrs_aliases_and_converters_are_the_authors() -> None:
    found = made(Checked, {"shown": 5, "number": "7"})
    assert (found._hidden, found.number) == (5, 7)


@pytest.mark.parametrize("how", ["key", "value", "zero", "stop", "nothing"])
def test_an_exception_in_an_init_is_a_problem(how: str) -> None:
    _, [problem] = tried(Raises, {"how": how})
    assert "is refused by Raises" in problem.message


@attrs.define(slots=True)
class Slots:
    a: int


@attrs.frozen
class Frozen:
    a: int
    inner: Resources | None = None


def test_slots_and_frozen_classes_are_made() -> None:
    assert made(Slots, {"a": 1}) == Slots(1)
    assert made(Frozen, {"a": 1, "inner": {"cpu": 1}}) == Frozen(1, Resources(1.0))


def test_names_that_are_local_or_not_there_take_the_value_as_it_is() -> None:
    class Local:
        pass

    class Uses:
        def __init__(self, one: Local, two: NotThere, three: list[int]) -> None:
            self.all = (one, two, three)

    assert made(Uses, {"one": 1, "two": "x", "three": [1]}).all == (1, "x", [1])
    _, [problem] = tried(Uses, {"one": 1, "two": 1, "three": ["x"]})
    assert problem.where == "at three/0"


@pytest.mark.parametrize("decorator", ["attrs.define", "dataclasses.dataclass"])
def test_annotations_of_an_inherited_class_are_read_in_its_own_module(
    decorator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    home = f"inherited_{decorator.partition('.')[0]}"
    future = "from __future__ import annotations\nimport attrs, dataclasses\n"
    (tmp_path / f"{home}.py").write_text(f"{future}Word = str\n@{decorator}\nclass Base:\n    word: Word\n")
    (tmp_path / f"{home}_more.py").write_text(
        f"{future}from {home} import Base\n@{decorator}\nclass More(Base):\n    size: int = 0\n"
    )
    more = importlib.import_module(f"{home}_more").More
    assert made(more, {"word": "a", "size": 1}).word == "a"
    _, problems = tried(more, {"word": 1, "size": "x"})
    assert [problem.where for problem in problems] == ["at word", "at size"]


LATE_WORDS = """
import dataclasses
from typing import TYPE_CHECKING, NamedTuple, TypedDict
import attrs
import aiflow_ext as af

if TYPE_CHECKING:
    from somewhere import Gone


class Base(TypedDict, total=False):
    gone: Gone


class Typed(Base, total=False):
    size: int


class Named(NamedTuple):
    size: int
    gone: Gone = None


@dataclasses.dataclass
class Data:
    size: int
    gone: list[Gone] | None = None


@attrs.define
class Slotted:
    size: int
    gone: Gone = None


class Late(af.BaseJobConfig):
    gone: Gone = None

    def __init__(self, typed: Typed, named: Named, data: Data, slotted: Slotted, raw: Gone = None, **common) -> None:
        super().__init__(**common)
        self.sizes = [typed["size"], named.size, data.size, slotted.size]
        self.raw = raw
"""


def test_an_annotation_may_name_what_only_a_type_checker_imports(tmp_path, monkeypatch) -> None:
    # From Python 3.14 on they are evaluated when somebody asks for them; before that, they are text with the import.
    later = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
    (tmp_path / "late_words.py").write_text(later + LATE_WORDS)
    monkeypatch.syspath_prepend(tmp_path)
    late = importlib.import_module("late_words").Late
    parts = {name: {"size": number, "gone": [1]} for number, name in enumerate(("typed", "named", "data", "slotted"))}
    config = made(late, {**parts, "raw": {"any": "thing"}})
    assert (config.sizes, config.raw) == ([0, 1, 2, 3], {"any": "thing"})
    _, problems = tried(late, {**parts, "typed": {"size": "x"}})
    assert [problem.where for problem in problems] == ["at typed/size"]


SEEDS_WORDS = """
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Set, Text, Tuple, Union
import attrs
import aiflow_ext as af
from aiflow_ext import BaseJobConfig, ExecutionMode, Jsonable, PeriodicConfig

if TYPE_CHECKING:
    from somewhere import Gone


class Volume(Jsonable):
    def __init__(self, path: Text, size: int = 1) -> None:
        self.path, self.size = path, size


class Words(BaseJobConfig):
    def __init__(
        self,
        platform: Text = None,
        engine: Text = None,
        job_name: Text = None,
        periodic_config: PeriodicConfig = None,
        exec_mode: Optional[ExecutionMode] = ExecutionMode.BATCH,
        properties: Dict[Text, Jsonable] = None,
        bare: Jsonable = None,
        text: 'Jsonable' = None,
        inner: Optional['Jsonable'] = None,
        outer: 'Optional[Dict[Text, Jsonable]]' = None,
        dotted: 'List[af.Jsonable]' = None,
        many: List[Jsonable] = None,
        lists: Dict[Text, List[Jsonable]] = None,
        either: Union[int, Jsonable] = None,
        pair: Tuple[Text, Jsonable] = None,
        row: Tuple[Jsonable, ...] = None,
        unique: Set[Jsonable] = None,
        read: Mapping[Text, Jsonable] = None,
        volume: Volume = None,
        volumes: Dict[Text, Volume] = None,
        fits: Union[Volume, Jsonable] = None,
        gone: 'Optional[Gone]' = None,
        goners: 'Dict[Text, Gone]' = None,
    ) -> None:
        vars(self).update({name: value for name, value in locals().items() if name != "self"})


@attrs.define
class Fields(BaseJobConfig):
    bare: Jsonable = None
    many: List[Jsonable] = attrs.field(factory=list)
    outer: 'Optional[Dict[Text, Jsonable]]' = None
    volume: Volume = None
"""
PLAIN = {"word": "first", "list": [1, {"a": None}], "deep": {"x": 1.5}, "yes": True, "no": None}


@pytest.fixture(scope="module", params=["", "from __future__ import annotations\n"], ids=["objects", "text"])
def seeds_words(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A module of configs typed as AI Flow's are, with annotations as objects and as text."""
    name = f"seeds_words_{len(request.param)}"
    path = tmp_path_factory.mktemp("words") / f"{name}.py"
    path.write_text(request.param + SEEDS_WORDS)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("properties", PLAIN),
        *((key, value) for key in ("bare", "text", "inner", "either", "fits", "gone") for value in (PLAIN, [1], 2.5)),
        *((key, PLAIN) for key in ("outer", "read", "goners")),
        *((key, [*PLAIN.values()]) for key in ("dotted", "many")),
        ("lists", {"a": [*PLAIN.values()]}),
        ("fits", {"other": 1}),
        ("pair", ("a", PLAIN)),
        ("row", (PLAIN, 1)),
        ("unique", {1, "a"}),
    ],
)  # fmt: skip
def test_jsonable_in_an_annotation_takes_any_plain_data_in_every_position(
    seeds_words: Any, key: str, value: Any
) -> None:
    given = list(value) if isinstance(value, (tuple, set)) else value
    found = getattr(made(seeds_words.Words, {key: given}), key)
    assert (found, type(found)) == (value, type(value))


def test_a_jsonable_type_given_as_a_mapping_is_made_of_it(seeds_words: Any) -> None:
    volume = {"path": "/a", "size": 2}
    found = made(seeds_words.Words, {"volume": volume, "volumes": {"x": volume}, "fits": volume})
    for each in (found.volume, found.volumes["x"], found.fits, made(seeds_words.Fields, {"volume": volume}).volume):
        assert (type(each), each.path, each.size) == (seeds_words.Volume, "/a", 2)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("outer", "x", "'outer' must be a mapping, not the text 'x'"),
        ("outer", {1: "x"}, "'outer[1]' is a key that must be text"),
        ("many", "x", "'many' must be a list"),
        ("goners", 3, "'goners' must be a mapping, not the number 3"),
        ("lists", {"a": 1}, "'lists.a' must be a list"),
        ("volume", {"path": 1}, "'volume.path' must be text"),
        ("volumes", {"x": {"paht": "/a", "path": "/a"}}, "'volumes.x.paht' is not a key"),
    ],
)
def test_what_stands_around_jsonable_is_still_checked(seeds_words: Any, key: str, value: Any, words: str) -> None:
    _, [problem] = tried(seeds_words.Words, {key: value})
    assert words in problem.message


def test_fields_of_an_attrs_class_are_typed_with_jsonable_too(seeds_words: Any) -> None:
    found = made(seeds_words.Fields, {"bare": "a", "many": [1, {"a": "b"}], "outer": PLAIN})
    assert (found.bare, found.many, found.outer) == ("a", [1, {"a": "b"}], PLAIN)


class Queue(str):
    pass


class Hosts(list):  # type: ignore[type-arg]
    pass


class Limits(dict):  # type: ignore[type-arg]
    pass


class Even(int):
    def __new__(cls, value: int) -> Even:
        if value % 2:
            raise ValueError(f"{value} is odd")
        return super().__new__(cls, value)


class Sized(typing.Protocol):
    def size(self) -> int: ...


def takes(kind: Any, **default: Any) -> Any:
    """A class whose argument ``it`` has this type."""

    class Takes:
        def __init__(self, it: Any = None) -> None:
            self.it = it

    class Needs:
        def __init__(self, it: Any) -> None:
            self.it = it

    made = Needs if default.get("required") else Takes
    made.__init__.__annotations__["it"] = kind
    return made


V4 = ipaddress.IPv4Address
STANDARD = [
    (decimal.Decimal, "1.10", decimal.Decimal("1.10")), (decimal.Decimal, 0.1, decimal.Decimal("0.1")),
    (decimal.Decimal, 3, decimal.Decimal(3)), (decimal.Decimal | None, "1.5", decimal.Decimal("1.5")),
    (list[decimal.Decimal], ["1.5"], [decimal.Decimal("1.5")]), (fractions.Fraction, "1/3", fractions.Fraction(1, 3)),
    (complex, "1+2j", 1 + 2j), (datetime.time, "12:30", datetime.time(12, 30)),
    (datetime.datetime, "2026-01-01T00:00:00Z", datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)),
    (PurePosixPath, "/a", PurePosixPath("/a")), (Path, "a", Path("a")), (os.PathLike, "a", Path("a")),
    (bytes, "a", b"a"), (bytearray, "a", bytearray(b"a")), (re.Pattern, "a+", re.compile("a+")),
    (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
    (V4, "1.2.3.4", V4("1.2.3.4")), (zoneinfo.ZoneInfo, "UTC", zoneinfo.ZoneInfo("UTC")),
    (Queue, "night", Queue("night")), (Even, 2, Even(2)), (Hosts, ["a"], Hosts(["a"])), (Limits, {"a": 1}, Limits(a=1)),
    (frozenset, [1], frozenset({1})), (typing.MutableSet[int], [1], {1}), (JobId, 3, 3), (Annotated[int, "x"], 3, 3),
    (collections.ChainMap, {"a": 1}, collections.ChainMap({"a": 1})), (T, [1], [1]),
    (types.SimpleNamespace, {"a": 1}, types.SimpleNamespace(a=1)), (None, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "expected"), STANDARD, ids=lambda value: str(value)[:40])
def test_types_of_the_standard_library_and_of_an_authors_own_are_made(kind: Any, value: Any, expected: Any) -> None:
    found = made(takes(kind), {"it": value}).it
    assert (found, type(found)) == (expected, type(expected))


def test_a_field_that_is_not_set_again_is_a_key() -> None:
    @dataclasses.dataclass
    class Data(af.BaseJobConfig):
        rate: Final[float] = 0.5
        tags: Final[list[af.Jsonable]] = dataclasses.field(default_factory=list)
        rest: Final = None

    @attrs.define
    class Slotted(af.BaseJobConfig):
        rate: Final[float] = 0.5
        tags: Final[list[af.Jsonable]] = attrs.field(factory=list)
        rest: Final = attrs.field(default=None)

    for kind in (Data, Slotted):
        config = made(kind, {"rate": 1, "tags": [{"a": 1}], "rest": {"b": 2}})
        assert (config.rate, config.tags, config.rest) == (1.0, [{"a": 1}], {"b": 2})
        _, [problem] = tried(kind, {"rate": "fast"})
        assert "'rate' must be a number, not the text 'fast'" in problem.message


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (decimal.Decimal, "1,10", "'it' must be a number, in quotes to keep every digit, not the text '1,10'"),
        (decimal.Decimal, True, "not true"),
        (decimal.Decimal, [1], "not a list"),
        (datetime.time, "noon", "'it' must be a time of day such as 12:30"),
        (uuid.UUID, "x", "'it' must be a UUID, not the text 'x'"),
        (re.Pattern, "(", "'it' must be a regular expression"),
        (zoneinfo.ZoneInfo, "Europe/Berln", "'it' must be a time zone such as Europe/Berlin"),
        (V4, 3, "'it' must be an IPv4 address, not the number 3"),
        (Queue, 3, "'it' must be text, not the number 3"),
        (Even, 3, "'it' is refused by Even: 3 is odd"),
        (JobId, "x", "'it' must be a whole number, not the text 'x'"),
        (complex, "i", "'it' must be a number or text such as 1+2j"),
    ],
)
def test_what_such_a_type_does_not_take_is_named_in_its_words(kind: Any, value: Any, words: str) -> None:
    _, [problem] = tried(takes(kind), {"it": value})
    assert words in problem.message
    assert problem.where == "at it"


UNWRITABLE = [
    typing.Callable[[int], int], type, type[int], Sized, logging.Logger, typing.IO[str], threading.Event, range,
    memoryview, collections.abc.Iterator, collections.abc.Hashable, Exception, datetime.tzinfo, slice,
]  # fmt: skip


@pytest.mark.parametrize("kind", UNWRITABLE, ids=str)
@pytest.mark.parametrize("value", ["x", 1, {}, [1]], ids=repr)
def test_a_type_that_is_no_data_is_named_with_what_to_write_instead(kind: Any, value: Any) -> None:
    _, [problem] = tried(takes(kind), {"it": value})
    assert "which a file cannot hold" in problem.message
    assert "the author of the class annotates it with" in str(problem.hint)
    assert problem.where == "at it"
    _, [problem] = tried(takes(kind, required=True), {})
    assert "the author of the class gives it a default" in str(problem.hint)


class Attributes(af.BaseJobConfig):
    partition: str = "a"
    nodes: int
    tags: list[af.Jsonable] = []  # noqa: RUF012
    retries: int = 3
    limit: ClassVar[int] = 4
    _private: int = 5
    plain = 6

    def method(self) -> None: ...


class MoreAttributes(Attributes):
    resources: Resources | None = None


@attrs.frozen
class Decorated(af.BaseJobConfig):
    size: int = 0


class Undecorated(Decorated):
    more: int = 0


class Record:
    path: str
    size: int = 1


def test_annotated_attributes_stand_for_an_init() -> None:
    found = made(MoreAttributes, {"nodes": 2, "partition": "b", "resources": {"cpu": 1}})
    assert (found.nodes, found.partition, found.tags, found.resources) == (2, "b", [], Resources(1.0))
    assert found.retries == 3
    assert made(Attributes, {"nodes": 1}).tags is not Attributes.tags
    found = made(Undecorated, {"size": 1, "more": 2})
    assert (found.size, found.more) == (1, 2)
    found = made(Record, {"path": "a"})
    assert (found.path, found.size) == ("a", 1)
    back = af.loads(af.dumps(made(Attributes, {"nodes": 2, "partition": "b"})))
    assert (back.nodes, back.partition) == (2, "b")


def test_a_missing_key_of_which_the_class_says_no_type_is_asked_for_in_words() -> None:
    class Plain:
        def __init__(self, nice): pass  # type: ignore[no-untyped-def]  # fmt: skip

    _, [problem] = tried(Plain, {})
    assert (problem.message, problem.hint) == ("it lacks the key 'nice'", "add nice: with its value")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "it lacks the key 'nodes' (a whole number)"),
        ({"nodes": "x"}, "'nodes' must be a whole number"),
        ({"nodes": 1, "partitoin": "b"}, "'partitoin' is not a key of it"),
        ({"nodes": 1, "limit": 1}, "'limit' is not a key of it"),
        ({"nodes": 1, "_private": 1}, "'_private' is not a key of it"),
        ({"nodes": 1, "plain": 1}, "'plain' is not a key of it"),
        ({"nodes": 1, "method": 1}, "'method' is not a key of it"),
    ],
)
def test_annotated_attributes_are_checked_like_arguments(data: dict[str, Any], words: str) -> None:
    _, [problem] = tried(Attributes, data)
    assert words in problem.message


Json = Union[dict[str, "Json"], list["Json"], str, int, None]  # type: ignore[misc]  # noqa: UP007


@pytest.mark.parametrize("value", [{"x": [1, "y", {"z": None}]}, [1, [2]], "a", None], ids=repr)
def test_a_type_that_is_defined_by_itself_is_taken(value: Any) -> None:
    assert made(takes(Json), {"it": value}).it == value
    _, [problem] = tried(takes(Json), {"it": 1.5})
    assert "'it' must be a mapping or a list" in problem.message


class ForgotAttrs(af.BaseJobConfig):
    tags: list[str] = attrs.field(factory=list)


class ForgotDataclass(af.BaseJobConfig):
    tags: list[str] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    ("cls", "decorator"), [(ForgotAttrs, "@attrs.define"), (ForgotDataclass, "@dataclasses.dataclass")]
)
def test_a_field_of_a_class_that_nobody_decorated_is_named(cls: Any, decorator: str) -> None:
    with pytest.raises(TypeError, match=rf"{cls.__name__}\.tags is a field .* write {decorator}"):
        signature_of(cls)


class Unwritable:
    def __init__(self, call: typing.Callable[[], int] = lambda: 1, kind: type[int] = int) -> None:
        self.call = call


def test_a_type_that_no_file_can_hold_is_reported() -> None:
    _, problems = tried(Unwritable, {"call": "x", "kind": "int"})
    assert len(problems) == 2
    assert all("which a file cannot hold" in problem.message for problem in problems)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([field.alias or field.name for field in attrs.fields(Types)])


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names | st.text(max_size=4) | st.integers(), values, max_size=4))
def test_no_data_leads_to_a_traceback(data: dict[Any, Any]) -> None:
    tried(Types, data)
