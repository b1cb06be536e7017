"""Resolves the job plugins that a workflow needs, each once; a missing one is reported for every place that needs
it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.policy import PINS, Policy
from aiflow_ext.host.resolve import ResolvedPlugin
from aiflow_ext.model.errors import PluginError, Problem
from aiflow_ext.translate.layers import Layer
from aiflow_ext.translate.project import Project

_log = logging.getLogger("aiflow_ext")


def plugin_policy(project: Project) -> tuple[Policy | None, Mapping[str, str] | None]:
    """The project's allow, deny and pins together with those of the environment."""
    theirs, settings = Policy.from_environment(), project.plugins
    policy = theirs.together(settings.allow, settings.deny, lambda path: project.where(("plugins", *path)))
    return policy, {**settings.pins, **Policy.pins_from_environment()}


def place_of_pin(project: Project, name: str) -> str:
    """Where the pin of ``name`` is configured that holds in the project; the environment has precedence."""
    if name in Policy.pins_from_environment():
        return PINS
    return f"plugins: pins in {project.where(('plugins', 'pins', name))}"


def resolve_all(
    host: PluginHost,
    chosen: Mapping[str, tuple[str, str]],
    layers: Mapping[str, Layer],
    defaults: Mapping[str, Sequence[str]],
) -> tuple[dict[str, ResolvedPlugin], list[PluginError]]:
    """The plugin of each job that has one, and one error for each platform and engine that has none.

    An error has its problems once for each place where that platform or engine is named.
    """
    found: dict[str, ResolvedPlugin] = {}
    errors: dict[tuple[str, str], PluginError] = {}
    places: dict[tuple[str, str], dict[str, str]] = {}  # with an addition to the hint for that place
    here: set[str] | None = None  # the platforms that exist
    for name, pair in chosen.items():
        try:
            if pair not in errors:
                found[name] = host.resolve(*pair)
        except PluginError as error:
            errors[pair] = error
        if pair in errors:
            here = runnable_platforms(host) if here is None else here
            place = layers[name].where(("engine" if pair[0] in here else "platform",))
            words = f"{pair[0]} is the default: platform: NAME in workflow.yaml says another one"
            places.setdefault(pair, {})[place] = words if "platform" in defaults[name] else ""
    for remark in dict.fromkeys(remark for resolved in found.values() for remark in resolved.remarks):
        _log.warning("%s", remark)
    for pair, refused in errors.items():
        refused.problems = tuple(
            Problem(each.message, each.where or place, "\n    ".join(filter(None, (each.hint, words))) or None)
            for place, words in places[pair].items()
            for each in refused.problems
        )
    return found, list(errors.values())


def runnable_platforms(host: PluginHost) -> set[str]:
    """The platforms for which a job plugin is installed."""
    return {record.name.partition(".")[0] for record in host.plugins() if record.kind == "job_plugin"}
