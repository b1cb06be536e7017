"""Platform ``local``: a job is a process of this machine, in a session and a work folder of its own.

It needs Linux 5.4 or newer (pidfd); the entry-point group ``aiflow_ext.requires`` says so to the host.
"""
