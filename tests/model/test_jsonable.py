"""Objects as data: everything we ship comes back the same, and data cannot name its way to code."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import functools
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import attr
import attrs
import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiflow_ext as af
from aiflow_ext.engines import CmdLineEngine, PythonEngine
from aiflow_ext.model import jsonable
from aiflow_ext.model.attempt import AttemptEvent, Lookup, Request
from aiflow_ext.model.code import FunctionRef, Pickled
from aiflow_ext.model.config import Grow, Ready, RetryDelay
from aiflow_ext.model.errors import DataError
from aiflow_ext.model.graph import InputRef, JobSection, OutputFile, PropertyRef
from aiflow_ext.translate.split import JobEdge, JobGraph


def _graph() -> af.AIGraph:
    graph = af.AIGraph("digits", "workflow.py:3")
    a = graph.add_node(af.AINode("python", {"args": [InputRef(0)]}, "fetch", "prepare/fetch", "prepare", "w.py:5"))
    b = graph.add_node(af.AINode("cmd_line", {"names": {"o": OutputFile("x")}}, "cmd", "train/cmd", "train"))
    graph.add_edge(af.DataEdge(str(a.instance_id), str(b.instance_id), 0))
    graph.add_edge(af.ControlEdge("prepare", "train", "ended", "w.py:9"))
    return graph


def _sub_graph() -> af.AISubGraph:
    made = af.AISubGraph(af.BaseJobConfig("local", "python", properties={"alpha": 0.1}), "train", _graph().nodes)
    made.edges, made.outputs = [af.DataEdge("a", "b", 1, "out")], ["train/cmd"]
    return made


def _job_graph() -> JobGraph:
    made = JobGraph("digits")
    made.sub_graphs, made.edges = {"train": _sub_graph()}, [JobEdge("prepare", "train", None, True, "w.py:1")]
    return made


# One object of every type that we ship; the test below fails for a type that is not here.
SHIPPED: list[Any] = [
    af.AIGraph(), _graph(), _graph().nodes[0], _sub_graph(), _job_graph(), JobEdge("a", "b"), JobSection("a", ["w:1"]),
    af.BaseNode({"a": 1}, "name", "id"), af.DataEdge("a", "b", 2, "o"), af.ControlEdge("a", "b"),
    InputRef(3), OutputFile("size.txt"), PropertyRef("lr"),
    af.BaseJob(af.JobContext("r", "j", 2, "n", "/w", "/a", {"x": "y"}, "/r"), af.BaseJobConfig("local", "python")),
    af.JobContext(), af.AbstractJobHandler(), af.AbstractPlatform(), af.AbstractEngine(), PythonEngine(),
    CmdLineEngine(), af.ProjectDesc("p", "/p", ["src"], "s3://b", ["*.csv"], {"r": "/f"}),
    af.BaseJobConfig("local", "python", "train", af.PeriodicConfig("0 1 * * *", time_zone="Europe/Rome"),
                     af.ExecutionMode.STREAM, {"l": [1, {"m": None}]}, env={"T": {"secret": "env:T"}}, timeout=2.5),
    af.PeriodicConfig(interval=60), RetryDelay(2.0), Grow(2.0, 64), Ready(port=80), *af.ExecutionMode, *af.JobState,
    *Lookup,
    Request("exec", {"argv": ["a"], "n": 1}), AttemptEvent("id", af.JobState.FAILED, exit_code=3, cursor="9"),
    FunctionRef("steps", "fit"), Pickled(b"\0\xff", "x", "00", "3.11", "3.1"),
]  # fmt: skip


@pytest.mark.parametrize("value", SHIPPED, ids=lambda value: type(value).__name__)
def test_every_type_we_ship_comes_back_equal(value: Any) -> None:
    back = af.loads(af.dumps(value), expect=type(value))
    assert back == value
    assert type(back) is type(value)
    assert json.loads(af.dumps(value)) == json.loads(af.dumps(back))


def test_no_type_that_we_ship_is_left_out_of_these_tests() -> None:
    code = (
        "import pkgutil, importlib, aiflow_ext.model, aiflow_ext.engines, aiflow_ext.translate\n"
        "for room in (aiflow_ext.model, aiflow_ext.engines, aiflow_ext.translate):\n"
        "    for found in pkgutil.iter_modules(room.__path__):\n"
        "        importlib.import_module(f'{room.__name__}.{found.name}')\n"
        "from aiflow_ext.model.jsonable import _types\n"
        "print(*_types)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {jsonable.type_name(type(value)) for value in SHIPPED}


class PlainConfig(af.BaseJobConfig):
    def __init__(self, queue: str, limits: dict[str, int] | None = None) -> None:
        self.queue, self.limits, self.__private = queue, limits or {}, (1, b"x")


@attrs.define
class Nested(af.Jsonable):
    image: str
    tags: tuple[str, ...] = ()


@attrs.define
class AttrsConfig(af.BaseJobConfig):
    nested: Nested
    others: list[Nested] = attrs.Factory(list)


@attrs.frozen
class FrozenConfig(af.BaseJobConfig):
    nested: Nested
    _hidden: int = 3


@attrs.define(slots=False)
class OpenConfig(af.BaseJobConfig):
    memory: str = "1Gi"


class SlotsHandler(af.AbstractJobHandler):
    __slots__ = ("__token", "unset", "url")

    def __init__(self, url: str) -> None:
        self.url, self.__token = url, url * 2


class Transient(af.AbstractJobHandler):
    transient = frozenset({"connection"})

    def __init__(self) -> None:
        self.url, self.connection = "u", object()


def test_a_plain_subclass_comes_back_with_its_private_attributes_and_the_class_defaults() -> None:
    made = PlainConfig("fast", {"cpu": 2})
    back = af.loads(af.dumps(made), expect=PlainConfig)
    assert back == made
    assert back._PlainConfig__private == (1, b"x")
    assert back.retry_on == af.BaseJobConfig.retry_on


def test_a_slots_class_comes_back_with_what_was_set() -> None:
    back = af.loads(af.dumps(SlotsHandler("u")), expect=SlotsHandler)
    assert (back.url, back._SlotsHandler__token, hasattr(back, "unset")) == ("u", "uu", False)


@pytest.mark.parametrize(
    "made",
    [AttrsConfig(Nested("i", ("a", "b")), [Nested("j")]), FrozenConfig(Nested("i")), OpenConfig("2Gi")],
    ids=["attrs", "frozen", "without slots"],
)
def test_attrs_classes_come_back_with_common_keys_that_the_host_has_set(made: af.BaseJobConfig) -> None:
    object.__setattr__(made, "retries", 4)
    back = af.loads(af.dumps(made), expect=type(made))
    assert back == made
    assert (back.retries, back.exec_mode) == (4, af.ExecutionMode.BATCH)


@attrs.frozen(cache_hash=True)
class CachedConfig(af.BaseJobConfig):
    nested: str = "i"

    @functools.cached_property
    def costly(self) -> str:
        raise RuntimeError("this is computed where it is asked for, and nowhere else")


@attrs.define
class MoreConfig(AttrsConfig):
    more: str = "m"


@attr.s(slots=True, auto_attribs=True)
class OldConfig(af.BaseJobConfig):
    memory: str = "1Gi"


@dataclasses.dataclass(frozen=True)
class DataConfig(af.BaseJobConfig):
    memory: str = "1Gi"


@dataclasses.dataclass(slots=True)
class SlottedDataConfig(af.BaseJobConfig):
    memory: str = "1Gi"


@dataclasses.dataclass(slots=True, frozen=True)
class FrozenDataConfig(af.BaseJobConfig):
    memory: str = "1Gi"


class SlotsConfig(af.BaseJobConfig):
    __slots__ = ("__secret", "memory")

    def __init__(self) -> None:
        self.memory, self.__secret = "1Gi", (1,)


class OpenedConfig(SlotsConfig):
    def __init__(self) -> None:
        super().__init__()
        self.own = [1]


@attrs.define
class AttrsHandler(af.AbstractJobHandler):
    url: str


@attrs.frozen
class AttrsContext(af.JobContext):
    token: str = "t"


@attrs.define
class AttrsJob(af.BaseJob):
    script: str


@attrs.frozen
class AttrsPlatform(af.AbstractPlatform):
    address: str = "a"


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "data": lambda value: af.loads(af.dumps(value), expect=type(value)),
    "cloudpickle": lambda value: pickle.loads(cloudpickle.dumps(value)),
    **{f"pickle {n}": lambda value, n=n: pickle.loads(pickle.dumps(value, n)) for n in range(2, 6)},
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "value",
    [
        AttrsConfig(Nested("i"), [Nested("j")]), FrozenConfig(Nested("i")), OpenConfig("2Gi"), CachedConfig("j"),
        MoreConfig(Nested("i")), OldConfig("2Gi"), DataConfig("2Gi"), SlottedDataConfig("2Gi"), FrozenDataConfig("2Gi"),
        SlotsConfig(), OpenedConfig(), PlainConfig("fast"), AttrsHandler("u"), AttrsContext("t2"), AttrsJob("s"),
        AttrsPlatform("b"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_copy_keeps_what_was_set_beside_the_declared_fields(value: Any, how: str) -> None:
    value = copy.copy(value)
    for name, what in {"properties": {"a": [1]}, "env": {"T": "x"}, "platform": "slurm", "extra": (1, 2)}.items():
        object.__setattr__(value, name, what)
    back = COPIES[how](value)
    assert type(back) is type(value)
    assert attributes(back) == attributes(value)
    assert back == value


def attributes(value: Any) -> dict[str, Any]:
    """What is set on an object, found by another way than the product's."""
    return {name: getattr(value, name) for name in dir(value) if name != "costly" and not callable(getattr(value, name))
            and name not in ("__annotations__", "__dict__", "__doc__", "__module__", "__weakref__")}  # fmt: skip


def test_a_slotted_object_that_holds_itself_is_copied() -> None:
    handler = AttrsHandler("u")
    handler.me = {"again": handler}  # type: ignore[attr-defined]
    for how in ("deepcopy", "pickle 5"):
        back = COPIES[how](handler)
        assert back.me["again"] is back


def test_a_pickle_is_opened_whole_where_the_class_was_never_copied(tmp_path: Path) -> None:
    (tmp_path / "slotted.py").write_text(
        "import attrs, aiflow_ext as af\n@attrs.frozen\nclass Slotted(af.BaseJobConfig):\n    own: int = 1\n"
    )
    writes = "import sys, pickle, slotted; c = slotted.Slotted(2); object.__setattr__(c, 'env', {'A': 'b'})\n"
    writes += "sys.stdout.buffer.write(pickle.dumps(c))"
    reads = "import sys, pickle; c = pickle.load(sys.stdin.buffer); print(c.own, c.env)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    written = subprocess.run([sys.executable, "-c", writes], env=env, capture_output=True, check=True).stdout
    done = subprocess.run([sys.executable, "-c", reads], env=env, input=written, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "2 {'A': 'b'}"


class KeepsALittle(af.AbstractJobHandler):
    def __init__(self) -> None:
        self.url, self.connection = "u", object()

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}


def test_an_authors_own_state_is_what_is_copied() -> None:
    back = copy.deepcopy(KeepsALittle())
    assert vars(back) == {"url": "u"}


def test_what_belongs_to_this_process_alone_is_not_written() -> None:
    assert "connection" not in af.dumps(Transient())
    assert af.loads(af.dumps(Transient())).url == "u"


KEYS = st.one_of(st.text(), st.integers(), st.none(), st.booleans(), st.binary(), st.tuples(st.integers(), st.text()))
LEAVES = st.one_of(
    KEYS,
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=())),  # lone surrogates too
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(KEYS, st.just("__type__")), inner, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=15,
)


def _same(a: Any, b: Any) -> bool:
    """Equal, types included: 1 is not True, and (1,) is not [1]."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(item, b[key]) for key, item in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_any_value_of_plain_containers_comes_back_with_its_types(value: Any) -> None:
    text = af.dumps(value)
    text.encode()  # a file can hold it
    assert _same(af.loads(text), value)


def test_a_file_name_that_is_no_text_comes_back_through_utf_8() -> None:
    name = os.fsdecode(b"raw\xff")
    assert af.loads(af.dumps({"path": name}).encode("utf-8")) == {"path": name}


def test_numbers_that_json_has_no_word_for_come_back() -> None:
    back = af.loads(af.dumps([float("inf"), float("-inf"), float("nan")]))
    assert back[:2] == [float("inf"), float("-inf")]
    assert back[2] != back[2]


def test_a_users_own_type_key_is_only_a_key() -> None:
    value = {"__type__": "os:system", "value": "x"}
    assert af.loads(af.dumps(value)) == value
    assert af.loads(af.dumps(af.BaseJobConfig(properties={"a": value}))).properties == {"a": value}


class Unregistered(Enum):
    A = "a"


@jsonable.register_type
class Registered(Enum):
    PAIR = (1, b"x")


@pytest.mark.parametrize(
    "value", [object(), Unregistered.A, {"p": Path("x")}, print], ids=["object", "enum", "path", "function"]
)
def test_what_could_not_be_read_back_is_refused_when_written(value: Any) -> None:
    with pytest.raises(TypeError, match="is not data"):
        af.dumps(value)


class LimitsHandler(af.AbstractJobHandler):
    def __init__(self, limits: Any) -> None:
        self.limits = limits


@pytest.mark.parametrize(
    ("limits", "place", "instead"),
    [
        ({"cpu": [1, Decimal("1.5")]}, "LimitsHandler.limits['cpu'][1]: Decimal", "keep str(value)"),
        (Path("a"), "LimitsHandler.limits: PosixPath", "keep str(value)"),
        (datetime.date(2026, 1, 1), "LimitsHandler.limits: date", "keep value.isoformat()"),
        (LimitsHandler(threading.Lock()), "LimitsHandler.limits.limits: lock", "keep what it is made of"),
    ],
)
def test_where_what_is_not_data_stands_is_reported_and_what_to_keep_instead(
    limits: Any, place: str, instead: str
) -> None:
    with pytest.raises(TypeError, match="is not data") as caught:
        af.dumps(LimitsHandler(limits))
    assert str(caught.value).startswith(place)
    assert instead in str(caught.value)


def test_an_enum_of_anything_comes_back_once_registered() -> None:
    assert af.loads(af.dumps(Registered.PAIR)) is Registered.PAIR


def test_data_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="holds itself"):
        af.dumps(endless)


HOSTILE = [
    {"__type__": "os:system", "value": "true"},
    {"__type__": "builtins:eval", "0": "1"},
    {"__type__": "subprocess:Popen", "args": ["true"]},
    {"__type__": "aiflow_ext.model.jsonable:loads"},
    {"__type__": "this_module_is_nowhere:X"},
    {"__type__": ["aiflow_ext.model.graph:AINode"]},
    {"__type__": None},
    {"__type__": "aiflow_ext.model.graph:AINode", "__class__": "x"},
    {"__type__": "aiflow_ext.model.graph:AINode", "__dict__": {}},
    {"__type__": "aiflow_ext.model.graph:AINode", "to_json": "x"},
    {"__type__": "aiflow_ext.model.graph:AINode", "a b": 1},
    {"__type__": "aiflow_ext.model.graph:AIGraph", "nodes": ["x"]},
    {"__type__": "aiflow_ext.model.graph:AIGraph"},
    {"__type__": "aiflow_ext.model.states:JobState", "value": "NOWHERE"},
    {"__type__": "aiflow_ext.model.states:JobState"},
    {"__type__": "bytes", "base64": "!"},
    {"__type__": "set", "items": [[]]},
    {"__type__": "dict", "items": [[[], 1]]},
    {"__type__": "dict", "items": 3},
    {"__type__": "float", "value": "1; import os"},
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: json.dumps(data)[:70])
def test_hostile_or_damaged_data_is_refused_and_imports_nothing(data: Any) -> None:
    before = set(sys.modules)
    for text in (json.dumps(data), json.dumps([{"a": data}])):
        with pytest.raises(DataError):
            af.loads(text)
    assert set(sys.modules) - before <= {"encodings.idna"}


def test_a_registered_type_in_the_wrong_place_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected .*JobContext"):
        af.loads(af.dumps(af.ProjectDesc()), expect=af.JobContext)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", b"\xff"], ids=["empty", "cut", "deep", "nul", "raw"])
def test_text_that_is_no_data_is_refused(text: Any) -> None:
    with pytest.raises(DataError):
        af.loads(text)
