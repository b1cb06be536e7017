"""What is laid under and over workflow.yaml: the user's own settings, a profile, files of ``--config``."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.misfits import given
from aiflow_ext.translate.project import Project
from aiflow_ext.translate.yaml_source import Located, read_yaml


def user_config() -> Path | None:
    """The file of this user's own settings, ``~/.config/aiflow-ext/config.yaml``, below XDG_CONFIG_HOME where that is
    set; None where there is none.

    Raises ConfigError where it is another user's, to whom HOME may lead, or anybody can write to it.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    path = Path(home, "aiflow-ext", "config.yaml")
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError("others can write to this file of settings", where=str(path), hint=f"chmod o-w {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            "this file of settings belongs to another user",
            where=str(path),
            hint="is HOME, or XDG_CONFIG_HOME, another user's? Set it to your own",
        )
    return path


def laid_over(project: Project, profile: str | None, configs: Sequence[str], problems: list[Problem]) -> list[Located]:
    """What is laid over workflow.yaml, in this order: the profile, and the files of ``--config``.

    Args:
        project: whose profile it is.
        profile: its name; None for none.
        configs: paths of files.
        problems: takes mistakes that leave something readable.

    Raises ConfigError where there is no such profile, or files cannot be read: with each of them.
    """
    reads: list[Callable[[], Located]] = [] if profile is None else [partial(_profile, project, profile, problems)]
    reads += [partial(read_yaml, path, problems) for path in configs]
    found: list[Located] = []
    wrong: list[Problem] = []
    for read in reads:
        try:
            found.append(read())
        except ConfigError as error:
            wrong += error.problems
    if wrong:
        raise ConfigError(problems=wrong)
    return found


def _profile(project: Project, name: str, problems: list[Problem]) -> Located:
    profiles = project.profiles
    if name not in profiles:
        known = f"the profiles in project.yaml are {listed([*profiles])}"
        hint = near(name, profiles) or known if profiles else "add it to project.yaml: profiles: {prod: prod.yaml}"
        raise ConfigError(f"the project has no profile {name!r}", where=f"--profile {name}", hint=hint)
    where, value = project.where(("profiles", name)), profiles[name]
    if isinstance(value, Mapping):
        return project.source.at("profiles").at(name)
    if not isinstance(value, str) or not value:
        hint = "write profiles: {prod: prod.yaml}, or the jobs' keys themselves, as in workflow.yaml"
        raise ConfigError(
            f"the profile {name!r} must be a file or a mapping, not {given(value)}", where=where, hint=hint
        )
    try:
        return read_yaml(project.root / value, problems)
    except ConfigError as error:
        for each in error.problems:
            each.hint = each.hint or f"it is the profile {name!r} ({where})"
        raise
