"""One job's settings, merged from all sources: ``"*"`` < patterns < job < ``--set`` < ``-p``."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.common import ALIASES
from aiflow_ext.translate.misfits import given
from aiflow_ext.translate.patterns import Patterns, is_pattern
from aiflow_ext.translate.yaml_source import Located, Mark, parse_yaml, plain_scalar

EVERY_JOB = "*"
DEFAULT_PLATFORM = "local"  # of a job that names none
# These maps are joined key by key, as is the chosen platform's block; everything else replaces.
JOINED = ("properties", "env")


class Setting(NamedTuple):
    """One ``--set`` or ``-p``: for which job or pattern, which key, what value, and the words it came in."""

    job: str
    path: tuple[str, ...]
    value: Located
    said: str


class Layer(Located):
    """Everything that one job's config says, merged; where() knows the file's line or the option of each part.

    Attributes:
        job: the job's key.
        conflicts: settings that would put a key into what is no mapping; they are left out.
    """

    __slots__ = ("_shared", "conflicts", "job")

    def __init__(
        self, value: dict[str, Any], mark: Mark, file: str, job: str, shared: Sequence[tuple[str, Mark]] = ()
    ) -> None:
        super().__init__(value, mark, file)
        self.job, self._shared = job, shared
        self.conflicts: list[Problem] = []

    def title(self, path: Iterable[Any] = ()) -> str:
        """The entry that a mistake at ``path`` belongs to: the job's, or that of ``"*"`` or a pattern."""
        steps = tuple(path)
        mark = self.mark.nearest(steps)
        if steps and mark is not self.mark:
            for key, outer in self._shared:
                if _holds(outer, mark):
                    return f'"{key}"'
        return f"job {self.job!r}"


def _holds(outer: Mark, wanted: Mark) -> bool:
    return outer is wanted or any(_holds(inner, wanted) for inner in outer.children.values())


def merge(
    job: str, entries: Sequence[tuple[str, Located]], settings: Sequence[Setting], place: str, file: str
) -> Layer:
    """The layer of ``job``.

    Args:
        job: the job's key.
        entries: the keys that apply to it with their values, the most exact one last.
        settings: in the order in which they are laid over the entries.
        place: the place of the job's entry, for mistakes that belong to no key.
        file: workflow.yaml as shown in messages.
    """
    platform: Any = None
    for _, each in entries:
        platform = each.value.get("platform", platform)
    for setting in settings:
        platform = setting.value.value if setting.path == ("platform",) else platform
    if platform is None:
        platform = DEFAULT_PLATFORM
    shared = [(key, each.mark) for key, each in entries if key != job]
    layer = Layer({}, Mark(place), file, job, shared)
    for _, each in entries:
        _overlay(layer, each, platform)
    for setting in settings:
        assign(layer, setting, platform)
    _keep_variables_as_written(layer)
    return layer


def _keep_variables_as_written(layer: Layer) -> None:
    """Have numbers and the like under ``env`` be the text that they were written as: 1.10 stays 1.10, 0755 stays 0755.

    Here and not where values are checked, so that what is stored of a run says the same.
    """
    env = layer.value.get("env")
    if isinstance(env, dict):
        for name, value in env.items():
            if isinstance(value, (bool, int, float)) and (text := layer.mark.nearest(("env", name)).text) is not None:
                env[name] = text


def _overlay(layer: Layer, source: Located, platform: Any) -> None:
    """Merge the mapping ``source`` over the layer; its block for ``platform`` overrides its other keys."""
    blocks: Any = None
    for key in source.value:
        if key == "platforms":
            blocks = source.at(key)
        else:
            _put(layer, key, source.at(key))
    if blocks is not None and isinstance(blocks.value, Mapping):
        block = blocks.at(platform) if isinstance(platform, str) and platform in blocks.value else None
        if block is not None and isinstance(block.value, Mapping):
            for key in block.value:
                _put(layer, key, block.at(key))


def said(entry: Mapping[Any, Any]) -> dict[tuple[Any, ...], Any]:
    """What an entry says, by the path of each key: one level into maps that are joined and into platforms' blocks."""
    found: dict[tuple[Any, ...], Any] = {}
    for key, value in entry.items():
        key = ALIASES.get(key, key) if isinstance(key, str) else key
        if key == "platforms" and isinstance(value, Mapping):
            for platform, block in value.items():
                if isinstance(block, Mapping):
                    found |= {(key, platform, *path): inner for path, inner in said(block).items()}
        elif key in JOINED and isinstance(value, Mapping):
            found |= {(key, inner): each for inner, each in value.items()}
        else:
            found[key,] = value
    return found


def _put(layer: Layer, key: Any, part: Located) -> None:
    for one, other in ALIASES.items():
        if key in (one, other):
            layer.value.pop(one, None)
            layer.value.pop(other, None)
    there = layer.value.get(key)
    if key in JOINED and isinstance(there, dict) and part.value is None:
        return
    if key in JOINED and isinstance(there, dict) and isinstance(part.value, dict):
        there.update(copy.deepcopy(part.value))
        mark = layer.mark.children[key]
        layer.mark.children[key] = Mark(part.mark.place, None, {**mark.children, **part.mark.children})
    else:
        layer.value[key] = copy.deepcopy(part.value)
        layer.mark.children[key] = part.mark


def assign(layer: Layer, setting: Setting, platform: Any = None) -> None:
    """Apply one setting; of ``platforms`` only the block of ``platform``."""
    path, part = setting.path, setting.value
    if path[0] == "platforms":
        if path[1:2] and path[1] != platform:
            return
        if len(path) < 3:
            inner: Any = part.value if len(path) == 2 else (part.value or {}).get(platform)
            mark = part.mark if len(path) == 2 else part.mark.nearest((platform,))
            for key in inner or {}:
                _put(layer, key, Located(inner[key], mark.nearest((key,)), part.file))
            return
        path = path[2:]
    if len(path) == 1:
        _put(layer, path[0], part)
        return
    there: Any = layer.value
    for length, step in enumerate(path[:-1], 1):
        there = there.get(step)
        if there is None:
            break
        if not isinstance(there, dict):
            parent = ".".join(setting.path[: length + len(setting.path) - len(path)])
            message = (
                f"{parent!r} of job {layer.job!r} is {given(there)} ({layer.where(path[:length])}), which has no keys"
            )
            hint = f"set the whole of it: --set {setting.job}.{parent}=VALUE"
            layer.conflicts.append(Problem(message, setting.said, hint))
            return
    value, mark = layer.value, layer.mark
    for step in path[:-1]:
        inner = value.get(step)
        if not isinstance(inner, dict):
            inner = value[step] = {}
            mark.children[step] = Mark(part.where())
        value = inner
        # Other jobs share the marks of "*".
        mark.children[step] = mark.children[step].copy() if step in mark.children else Mark(part.where())
        mark = mark.children[step]
    value[path[-1]] = copy.deepcopy(part.value)
    mark.children[path[-1]] = part.mark


def read_set(text: str, jobs: Collection[str], file: str, problems: list[Problem]) -> Setting | None:
    """``JOB.KEY=VALUE`` as a setting; None after what is wrong was noted.

    Args:
        text: the option's value.
        jobs: the names that JOB may be, or that it must fit as a pattern.
        file: the file that has these jobs, for messages.
        problems: takes what is wrong.
    """
    said = f"--set {text}"
    usage = "write it as --set JOB.KEY=VALUE, with * as JOB for every job"
    name, equals, words = text.partition("=")
    if not equals:
        problems.append(Problem("there is no = in it", said, usage))
        return None
    job = _job_of(name, jobs)
    keys = name[len(job) + 1 :] if job is not None else ""
    path = _split(keys)
    if job is None:
        first = (_split(name) or [""])[0]
        if "." not in name:
            problems.append(Problem(f"it names no job: {name!r}", said, usage))
        else:
            what = f"no job fits {first!r}" if is_pattern(first) else f"there is no job {first!r}"
            problems.append(Problem(what, said, near(first, jobs) or _listed(jobs, file)))
        return None
    if not path:
        problems.append(Problem("it names no key" if not keys else f"{keys!r} is no key", said, usage))
        return None
    value = _value(words, said, problems)
    if value is None or not _fits_blocks(path, value.value):
        if value is not None:
            hint = "name the key too: --set JOB.platforms.PLATFORM.KEY=VALUE"
            problems.append(Problem("platforms holds a mapping for each platform", said, hint))
        return None
    return Setting(job, tuple(path), value, said)


def _job_of(name: str, jobs: Collection[str]) -> str | None:
    """The job, or pattern of jobs, with which ``name`` begins: the longest, because the names of jobs may hold dots."""
    heads = [name[:at] for at, char in enumerate(name) if char == "."] + [name]
    for head in reversed(heads):
        if head in jobs or head == EVERY_JOB:
            return head
    for head in reversed(heads):
        if is_pattern(head) and any(map(Patterns([head]).fitting, jobs)):
            return head
    return None


class Settings:
    """The command line's settings in the order in which they apply to a job: ``*``, then patterns, then names."""

    def __init__(self, settings: Iterable[Setting]) -> None:
        self.given = tuple(settings)
        self._by_key: dict[str, list[Setting]] = {}
        for each in self.given:
            self._by_key.setdefault(each.job, []).append(each)
        self._patterns = Patterns(key for key in self._by_key if is_pattern(key) and key != EVERY_JOB)

    def of(self, job: str) -> list[Setting]:
        """Those of one job, in the order in which they count; of equally exact ones the one given last counts."""
        if not self._by_key:
            return []
        keys = [EVERY_JOB, *(key for key in self._patterns.fitting(job) if key != job), job]
        return [each for key in keys for each in self._by_key.get(key, ())]


def _fits_blocks(path: Sequence[str], value: Any) -> bool:
    """Whether a setting of ``platforms``, or of one platform's block, keeps them mappings."""
    if path[0] != "platforms" or len(path) > 2:
        return True
    blocks = value.values() if len(path) == 1 and isinstance(value, dict) else [value]
    return all(each is None or isinstance(each, dict) for each in blocks)


def read_param(text: str, problems: list[Problem]) -> tuple[str, Located, str] | None:
    """``NAME=VALUE`` of ``-p`` as name, value and the words it came in; None after what is wrong was noted."""
    said = f"-p {text}"
    name, equals, words = text.partition("=")
    if not equals or not name.strip():
        missing = "there is no = in it" if not equals else "there is no name before the ="
        problems.append(Problem(missing, said, "write it as -p NAME=VALUE"))
        return None
    value = _value(words, said, problems)
    return (name, value, said) if value is not None else None


def check_params(texts: Iterable[str], problems: list[Problem]) -> None:
    """Add what is wrong with each ``NAME=VALUE`` of ``-p`` by itself, whatever has a property or parameter NAME."""
    for text in texts:
        read_param(text, problems)


def _listed(jobs: Collection[str], file: str) -> str:
    return f"the jobs in {file} are {listed(jobs)}" if jobs else f"{file} has no jobs"


def _split(keys: str) -> list[str] | None:
    """The parts between the dots; a part in double quotes may hold dots. None where one is empty."""
    parts: list[str] = []
    rest = keys
    while True:
        match = re.match(r'"([^"]+)"(?=\.|$)|([^.]+)(?=\.|$)', rest)
        if match is None:
            return None
        parts.append(match[1] or match[2])
        if match.end() == len(rest):
            return parts
        rest = rest[match.end() + 1 :]


def _value(words: str, said: str, problems: list[Problem]) -> Located | None:
    """A flow value or scalar of the command line; whatever does not begin like one of YAML's is one plain scalar."""
    if not words.lstrip().startswith(("[", "{", '"', "'", "!")):
        return plain_scalar(words, said)
    found: list[Problem] = []
    try:
        value = parse_yaml(words, said, found, said)
    except ConfigError as error:
        found += error.problems
        value = None
    option, _, name = said.partition("=")[0].partition(" ")
    hint = f"what has spaces needs quotes in a shell: {option} '{name}=[1, 2]', '{name}={{a: 1}}'"
    problems += [Problem(each.message, each.where, each.hint or hint) for each in found]
    return None if found else value
