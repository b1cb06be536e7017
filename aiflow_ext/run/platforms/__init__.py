"""How the platforms are reached: plugins called in this process or in an attempt host, and what they tell.

``plugin_adapter`` is what driver and commands call; ``attempt_host`` runs in a process of its own.
"""
