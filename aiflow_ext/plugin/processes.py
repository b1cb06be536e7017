"""The processes of a machine, and the end of all that an attempt has started there. Standard library only.

Sweep, sweep    ``sweep(Sweep(mark=attempt_mark(job.job_context), grace=10.0))`` ends what carries an attempt's mark
proc            what the kernel tells of processes: start times, children, states
"""

from aiflow_ext.supervise import proc as proc
from aiflow_ext.supervise.sweep import Sweep as Sweep
from aiflow_ext.supervise.sweep import sweep as sweep
