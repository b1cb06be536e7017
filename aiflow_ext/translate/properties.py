"""Puts the values of a job's properties where the workflow names them: ``af.property("lr")``."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import AINode, PropertyRef
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.check import listed


def put_properties(nodes: Iterable[AINode], properties: Any, problems: list[Problem]) -> None:
    """Replace each PropertyRef in the properties of these nodes, in place, by its value of its own type.

    Args:
        nodes: of one job.
        properties: the job's; what is no mapping has none.
        problems: takes those that the job lacks, with the line of the call.
    """
    has = properties if isinstance(properties, Mapping) else {}
    for node in nodes:
        if any(map(_holds, node.properties.values())):
            node.properties = {key: _put(value, node, has, problems) for key, value in node.properties.items()}


def _holds(value: Any) -> bool:
    if type(value) in (list, tuple):
        return any(map(_holds, value))
    return any(map(_holds, value.values())) if type(value) is dict else isinstance(value, PropertyRef)


def _put(value: Any, node: AINode, properties: Mapping[str, Any], problems: list[Problem]) -> Any:
    if type(value) in (list, tuple):
        return type(value)([_put(each, node, properties, problems) for each in value])
    if type(value) is dict:
        return {key: _put(each, node, properties, problems) for key, each in value.items()}
    if not isinstance(value, PropertyRef):
        return value
    found: Any = properties
    for key in [value.name] if value.name in properties else value.name.split("."):
        if not isinstance(found, Mapping) or key not in found:
            problems.append(_lacking(value.name, node, properties))
            return None
        found = found[key]
    return copy.deepcopy(found)


def _lacking(name: str, node: AINode, properties: Mapping[str, Any]) -> Problem:
    has = f"the job's properties are {listed([*map(repr, properties)]) or 'none'}"
    return Problem(
        f"node {node.name!r} takes the property {name!r}, which job {node.job!r} lacks",
        node.where,
        near(name, properties) or f"add it under properties in workflow.yaml; {has}",
    )
