"""The program itself, and the arguments and options that several of its commands have."""

from __future__ import annotations

from typing import Any

import click

from aiflow_ext import __version__
from aiflow_ext.cli import completion
from aiflow_ext.cli.output import claim_stdout

PROJECT = click.argument("project", type=click.Path(), metavar="PROJECT", shell_complete=completion.PROJECT)
MAYBE_PROJECT = click.argument("project", type=click.Path(), metavar="[PROJECT]", required=False,
                                shell_complete=completion.PROJECT)  # fmt: skip
JOBS = click.argument("job", nargs=-1, shell_complete=completion.JOB_OF_PROJECT)
SET = click.option("--set", "sets", multiple=True, metavar="JOB.KEY=VALUE", help="Set a key of a job's config; "
                    "JOB may be a pattern such as 'train-*', and '*' is every job.")  # fmt: skip
PARAM = click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter of "
                      "the workflow, and a property in every job that has it.")  # fmt: skip
WORKFLOW = click.option("--workflow", metavar="NAME", shell_complete=completion.WORKFLOW,
                         help="Which workflow, where workflow.py has several.")  # fmt: skip
CONFIG = click.option("--config", multiple=True, type=click.Path(), metavar="FILE", help="A file that is laid over "
                       "workflow.yaml.")  # fmt: skip
PROFILE = click.option("--profile", metavar="NAME", shell_complete=completion.PROFILE,
                        help="A profile in project.yaml, which is laid over workflow.yaml.")  # fmt: skip
RUN = click.argument("run", metavar="RUN", shell_complete=completion.RUN)
JOBS_OF_RUN = click.argument("job", nargs=-1, shell_complete=completion.JOB_OF_RUN)
FROM_PROJECT = click.option("--project", type=click.Path(), metavar="PROJECT", shell_complete=completion.PROJECT,
                             help="The folder of the run's project, if two projects have matching ids.")  # fmt: skip
ON_INTERRUPT = click.option("--on-interrupt", type=click.Choice(["ask", "leave", "stop"]), help="What Ctrl-C does to "
                             "running jobs [default: ask on a terminal, else leave].")  # fmt: skip
DETACH = click.option("--detach", is_flag=True, help="Leave a driver running in a session of its own, and return.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md says its shape).")


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
