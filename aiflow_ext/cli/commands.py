"""The commands and their options. Each command is one call of a Python function; ``show`` and ``live`` print."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from aiflow_ext import __version__
from aiflow_ext.cli import completion
from aiflow_ext.cli.output import claim_stdout, keep_exit_code, print
from aiflow_ext.model import errors

if TYPE_CHECKING:
    from aiflow_ext.run.operations.start import Run

_PROJECT = click.argument("project", type=click.Path(), metavar="PROJECT", shell_complete=completion.PROJECT)
_MAYBE_PROJECT = click.argument("project", type=click.Path(), metavar="[PROJECT]", required=False,
                                shell_complete=completion.PROJECT)  # fmt: skip
_JOBS = click.argument("job", nargs=-1, shell_complete=completion.JOB_OF_PROJECT)
_SET = click.option("--set", "sets", multiple=True, metavar="JOB.KEY=VALUE", help="Set a key of a job's config; "
                    "JOB may be a pattern such as 'train-*', and '*' is every job.")  # fmt: skip
_PARAM = click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter of "
                      "the workflow, and a property in every job that has it.")  # fmt: skip
_WORKFLOW = click.option("--workflow", metavar="NAME", shell_complete=completion.WORKFLOW,
                         help="Which workflow, where workflow.py has several.")  # fmt: skip
_CONFIG = click.option("--config", multiple=True, type=click.Path(), metavar="FILE", help="A file that is laid over "
                       "workflow.yaml.")  # fmt: skip
_PROFILE = click.option("--profile", metavar="NAME", shell_complete=completion.PROFILE,
                        help="A profile in project.yaml, which is laid over workflow.yaml.")  # fmt: skip
_RUN = click.argument("run", metavar="RUN", shell_complete=completion.RUN)
_JOBS_OF_RUN = click.argument("job", nargs=-1, shell_complete=completion.JOB_OF_RUN)
_FROM_PROJECT = click.option("--project", type=click.Path(), metavar="PROJECT", shell_complete=completion.PROJECT,
                             help="The folder of the run's project, where its id leaves doubt.")  # fmt: skip
_ON_INTERRUPT = click.option("--on-interrupt", type=click.Choice(["ask", "leave", "stop"]), help="What Ctrl-C does to "
                             "running jobs [default: ask on a terminal, else leave].")  # fmt: skip
_DETACH = click.option("--detach", is_flag=True, help="Leave a driver running in a session of its own, and return.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md says its shape).")


class _Command(click.Command):
    """A command that claims stdout when it begins; help and version are printed before that."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # For an option whose value is being completed, click would give up the whole line, the arguments with it.
        if ctx.resilient_parsing and args:
            options = [each for each in self.params if isinstance(each, click.Option) and not each.is_flag]
            args = args[:-1] if any(args[-1] in each.opts for each in options) else args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        claim_stdout()
        return super().invoke(ctx)

    def get_short_help_str(self, limit: int = 45) -> str:
        return super().get_short_help_str(10_000)  # the whole sentence: click wraps it


class _Group(click.Group):
    """The program, and a group of its commands."""

    command_class = _Command
    group_class = type  # a group in it is one, too

    def get_short_help_str(self, limit: int = 45) -> str:
        return super().get_short_help_str(10_000)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="aiflow-ext", message="%(prog)s %(version)s")
def program() -> None:
    """Run a machine-learning workflow on this machine today and on a cluster tomorrow.

    PROJECT is a folder with a workflow.py, and usually a workflow.yaml. Exit codes: 0 success, 1 a job failed, 2
    usage, 3 a mistake in the project, 4 a plugin is not installed, 5 a plugin is broken, 6 a platform or folder
    cannot be used, 7 stopped, 8 a watched run has not ended and has no driver, 130 interrupted.
    """


@program.command()
@_PROJECT
@_PARAM
@_SET
@_WORKFLOW
@_CONFIG
@_PROFILE
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="How many jobs run at once, whatever "
              "their platform, STREAM jobs not counted [default: a number for each platform].")  # fmt: skip
@click.option("--fail-fast", is_flag=True, help="After the first failed job start nothing more.")
@click.option("--only", multiple=True, metavar="JOB", shell_complete=completion.JOB_OF_PROJECT,
              help="Run these jobs alone; what they read of others comes from an earlier run.")  # fmt: skip
@click.option("--from-run", metavar="RUN", shell_complete=completion.RUN, help="The run that --only reads from "
              "[default: of each job the latest that has finished it].")  # fmt: skip
@click.option("--in-process", is_flag=True, help="Run the jobs in this process, one after another, wherever they are "
              "configured to run: for a debugger (breakpoint() works) and tests.")  # fmt: skip
@click.option("--pdb", is_flag=True, help="In process: debug what a job has raised.")
@click.option("--firing-id", "firing", metavar="ID", help="Run only if no run has had this id: for cron.")
@_DETACH
@_ON_INTERRUPT
@_JSON
def run(
    project: str, on_interrupt: str | None, as_json: bool, detach: bool, in_process: bool, pdb: bool, **options: Any
) -> int:
    """Run PROJECT's workflow and wait for its end."""
    from aiflow_ext.run import prepare_run
    from aiflow_ext.run.operations.new_run import AlreadyFiredError

    if pdb and not in_process:
        raise click.UsageError("--pdb is for jobs that run in this process: add --in-process")
    if in_process and (detach or on_interrupt is not None or options["jobs"] is not None):
        raise click.UsageError("--in-process runs one job after another, in the foreground: leave out --detach, "
                               "--on-interrupt and --jobs")  # fmt: skip
    if options["from_run"] is not None and not options["only"]:
        raise click.UsageError("--from-run says what --only JOB reads from: name the jobs with --only")
    if options["firing"] == "":
        raise click.BadParameter("it is empty; each firing has an id of its own", param_hint="--firing-id")
    try:
        if detach:
            from aiflow_ext.run.operations.detach import detach as detached

            return _detached(*detached(project, **options), as_json=as_json)
        if in_process:
            from aiflow_ext.cli.in_process import run_in_process

            del options["jobs"]
            return run_in_process(project, pdb=pdb, as_json=as_json, **options)
        from aiflow_ext.cli.live import follow

        return follow(
            lambda **more: prepare_run(project, **options, **more), on_interrupt=on_interrupt, as_json=as_json
        )
    except AlreadyFiredError as error:
        from aiflow_ext.cli.look import show_fired

        return show_fired(error, project, as_json=as_json)


@program.command()
@_RUN
@_FROM_PROJECT
@click.option("--failed", is_flag=True, help="Give failed, stopped, lost and skipped jobs a new attempt.")
@click.option("--from", "from_job", metavar="JOB", shell_complete=completion.JOB_OF_RUN,
              help="Give JOB and every job after it a new attempt.")  # fmt: skip
@click.option("--update", is_flag=True, help="What runs again gets the project's code, config and graph of today; with "
              "--from or --failed.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="How many jobs run at once [default: as it was "
              "started with].")  # fmt: skip
@_DETACH
@click.option("--ready", type=int, hidden=True, help="The descriptor to report to that it drives.")
@_ON_INTERRUPT
@_JSON
def resume(run: str, on_interrupt: str | None, as_json: bool, detach: bool, ready: int | None, **options: Any) -> int:
    """Continue RUN: follow the jobs that run, start those that were not started, and wait for its end."""
    from aiflow_ext.cli.live import follow
    from aiflow_ext.run import prepare_resume

    if options["update"] and not options["failed"] and options["from_job"] is None:
        raise click.UsageError("--update says what a job runs with: name the jobs with --from JOB or --failed")
    if detach:
        from aiflow_ext.run.operations.detach import detach_resumed

        return _detached(*detach_resumed(run, **options), as_json=as_json)

    def prepare(**more: Any) -> Run:
        if ready is None:
            return prepare_resume(run, **options, **more)
        from aiflow_ext.run.operations.detach import announced

        def checked() -> Run:
            prepared = prepare_resume(run, **options, **more)
            prepared.driver.check_platforms()
            return prepared

        return announced(checked, ready)

    return follow(prepare, on_interrupt=on_interrupt, as_json=as_json)


def _detached(run_id: str, pid: int, *, as_json: bool) -> int:
    keep_exit_code()
    print(json.dumps({"run": run_id, "driver": pid}) if as_json else f"run {run_id}: driven by pid {pid}")
    return errors.OK


@program.command()
@_PROJECT
@_WORKFLOW
@click.option("--overlap", is_flag=True, help="Fire although the last firing still runs.")
def schedule(project: str, workflow: str | None, overlap: bool) -> int:
    """Fire PROJECT's scheduled workflows and periodic jobs when they are due, until it is interrupted.

    Missed firings become one. A firing that fails is told, and the exit code is 1 then.
    """
    from aiflow_ext.cli.scheduler import fire

    return fire(project, workflow=workflow, overlap=overlap)


@program.command()
@_FROM_PROJECT
@click.option("--params", "parameters", is_flag=True, help="With the parameters that differ among the runs of a "
              "workflow, each in a column.")  # fmt: skip
@_JSON
def runs(project: str | None, parameters: bool, as_json: bool) -> int:
    """List runs, newest first."""
    from aiflow_ext.cli.look import show_runs

    return show_runs(project, parameters=parameters, as_json=as_json)


@program.command()
@_RUN
@_FROM_PROJECT
@click.option("--watch", is_flag=True, help="Show it until it ends.")
@_JSON
def status(run: str, project: str | None, watch: bool, as_json: bool) -> int:
    """Show the state of RUN's jobs. RUN is an id, the beginning of one, or 'latest' (in a project's folder, of it)."""
    from aiflow_ext.cli.look import show_status

    return show_status(run, project, watch=watch, as_json=as_json)


@program.command()
@click.argument("one", metavar="RUN", shell_complete=completion.RUN)
@click.argument("other", metavar="RUN", shell_complete=completion.RUN)
@_FROM_PROJECT
@_JSON
def diff(one: str, other: str, project: str | None, as_json: bool) -> int:
    """Show what differs between two RUNs: config, graph, code, versions, results. Exit code 1 if anything does."""
    from aiflow_ext.cli.diff import show_diff

    return show_diff(one, other, project, as_json=as_json)


@program.command()
@_RUN
@_JOBS_OF_RUN
@_FROM_PROJECT
@click.option("-f", "--follow", is_flag=True, help="Go on until the jobs have ended.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin N lines before the end.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of attempt N [default: the latest].")
@click.option("--stderr", is_flag=True, help="What was written to stderr.")
@click.option("--container", metavar="NAME", help="Of a container beside the job's that has failed.")
@_JSON
def logs(run: str, job: tuple[str, ...], project: str | None, **options: Any) -> int:
    """Print what RUN's JOBs have printed; of several jobs, or of all, each line with its job's name."""
    from aiflow_ext.cli.logs import show_logs

    return show_logs(run, job, project, **options)


@program.command()
@_RUN
@_JOBS_OF_RUN
@_FROM_PROJECT
@click.option("--fetch", "folder", type=click.Path(file_okay=False), metavar="FOLDER",
              help="Copy them to FOLDER/JOB/NAME/, checked; folders are unpacked, pickles are not opened.")  # fmt: skip
@_JSON
def artifacts(run: str, job: tuple[str, ...], project: str | None, folder: str | None, as_json: bool) -> int:
    """List what RUN's JOBs have kept, the results of a run: files, folders and values."""
    from aiflow_ext.cli.artifacts import show_artifacts

    return show_artifacts(run, job, project, folder, as_json=as_json)


@program.command()
@_RUN
@click.argument("job", required=False, shell_complete=completion.JOB_OF_RUN)
@_FROM_PROJECT
@click.option("--grace", type=click.FloatRange(min=0), default=10.0, show_default=True, metavar="SECONDS",
              help="Time between asking a job to end and ending it.")  # fmt: skip
@click.option("--no-wait", "wait", is_flag=True, default=True, flag_value=False, help="Do not wait until it is gone.")
@_JSON
def stop(run: str, job: str | None, project: str | None, **options: Any) -> int:
    """Stop RUN, or one JOB of it, whether it has a driver or not."""
    from aiflow_ext.cli.look import stop_run

    return stop_run(run, job, project, **options)


@program.command()
@click.argument("run", metavar="RUN|PROJECT", shell_complete=completion.RUN_OR_PROJECT)
@_FROM_PROJECT
@_WORKFLOW
@_PARAM
@_JSON
def graph(run: str, project: str | None, workflow: str | None, params: tuple[str, ...], as_json: bool) -> int:
    """Draw RUN's jobs with their states, or a PROJECT's workflow, as a Mermaid flowchart."""
    from aiflow_ext.cli.look import show_graph

    return show_graph(run, project, workflow=workflow, params=params, as_json=as_json)


@program.command()
@_FROM_PROJECT
@click.option("--older-than", metavar="AGE", help="Runs that ended so long ago: 30d, 12h, 90m.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Keep the N newest runs of each project.")
@click.option("--artifacts", is_flag=True, help="Remove their artifacts at a URL, too.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_JSON
def gc(
    project: str | None, older_than: str | None, keep: int | None, artifacts: bool, dry_run: bool, as_json: bool
) -> int:
    """Remove old runs with their folders and artifacts; never one that has not ended."""
    from aiflow_ext.run.operations.gc import collect
    from aiflow_ext.translate.durations import seconds
    from aiflow_ext.translate.misfits import Misfit

    if older_than is None and keep is None:
        raise click.UsageError("say which: --older-than AGE, --keep N, or both")
    try:
        age = None if older_than is None else seconds(older_than)
    except Misfit as error:
        raise click.BadParameter(f"{error}, such as 30d, 12h or 90m", param_hint="--older-than") from error
    kept: list[errors.Problem] = []
    removed = collect(project, older_than=age, keep=keep, dry_run=dry_run, artifacts=artifacts, kept=kept)
    if as_json:
        print(json.dumps(removed, indent=1))
    else:
        for run in removed:
            print(f"{'would remove' if dry_run else 'removed'} {run['run']}")
    return errors.PLATFORM if kept else errors.OK


@program.command()
@_PROJECT
@_JOBS
@_PARAM
@_SET
@_WORKFLOW
@_CONFIG
@_PROFILE
@click.option("--rbac", is_flag=True, help="Show instead what a platform's administrator must allow for it.")
@_JSON
def render(project: str, job: tuple[str, ...], rbac: bool, as_json: bool, **options: Any) -> int:
    """Show exactly what a run of PROJECT would send, for each JOB or for all. Offline; secrets as references."""
    from aiflow_ext.run import render_project

    if rbac:
        from aiflow_ext.run.operations.render import permissions

        shown = permissions(project, only=job, **options)
        print(json.dumps(shown, indent=1) if as_json else "---\n".join(shown.values()), end="\n" if as_json else "")
        if not shown:
            print("none of these jobs is on a platform that tells what must be allowed for it", file=sys.stderr)
        return errors.OK
    found = render_project(project, only=job, **options)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        from aiflow_ext.cli.show import print_requests

        print_requests(found)
    return errors.OK


@program.command()
@click.option("--refresh", is_flag=True, help="Look at every installed distribution again, whatever the index says.")
@click.option("--proof", is_flag=True, help="Also say which are proven by the conformance kit: the files of each "
              "distribution that ships a certificate are read.")  # fmt: skip
@_JSON
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
@_PARAM
@_SET
@_WORKFLOW
@_CONFIG
@_PROFILE
@click.option("--load/--no-load", default=True, help="Whether to import the plugin, and so to say what a run would "
              "meet; else say only what metadata tell [default: --load].")  # fmt: skip
@click.option("--limit", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True,
              metavar="SECONDS", help="Time that loading the plugin may take.")  # fmt: skip
@_JSON
def why(platform: str, engine: str, load: bool, limit: float, as_json: bool, **options: Any) -> int:
    """Say which job plugin runs jobs of ENGINE on PLATFORM, or a JOB of PROJECT, or why none does, and what decided so.

    The plugin is loaded in a process of its own. A folder with a workflow.py is a PROJECT.
    """
    from aiflow_ext.cli.why import show_why

    return show_why(platform, engine, limit=limit if load else None, as_json=as_json, **options)


@program.command()
@_MAYBE_PROJECT
@_PARAM
@_SET
@_WORKFLOW
@_CONFIG
@_PROFILE
@click.option("--limit", type=click.FloatRange(min=0, min_open=True), default=15.0, show_default=True,
              metavar="SECONDS", help="Time that the import of a plugin may take.")  # fmt: skip
@_JSON
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
@_INTO
def plugin(names: tuple[str, ...], nine: bool, extension: bool, into: str | None) -> int:
    """Write the distribution of job plugins, such as slurm.cmd_line slurm.python, or of an extension.

    It installs and passes the conformance kit as it is: its jobs are processes of this machine until you change that.
    """
    from aiflow_ext.cli.new import write_plugin

    if extension and (nine or len(names) > 1):
        raise click.UsageError("--extension takes one name, and no --nine")
    return write_plugin(names, nine=nine, extension=extension, into=into)


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
@_MAYBE_PROJECT
@click.argument("job", metavar="[JOB]", required=False, shell_complete=completion.JOB_OF_PROJECT)
@click.option("--origin", is_flag=True, help="Say behind each where it comes from: file and line, variable or option.")
@_PARAM
@_SET
@_WORKFLOW
@_CONFIG
@_PROFILE
@_JSON
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
