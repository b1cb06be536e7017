"""What goes wrong, in words for the person who can mend it, and the exit code it ends a command with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

# One table of exit codes for the whole product; docs/exit-codes.md says the same in prose.
OK = 0
JOB_FAILED = 1
DIFFERS = 1  # of diff
USAGE = 2
PROJECT = 3
NOT_INSTALLED = 4
PLUGIN = 5
PLATFORM = 6
STOPPED = 7
NOT_OVER = 8
INTERNAL = 70
INTERRUPTED = 130


class Problem:
    """One mistake.

    Args:
        message: what is wrong, as a sentence without a full stop.
        where: its place, such as ``file:line``; None: not known.
        hint: what to do about it; None: nothing to suggest.
    """

    __slots__ = ("hint", "message", "where")

    def __init__(self, message: str, where: str | None = None, hint: str | None = None) -> None:
        self.message, self.where, self.hint = message, where, hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        cure = f"\n    {self.hint}" if self.hint else ""
        return f"{place}{self.message}{cure}"

    def __repr__(self) -> str:
        return f"Problem({self.message!r}, where={self.where!r}, hint={self.hint!r})"


def text_of(thing: object) -> str:
    """``str(thing)``, also of a foreign object whose ``__str__`` raises or returns no text."""
    try:
        return str(thing)
    except Exception as error:
        return f"(no words: its __str__ raised {type(error).__name__})"


def named(error: BaseException) -> str:
    """An exception with the name of its type."""
    return f"{type(error).__name__}: {text_of(error)}"


def shown_path(path: str | os.PathLike[str]) -> str:
    """``path`` as errors show it: relative to the current folder where that is shorter, otherwise as it is."""
    given = os.fspath(path)
    try:
        relative = os.path.relpath(given)
    except (OSError, ValueError):
        return given
    return relative if len(relative) < len(given) else given


class AiflowError(Exception):
    """Base of every error of this product: a sentence, where it is, and what to do.

    ``problems`` holds each mistake by itself where several were found at once; it is never empty.
    """

    exit_code = INTERNAL
    problems: tuple[Problem, ...]
    message: str

    def __new__(cls, *arguments: object, **more: object) -> Self:
        """What a subclass is that has an ``__init__`` of its own and does not call this one."""
        made = super().__new__(cls, *arguments)
        made.message = ", ".join(map(text_of, arguments)) or cls.__name__
        made.problems = (Problem(made.message),)
        return made

    def __init__(
        self,
        message: str = "",
        *,
        where: str | None = None,
        hint: str | None = None,
        problems: Sequence[Problem] | None = None,
    ) -> None:
        self.problems = tuple(problems) if problems else (Problem(message, where, hint),)
        self.message = message or self.problems[0].message
        super().__init__(self.message)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))

    def locate(self, where: str | None) -> None:
        """Have every problem that names no place be at ``where``."""
        self.problems = tuple(each if each.where else Problem(each.message, where, each.hint) for each in self.problems)


def said_by(error: BaseException) -> str:
    """The message of an AiflowError; of any other exception with the name of its type."""
    return text_of(error) if isinstance(error, AiflowError) else named(error)


class ProjectError(AiflowError):
    """A mistake in a project: its files, its config, its graph or its code."""

    exit_code = PROJECT


class ConfigError(ProjectError):
    """project.yaml, workflow.yaml, ``--set`` or ``-p`` say something that cannot be."""


class GraphError(ProjectError):
    """The workflow's graph has a structural mistake."""


class CodeError(ProjectError):
    """A function, an argument or a file of the project cannot be sent to where the job runs."""


class SecretError(ProjectError):
    """A secret's source is missing or unreadable."""


class DataError(AiflowError):
    """Serialised data names a type that is not loaded here, or is damaged."""

    exit_code = PROJECT


class PlatformError(AiflowError):
    """A platform refuses, cannot be reached or lacks something that a job needs."""

    exit_code = PLATFORM


class UnreachableError(PlatformError):
    """A platform gives no answer, or cannot take anything just now. It says nothing of a job: it is asked again."""


class AnotherPlatformError(UnreachableError):
    """What is reached is another platform (another cluster) than the one in which the run began. A driver waits for the
    right one, as for one that gives no answer; resuming the run is refused."""


class StateError(AiflowError):
    """The state or artifacts folder cannot be used: full disk, no permission, damaged."""

    exit_code = PLATFORM


class PluginError(AiflowError):
    """Base of what can be wrong with an installed or missing plugin."""

    exit_code = PLUGIN


class PluginNotInstalledError(PluginError):
    """Nobody advertises this platform, engine, job plugin or extension."""

    exit_code = NOT_INSTALLED


class PluginDependencyError(PluginError):
    """Importing the plugin failed because a module that it needs is not installed."""


class PluginAttributeError(PluginError):
    """The plugin's module was imported but lacks the advertised attribute."""


class PluginTypeError(PluginError):
    """What the entry point leads to is not what it must be."""


class PluginImportError(PluginError):
    """The plugin's module, or creating the plugin, raised."""


class PluginConflictError(PluginError):
    """Two distributions advertise the same name and no pin settles it."""


class PluginIncompatibleError(PluginError):
    """The distribution's own requirements exclude this version of aiflow-ext, or this machine."""


class PluginDisabledError(PluginError):
    """The policy (allow, deny) excludes the plugin."""
