"""What commands do with runs: start, resume, schedule, read, stop, remove.

Each module implements one command, or one function of the Python API. They do not call one another's commands.
"""
