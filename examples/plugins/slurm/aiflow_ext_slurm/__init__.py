"""Platform ``slurm`` for aiflow-ext.

config      the keys of a job's config
platform    what aiflow-ext has to know of the platform as a whole
jobs        the job plugins: what is sent for a job, and when
backend     an attempt on the cluster: submit, look up, watch, stop
states      what Slurm and the attempt's files say of it, as a state
commands    Slurm's own programs, and what their failures mean
"""
