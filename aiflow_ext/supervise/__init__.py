"""Processes of this machine that outlive whoever started them, with their true ends on record.

Others may use: Supervisor, ProcessSpec, ProcessRecord, SupervisorError, process_alive, boot_id, start_time. What each
module here is for:

    records        what a caller gives and gets
    client         Supervisor: start, stop, wait, record, events
    launch         one daemon per folder: finding it, starting it, talking to it
    journal        the file that holds the truth, and the lock of the one who writes it
    daemon         the supervisor process: its loop, and what it is asked to do
    daemon_client  a client as the loop sees it
    processes      the supervisor's children: started, reaped, taken over, recorded
    spawn          from a request to a process
    leftovers      what processes leave behind, and the sweeps under way
    sweep          ending everything that a process started
    clock          a folder's own clock, which nobody sets
    proc           what the kernel tells of processes
    kernel         what the kernel has, also where the interpreter was compiled without it

The daemon's half (from journal on) runs without site-packages and imports nothing heavy, so that a supervisor is up in
a moment and stays small.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiflow_ext.supervise.client import Supervisor as Supervisor
    from aiflow_ext.supervise.launch import SupervisorError as SupervisorError
    from aiflow_ext.supervise.proc import boot_id as boot_id
    from aiflow_ext.supervise.proc import process_alive as process_alive
    from aiflow_ext.supervise.proc import start_time as start_time
    from aiflow_ext.supervise.records import ProcessRecord as ProcessRecord
    from aiflow_ext.supervise.records import ProcessSpec as ProcessSpec

_HOMES = {
    "aiflow_ext.supervise.client": ("Supervisor",),
    "aiflow_ext.supervise.launch": ("SupervisorError",),
    "aiflow_ext.supervise.proc": ("boot_id", "process_alive", "start_time"),
    "aiflow_ext.supervise.records": ("ProcessRecord", "ProcessSpec"),
}

if not TYPE_CHECKING:  # to a type checker, a name that is not above is a mistake
    from aiflow_ext._lazy import lazily

    __all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
