"""From a project's folder to a plan: one planned job for each subgraph; and from a plan to the job of any attempt.

``make_plan`` makes a ``plan``, ``plan_codec`` serialises it, ``attempt_job`` generates one attempt's job from it,
``only`` restricts it to some jobs.
"""
