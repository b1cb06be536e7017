"""From a project's folder to subgraphs: read its config, build its graph, check everything, split it into jobs.

Others may use: ``project.load_project``, ``config.load_workflow_config``, ``load.built_graph``, ``check.check_graph``,
``job_config.Structurer``, ``split.split``, ``functions.freeze`` and ``structure.structure``.
"""
