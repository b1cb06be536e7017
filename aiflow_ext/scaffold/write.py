"""Writes the files of a new distribution, or of a new project, from templates."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

import aiflow_ext
from aiflow_ext.model.errors import ConfigError

ENGINES = ("cmd_line", "python")
_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_DISTRIBUTION = {
    "pyproject.toml": "plugin/pyproject.toml",
    ".github/workflows/test.yml": "test.yml",
    ".gitignore": "gitignore",
}


def new_plugin(pairs: Sequence[str], folder: Path | None = None, *, nine: bool = False) -> Path:
    """Write the distribution of a platform's job plugins.

    Args:
        pairs: ``PLATFORM.ENGINE`` for each job plugin, all of one platform.
        folder: where it goes; by default a folder of the distribution's name, in the current one.
        nine: by the nine methods alone, for commands.

    Returns the folder. Raises ConfigError for a name that cannot be one, and where something is in the folder.
    """
    platform, engines = _platform_of(pairs)
    if nine and engines != ["cmd_line"]:
        raise ConfigError("--nine writes a plugin for commands", hint=f"write {platform}.cmd_line, or leave out --nine")
    names = _names(platform)
    package = names["package"]
    each = [{**names, "engine": engine, "Engine": _camel(engine)} for engine in engines]
    home = package if nine else f"{package}.platform"
    classes = {f"{platform}.{one['engine']}": _plugin_class(one, nine) for one in each}
    names |= {
        "pairs": " ".join(pairs),
        "pairs_in_words": " and ".join(f"`{pair}`" for pair in pairs),
        "groups": _group("platforms", f'{platform} = "{home}:{names["Name"]}Platform"')
        + _group("job_plugins", *(f'"{pair}" = "{found}"' for pair, found in classes.items())),
        "engine_imports": "".join(f"    {_camel(engine)}Engine,\n" for engine in sorted(engines)),
    }
    names["classes"] = "".join(_filled("plugin/class.py", one) for one in each)
    names["test_classes"] = "".join(_filled("plugin/test_class.py", one) for one in each)
    modules = {"__init__": "nine/module.py"}
    if not nine:
        modules = {name: f"plugin/{name}.py" for name in ("platform", "config", "backend", "jobs")}
        modules["__init__"] = "plugin/init.py"
    others = {"README.md": f"{'nine' if nine else 'plugin'}/README.md",
              "tests/test_conformance.py": "plugin/test_conformance.py"}  # fmt: skip
    return _distribution(names, modules, others, folder)


def new_extension(name: str, folder: Path | None = None) -> Path:
    """Write the distribution of an extension; otherwise as :func:`new_plugin`."""
    names = _names(name, "an extension")
    package = names["package"]
    names["description"] = f"Extension `{name}` for aiflow-ext."
    names["groups"] = _group("extensions", f'{name} = "{package}:{names["Name"]}"')
    others = {"README.md": "extension/README.md", "tests/test_extension.py": "extension/test_extension.py"}
    return _distribution(names, {"__init__": "extension/module.py"}, others, folder)


def new_engine(name: str, folder: Path | None = None) -> Path:
    """Write the distribution of an engine, with its job plugin for platform local; otherwise as :func:`new_plugin`."""
    names = _names(name, "an engine")
    package = names["package"]
    names["description"] = f"Engine `{name}` for aiflow-ext."
    names["more"] = f', "aiflow-ext-local>={names["version"]},<{names["next_version"]}"'
    names["groups"] = (
        _group("engines", f'{name} = "{package}.engine:{names["Name"]}Engine"')
        + _group("authoring", f'{names["word"]} = "{package}.authoring:{names["word"]}"')
        + _group("job_plugins", f'"local.{name}" = "{package}.local:Local{names["Name"]}JobPlugin"')
    )
    modules = {part: f"engine/{part}.py" for part in ("engine", "authoring", "local")}
    others = {"README.md": "engine/README.md", "tests/test_conformance.py": "engine/test_conformance.py"}
    return _distribution(names, {"__init__": "engine/init.py", **modules}, others, folder)


def new_workflow(name: str, folder: Path | None = None) -> Path:
    """Write a project with a workflow of three jobs and its test; otherwise as :func:`new_plugin`."""
    names = {**_names(name, "a workflow"), "name": name}
    files = ("workflow.py", "steps.py", "workflow.yaml", "project.yaml", "test_workflow.py", "README.md")
    return _written(
        folder or Path(name), names, {".gitignore": "gitignore", **{file: f"workflow/{file}" for file in files}}
    )


def _platform_of(pairs: Sequence[str]) -> tuple[str, list[str]]:
    """The platform and the engines of these pairs. Raises ConfigError."""
    platforms, engines = [], []
    for pair in pairs:
        platform, _, engine = pair.rpartition(".")
        if engine not in ENGINES:
            known = " and ".join(ENGINES)
            hint = f"write {platform or pair}.cmd_line; of engines of your own tells docs/plugin-engines.md"
            raise ConfigError(f"{pair!r} is none of PLATFORM.ENGINE with an engine that is known: {known}", hint=hint)
        platforms.append(platform)
        engines.append(engine)
    if len(set(platforms)) > 1:
        raise ConfigError(f"these are of several platforms: {', '.join(dict.fromkeys(platforms))}",
                          hint="write a distribution for each")  # fmt: skip
    return platforms[0], list(dict.fromkeys(engines))


def _names(name: str, what: str = "a platform") -> dict[str, str]:
    """What templates call the thing of this name. Raises ConfigError for a name that cannot be one."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > 40:
        hint = "use at most 40 lower-case letters, digits and single hyphens, a letter first: slurm, my-cluster"
        raise ConfigError(f"{name!r} cannot be the name of {what}", hint=hint)
    word = name.replace("-", "_")
    major, minor = aiflow_ext.__version__.split(".")[:2]
    return {
        "platform": name,
        "Name": _camel(name),
        "package": f"aiflow_ext_{word}",
        "word": word,
        "distribution": f"aiflow-ext-{name.replace('_', '-')}",
        "more": "",
        "description": f"Platform `{name}` for aiflow-ext.",
        "version": f"{major}.{minor}",
        "next_version": f"{major}.{int(minor) + 1}",
    }


def _plugin_class(names: Mapping[str, str], nine: bool) -> str:
    """Where the class of a job plugin is, as entry points say it."""
    if nine:
        return f"{names['package']}:{names['Name']}JobPlugin"
    return f"{names['package']}.jobs:{names['Name']}{names['Engine']}JobPlugin"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in re.split("[-_]", name))


def _group(name: str, *lines: str) -> str:
    """A group of entry points."""
    return "\n".join([f'[project.entry-points."aiflow_ext.{name}"]', *lines, "", ""])


def _filled(template: str, names: Mapping[str, str]) -> str:
    text = (_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(names)


def _distribution(
    names: Mapping[str, str], modules: Mapping[str, str], others: Mapping[str, str], folder: Path | None
) -> Path:
    """Write a distribution of these modules and other files, each by its template; returns the folder."""
    package = f"src/{names['package']}"
    files = {f"{package}/{name}.py": template for name, template in modules.items()}
    folder = _written(folder or Path(names["distribution"]), names, {**_DISTRIBUTION, **files, **others})
    (folder / package / "py.typed").touch()
    return folder


def _written(folder: Path, names: Mapping[str, str], files: Mapping[str, str]) -> Path:
    """Write the files, each by its template; returns the folder. Raises ConfigError where something is in it, OSError
    where it cannot be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("something is there already", where=str(folder), hint="name another folder: --into FOLDER")
    for name, template in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled(template, names), encoding="utf-8")
    return folder
