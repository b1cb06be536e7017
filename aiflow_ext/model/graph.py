"""The AI graph: operations, what flows between them, and the jobs that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.jsonable import Jsonable

# Set while a workflow's function runs: what it makes are placeholders for values that do not exist yet.
building: ContextVar[bool] = ContextVar("aiflow_ext_building", default=False)


class BaseNode(Jsonable):
    """Anything with a name, an id that is unique in its graph, and properties.

    Args:
        properties: any plain data by name; none by default.
        name: its name; None by default.
        instance_id: its id, unique in its graph; None until it is added to one.
    """

    name: str | None = None
    instance_id: str | None = None
    properties: Mapping[str, Any] = {}

    def __init__(
        self, properties: Mapping[str, Any] | None = None, name: str | None = None, instance_id: str | None = None
    ) -> None:
        self.properties = dict(properties or {})
        self.name, self.instance_id = name, instance_id


class InputRef(Jsonable):
    """Inside a node's properties: the place where the value of its input number ``index`` goes."""

    def __init__(self, index: int) -> None:
        self.index = index


class OutputFile(Jsonable):
    """Inside a node's property ``names``: a file (or folder) that the node writes, by its name in the artifacts."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __str__(self) -> str:
        if building.get():
            raise TypeError(
                f"the output {self.path!r} was made a text (an f-string, str, format, print): give it a keyword in the "
                'command: af.cmd("... > {out}", out=af.output("name"))'
            )
        return super().__str__()


class _Promise:
    """Refuses, while the graph is built, operations that would use a node as if it were its value."""

    def __str__(self) -> str:
        self._refuse(
            "was made a text (an f-string, str, format, print)",
            'give a command the node itself: af.cmd("cat {x}", x=node), or make the text in a function that gets the '
            "value; repr(node) shows what a node is",
        )
        return super().__str__()

    def __bool__(self) -> bool:
        self._refuse(
            "was asked whether it is true (if, while, and, or, not)",
            "decide in a function that gets the value; ``node is None`` tells whether there is a node",
        )
        return True

    def __eq__(self, other: object) -> bool:
        if self is not other:
            self._refuse(
                "was compared (==, !=, in)",
                "compare in a function that gets the value; ``a is b`` tells whether two are the same node",
            )
        return self is other or super().__eq__(other)

    __hash__ = object.__hash__

    def __iter__(self) -> NoReturn:
        # Without this, ``a, b = node`` would ask __getitem__ for ever.
        raise TypeError(
            f"{self._named()} stands for one value that is not there yet: take it apart in the function that reads "
            'it, or say which of a command\'s outputs: node["out"]'
        )

    def _named(self) -> str:
        raise NotImplementedError

    def _refuse(self, what: str, hint: str) -> None:
        if building.get():
            raise TypeError(f"{self._named()} {what}, and its value is not there while the graph is built: {hint}")


class PropertyRef(_Promise, Jsonable):
    """Inside a node's properties: the place where the value of the job's property ``name`` goes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _named(self) -> str:
        return f"the property {self.name!r}"


class AINode(_Promise, BaseNode):
    """One operation of an AI graph.

    Args:
        kind: what the operation is (``python``, ``cmd_line``, or a kind of a plugin's own).
        properties: the operation's parameters: plain data by name.
        name: its name in its job; None until it is added to a graph.
        instance_id: its id, unique in its graph; None until it is added to one.
        job: the key of the job that holds it; None if it was made outside of every job.
        where: ``file:line`` of the call that made it; None: not known.
    """

    kind: str = ""
    job: str | None = None
    where: str | None = None

    def __init__(
        self,
        kind: str = "",
        properties: Mapping[str, Any] | None = None,
        name: str | None = None,
        instance_id: str | None = None,
        job: str | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(properties, name, instance_id)
        self.kind, self.job, self.where = kind, job, where

    def __getitem__(self, output: str) -> NodeOutput:
        """One of a command's several output files, by the keyword that it has in the command."""
        if not isinstance(output, str):
            raise TypeError(
                f"{self._named()} was indexed by {output!r}, and its value is not there while the graph is built: take "
                'the part in the function that reads it, or say which of a command\'s outputs: node["out"]'
            )
        return NodeOutput(self, output)

    def _named(self) -> str:
        return f"node {self.name!r}"


def outputs_of(node: AINode) -> list[str] | None:
    """The keywords of a node's outputs, for a node whose values are by name: a command, or one with the property
    ``names``. None for any other: it has one value."""
    names = node.properties.get("names")
    if names is None or not isinstance(names, (dict, Mapping)):  # a dict first: that is quick, and nearly all are
        return [] if node.kind == "cmd_line" else None
    return [keyword for keyword, value in names.items() if isinstance(value, OutputFile)]


class NodeOutput(_Promise):
    """One named output of a node, to be used as another node's input."""

    def __init__(self, node: AINode, output: str) -> None:
        self.node, self.output = node, output

    def _named(self) -> str:
        return f"output {self.output!r} of node {self.node.name!r}"


class DataEdge(Jsonable):
    """The value of node ``source`` (of its output ``output``, if named) is input number ``input`` of ``target``.

    ``source`` and ``target`` are instance ids.
    """

    def __init__(self, source: str, target: str, input: int = 0, output: str | None = None) -> None:
        self.source, self.target, self.input, self.output = source, target, input, output


class ControlEdge(Jsonable):
    """Job ``target`` waits for job ``source``: until it is ``when`` (finished, failed, ended or running; None means
    finished, or running where the source's exec mode is STREAM)."""

    def __init__(self, source: str, target: str, when: str | None = None, where: str | None = None) -> None:
        self.source, self.target, self.when, self.where = source, target, when, where


class Nodes(Sequence[AINode]):
    """A graph's nodes in the order they were made: iterate them, or take one by position or by instance id.

    It has a mapping's ``keys``, ``values``, ``items`` and ``get`` too, by instance id, as the seed's graphs had.
    """

    def __init__(self, nodes: Iterable[AINode] = ()) -> None:
        self._nodes: dict[str, AINode] = {str(node.instance_id): node for node in nodes}

    @classmethod
    def by_id(cls, nodes: dict[str, AINode]) -> Nodes:
        """These nodes, which are by instance id already; the dict is kept."""
        made = cls()
        made._nodes = nodes
        return made

    def add(self, node: AINode) -> None:
        self._nodes[str(node.instance_id)] = node

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[AINode]:
        return iter(self._nodes.values())

    def __contains__(self, item: object) -> bool:
        return item in self._nodes if isinstance(item, str) else item in self._nodes.values()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, slice)):
            return list(self._nodes.values())[key]
        return self._nodes[str(key.instance_id) if isinstance(key, AINode) else key]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nodes) and self._nodes == other._nodes

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Nodes({list(self)!r})"

    def get(self, key: str, default: Any = None) -> Any:
        return self._nodes.get(key, default)

    def keys(self) -> Iterable[str]:
        return self._nodes.keys()

    def values(self) -> Iterable[AINode]:
        return self._nodes.values()

    def items(self) -> Iterable[tuple[str, AINode]]:
        return self._nodes.items()


class JobSection(Jsonable):
    """A job as the workflow opened it: its key, and ``file:line`` of each time it was opened."""

    def __init__(self, name: str, where: Sequence[str] = ()) -> None:
        self.name, self.where = name, list(where)


class AIGraph(Jsonable):
    """Nodes, data edges between them, control edges between jobs, and the jobs by key.

    Args:
        name: the workflow's name.
        where: ``file:line`` of the workflow; None: not known.
    """

    def __init__(self, name: str = "", where: str | None = None) -> None:
        self.name, self.where = name, where
        self.nodes = Nodes()
        self.data_edges: list[DataEdge] = []
        self.control_edges: list[ControlEdge] = []
        self.jobs: dict[str, JobSection] = {}

    def add_node(self, node: AINode) -> AINode:
        """Add ``node``; its ``instance_id`` must be new to this graph. Opens its job if nothing has yet."""
        if node.instance_id is None:
            node.instance_id = f"{node.job or ''}/{node.name or node.kind or 'node'}-{len(self.nodes)}"
        if node.instance_id in self.nodes:
            raise ValueError(f"the graph has a node {node.instance_id!r} already")
        self.nodes.add(node)
        if node.job is not None and node.job not in self.jobs:
            self.jobs[node.job] = JobSection(node.job, [node.where] if node.where else [])
        return node

    def add_edge(self, edge: DataEdge | ControlEdge) -> None:
        """Add a data edge (between nodes, by instance id) or a control edge (between jobs, by key)."""
        (self.data_edges if isinstance(edge, DataEdge) else self.control_edges).append(edge)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "nodes": list(self.nodes)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Any:
        return super().from_json({**data, "nodes": Nodes(data["nodes"])})


class AISubGraph(Jsonable):
    """The nodes of one job, with its config.

    Attributes:
        name: the job's key.
        config: the job's config, of the type that its job plugin names.
        nodes: the job's nodes, in the order they were made.
        edges: data edges between nodes of this job; the values pass in memory.
        inputs: data edges that bring an artifact in from another job.
        outputs: instance ids of the nodes whose values leave the job as artifacts.
    """

    def __init__(self, config: BaseJobConfig | None = None, name: str = "", nodes: Iterable[AINode] = ()) -> None:
        self.config = config if config is not None else BaseJobConfig()
        self.name = name
        self.nodes = Nodes(nodes)
        self.edges: list[DataEdge] = []
        self.inputs: list[DataEdge] = []
        self.outputs: list[str] = []

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "nodes": list(self.nodes)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Any:
        return super().from_json({**data, "nodes": Nodes(data["nodes"])})
