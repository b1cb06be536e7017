"""JSON schemas (draft 2020-12) of files: the keys of a job's config, and project.yaml.

An editor that has them completes keys and marks mistakes. What depends on several files, on the machine or on the
workflow is left to ``run``.
"""

from __future__ import annotations

from typing import Any

from aiflow_ext.model.config import BaseJobConfig, Grow, PeriodicConfig, Ready, RetryDelay
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.translate.common import ALIASES, ATTRIBUTES, COMMON_KEYS, RETRY_ON
from aiflow_ext.translate.project import Scheduled, Settings
from aiflow_ext.translate.schema import (
    ANYTHING,
    DURATION,
    NUMBER,
    Schema,
    described,
    meanings,
    or_nothing,
    parameter_schema,
    schema_of,
)
from aiflow_ext.translate.signature import signature_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_MEMORY: Schema = {"type": "string", "pattern": rf"^\s*{NUMBER}\s*(Ti|T|Gi|G|Mi|M|Ki|k)\s*$"}
_NAME: Schema = {"type": "string", "pattern": r"\S"}
_INTERVAL: Schema = {
    "anyOf": [*DURATION["anyOf"], {"type": "string", "pattern": r"^\s*\d+(\s*,\s*\d+){3}\s*$"}, {"type": "null"}]
}
_PERIOD: Schema = {
    "type": "object",
    "properties": {
        **{key: {"type": ["string", "null"]} for key in ("cron", "cron_config", "cron_expression", "time_zone")},
        **dict.fromkeys(("interval", "interval_config", "interval_expression"), _INTERVAL),
    },
    "additionalProperties": False,
}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_CHECK: Schema = {"anyOf": [_NAME, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_SECRET: Schema = {
    "type": "object",
    "properties": {"secret": {"type": "string", "pattern": "^[^:]+:.+", "description": "env:NAME, file:PATH, ..."}},
    "required": ["secret"],
    "additionalProperties": False,
}
# The common keys but platform and engine, whose names depend on what is installed, and platforms.
_COMMON: dict[str, Schema] = {
    "job_name": _NAME,
    "periodic": _PERIOD,
    "properties": {"type": "object"},
    "env": {"type": "object", "additionalProperties": {"anyOf": [{"type": ["string", "number", "boolean"]}, _SECRET]}},
    "cpu": {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": rf"^\s*{NUMBER}m?\s*$"},
        ]
    },
    "memory": _MEMORY,
    "gpu": {"type": "integer", "minimum": 0},
    "retries": {"type": "integer", "minimum": 0},
    "retry_delay": {
        "anyOf": [
            *DURATION["anyOf"],
            {
                "type": "object",
                "properties": {
                    "first": DURATION, "factor": {"type": "number", "minimum": 1}, "max": DURATION,
                },
                "required": ["first"],
                "additionalProperties": False,
            },
        ]
    },
    "retry_on": {"anyOf": [{"enum": [*RETRY_ON]}, {"type": "array", "items": {"enum": [*RETRY_ON]}}]},
    "grow": {
        "type": "object",
        "properties": {"memory": {"type": "number", "exclusiveMinimum": 1}, "max": _MEMORY},
        "required": ["memory"],
        "additionalProperties": False,
    },
    "ready": {
        "anyOf": [
            _PORT, *_CHECK["anyOf"],
            {
                "type": "object",
                "properties": {"port": _PORT, "command": _CHECK, "within": DURATION, "every": DURATION},
                "additionalProperties": False,
            },
        ]
    },
    "timeout": DURATION,
    "python": _NAME,
    "shell": {
        "anyOf": [
            {"enum": ["sh", "bash", "strict"]},
            {"type": "string", "pattern": r"^/\S+$"},
            {"type": "array", "items": {"type": "string"}, "minItems": 2},
        ]
    },
    "keep": {"enum": [True, False, "failed"]},
}  # fmt: skip


# The classes whose docstrings say what the keys of these keys mean.
_CLASSES = {"periodic": PeriodicConfig, "retry_delay": RetryDelay, "grow": Grow, "ready": Ready}


def _explained(schema: Schema, words: dict[str, str]) -> Schema:
    """The same with the meanings of the keys of the mapping that it takes, which may have longer names."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_explained(each, words) for each in schema["anyOf"]]}
    if "properties" not in schema:
        return schema
    keys = {
        name: described(each, words.get(name) or words.get(name.partition("_")[0]))
        for name, each in schema["properties"].items()
    }
    return {**schema, "properties": keys}


def common_keys() -> dict[str, Schema]:
    """The schema of each common key but platform, engine and platforms, with its meaning and default."""
    words = meanings(BaseJobConfig)
    found: dict[str, Schema] = {}
    for key in COMMON_KEYS:
        if key not in ("platform", "engine", "platforms"):
            name = ATTRIBUTES.get(key, key)
            schema = schema_of(ExecutionMode) if key == "exec_mode" else _COMMON.get(key, ANYTHING)
            if key in _CLASSES:
                schema = _explained(schema, meanings(_CLASSES[key]))
            found[key] = or_nothing({**schema, **({"description": words[name]} if name in words else {})})
    for former, key in ALIASES.items():
        found[former] = found[key]
    return found


def own_keys(config_type: Any) -> tuple[dict[str, Schema], bool]:
    """The schema of each key that a plugin's config type adds to the common ones, and whether it takes any other."""
    signature = signature_of(config_type)
    words = meanings(config_type)
    taken = {*COMMON_KEYS, *ALIASES, *ATTRIBUTES.values()}
    own = {name: each for name, each in signature.parameters.items() if name not in taken}
    return {name: described(parameter_schema(each, 0), words.get(name)) for name, each in own.items()}, signature.free


def project_schema(jobs: Schema) -> Schema:
    """The schema of project.yaml; ``jobs`` is that of workflow.yaml, which an inline profile holds."""
    schema = schema_of(Settings)
    keys = schema["properties"]
    words = meanings(Settings)
    jobs_at_once = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}
    keys["jobs"] = described(jobs_at_once, words["jobs"])
    profiles = {
        "type": "object",
        "additionalProperties": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/workflow"}]},
    }
    keys["profiles"] = described(profiles, words["profiles"])
    scheduled = schema_of(Scheduled)
    period = _explained(_PERIOD, meanings(PeriodicConfig))["properties"]
    scheduled["properties"].update({name: period[name] for name in ("cron", "interval", "time_zone")})
    entries = {"type": "object", "propertyNames": {"pattern": r"^[\w.-]+$"}, "additionalProperties": scheduled}
    keys["schedule"] = described(entries, words["schedule"])
    inner = {key: value for key, value in jobs.items() if key not in ("$defs", "$schema")}
    return {
        "$schema": DRAFT,
        "title": "project.yaml of aiflow-ext",
        **schema,
        "properties": {key: or_nothing(value) for key, value in keys.items()},
        "$defs": {**jobs["$defs"], "workflow": inner},
    }
