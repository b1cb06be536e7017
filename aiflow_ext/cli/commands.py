"""The commands about runs, and with them all commands. Each is one call of a Python function; ``show`` prints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from aiflow_ext.cli import completion
from aiflow_ext.cli import site_commands as site_commands
from aiflow_ext.cli.output import keep_exit_code, print
from aiflow_ext.cli.program import (
    CONFIG,
    DETACH,
    FROM_PROJECT,
    JOBS,
    JOBS_OF_RUN,
    JSON,
    ON_INTERRUPT,
    PARAM,
    PROFILE,
    PROJECT,
    RUN,
    SET,
    WORKFLOW,
)
from aiflow_ext.cli.program import (
    program as program,
)
from aiflow_ext.model import errors

if TYPE_CHECKING:
    from aiflow_ext.run.operations.start import Run


@program.command()
@PROJECT
@PARAM
@SET
@WORKFLOW
@CONFIG
@PROFILE
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
@DETACH
@ON_INTERRUPT
@JSON
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
@RUN
@FROM_PROJECT
@click.option("--failed", is_flag=True, help="Give failed, stopped, lost and skipped jobs a new attempt.")
@click.option("--from", "from_job", metavar="JOB", shell_complete=completion.JOB_OF_RUN,
              help="Give JOB and every job after it a new attempt.")  # fmt: skip
@click.option("--update", is_flag=True, help="What runs again gets the project's code, config and graph of today; with "
              "--from or --failed.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="How many jobs run at once [default: as it was "
              "started with].")  # fmt: skip
@DETACH
@click.option("--ready", type=int, hidden=True, help="The descriptor to report to that it drives.")
@ON_INTERRUPT
@JSON
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
@PROJECT
@WORKFLOW
@click.option("--overlap", is_flag=True, help="Fire although the last firing still runs.")
def schedule(project: str, workflow: str | None, overlap: bool) -> int:
    """Fire PROJECT's scheduled workflows and periodic jobs when they are due, until it is interrupted.

    If several firings were missed, they become one. The exit code is 1 if a firing has failed.
    """
    from aiflow_ext.cli.scheduler import fire

    return fire(project, workflow=workflow, overlap=overlap)


@program.command()
@FROM_PROJECT
@click.option("--params", "parameters", is_flag=True, help="With the parameters that differ among the runs of a "
              "workflow, each in a column.")  # fmt: skip
@JSON
def runs(project: str | None, parameters: bool, as_json: bool) -> int:
    """List runs, newest first."""
    from aiflow_ext.cli.look import show_runs

    return show_runs(project, parameters=parameters, as_json=as_json)


@program.command()
@FROM_PROJECT
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Of 127.0.0.1, where the page is "
              "served [default: a free one].")  # fmt: skip
def ui(project: str | None, port: int) -> int:
    """Show all runs, their jobs and logs in a browser, and stop and resume them there.

    Needs the extra ui: pip install 'aiflow-ext[ui]'. The page is for you alone: its address has a token.
    """
    from aiflow_ext.cli.ui import show_page

    return show_page(project, port=port)


@program.command()
@RUN
@click.argument("job", required=False, shell_complete=completion.JOB_OF_RUN)
@FROM_PROJECT
@click.option("--watch", is_flag=True, help="Show it until it ends.")
@JSON
def status(run: str, job: str | None, project: str | None, watch: bool, as_json: bool) -> int:
    """Show the state of RUN's jobs. RUN is an id, the beginning of one, or 'latest' (in a project's folder, of it).

    With JOB: each attempt of it, with what it asked for, used and ran with.
    """
    from aiflow_ext.cli.look import show_status

    return show_status(run, project, job, watch=watch, as_json=as_json)


@program.command()
@click.argument("one", metavar="RUN", shell_complete=completion.RUN)
@click.argument("other", metavar="RUN", shell_complete=completion.RUN)
@FROM_PROJECT
@JSON
def diff(one: str, other: str, project: str | None, as_json: bool) -> int:
    """Show what differs between two RUNs: config, graph, code, versions, results. Exit code 1 if anything does."""
    from aiflow_ext.cli.diff import show_diff

    return show_diff(one, other, project, as_json=as_json)


@program.command()
@RUN
@JOBS_OF_RUN
@FROM_PROJECT
@click.option("-f", "--follow", is_flag=True, help="Go on until the jobs have ended.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin N lines before the end.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of attempt N [default: the latest].")
@click.option("--stderr", is_flag=True, help="What was written to stderr.")
@click.option("--container", metavar="NAME", help="Of a container beside the job's that has failed.")
@JSON
def logs(run: str, job: tuple[str, ...], project: str | None, **options: Any) -> int:
    """Print what RUN's JOBs have printed; of several jobs, or of all, each line with its job's name."""
    from aiflow_ext.cli.logs import show_logs

    return show_logs(run, job, project, **options)


@program.command()
@RUN
@JOBS_OF_RUN
@FROM_PROJECT
@click.option("--fetch", "folder", type=click.Path(file_okay=False), metavar="FOLDER",
              help="Copy them to FOLDER/JOB/NAME/, checked; folders are unpacked, pickles are not opened.")  # fmt: skip
@JSON
def artifacts(run: str, job: tuple[str, ...], project: str | None, folder: str | None, as_json: bool) -> int:
    """List what RUN's JOBs have kept, the results of a run: files, folders and values."""
    from aiflow_ext.cli.artifacts import show_artifacts

    return show_artifacts(run, job, project, folder, as_json=as_json)


@program.command()
@RUN
@FROM_PROJECT
@click.option("--output", "file", type=click.Path(dir_okay=False), metavar="FILE", help="The file, which is replaced "
              "where there is one [default: report.html in the run's folder].")  # fmt: skip
@JSON
def report(run: str, project: str | None, file: str | None, as_json: bool) -> int:
    """Write RUN as one HTML file, for a browser and for colleagues: graph, timeline, table, reasons, logs, pictures."""
    from aiflow_ext.cli.report import make_report

    return make_report(run, project, file, as_json=as_json)


@program.command()
@RUN
@click.argument("job", shell_complete=completion.JOB_OF_RUN)
@FROM_PROJECT
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Attempt N [default: the latest].")
@click.option("--pdb", is_flag=True, help="Debug what the job raises.")
@click.option("--break", "first_line", is_flag=True, help="Open the debugger at the first line of each function.")
@click.option("--shell", is_flag=True, help="Open a shell in the job's place, with its folder and its variables.")
@click.option("--python", metavar="PATH", help="The interpreter [default: the job's own where its platform is "
              "local and it is there, else the one of this command].")  # fmt: skip
@click.option("--keep", type=click.Path(file_okay=False), metavar="FOLDER", help="Do everything in FOLDER, "
              "which is kept: inputs, work folder, and what the job makes.")  # fmt: skip
def reproduce(run: str, job: str, project: str | None, **options: Any) -> int:
    """Run an attempt of RUN's JOB again, here: its own code, config and inputs, in this terminal.

    Nothing of the run is changed. The exit code is the job's.
    """
    from aiflow_ext.cli.reproduce import reproduce as again

    if options["shell"] and (options["pdb"] or options["first_line"]):
        raise click.UsageError("--shell opens a shell, and runs no job to debug: leave out --pdb and --break")
    return again(run, job, project=project, **options)


@program.command()
@RUN
@click.argument("job", required=False, shell_complete=completion.JOB_OF_RUN)
@FROM_PROJECT
@click.option("--grace", type=click.FloatRange(min=0), default=10.0, show_default=True, metavar="SECONDS",
              help="Time between asking a job to end and ending it.")  # fmt: skip
@click.option("--no-wait", "wait", is_flag=True, default=True, flag_value=False, help="Do not wait until it is gone.")
@JSON
def stop(run: str, job: str | None, project: str | None, **options: Any) -> int:
    """Stop RUN, or one JOB of it, whether it has a driver or not."""
    from aiflow_ext.cli.look import stop_run

    return stop_run(run, job, project, **options)


@program.command()
@click.argument("run", metavar="RUN|PROJECT", shell_complete=completion.RUN_OR_PROJECT)
@FROM_PROJECT
@WORKFLOW
@PARAM
@JSON
def graph(run: str, project: str | None, workflow: str | None, params: tuple[str, ...], as_json: bool) -> int:
    """Draw RUN's jobs with their states, or a PROJECT's workflow, as a Mermaid flowchart."""
    from aiflow_ext.cli.look import show_graph

    return show_graph(run, project, workflow=workflow, params=params, as_json=as_json)


@program.command()
@FROM_PROJECT
@click.option("--older-than", metavar="AGE", help="Runs that ended so long ago: 30d, 12h, 90m.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Keep the N newest runs of each project.")
@click.option("--artifacts", is_flag=True, help="Remove their artifacts at a URL, too.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@JSON
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
@PROJECT
@JOBS
@PARAM
@SET
@WORKFLOW
@CONFIG
@PROFILE
@click.option("--rbac", is_flag=True, help="Show instead what a platform's administrator must allow for it.")
@JSON
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
