"""What is done to runs from outside of their drivers: start, resume, schedule, look, stop, remove.

Each module is what one command, or one function of the Python API, does. They do not call one another's commands.
"""
