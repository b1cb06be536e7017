"""Secrets: only their references are stored and shown; a value is read when it is sent.

is_secret    whether a value under ``env`` is a reference
shown        ``env`` for ``render``: each secret as ``${secret:REFERENCE}``
resolve      ``env`` with the values, as late as possible: in ``submit_job``
plain        a value that is no secret, as the text that the job sees
"""

from aiflow_ext.host.secrets import is_secret as is_secret
from aiflow_ext.host.secrets import plain as plain
from aiflow_ext.host.secrets import resolve as resolve
from aiflow_ext.host.secrets import shown as shown
