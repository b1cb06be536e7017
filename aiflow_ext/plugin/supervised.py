"""Attempts that are supervised processes of the client's machine: they outlive the client, their ends are recorded.

The native id of such an attempt is the path of its own folder, ``job.job_context.work_folder``.

    prepare_folder              make the attempt's folder, and ``work`` in it
    supervisor_of, ProcessSpec  ``supervisor_of(native_id).start(ProcessSpec(...))`` starts it, once
    process_id                  the ``id`` of its ProcessSpec
    ProcessHandler              its handler
    lookup, watch, stop         what the hooks of these names need
    succeeded                   whether it has ended well
    mounted_in                  what is mounted below a folder: it is not to be removed with it
    checkpoints                 the folder that all attempts of a job in a run share
    Status                      what a process says of the job that it runs elsewhere: ``Status(...).write(native_id)``
    write_regular               write a file into its folder, whatever a job may have put in that place
    REASON_FILE                 the file in the attempt's folder that AIFLOW_REASON_FILE is to name
"""

from aiflow_ext.regular_file import write_regular as write_regular
from aiflow_ext.run.platforms.supervised import REASON_FILE as REASON_FILE
from aiflow_ext.run.platforms.supervised import ProcessHandler as ProcessHandler
from aiflow_ext.run.platforms.supervised import Status as Status
from aiflow_ext.run.platforms.supervised import checkpoints as checkpoints
from aiflow_ext.run.platforms.supervised import lookup as lookup
from aiflow_ext.run.platforms.supervised import prepare_folder as prepare_folder
from aiflow_ext.run.platforms.supervised import process_id as process_id
from aiflow_ext.run.platforms.supervised import stop as stop
from aiflow_ext.run.platforms.supervised import succeeded as succeeded
from aiflow_ext.run.platforms.supervised import supervisor_of as supervisor_of
from aiflow_ext.run.platforms.supervised import watch as watch
from aiflow_ext.run.store.filesystem import mounted_in as mounted_in
from aiflow_ext.supervise.records import ProcessSpec as ProcessSpec
