"""What a workflow is: pure data, no I/O. Everything public here is importable from ``aiflow_ext``.

Other rooms import the modules by name: errors, jsonable, states, config, project, graph, job, attempt, plugin,
authoring, current; and what all rooms use: spelling, cycles, collector.
"""
