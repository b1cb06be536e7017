"""The settings of a job as its typed config, an object of its plugin's type."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from aiflow_ext.model.config import BaseJobConfig, PeriodicConfig
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.translate.common import ALIASES, ATTRIBUTES, COMMON_KEYS, NAMES, checked, common_values, is_common
from aiflow_ext.translate.construct import create
from aiflow_ext.translate.defaults import meant_for
from aiflow_ext.translate.fitting import LACKS, TELLS, arguments, fit
from aiflow_ext.translate.layers import Layer
from aiflow_ext.translate.misfits import Item, Misfit
from aiflow_ext.translate.signature import Signature, signature_of
from aiflow_ext.translate.structure import report

Common = tuple[Mapping[str, Any], list[Item]]  # the common values of a job, and what is wrong with the others


class Structurer:
    """Makes the configs of many jobs. For jobs with equal settings, common keys are read once, and where the
    plugin's type adds nothing of its own the second gets a copy of the first's config."""

    def __init__(self) -> None:
        self._common: dict[str, Common] = {}
        self._made: dict[tuple[type[Any], str], BaseJobConfig] = {}

    def platform_and_engine(self, layer: Layer, problems: list[Problem]) -> tuple[str, str] | None:
        """Where the job runs and what kind of job it is.

        None after what is missing was appended to ``problems``, together with whatever else is wrong with the common
        keys: nothing else checks a job whose plugin is not known.
        """
        values, wrong = self._common_of(layer)
        before = len(problems)
        for name, example in (("platform", "local"), ("engine", "python")):
            if name not in values and layer.value.get(name) is None:
                hint = f"add {name}: with its name, such as {example}"
                # Said here because the plugin that would call such a key unknown cannot be found.
                if meant := meant_for(layer, name):
                    hint = f"is {meant!r} ({layer.where((meant,))}) meant to be {name!r}? Or {hint}"
                problems.append(Problem(f"job {layer.job!r} lacks the key {name!r}", layer.where(), hint))
        if len(problems) == before and "platform" in values and "engine" in values:
            return values["platform"], values["engine"]
        report(wrong, layer.title, layer.where, problems)
        return None

    def check_common(self, layer: Layer, problems: list[Problem]) -> None:
        """Append what is wrong with the common keys, for a job whose plugin is not there or not needed."""
        report(self._common_of(layer)[1], layer.title, layer.where, problems)

    def exec_mode(self, layer: Layer) -> ExecutionMode:
        """The exec mode of a job whose plugin is not there or not needed."""
        mode: ExecutionMode = self._common_of(layer)[0].get("exec_mode", BaseJobConfig.exec_mode)
        return mode

    def structure(self, config_type: type[Any], layer: Layer, problems: list[Problem]) -> BaseJobConfig | None:
        """The job's config as an object of the plugin's type; None after what is wrong was appended to ``problems``.

        Common values reach ``config_type.__init__`` as far as it takes them, and are attributes of the result in any
        case; every other key is a parameter of its own.
        """
        common = self._common_of(layer)
        if not _made_by_the_host(cast(Any, config_type)):
            return _structured(config_type, layer, common, problems)
        said = config_type, repr(layer.value)
        first = self._made.get(said)
        if first is None:
            structured = _structured(config_type, layer, common, problems)
            if structured is not None:
                self._made[said] = structured
            return structured
        made = cast(BaseJobConfig, object.__new__(config_type))  # as copy.copy, which takes ten times as long
        vars(made).update(vars(first))
        if layer.value.get("job_name") is None:
            made.job_name = layer.job
        made.properties, made.env = _copy_of(first.properties), _copy_of(first.env)
        return made

    def _common_of(self, layer: Layer) -> Common:
        said = repr(layer.value)
        found = self._common.get(said)
        if found is None:
            found = self._common[said] = common_values(layer)
        return found


def _copy_of(value: Mapping[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(dict(value)) if value else {}  # most are empty


@cache
def _made_by_the_host(config_type: type[Any]) -> bool:
    """Whether all that a config holds is known here: neither an author's own ``__init__`` nor attributes of theirs."""
    if config_type.__init__ is not BaseJobConfig.__init__:
        return False
    try:
        return not signature_of(cast(Any, config_type)).attributes
    except TypeError:  # reported where it is structured
        return False


def takes(config_type: type[Any], name: str) -> bool:
    """Whether a config type's author has written a parameter or an attribute of this common name."""
    try:
        found = signature_of(cast(Any, config_type)).parameters.get(name)
    except TypeError:  # reported where it is structured
        return False
    if found is None or found.passed_on:
        return False
    return found.attribute or config_type.__init__ is not BaseJobConfig.__init__


def _structured(config_type: type[Any], layer: Layer, common: Common, problems: list[Problem]) -> BaseJobConfig | None:
    """As :meth:`Structurer.structure`, of a job whose common values are these."""
    values, wrong = {"job_name": layer.job, **common[0]}, common[1]
    owner = f"a {values.get('platform', '?')}.{values.get('engine', '?')} job"
    try:
        signature = signature_of(cast(Any, config_type))
    except TypeError as error:
        problems.append(Problem(f"job {layer.job!r}: {error}", layer.where(), "this is a mistake of its job plugin"))
        return None
    own = {key: copy.deepcopy(value) for key, value in layer.value.items() if not is_common(key)}
    theirs = {name: each for name, each in signature.parameters.items() if name not in NAMES and not is_common(name)}
    renamed = getattr(config_type, "renamed", None)
    found, misfits = arguments(Signature(theirs, signature.free), own, owner, COMMON_KEYS, renamed)
    wrong = [*wrong, *(_told_of_blocks(item, values.get("platform")) for item in misfits)]
    for name in NAMES:
        parameter = signature.parameters.get(name) or signature.parameters.get(_key_of(name))
        if parameter is None:
            continue
        if name in values:
            try:
                raw = layer.value.get(_key_of(name))
                value = _fitted(copy.deepcopy(values[name]), raw, parameter.type)
            except Misfit as misfit:
                wrong += misfit.under(_said_as(layer, name))
                continue
            found[parameter.name] = value
        elif parameter.required:
            found[parameter.name] = copy.deepcopy(getattr(BaseJobConfig, name))
    if wrong:
        report(wrong, layer.title, layer.where, problems)
        return None
    try:
        made = create(config_type, found, [*NAMES, *COMMON_KEYS])
    except Misfit as misfit:
        items = [((_said_as(layer, path[0]), *path[1:]) if path else path, *rest) for path, *rest in misfit.items]
        report(cast("list[Item]", items), layer.title, layer.where, problems)
        return None
    wrong = _set_common(made, copy.deepcopy(values))
    report(wrong, layer.title, layer.where, problems)
    return None if wrong else cast(BaseJobConfig, made)


def _key_of(name: str) -> str:
    """The key in workflow.yaml of BaseJobConfig's ``name``."""
    return next((key for key, attribute in ATTRIBUTES.items() if attribute == name), name)


def _told_of_blocks(item: Item, platform: Any) -> Item:
    """A mistake in the keys of a job plugin; the hint says where keys belong that only one platform has."""
    path, message, hint = item
    if path == () and message.startswith(LACKS):
        name = message.split("'")[1]
        hint = f"{hint}, or under platforms: {{{platform}: {{{name}: ...}}}}, which is read on {platform} alone"
    elif len(path) == 1 and message.startswith(TELLS.strip()) and (hint or "").startswith("its keys are"):
        hint = f"{hint}; one that only another platform has goes under platforms: {{PLATFORM: {{{path[0]}: ...}}}}"
    return path, message, hint


def _said_as(layer: Layer, name: str) -> str:
    """The key under which this job's config says ``name``."""
    key = _key_of(name)
    return next((alias for alias, real in ALIASES.items() if real == key and alias in layer.value), key)


def _fitted(value: Any, raw: Any, kind: Any) -> Any:
    """A common value in the type of the plugin's parameter: as checked, or as it was written."""
    candidates = [value]
    if isinstance(value, float) and value.is_integer():
        candidates.append(int(value))  # "10m" for an author's `timeout: int`
    if not isinstance(raw, Mapping):
        candidates.append(raw)
    first: Misfit | None = None
    for each in candidates:
        try:
            return fit(each, kind)
        except Misfit as misfit:
            first = first or misfit
    assert first is not None
    raise first


def _set_common(made: Any, values: Mapping[str, Any]) -> list[Item]:
    """Give the config its common values as attributes, whatever its author's ``__init__`` did with them."""
    wrong: list[Item] = []
    for name in NAMES:
        there = getattr(made, name, None)
        try:
            value = values[name] if name in values else _default(name, there)
        except Misfit as misfit:
            wrong += misfit.under(_key_of(name))
            continue
        if isinstance(value, Mapping):
            # What an author added of their own to a map stays.
            value = {**there, **value} if isinstance(there, Mapping) else dict(value)
        try:
            # Past a frozen class's own __setattr__.
            object.__setattr__(made, name, value)
        except AttributeError:
            if there != value:
                words = f"is {value!r}, but {type(made).__name__} insists on {there!r}"
                wrong.append(((_key_of(name),), words, "leave the key out, or ask the author of the job plugin"))
    return wrong


def _default(name: str, there: Any) -> Any:
    """A common value that was not configured: the author's default, in the type that the host needs.

    Raises Misfit for a period that no scheduler could keep.
    """
    if there is None:
        return getattr(BaseJobConfig, name)
    try:
        return checked(_key_of(name), there)
    except Misfit:
        if isinstance(there, PeriodicConfig):
            raise
        return there
