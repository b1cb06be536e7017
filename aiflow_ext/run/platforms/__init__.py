"""How the platforms are reached: plugins called in this process or in an attempt host, and what they tell.

``plugin_adapter`` is what driver and commands call, and chooses between ``direct_adapter`` and ``hosted_adapter``;
``attempt_host`` runs in a process of its own.
"""
