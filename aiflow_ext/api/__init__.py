"""Runs from Python: start, follow, stop and resume them, and read what they have kept, in scripts and notebooks.

Others may use: ``runs`` (open_run and the run that it returns), ``start`` (start_project, run_project_async),
``compare`` (diff).
"""
