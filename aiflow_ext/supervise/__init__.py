"""Processes of this machine that outlive the process that started them, with their true ends recorded.

Others may use: Supervisor, ProcessSpec, ProcessRecord, SupervisorError, process_alive, boot_id, start_time. What each
module is for:

    records        the types of requests and results
    client         Supervisor: start, stop, wait, record, events
    launch         one daemon per folder: finds it, starts it, connects to it
    journal        the write-ahead file of all changes, and its writer's lock
    daemon         the supervisor process: its event loop, and the requests
    daemon_client  a client's connection in the loop
    processes      the supervisor's children: started, reaped, taken over, recorded
    spawn          from a request to a process
    leftovers      orphaned processes, and the sweeps under way
    sweep          ends everything that a process started
    clock          a folder's own monotonic clock
    proc           reads /proc
    kernel         system calls, also those that the interpreter was compiled without

The daemon's half (from journal on) runs without site-packages and imports nothing heavy, so that a supervisor starts
quickly and stays small.
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
