"""JSON schemas of workflow.yaml and project.yaml for the job plugins that are installed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aiflow_ext.host.isolated import Call, call_each
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.host.trial import unanswered
from aiflow_ext.model.errors import PluginError
from aiflow_ext.translate.file_schemas import DRAFT, common_keys, own_keys, project_schema
from aiflow_ext.translate.schema import Schema, any_of

_LIMIT = 30.0  # seconds that importing a job plugin may take
_FREE = ""  # in the keys of a plugin: it takes any other, too


def schemas(records: Iterable[PluginRecord]) -> tuple[dict[str, Schema], list[str]]:
    """The schemas ``workflow`` and ``project``, and a sentence on each job plugin whose own keys are not in them.

    Each plugin is imported in a process of its own: its config type says which keys it takes.

    Args:
        records: of all plugins.
    """
    wanted = [each for each in records if each.kind == "job_plugin" and each.status == "available"]
    calls = [Call("aiflow_ext.host.schema:keys_of", {"record": list(each)}, _LIMIT) for each in wanted]
    keys: dict[str, dict[str, Schema]] = {}
    wrong: list[str] = []
    for number, outcome in call_each(calls):
        record = wanted[number]
        if outcome.is_complete and "keys" in outcome.answers[0]:
            keys[record.name] = outcome.answers[0]["keys"]
        else:
            what = f"job plugin {record.name!r} of {record.distribution}"
            words = outcome.answers[0]["problem"] if outcome.is_complete else unanswered(what, outcome, _LIMIT)
            wrong.append(f"{words}; its keys are not known, and any is taken")
            keys[record.name] = {_FREE: {}}
    workflow = _workflow({name: keys[name] for name in sorted(keys)})
    return {"workflow": workflow, "project": project_schema(workflow)}, sorted(wrong)


def keys_of(record: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the ``keys`` of the job plugin that ``record``, the fields of a PluginRecord, advertises, or the
    ``problem`` of importing it. Called in a process of its own."""
    from aiflow_ext.host.resolve import resolve

    made = PluginRecord.of(record)
    platform, _, engine = made.name.partition(".")
    try:
        keys, free = own_keys(resolve(made, platform, engine).config_type)
    except (PluginError, TypeError) as error:
        yield {"problem": str(error).partition("\n")[0]}
        return
    yield {"keys": {**keys, **({_FREE: {}} if free else {})}}


def _workflow(keys: Mapping[str, Mapping[str, Schema]]) -> Schema:
    """The schema of workflow.yaml.

    A key may stand at a job, at a pattern or in a block of a platform, and what is required at another of these: so a
    key is refused only where no job plugin takes it that the entry may be for, and none is required.
    """
    pairs = {name: name.partition(".")[::2] for name in keys}
    platforms = sorted({platform for platform, _ in pairs.values()})
    engines = sorted({engine for _, engine in pairs.values()})
    defs: dict[str, Schema] = {}
    common = _common(platforms, engines, defs)
    in_block = {key: value for key, value in common.items() if key not in ("platform", "platforms")}
    own = _own(keys, defs)

    def closed(names: Iterable[str], shared: Mapping[str, Schema] = common) -> Schema:
        """What an entry may hold that is for one of these plugins."""
        together: dict[str, list[Schema]] = {}
        for name in names:
            for key, schema in own[name].items():
                together.setdefault(key, []).append(schema)
        free = together.pop(_FREE, None) is not None
        return {
            "properties": {**shared, **{key: any_of(schemas) for key, schemas in together.items()}},
            "additionalProperties": free,
        }

    rules: list[Schema] = []
    for name, (platform, engine) in pairs.items():
        defs[f"job.{name}"] = closed([name])
        rules.append(_when({"platform": platform, "engine": engine}, f"job.{name}"))
    for platform in platforms:
        theirs = [name for name, pair in pairs.items() if pair[0] == platform]
        defs[f"job.{platform}"] = closed(theirs)
        defs[f"block.{platform}"] = {"type": "object", **closed(theirs, in_block)}
        rules.append(_when({"platform": platform}, f"job.{platform}", "engine"))
        its = {"enum": [*(pairs[name][1] for name in theirs), None]}
        rules.append({"if": _says({"platform": platform}), "then": {"properties": {"engine": its}}})
    for engine in engines:
        defs[f"engine.{engine}"] = closed([name for name, pair in pairs.items() if pair[1] == engine])
        rules.append(_when({"engine": engine}, f"engine.{engine}", "platform"))
    defs["job"] = closed(keys)
    rules.append({"if": {"not": {"anyOf": [{"required": ["platform"]}, {"required": ["engine"]}]}},
                  "then": {"$ref": "#/$defs/job"}})  # fmt: skip
    named = {key: common[key] for key in ("platform", "engine")}
    defs["entry"] = {"type": ["object", "null"], "properties": named, "allOf": rules}
    return {
        "$schema": DRAFT,
        "title": "workflow.yaml of aiflow-ext",
        "type": "object",
        "properties": {"*": {"$ref": "#/$defs/entry", "description": "for every job"}},
        "additionalProperties": {"$ref": "#/$defs/entry"},
        "$defs": defs,
    }


def _common(platforms: Sequence[str], engines: Sequence[str], defs: dict[str, Schema]) -> dict[str, Schema]:
    """References to the schemas of the common keys, which are put into ``defs``."""
    blocks = {platform: {"anyOf": [{"$ref": f"#/$defs/block.{platform}"}, {"type": "null"}]} for platform in platforms}
    found: dict[str, Schema] = {
        **common_keys(),
        "platform": {"description": "where the job runs", "enum": [*platforms, None]},
        "engine": {"description": "what kind of job it is", "enum": [*engines, None]},
        "platforms": {
            "description": "by platform, keys that count for jobs on it alone",
            # One that is not installed here may be meant for another machine.
            "anyOf": [
                {"type": "object", "properties": blocks, "additionalProperties": {"type": ["object", "null"]}},
                {"type": "null"},
            ],
        },
    }
    defs |= {f"common.{key}": schema for key, schema in found.items()}
    return {key: {"$ref": f"#/$defs/common.{key}"} for key in found}


def _own(keys: Mapping[str, Mapping[str, Schema]], defs: dict[str, Schema]) -> dict[str, dict[str, Schema]]:
    """By plugin, references to the schemas of its own keys, which are put into ``defs``: equal ones once."""
    known: dict[tuple[str, str], str] = {}
    found: dict[str, dict[str, Schema]] = {}
    for name, theirs in keys.items():
        found[name] = {}
        for key, schema in theirs.items():
            place = known.setdefault((key, json.dumps(schema)), f"key.{name}.{key}")
            defs.setdefault(place, schema)
            found[name][key] = {"$ref": f"#/$defs/{place}"}
    return found


def _says(values: Mapping[str, str]) -> Schema:
    """The condition that these keys have these values."""
    return {"properties": {key: {"const": value} for key, value in values.items()}, "required": list(values)}


def _when(values: Mapping[str, str], name: str, absent: str | None = None) -> Schema:
    condition = _says(values) if absent is None else {**_says(values), "not": {"required": [absent]}}
    return {"if": condition, "then": {"$ref": f"#/$defs/{name}"}}
