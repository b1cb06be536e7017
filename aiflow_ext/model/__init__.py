"""What a workflow is: pure data, no I/O. Everything public here is importable from ``aiflow_ext``.

Other packages import the modules by name: errors, jsonable, states, config, project, graph, job, attempt, plugin,
authoring, current; and what all packages use: spelling, cycles, collector.
"""
