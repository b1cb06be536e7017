"""``aiflow-ext ui``: the page of runs, until a signal ends it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from aiflow_ext.cli import signals
from aiflow_ext.cli.output import keep_exit_code, print
from aiflow_ext.model import errors


def show_page(project: str | None, *, port: int) -> int:
    """Serve the page and print its address. Runs are as they are when it ends."""
    try:
        from aiflow_ext.ui.serve import Page
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("aiflow_ext"):
            raise
        missing = errors.AiflowError(f"the page needs the package {error.name}, which is not installed",
                                     hint="pip install 'aiflow-ext[ui]'")  # fmt: skip
        missing.exit_code = errors.NOT_INSTALLED
        raise missing from error
    keep_exit_code()
    page = Page(port, project)

    def answer(number: int) -> Callable[[], None] | None:
        if page.is_ending:
            return signals.end
        page.end()
        return None

    signals.answer_by(answer, lambda: errors.INTERRUPTED)

    def began() -> None:
        print(page.url, flush=True)
        print("open this address; whoever has it can do with your runs what you can. Ctrl-C ends the page, and no run",
              file=sys.stderr)  # fmt: skip

    page.serve(began)
    return errors.OK
