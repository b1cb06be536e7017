"""From a project's folder to a plan: one planned job for each subgraph, and its jobs as often as they are needed.

``make_plan`` makes a ``plan``, ``plan_codec`` stores it, ``attempt_job`` generates one attempt's job from it, ``only``
plans a part.
"""
