"""The types of the supervisor's interface: a process to start, and its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiflow_ext.supervise.journal import ENDED


class ProcessSpec:
    """A process to start.

    Args:
        id: its name in the run's folder; at most one process is ever started for a name.
        argv: the command and its arguments; a command without a slash is sought on the ``PATH`` of ``env``.
        env: its environment, over that of ``base``. It is sent over a socket and never written to disk.
        cwd: an existing folder.
        stdout: a file to append to, created with mode 0600 if it does not exist.
        stderr: the same.
        mark: the value of ``AIFLOW_MARK`` in ``env``; every process that has it is ended with this one.
        base: the variables that many processes share; the same object is sent only once.
    """

    def __init__(
        self,
        id: str,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        stdout: str,
        stderr: str,
        mark: str,
        base: Mapping[str, str] | None = None,
    ) -> None:
        self.id, self.argv, self.env, self.cwd = id, argv, env, cwd
        self.stdout, self.stderr, self.mark = stdout, stderr, mark
        self.base: Mapping[str, str] = {} if base is None else base

    def __repr__(self) -> str:
        return f"ProcessSpec({self.id!r}, {self.argv!r})"  # variables may hold secrets

    def own(self) -> dict[str, Any]:
        """All fields but ``base``."""
        return {"id": self.id, "argv": self.argv, "env": self.env, "cwd": self.cwd, "stdout": self.stdout,
                "stderr": self.stderr, "mark": self.mark}  # fmt: skip


class ProcessRecord(NamedTuple):
    """The record of a process.

    Args:
        state: ``starting``, ``running``; then one of ``ended``, ``not_started`` (``error`` says why), ``cancelled``
            (stopped before it was started), ``lost`` (gone, and its end was not seen; ``error`` says why). ``unknown``:
            only from a stop without a supervisor that found no record.
        pid, start_time, boot_id: together they identify the process uniquely.
        started_at, ended_at: seconds since the epoch.
        exit_code, signal: one of the two after an ``ended``: how the main process itself ended.
        out_of_memory: it died of SIGKILL, and the kernel has ended a process for want of memory meanwhile.
        stop_requested: a stop was requested before the end was known.
        error: why it could not be started, is lost, or could not be ended, in words.
        rusage: ``user`` and ``system`` seconds and ``max_rss_kb`` of the process and the children it waited for;
            the kernel counts the time before the exec too, so ``max_rss_kb`` is never less than the supervisor's 13 MB.
        unsaved: why this is not on disk yet (a full disk); it will be written as soon as there is space.
        seq: the number of its last change; unique and growing in a folder.
    """

    id: str
    state: str = "unknown"
    pid: int | None = None
    start_time: int | None = None
    boot_id: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    stop_requested: bool = False
    error: str | None = None
    rusage: dict[str, float] | None = None
    mark: str = ""
    unsaved: str | None = None
    seq: int = 0

    @property
    def ended(self) -> bool:
        """Whether it has ended, or will never start."""
        return self.state in ENDED

    @classmethod
    def of(cls, data: dict[str, Any]) -> ProcessRecord:
        """The record of a journal's merged changes; keys of newer versions are left out."""
        return cls(**{name: value for name, value in data.items() if name in _FIELDS})


_FIELDS = frozenset(ProcessRecord._fields)
