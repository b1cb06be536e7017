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
    "Supervisor": "client",
    "SupervisorError": "launch",
    "boot_id": "proc",
    "process_alive": "proc",
    "start_time": "proc",
    "ProcessRecord": "records",
    "ProcessSpec": "records",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
