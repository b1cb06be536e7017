"""The commands about what is installed and configured, and those that write something new."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from aiflow_ext.cli import completion
from aiflow_ext.cli.output import print
from aiflow_ext.cli.program import (
    CONFIG,
    JSON,
    MAYBE_PROJECT,
    PARAM,
    PROFILE,
    SET,
    WORKFLOW,
    program,
)
from aiflow_ext.model import errors


@program.command()
@click.option("--refresh", is_flag=True, help="Look at every installed distribution again, whatever the index says.")
@click.option("--proof", is_flag=True, help="Also say which are proven by the conformance kit: the files of each "
              "distribution that ships a certificate are read.")  # fmt: skip
@JSON
def plugins(refresh: bool, proof: bool, as_json: bool) -> int:
    """List every advertised platform, engine, job plugin, extension and secret source. Imports none of them."""
    from aiflow_ext.host.host import PluginHost

    host = PluginHost()
    records = host.plugins(refresh=refresh)
    proofs = host.proofs() if proof else None
    if as_json:
        found = [record.to_dict() for record in records]
        if proofs is not None:
            for each, record in zip(found, records, strict=True):
                each["proof"] = proofs[record[:5]].to_dict() if record[:5] in proofs else None
        print(json.dumps(found, indent=1))
    else:
        from aiflow_ext.cli.show import print_plugins

        print_plugins(records, None if proofs is None else {key: each.words for key, each in proofs.items()})
    return errors.OK


@program.command()
@click.argument("platform", metavar="PLATFORM|PROJECT", shell_complete=completion.PLATFORM_OR_PROJECT)
@click.argument("engine", metavar="ENGINE|JOB", shell_complete=completion.ENGINE_OR_JOB)
@PARAM
@SET
@WORKFLOW
@CONFIG
@PROFILE
@click.option("--load/--no-load", default=True, help="Whether to import the plugin, and so to say what a run would "
              "meet; else say only what metadata tell [default: --load].")  # fmt: skip
@click.option("--limit", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True,
              metavar="SECONDS", help="Time that loading the plugin may take.")  # fmt: skip
@JSON
def why(platform: str, engine: str, load: bool, limit: float, as_json: bool, **options: Any) -> int:
    """Say which job plugin runs jobs of ENGINE on PLATFORM, or a JOB of PROJECT, or why none does, and what decided so.

    The plugin is loaded in a process of its own. A folder with a workflow.py is a PROJECT.
    """
    from aiflow_ext.cli.why import show_why

    return show_why(platform, engine, limit=limit if load else None, as_json=as_json, **options)


@program.command()
@MAYBE_PROJECT
@PARAM
@SET
@WORKFLOW
@CONFIG
@PROFILE
@click.option("--limit", type=click.FloatRange(min=0, min_open=True), default=15.0, show_default=True,
              metavar="SECONDS", help="Time that the import of a plugin may take.")  # fmt: skip
@JSON
def doctor(project: str | None, limit: float, as_json: bool, **options: Any) -> int:
    """Import each plugin in a process of its own, and say which cannot be used, why, and what to do.

    With PROJECT, also ask each platform that its jobs are configured for whether it can run them.
    """
    from aiflow_ext.cli.doctor import show_diagnosis

    if project is None and any(options.values()):
        raise click.UsageError("these options are about a project's jobs: name its folder, too")
    return show_diagnosis(project, limit=limit, as_json=as_json, **options)


@program.group(context_settings={"help_option_names": ["-h", "--help"]})
def new() -> None:
    """Write a new plugin, extension or workflow, which works as it is."""


_INTO = click.option("--into", type=click.Path(), metavar="FOLDER", help="Where it goes; by default a new folder here.")


@new.command()
@click.argument("names", nargs=-1, required=True, metavar="PLATFORM.ENGINE...")
@click.option("--nine", is_flag=True, help="By the nine methods alone: each job lives with a process beside it.")
@click.option("--extension", is_flag=True, help="An extension; its name stands in place of PLATFORM.ENGINE.")
@click.option("--engine", is_flag=True, help="An engine, with its job plugin for platform local; likewise.")
@_INTO
def plugin(names: tuple[str, ...], nine: bool, extension: bool, engine: bool, into: str | None) -> int:
    """Write the distribution of job plugins, such as slurm.cmd_line slurm.python, of an extension, or of an engine.

    It installs and passes the conformance kit as it is: its jobs are processes of this machine until you change that.
    """
    from aiflow_ext.cli.new import write_plugin

    kind = "extension" if extension else "engine" if engine else "plugin"
    if kind != "plugin" and (nine or len(names) > 1 or (extension and engine)):
        raise click.UsageError(f"--{kind} takes one name, and no other option than --into")
    return write_plugin(names, nine=nine, kind=kind, into=into)


@new.command()
@click.argument("name", metavar="NAME")
@_INTO
def workflow(name: str, into: str | None) -> int:
    """Write a project with a workflow of three jobs, and its test."""
    from aiflow_ext.cli.new import write_workflow

    return write_workflow(name, into=into)


@program.group(context_settings={"help_option_names": ["-h", "--help"]})
def config() -> None:
    """Show the settings of a project and of its jobs."""


@config.command()
@MAYBE_PROJECT
@click.argument("job", metavar="[JOB]", required=False, shell_complete=completion.JOB_OF_PROJECT)
@click.option("--origin", is_flag=True, help="Say behind each where it comes from: file and line, variable or option.")
@PARAM
@SET
@WORKFLOW
@CONFIG
@PROFILE
@JSON
def show(project: str | None, job: str | None, origin: bool, as_json: bool, **options: Any) -> int:
    """Show all settings that a run of PROJECT would have, or those of one JOB; without PROJECT, the environment's.

    Weakest first: defaults, your own file, the project's, --profile, --config, the environment, the command line.
    """
    from aiflow_ext.cli.config import show_config

    if project is None and any(options.values()):
        raise click.UsageError("these options are about a project's jobs: name its folder, too")
    return show_config(project, job, origin=origin, as_json=as_json, **options)


@program.command()
@click.argument("which", type=click.Choice(["workflow", "project"]), default="workflow", metavar="[workflow|project]")
def schema(which: str) -> int:
    """Print a JSON schema of workflow.yaml, or of project.yaml, for the plugins that are installed: for editors.

    Each job plugin is imported, in a process of its own.
    """
    from aiflow_ext.host.host import plugins as listed
    from aiflow_ext.host.schema import schemas

    found, wrong = schemas(listed())
    print(json.dumps(found[which], indent=1))
    for words in wrong:
        print(f"aiflow-ext: {words}", file=sys.stderr)
    return errors.OK
