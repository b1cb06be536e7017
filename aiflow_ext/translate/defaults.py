"""Default platform and engine of a job."""

from __future__ import annotations

from collections.abc import Iterable

from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import AINode
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.common import is_common
from aiflow_ext.translate.layers import DEFAULT_PLATFORM, Layer
from aiflow_ext.translate.yaml_source import Mark


def defaulted(
    layer: Layer, nodes: Iterable[AINode], place: str | None, problems: list[Problem]
) -> tuple[str, ...] | None:
    """Give the job the platform and engine that it lacks: ``local``, and the engine that its nodes are made for.

    Args:
        layer: the job's keys; the defaults are added to it.
        nodes: the job's nodes.
        place: where the workflow opens the job; None where that is not known.
        problems: takes what is wrong.

    Returns which keys are defaults; None after a problem was noted: the engine is ambiguous. A key that looks like a
    misspelling of one prevents its default.
    """
    missing = [key for key in ("platform", "engine") if layer.value.get(key) is None and not meant_for(layer, key)]
    for key in missing:
        value = DEFAULT_PLATFORM if key == "platform" else _engine(layer.job, nodes, place, problems)
        if value is None:
            return None
        layer.value[key] = value
        layer.mark.children[key] = Mark(place or layer.where())
    return tuple(missing)


def meant_for(layer: Layer, key: str) -> str | None:
    """A key of no meaning to every job that looks like a misspelling of ``key``."""
    return next((one for one in layer.value if isinstance(one, str) and not is_common(one) and near(one, (key,))), None)


def _engine(job: str, nodes: Iterable[AINode], place: str | None, problems: list[Problem]) -> str | None:
    """The engine of the kind that all nodes are of: kinds are called like the engines that they are made for."""
    kinds: dict[str, AINode] = {}
    for node in nodes:
        kinds.setdefault(str(node.kind), node)
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds:
        named = " and ".join(f"{kind} ({node.name!r}, {node.where})" for kind, node in kinds.items())
        words = f"job {job!r} holds nodes of several kinds, so that its engine is not known: {named}"
        hint = "make a job of each kind, or name an engine that runs them all: engine: NAME in workflow.yaml"
    else:
        words = f"job {job!r} has no nodes, so that its engine is not known"
        hint = "make its nodes inside `with af.job(...)`, or take the job away"
    problems.append(Problem(words, place, hint))
    return None
