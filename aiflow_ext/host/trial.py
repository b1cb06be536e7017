"""A job plugin loaded for trial, in a process of its own: whatever that does, this process goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from aiflow_ext.host.policy import Policy

LIMIT = 30.0  # seconds for which a plugin's import may take until it is ended
REPORT = "report it to its authors, or install another version of it"
MOST = 16_384  # characters of an answer, and bytes of what was printed: a pipe holds as much without a reader
# The folder that "-c" puts first is not one that "aiflow-ext" looks in.
_CHILD = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import json
spec = json.loads(sys.argv[1])
sys.path[:] = dict.fromkeys([*spec["path"], *sys.path])
from aiflow_ext.host.trial_child import answer
answer(spec)
"""


class Trial:
    """How loading went.

    Attributes:
        problem, hint: what is wrong and what to do; None where the plugin can be used.
        error: its exception, as text.
        exit_code: the code that ``run`` would end with for that; 0 where the plugin can be used.
        remarks: sentences on what its author may not have meant.
    """

    def __init__(
        self,
        problem: str | None = None,
        hint: str | None = None,
        error: str | None = None,
        exit_code: int = 0,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self.problem, self.hint, self.error, self.exit_code, self.remarks = problem, hint, error, exit_code, remarks


def try_loading(
    where: str, platform: str, engine: str, policy: Policy, pins: Mapping[str, str], limit: float = LIMIT
) -> Trial:
    """Load the job plugin that ``where`` describes, as resolving would, in a child process.

    What it prints is passed on to stderr, and remarked on. It is ended after ``limit`` seconds.
    """
    from aiflow_ext.model.errors import PLUGIN

    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    spec = {"path": [os.path.abspath(entry) for entry in sys.path], "platform": platform, "engine": engine,
            "allow": policy.allow, "deny": policy.deny, "pins": dict(pins), "answer": write}  # fmt: skip
    with os.fdopen(read, "rb") as answers, tempfile.TemporaryFile() as printed:
        try:
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, json.dumps(spec)],
                stdin=subprocess.DEVNULL, stdout=printed, pass_fds=[write], start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(write)
        try:
            code: int | None = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
        output = answers.read(4 * MOST) or b""
        printed.seek(0)
        noise = printed.read(MOST).decode("utf-8", "replace")
    if noise:
        print(noise, end="" if noise.endswith("\n") else "\n", file=sys.stderr)
    try:
        trial = Trial(**json.loads(output))
    except (ValueError, TypeError):
        trial = Trial(_unanswered(where, code, limit), REPORT, exit_code=PLUGIN)
    first = next((line.strip() for line in noise.splitlines() if line.strip()), "")
    remarks = (*trial.remarks, *([f"it prints as it is imported: {first[:200]}"] if first else ()))
    return Trial(trial.problem, trial.hint, trial.error, trial.exit_code, remarks)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it has started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def _unanswered(where: str, code: int | None, limit: float) -> str:
    if code is None:
        return f"{where} is still not imported after {limit:g} s"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"{where} cannot be imported: the process that imports it is ended by {name}"
    return f"{where} cannot be imported: the process that imports it ends there, with exit code {code}"
