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
    files = _DISTRIBUTION | (
        {f"src/{package}/__init__.py": "nine/module.py", "README.md": "nine/README.md"}
        if nine
        else {f"src/{package}/{name}.py": f"plugin/{name}.py" for name in ("platform", "config", "backend", "jobs")}
        | {f"src/{package}/__init__.py": "plugin/init.py", "README.md": "plugin/README.md"}
    )
    names["classes"] = "".join(_filled("plugin/class.py", one) for one in each)
    tests = {**names, "classes": "".join(_filled("plugin/test_class.py", one) for one in each)}
    made = {name: _filled(template, names) for name, template in files.items()}
    made |= {f"src/{package}/py.typed": "", "tests/test_conformance.py": _filled("plugin/test_conformance.py", tests)}
    return _written(folder or Path(names["distribution"]), made)


def new_extension(name: str, folder: Path | None = None) -> Path:
    """Write the distribution of an extension; otherwise as :func:`new_plugin`."""
    names = _names(name, "an extension")
    package = names["package"]
    names["description"] = f"Extension `{name}` for aiflow-ext."
    names["groups"] = _group("extensions", f'{name} = "{package}:{names["Name"]}"')
    files = _DISTRIBUTION | {
        f"src/{package}/__init__.py": "extension/module.py",
        "README.md": "extension/README.md",
        "tests/test_extension.py": "extension/test_extension.py",
    }
    made = {file: _filled(template, names) for file, template in files.items()}
    return _written(folder or Path(names["distribution"]), {**made, f"src/{package}/py.typed": ""})


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
    files = _DISTRIBUTION | {
        f"src/{package}/{part}.py": f"engine/{part}.py" for part in ("engine", "authoring", "local")
    }
    files |= {
        f"src/{package}/__init__.py": "engine/init.py",
        "README.md": "engine/README.md",
        "tests/test_conformance.py": "engine/test_conformance.py",
    }
    made = {file: _filled(template, names) for file, template in files.items()}
    return _written(folder or Path(names["distribution"]), {**made, f"src/{package}/py.typed": ""})


def new_workflow(name: str, folder: Path | None = None) -> Path:
    """Write a project with a workflow of three jobs and its test; otherwise as :func:`new_plugin`."""
    names = {**_names(name, "a workflow"), "name": name}
    files = ("workflow.py", "steps.py", "workflow.yaml", "project.yaml", "test_workflow.py", "README.md")
    made = {file: _filled(f"workflow/{file}", names) for file in files}
    return _written(folder or Path(name), {**made, ".gitignore": _filled("gitignore", names)})


def _platform_of(pairs: Sequence[str]) -> tuple[str, list[str]]:
    """The platform and the engines of these pairs. Raises ConfigError."""
    platforms, engines = [], []
    for pair in pairs:
        platform, _, engine = pair.rpartition(".")
        if engine not in ENGINES:
            known = " and ".join(ENGINES)
            hint = f"write {platform or pair}.cmd_line; of engines of your own tells docs/plugins.md"
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


def _written(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the files. Raises ConfigError where something is in the folder, OSError where it cannot be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("something is there already", where=str(folder), hint="name another folder: --into FOLDER")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
