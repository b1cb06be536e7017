"""``python -m aiflow_ext`` is the command line."""

from aiflow_ext.cli import main

main()
