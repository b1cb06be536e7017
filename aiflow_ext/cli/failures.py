"""How errors are printed, for people and for programs, and the exit code of each."""

from __future__ import annotations

import json
import os
import sys
import traceback

import click

from aiflow_ext.cli.escape import indented, one_line
from aiflow_ext.cli.incomplete import incomplete
from aiflow_ext.cli.output import OutputLost, print
from aiflow_ext.model import errors
from aiflow_ext.model.errors import AiflowError, ProjectError


def run_guarded(program: click.Command, argv: list[str]) -> int:
    """Run ``program``; turn any exception into a message on stderr and an exit code.

    Args:
        program: the command group.
        argv: the command line without the program's name.

    Returns:
        The exit code (docs/exit-codes.md).
    """
    try:
        result = program.main(argv, prog_name="aiflow-ext", standalone_mode=False)
        return result if isinstance(result, int) else errors.OK
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return errors.USAGE
    except (click.Abort, KeyboardInterrupt) as error:
        words = str(error.__cause__ or error)  # click raises Abort from a KeyboardInterrupt
        print(one_line(f"aiflow-ext: interrupted{' ' * bool(words)}{words}"), file=sys.stderr)
        return errors.INTERRUPTED
    except AiflowError as error:
        show(error, as_json="--json" in argv)
        return error.exit_code
    except OutputLost:  # the pipe is closed, or the disk full: ``finish`` reports it
        return errors.OK
    except Exception as error:
        if isinstance(error, FileNotFoundError) and error.filename is None and _is_current_folder_gone():
            words = "the current folder was deleted, and a path below or beside it cannot be found from there"
            gone = ProjectError(words, hint="change to a folder that exists, or give whole paths")
            show(gone, as_json="--json" in argv)
            return gone.exit_code
        if isinstance(error, ModuleNotFoundError) and (lacks := incomplete(error)):
            show(lacks, as_json="--json" in argv)
            return lacks.exit_code
        # A defect of aiflow-ext, not a user's mistake: print what a report of it needs.
        traceback.print_exc()
        print(
            f"aiflow-ext: this is a defect of aiflow-ext: {type(error).__name__}: {indented(str(error))}",
            file=sys.stderr,
        )
        return errors.INTERNAL


def show(error: AiflowError, *, as_json: bool = False) -> None:
    """Print an error on stderr: every problem with its place and hint. With ``as_json`` print it on stdout, too."""
    if as_json:
        problems = [{"message": p.message, "where": p.where, "hint": p.hint} for p in error.problems]
        print(json.dumps({"error": {"type": type(error).__name__, "exit_code": error.exit_code, "problems": problems}}))
    if len(error.problems) > 1:
        print(f"aiflow-ext: {len(error.problems)} problems", file=sys.stderr)
    for problem in error.problems:
        where = f"{one_line(_shorter(problem.where))}: " if problem.where else ""
        hint = f"\n    {indented(problem.hint)}" if problem.hint else ""
        kind = "error: " if error.exit_code else ""  # what a command had to leave undone may be as it should be
        print(f"{kind}{where}{indented(problem.message)}{hint}", file=sys.stderr)
    if os.environ.get("AIFLOW_DEBUG"):
        traceback.print_exception(error)


def _is_current_folder_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _shorter(where: str) -> str:
    """A path below the current folder without that folder."""
    try:
        here = os.getcwd() + os.sep
    except FileNotFoundError:  # it was removed
        return where
    return where[len(here) :] if where.startswith(here) else where
